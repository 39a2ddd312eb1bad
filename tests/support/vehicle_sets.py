"""Tiny sets in the true form of DroneVehicle, VEDAI, SMOD and FLIR ADAS; all pixels are made up."""

import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

WIDTH, HEIGHT = 80, 64
Box = tuple[int, int, int, int]


@dataclass(frozen=True)
class Moment:
    """One of twelve moments: four of each of three sequences."""

    sequence: int
    number: int
    rgb: NDArray[np.uint8]
    thermal: NDArray[np.uint8]
    boxes: tuple[tuple[int, Box], ...]
    """Class 0 to 2, and x1, y1, x2, y2 in pixels."""

    @property
    def index(self) -> int:
        """From 0 to 11."""
        return 4 * self.sequence + self.number


def moments() -> Iterator[Moment]:
    for sequence in range(3):
        for number in range(4):
            draw = np.random.default_rng((sequence, number))
            rgb = draw.integers(30, 90, (HEIGHT, WIDTH, 3)).astype(np.uint8)
            thermal = draw.integers(20, 60, (HEIGHT, WIDTH)).astype(np.uint8)
            boxes = []
            for kind in range(3):
                box = (4 + 24 * kind + number, 8 + 6 * sequence, 22 + 24 * kind + number, 34 + 6 * sequence)
                rgb[box[1] : box[3], box[0] : box[2], kind] = 220
                thermal[box[1] : box[3], box[0] : box[2]] = 240 - 40 * kind
                boxes.append((kind, box))
            yield Moment(sequence, number, rgb, thermal, tuple(boxes))


def dronevehicle(root: Path) -> None:
    """Sequences 0 and 1 train, sequence 2 val and test; RGB's boxes are 2 pixels right of thermal's."""
    names = ("car", "feright car", "truvk")
    for one in moments():
        part = "train" if one.sequence < 2 else ("val", "test")[one.number % 2]
        id = f"{one.index + 1:05d}"
        _save(_bordered(one.rgb), root / part / f"{part}img" / f"{id}.jpg")
        _save(_bordered(np.repeat(one.thermal[:, :, None], 3, axis=2)), root / part / f"{part}imgr" / f"{id}.jpg")
        for folder, shift in (("label", 2), ("labelr", 0)):
            objects = []
            for kind, (x1, y1, x2, y2) in one.boxes:
                xs = [100 + shift + x for x in (x1, x2, x2, x1)]
                ys = [100 + y for y in (y1, y1, y2, y2)]
                corners = "".join(f"<x{i}>{xs[i - 1]}</x{i}><y{i}>{ys[i - 1]}</y{i}>" for i in range(1, 5))
                objects.append(f"<object><name>{names[kind]}</name><polygon>{corners}</polygon></object>")
            objects.append("<object><name>*</name><bndbox><xmin>101</xmin><ymin>101</ymin><xmax>109</xmax>")
            objects.append("<ymax>109</ymax></bndbox></object>")
            size = f"<size><width>{WIDTH + 200}</width><height>{HEIGHT + 200}</height></size>"
            _write(root / part / f"{part}{folder}" / f"{id}.xml", f"<annotation>{size}{''.join(objects)}</annotation>")


def vedai(root: Path) -> None:
    """Sequence 2 is the test part of the first fold; class 31 is a rare one."""
    lines, folds = [], {"fold01": [], "fold01test": []}
    for one in moments():
        id = f"{one.index:08d}"
        _save(one.rgb, root / "Vehicules512" / f"{id}_co.png")
        _save(one.thermal, root / "Vehicules512" / f"{id}_ir.png")
        for kind, (x1, y1, x2, y2) in one.boxes:
            number = (1, 11, 31)[kind]
            middle, orientation = f"{(x1 + x2) / 2} {(y1 + y2) / 2}", "1.57"
            lines.append(f"{id} {middle} {orientation} {x1} {x2} {x2} {x1} {y1} {y1} {y2} {y2} {number:03d} 1 0")
        folds["fold01test" if one.sequence == 2 else "fold01"].append(id)
    _write(root / "Annotations512" / "annotation512.txt", "\n".join(lines) + "\n")
    for name, ids in folds.items():
        _write(root / "Annotations512" / f"{name}.txt", "\n".join(ids) + "\n")


def smod(root: Path) -> None:
    """Even numbers are at night; sequence 2 is the test part; both modalities have boxes."""
    documents: dict[tuple[str, str], list[tuple[str, Moment]]] = {}
    for one in moments():
        place = f"{'night' if one.number % 2 == 0 else 'day'}/{one.index:06d}"
        _save(one.rgb, root / f"{place}_rgb.jpg")
        _save(np.repeat(one.thermal[:, :, None], 3, axis=2), root / f"{place}_tir.jpg")
        for word in ("rgb", "tir"):
            part = "test" if one.sequence == 2 else "train"
            documents.setdefault((part, word), []).append((f"{place}_{word}.jpg", one))
    for (part, word), images in documents.items():
        names = {1: "person", 2: "rider", 3: "bicycle"}
        _write(root / "anno" / f"new_{part}_annotations_{word}.json", json.dumps(_coco(images, names, (1, 2, 3))))


def flir_adas_v1(root: Path) -> None:
    """The last moment of each sequence has no RGB image; one thermal folder has boxes drawn into its pictures."""
    for part, sequences in (("train", (0, 1)), ("val", (2,))):
        images = []
        for one in moments():
            if one.sequence not in sequences:
                continue
            id = f"FLIR_{100 * one.sequence + one.number:05d}"
            if one.number != 3:
                _save(_twice(one.rgb), root / part / "RGB" / f"{id}.jpg")
            for folder in ("thermal_8_bit", "Annotated_thermal_8_bit"):
                _save(one.thermal, root / part / folder / f"{id}.jpeg")
            _save(one.thermal.astype(np.uint16) * 12 + 7200, root / part / "thermal_16_bit" / f"{id}.tiff")
            images.append((f"thermal_8_bit/{id}.jpeg", one))
        names = {1: "person", 2: "bicycle", 3: "car", 18: "dog", 91: "other vehicle"}
        _write(root / part / "thermal_annotations.json", json.dumps(_coco(images, names, (1, 3, 18))))


def flir_adas_v2(root: Path) -> None:
    """RGB is twice as large and has boxes of its own; a map pairs the files."""
    pairs = {}
    for part, sequences in (("train", (0, 1)), ("val", (2,))):
        images: dict[str, list[tuple[str, Moment]]] = {"rgb": [], "thermal": []}
        for one in moments():
            if one.sequence not in sequences:
                continue
            files = {
                "rgb": f"video-Rgb{one.sequence}-frame-{one.number:06d}-a{one.index}.jpg",
                "thermal": f"video-Th{one.sequence}-frame-{one.number + 7:06d}-b{one.index}.jpg",
            }
            pairs[files["rgb"]] = files["thermal"]
            _save(_twice(one.rgb), root / f"images_rgb_{part}" / "data" / files["rgb"])
            _save(one.thermal, root / f"images_thermal_{part}" / "data" / files["thermal"])
            raw = files["thermal"].replace(".jpg", ".tiff")
            _save(one.thermal.astype(np.uint16) * 12 + 7200, root / f"images_thermal_{part}" / "analyticsData" / raw)
            for modality, name in files.items():
                images[modality].append((f"data/{name}", one))
        names = {1: "person", 2: "bike", 3: "car", 4: "motor"}
        for modality, found in images.items():
            scale = 2 if modality == "rgb" else 1
            content = json.dumps(_coco(found, names, (1, 2, 3), scale))
            _write(root / f"images_{modality}_{part}" / "coco.json", content)
    _write(root / "rgb_to_thermal_vid_map.json", json.dumps(pairs))


def _coco(
    images: list[tuple[str, Moment]], names: dict[int, str], ids: tuple[int, int, int], scale: int = 1
) -> dict[str, Any]:
    annotations = []
    for number, (_, one) in enumerate(images):
        for kind, (x1, y1, x2, y2) in one.boxes:
            box = [scale * side for side in (x1, y1, x2 - x1, y2 - y1)]
            annotations.append({"id": len(annotations), "image_id": number, "category_id": ids[kind], "bbox": box})
    described = [
        {"id": number, "file_name": name, "width": scale * WIDTH, "height": scale * HEIGHT}
        for number, (name, _) in enumerate(images)
    ]
    categories = [{"id": id, "name": name} for id, name in names.items()]
    return {"images": described, "annotations": annotations, "categories": categories}


def _bordered(pixels: NDArray[np.uint8]) -> NDArray[np.uint8]:
    return np.pad(pixels, ((100, 100), (100, 100), (0, 0)), constant_values=255)


def _twice(pixels: NDArray[np.uint8]) -> NDArray[np.uint8]:
    return pixels.repeat(2, axis=0).repeat(2, axis=1)


def _save(pixels: NDArray[Any], path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    options = {"quality": 95} if path.suffix in (".jpg", ".jpeg") else {}
    Image.fromarray(pixels).save(path, **options)


def _write(path: Path, content: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(content)
