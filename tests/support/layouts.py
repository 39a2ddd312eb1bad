"""Writes tiny data sets in the form in which they are published; pixels are made up.

Each has three sequences of four images. Boxes move by two pixels an image, so that tests can work them out.
"""

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from vehicle_sets import dronevehicle, flir_adas_v1, flir_adas_v2, smod, vedai

SEQUENCES, LENGTH = 3, 4
WIDTH, HEIGHT = 64, 48
Box = tuple[int, int, int, int]
"""x1, y1, x2, y2 in pixels."""
Maker = Callable[[Path], None]


@dataclass(frozen=True)
class Moment:
    """One image of a sequence."""

    sequence: int
    number: int
    objects: tuple[tuple[int, Box], ...]
    """Class ids, 0 or 1, and boxes."""

    @property
    def rgb(self) -> NDArray[np.uint8]:
        """H×W×3."""
        pixels = np.full((HEIGHT, WIDTH, 3), 90 + 10 * self.sequence, dtype=np.uint8)
        for class_id, (x1, y1, x2, y2) in self.objects:
            pixels[y1:y2, x1:x2] = ((220, 40, 40), (40, 40, 220))[class_id]
        return pixels

    @property
    def thermal(self) -> NDArray[np.uint8]:
        """H×W."""
        pixels = np.full((HEIGHT, WIDTH), 30 + 5 * self.sequence, dtype=np.uint8)
        for class_id, (x1, y1, x2, y2) in self.objects:
            pixels[y1:y2, x1:x2] = (240, 180)[class_id]
        return pixels

    def yolo(self) -> str:
        """Its boxes as YOLO text."""
        lines = []
        for class_id, (x1, y1, x2, y2) in self.objects:
            values = (x1 + x2) / 2 / WIDTH, (y1 + y2) / 2 / HEIGHT, (x2 - x1) / WIDTH, (y2 - y1) / HEIGHT
            lines.append(" ".join([str(class_id), *(f"{value:.6f}" for value in values)]))
        return "\n".join(lines) + "\n"

    def voc(self, names: Sequence[str], more: Sequence[tuple[str, Box]] = ()) -> str:
        """Its boxes as VOC XML."""
        named = [*((names[class_id], box) for class_id, box in self.objects), *more]
        objects = "".join(
            f"<object><name>{name}</name><difficult>0</difficult><bndbox><xmin>{x1}</xmin><ymin>{y1}</ymin>"
            f"<xmax>{x2}</xmax><ymax>{y2}</ymax></bndbox></object>"
            for name, (x1, y1, x2, y2) in named
        )
        size = f"<size><width>{WIDTH}</width><height>{HEIGHT}</height><depth>3</depth></size>"
        return f"<annotation>{size}{objects}</annotation>\n"


def moments() -> Iterator[Moment]:
    """Of the first sequence, then of the second and the third."""
    for sequence in range(SEQUENCES):
        for number in range(LENGTH):
            left, top = 4 + 2 * number, 6 + 4 * sequence
            objects = ((0, (left, top, left + 14, top + 20)), (1, (left + 28, top + 6, left + 44, top + 18)))
            yield Moment(sequence, number, objects)


def save(pixels: NDArray[np.uint8], path: Path) -> None:
    """Write an image, and its folders."""
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(pixels).save(path)


def write(path: Path, text: str) -> None:
    """Write a text, and its folders."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)


def coco(names: Mapping[int, str], images: Sequence[tuple[str, Moment]]) -> str:
    """A COCO document.

    Args:
        names: By category id.
        images: File names and their moments; class 0 has the lowest category id.
    """
    ids = sorted(names)
    listed, boxes = [], []
    for image_id, (name, moment) in enumerate(images):
        listed.append({"id": image_id, "file_name": name, "width": WIDTH, "height": HEIGHT})
        for class_id, (x1, y1, x2, y2) in moment.objects:
            box = {"bbox": [x1, y1, x2 - x1, y2 - y1], "area": (x2 - x1) * (y2 - y1), "iscrowd": 0}
            boxes.append({"id": len(boxes), "image_id": image_id, "category_id": ids[class_id], **box})
    categories = [{"id": id, "name": names[id]} for id in ids]
    return json.dumps({"images": listed, "annotations": boxes, "categories": categories})


def llvip(root: Path) -> None:
    """Camera sites 01, 02 and 20; the last one is the test part; infrared files have three bands."""
    for moment in moments():
        site, part = ("01", "02", "20")[moment.sequence], "test" if moment.sequence == 2 else "train"
        id = f"{site}{moment.number + 1:04d}"
        save(moment.rgb, root / "visible" / part / f"{id}.jpg")
        save(np.repeat(moment.thermal[:, :, None], 3, axis=2), root / "infrared" / part / f"{id}.jpg")
        write(root / "Annotations" / f"{id}.xml", moment.voc(("person", "person")))


def flir_aligned(root: Path) -> None:
    """Numbers with gaps: 2 to 5, 900 to 903, and 8864 to 8867, which are the validation part."""
    parts: dict[str, list[str]] = {"train": [], "validation": []}
    for moment in moments():
        id = f"FLIR_{(2, 900, 8864)[moment.sequence] + moment.number:05d}"
        save(moment.rgb, root / "JPEGImages" / f"{id}_RGB.jpg")
        save(moment.thermal, root / "JPEGImages" / f"{id}_PreviewData.jpeg")
        write(root / "Annotations" / f"{id}_PreviewData.xml", moment.voc(("person", "car")))
        parts["validation" if moment.sequence == 2 else "train"].append(f"{id}_PreviewData\n")
    for part, names in parts.items():
        write(root / f"align_{part}.txt", "".join(names))


def bbgt(moment: Moment, names: Sequence[str], ignored: int = 0) -> str:
    """Its boxes as KAIST's text; every class 1 has this ignore flag."""
    lines = ["% bbGt version=3"]
    for class_id, (x1, y1, x2, y2) in moment.objects:
        lines.append(f"{names[class_id]} {x1} {y1} {x2 - x1} {y2 - y1} 0 0 0 0 0 {ignored * class_id} 0")
    return "\n".join(lines) + "\n"


def kaist(root: Path) -> None:
    """Sets 00 and 03 for training, 06 for testing; class 1 is, by set, person?, an ignored person, people."""
    lists: dict[str, list[str]] = {"train-all-20": [], "test-all-20": []}
    for moment in moments():
        place = ("set00/V000", "set03/V001", "set06/V000")[moment.sequence]
        id = f"I{moment.number * 20 + 19:05d}"
        save(moment.rgb, root / "images" / place / "visible" / f"{id}.jpg")
        save(np.repeat(moment.thermal[:, :, None], 3, axis=2), root / "images" / place / "lwir" / f"{id}.jpg")
        second = ("person?", "person", "people")[moment.sequence]
        write(root / "annotations" / place / f"{id}.txt", bbgt(moment, ("person", second), int(moment.sequence == 1)))
        lists["test-all-20" if moment.sequence == 2 else "train-all-20"].append(f"{place}/{id}\n")
    for name, lines in lists.items():
        write(root / "imageSets" / f"{name}.txt", "".join(lines))


def m3fd(root: Path) -> None:
    """Every second thermal file has three bands; no lists."""
    for moment in moments():
        id = f"{moment.sequence * 100 + moment.number:05d}"
        thermal = moment.thermal
        save(moment.rgb, root / "Vis" / f"{id}.png")
        save(np.repeat(thermal[:, :, None], 3, axis=2) if moment.number % 2 else thermal, root / "Ir" / f"{id}.png")
        write(root / "Annotation" / f"{id}.xml", moment.voc(("People", "Car")))


def coco_paired(root: Path) -> None:
    """Folders rgb/ and thermal/, and one COCO document for each part."""
    documents: dict[str, list[tuple[str, Moment]]] = {"train": [], "val": []}
    for moment in moments():
        id = f"seq{moment.sequence}_{moment.number:04d}"
        save(moment.rgb, root / "rgb" / f"{id}.png")
        save(moment.thermal, root / "thermal" / f"{id}.png")
        documents["val" if moment.sequence == 2 else "train"].append((f"{id}.png", moment))
    for part, images in documents.items():
        write(root / "annotations" / f"instances_{part}.json", coco({1: "person", 3: "car"}, images))


def ultralytics_ms(root: Path) -> None:
    """Ultralytics' form with two modalities: images/ and images_ir/, with folders for the parts."""
    for moment in moments():
        part = "val" if moment.sequence == 2 else "train"
        id = f"seq{moment.sequence}_{moment.number:04d}"
        save(moment.rgb, root / "images" / part / f"{id}.jpg")
        save(moment.thermal, root / "images_ir" / part / f"{id}.jpg")
        write(root / "labels" / part / f"{id}.txt", moment.yolo())
    settings = (
        f"path: {root}\ntrain: images/train\nval: images/val\nnc: 2\nnames:\n  0: person\n  1: car\nchannels: 4\n"
    )
    write(root / "data.yaml", settings)


def ultralytics_flat(root: Path) -> None:
    """The same with lists in place of folders for the parts."""
    parts: dict[str, list[str]] = {"train": [], "val": []}
    for moment in moments():
        id = f"seq{moment.sequence}_{moment.number:04d}"
        save(moment.rgb, root / "images" / f"{id}.jpg")
        save(moment.thermal, root / "images_ir" / f"{id}.jpg")
        write(root / "labels" / f"{id}.txt", moment.yolo())
        parts["val" if moment.sequence == 2 else "train"].append(f"./images/{id}.jpg\n")
    for part, lines in parts.items():
        write(root / f"{part}.txt", "".join(lines))
    write(root / "data.yaml", f"path: {root}\ntrain: train.txt\nval: val.txt\nnc: 2\nnames: [person, car]\n")


def group_npy(root: Path) -> None:
    """Five bands a file, and YOLO text; each sequence has an image with an empty label file."""
    (root / "images").mkdir(parents=True)
    for moment in moments():
        id = f"seq{moment.sequence}_{moment.number:04d}"
        event = np.full((HEIGHT, WIDTH), 128, dtype=np.uint8)
        np.save(root / "images" / f"{id}.npy", np.dstack([moment.rgb, moment.thermal, event]))
        write(root / "labels" / f"{id}.txt", "" if moment.number == 3 else moment.yolo())


MAKERS: dict[str, tuple[Maker, tuple[str, ...]]] = {
    "llvip": (llvip, ()),
    "flir_aligned": (flir_aligned, ()),
    "kaist": (kaist, ()),
    "m3fd": (m3fd, ("--set", "data.guard=1")),
    "flir_adas_v1": (flir_adas_v1, ()),
    "flir_adas_v1_16bit": (flir_adas_v1, ("--layout", "flir_adas_16bit")),
    "flir_adas_v2": (flir_adas_v2, ()),
    "dronevehicle": (dronevehicle, ()),
    "vedai": (vedai, ()),
    "smod": (smod, ()),
    "coco_paired": (coco_paired, ()),
    "ultralytics_ms": (ultralytics_ms, ()),
    "ultralytics_flat": (ultralytics_flat, ()),
    "group_npy": (group_npy, ("--classes", "person,car", "--sequences", r"(?P<sequence>seq\d)_(?P<frame>\d+)")),
}
"""By layout: what writes the set, and the flags that it needs. A new one is a line here: then one epoch is trained.

`test_raw_events.py` trains the sets with raw events.
"""
