"""FLIR ADAS, version 1 (2018) and 2 (2022): COCO JSON for each folder, thermal images of 8 and 16 bits, RGB of another
camera that is not registered to them."""

import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import ClassVar

from tune_cmx.data.labels.base import ListedLabels
from tune_cmx.data.labels.coco import CocoDocument, read_coco
from tune_cmx.data.readers.base import Certainty, DataSettings, PairedData, Sign
from tune_cmx.data.readers.finding_labels import FoundLabels
from tune_cmx.data.readers.folders import found_images
from tune_cmx.data.readers.joining import join
from tune_cmx.data.readers.names import Key
from tune_cmx.data.readers.pairing import IMAGE_SUFFIXES, PairedFiles
from tune_cmx.data.readers.sequences import VideoPosition
from tune_cmx.data.readers.sets.named import NamedReader
from tune_cmx.errors import ConfigError, DataError

PARTS = {"train": "train", "val": "val", "test": "test", "video": "test"}
"""Part of the split by the word in a folder's name; the videos are the test part."""
MAP = "rgb_to_thermal_vid_map.json"
"""Thermal file by RGB file, in version 2."""
_FRAME = re.compile(r"video-(?P<sequence>[^-]+)-frame-(?P<frame>\d+)")


class FlirAdasReader(NamedReader):
    """Thermal images, with the RGB image of the same moment where the set has one.

    RGB images are resized to the thermal ones (or the reverse, if RGB's boxes are the ground truth).

    Args:
        bits: Of the thermal images: 8 or 16.
    """

    title: ClassVar[str] = "FLIR ADAS"
    holds: ClassVar[str] = "FLIR ADAS' images_thermal_train/ (version 2) or train/thermal_8_bit/ (version 1)"
    takes: ClassVar[frozenset[str]] = frozenset({"labels_from"})

    def __init__(self, bits: int = 8) -> None:
        self._bits = bits

    def sign(self, root: Path) -> Sign | None:
        found = next((place for place, _ in _documents(root, "thermal")), None)
        if found is None:
            return None
        sure = Certainty.CERTAIN if self._bits == 8 else Certainty.POSSIBLE
        return Sign(str(found.relative_to(root)), sure)

    def open(self, root: Path, settings: DataSettings) -> PairedData:
        labels_from = settings.labels_from or "thermal"
        if labels_from not in ("rgb", "thermal"):
            raise ConfigError(f"labels_from: {labels_from} has no labels in FLIR ADAS; rgb and thermal may have")
        documents = [(read_coco(place), part) for place, part in _documents(root, labels_from)]
        if not documents:
            raise DataError(f"{root}: {labels_from} has no COCO document; --labels-from thermal has")
        names = tuple(dict.fromkeys(name for document, _ in documents for name in document.names))
        documents = [(read_coco(document.path, names), part) for document, part in documents]
        partner_of = _Partners(root, labels_from)
        files: dict[Key, dict[str, Path]] = {}
        sources: dict[Key, ListedLabels] = {}
        parts: dict[Key, str] = {}
        other = "rgb" if labels_from == "thermal" else "thermal"
        as_raw = self._bits == 16 and other == "thermal"
        for document, part in documents:
            for name, source in document.labels.items():
                path = _image(document, name, self._bits if labels_from == "thermal" else 8)
                partner = partner_of(path.stem, part)
                key = (part, path.stem)
                found = {other: _of_16_bits(partner) if as_raw else partner} if partner else {}
                files[key] = {labels_from: path, **found}
                sources[key], parts[key] = source, part
        return self._joined(root, settings, labels_from, names, files, sources, parts)

    def _joined(
        self,
        root: Path,
        settings: DataSettings,
        labels_from: str,
        names: tuple[str, ...],
        files: dict[Key, dict[str, Path]],
        sources: Mapping[Key, ListedLabels],
        parts: Mapping[Key, str],
    ) -> PairedData:
        pairs = {key: found for key, found in files.items() if len(found) == 2}
        remarks = [f"the boxes of {labels_from} are the ground truth; --labels-from chooses"]
        if pairs and len(pairs) < len(files):
            remarks.append(f"{len(files) - len(pairs)} of {len(files)} images have no partner and are left out")
        if pairs:
            remarks.append(f"rgb and thermal are not registered: one is resized to the size of {labels_from}, no more")
        else:
            remarks.append(f"no pair of rgb and thermal: {labels_from} is read alone")
        if self._bits == 8 and any(_sixteen(root)):
            remarks.append("thermal images of 16 bits were not read; --layout flir_adas_16bit reads them")
        images = found_images(root, PairedFiles(pairs or files, parts), positions={}, remarks=remarks)
        assert images.keys is not None
        kept = {id: sources[key] for key, id in images.keys.items()}
        positions = {id: _position(key[-1]) for key, id in images.keys.items()}
        images = replace(images, positions=positions, size_of=labels_from if pairs else None)
        unused = set(names) - {names[number] for source in kept.values() for number in source.labels.classes}
        return join(self, root, images, settings, FoundLabels(kept, names, root), dict.fromkeys(sorted(unused)) or None)


def _documents(root: Path, modality: str) -> Iterator[tuple[Path, str]]:
    """The COCO documents of a modality with their part: of version 2, then of version 1."""
    for word, part in PARTS.items():
        for folder in (f"images_{modality}_{word}", f"{word}_{modality}_test"):
            path = root / folder / "coco.json"
            if path.is_file():
                yield path, part
        path = root / word / f"{modality}_annotations.json"
        if path.is_file():
            yield path, part


def _image(document: CocoDocument, name: str, bits: int) -> Path:
    path = document.path.parent / name
    return _of_16_bits(path) if bits == 16 else path


def _of_16_bits(path: Path) -> Path:
    folder = {"data": "analyticsData", "thermal_8_bit": "thermal_16_bit"}.get(path.parent.name)
    if folder is None:
        raise DataError(f"{path}: no folder of 16-bit images is known beside {path.parent.name}/")
    return path.parent.parent / folder / f"{path.stem}.tiff"


def _sixteen(root: Path) -> Iterator[Path]:
    for pattern in ("images_thermal_*/analyticsData", "*/thermal_16_bit"):
        yield from (path for path in root.glob(pattern) if any(path.iterdir()))


class _Partners:
    """The other modality's image of a moment, by the stem of one's file."""

    def __init__(self, root: Path, labels_from: str) -> None:
        other = "rgb" if labels_from == "thermal" else "thermal"
        self._of_part = {
            (path.stem, part): path
            for word, part in PARTS.items()
            for folder in (root / word / ("RGB" if other == "rgb" else "thermal_8_bit"),)
            if folder.is_dir()
            for path in folder.iterdir()
            if path.suffix.lower() in IMAGE_SUFFIXES
        }
        self._mapped: dict[str, Path] = {}
        if (root / MAP).is_file():
            by_name = {
                path.name: path
                for place, _ in _documents(root, other)
                if (place.parent / "data").is_dir()
                for path in (place.parent / "data").iterdir()
            }
            for rgb, thermal in _mapped(root / MAP).items():
                own, theirs = (thermal, rgb) if labels_from == "thermal" else (rgb, thermal)
                if theirs in by_name:
                    self._mapped[Path(own).stem] = by_name[theirs]

    def __call__(self, stem: str, part: str) -> Path | None:
        return self._mapped.get(stem) or self._of_part.get((stem, part))


def _mapped(path: Path) -> dict[str, str]:
    try:
        pairs = json.loads(path.read_bytes())
    except (OSError, ValueError) as error:
        raise DataError(f"{path}: cannot be read as JSON: {error}; restore it from the download") from error
    if not isinstance(pairs, dict) or not all(isinstance(thermal, str) for thermal in pairs.values()):
        raise DataError(f"{path}: a thermal file's name for each RGB file's name is needed; restore it")
    return pairs


def _position(stem: str) -> VideoPosition:
    match = _FRAME.match(stem)
    return VideoPosition(match["sequence"], int(match["frame"])) if match else VideoPosition(None)
