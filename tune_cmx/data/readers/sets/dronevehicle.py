"""DroneVehicle (Sun et al. 2022): pairs from a drone, oriented boxes for each modality, a white border."""

from pathlib import Path
from typing import ClassVar

from tune_cmx.data.labels.base import LabelFile
from tune_cmx.data.labels.polygons import PolygonForm
from tune_cmx.data.pixels import Pixels
from tune_cmx.data.readers.base import Certainty, DataSettings, PairedData, Sign
from tune_cmx.data.readers.finding_labels import FoundLabels, names_in
from tune_cmx.data.readers.folders import found_images
from tune_cmx.data.readers.joining import join
from tune_cmx.data.readers.names import Key
from tune_cmx.data.readers.pairing import IMAGE_SUFFIXES, PairedFiles, files_under
from tune_cmx.data.readers.sets.named import NamedReader
from tune_cmx.errors import ConfigError, DataError

PARTS = ("train", "val", "test")
FOLDERS = {"rgb": "img", "thermal": "imgr"}
LABELS = {"rgb": "label", "thermal": "labelr"}
BORDER = 100
"""Pixels of white on each side of the 840×712 images, which are 640×512 without."""
SPELLINGS = {
    "feright car": "freight car",
    "feright_car": "freight car",
    "feright": "freight car",
    "freight_car": "freight car",
    "freight": "freight car",
    "truvk": "truck",
}
UNKNOWN = "*"
"""As the authors write the class of a few objects."""
NAMES = ("car", "truck", "bus", "van", "freight car")


class DroneVehicleReader(NamedReader):
    """Folders train/trainimg, train/trainimgr, train/trainlabel, train/trainlabelr, and the same for val and test."""

    title: ClassVar[str] = "DroneVehicle"
    holds: ClassVar[str] = "DroneVehicle's train/trainimg/, train/trainimgr/, train/trainlabelr/"
    takes: ClassVar[frozenset[str]] = frozenset({"labels_from"})

    def sign(self, root: Path) -> Sign | None:
        part = next((part for part in PARTS if _folder(root, part, "imgr").is_dir()), None)
        return None if part is None else Sign(f"{part}/{part}imgr/", Certainty.CERTAIN)

    def open(self, root: Path, settings: DataSettings) -> PairedData:
        labels_from = settings.labels_from or "thermal"
        if labels_from not in LABELS:
            raise ConfigError(f"labels_from: {labels_from} has no labels in DroneVehicle; rgb and thermal have")
        files: dict[Key, dict[str, Path]] = {}
        parts: dict[Key, str] = {}
        for part in PARTS:
            for modality, folder in FOLDERS.items():
                place = _folder(root, part, folder)
                if not place.is_dir():
                    continue
                for path in files_under(place, IMAGE_SUFFIXES):
                    key = (part, path.stem)
                    files.setdefault(key, {})[modality] = place / path
                    parts[key] = part
        images = found_images(root, PairedFiles(files, parts), positions={})
        assert images.keys is not None
        form = PolygonForm(BORDER, SPELLINGS)
        sources = {}
        for (part, name), id in images.keys.items():
            path = _folder(root, part, LABELS[labels_from]) / f"{name}.xml"
            if path.is_file():
                sources[id] = LabelFile(path, form)
        if not sources:
            raise DataError(f"{root}: no label file in {_folder(root, PARTS[0], LABELS[labels_from])}/")
        names = settings.label_classes or names_in(form, [source.path for source in sources.values()])
        ordered = tuple(sorted(names, key=lambda name: (NAMES.index(name) if name in NAMES else len(NAMES), name)))
        remark = f"the boxes of {labels_from} are the ground truth, upright around oriented ones; --labels-from chooses"
        found = FoundLabels(sources, ordered, root, remarks=(remark,))
        return join(self, root, images, settings, found, {UNKNOWN: None} if UNKNOWN in names else None)

    def decode(self, data: PairedData, content: bytes, place: str) -> Pixels:
        pixels = super().decode(data, content, place)
        if min(pixels.shape[:2]) <= 2 * BORDER:
            height, width = pixels.shape[:2]
            raise DataError(
                f"{place}: {width}×{height} pixels, and {BORDER} of white border are to be cut on each side; if the "
                "border was cut before, use --layout folders"
            )
        return pixels[BORDER:-BORDER, BORDER:-BORDER]


def _folder(root: Path, part: str, kind: str) -> Path:
    return root / part / f"{part}{kind}"
