"""M3FD: driving and campus scenes in 4,200 registered pairs.

Layout: `Vis/00000.png`, `Ir/00000.png`, `Annotation/00000.xml`, in upper or lower case. In some copies labels are YOLO
text in `labels/`, and lists lie in `meta/`. Thermal files are PNG with one band or three.

Source: Liu et al., Target-aware Dual Adversarial Learning and a Multi-scenario Multi-Modality Benchmark to Fuse
Infrared and Visible for Object Detection, CVPR 2022, arXiv:2203.16220. The release has no split. Papers use several
lists under one name, such as 3,368 training and 831 validation images, or 3,360 and 840.
"""

import re
from pathlib import Path
from typing import ClassVar

from tune_cmx.config.trial import MODALITIES
from tune_cmx.data.readers.base import Certainty, DataSettings, PairedData, Sign
from tune_cmx.data.readers.folders import found_images
from tune_cmx.data.readers.joining import join
from tune_cmx.data.readers.names import LABEL_WORDS, Key
from tune_cmx.data.readers.official import lists_in, parts_from_lists, split_remark
from tune_cmx.data.readers.pairing import ids_of, pair_by_names
from tune_cmx.data.readers.sequences import VideoPosition
from tune_cmx.data.readers.sets.named import NamedReader, first_image, positions_of

CLASSES = ("People", "Car", "Bus", "Motorcycle", "Lamp", "Truck")
"""By number, in copies with YOLO text (the order of the authors' own code)."""
NAME = re.compile(r"\d{5}")
NO_LISTS = (
    "M3FD has no split of its own, and papers use several, such as 3,368 + 831 or 3,360 + 840 images; data.yaml names "
    "the lists of one with train and val"
)


class M3fdReader(NamedReader):
    """Neighbouring numbers are often one scene, but where a scene ends is not known."""

    title: ClassVar[str] = "M3FD"
    holds: ClassVar[str] = "M3FD's Vis/, Ir/ and Annotation/"
    takes: ClassVar[frozenset[str]] = frozenset({"labels", "labels_from"})

    def sign(self, root: Path) -> Sign | None:
        folders = {path.name.lower(): path for path in root.iterdir() if path.is_dir()}
        visible = folders.get("vis") or folders.get("vi")
        if visible is None or "ir" not in folders or not LABEL_WORDS & folders.keys():
            return None
        found = first_image(visible)
        if found is None or not NAME.fullmatch(found.stem) or any(name in folders for name in MODALITIES):
            return None
        return Sign(f"{visible.name}/{found} and {folders['ir'].name}/", Certainty.CERTAIN)

    def open(self, root: Path, settings: DataSettings) -> PairedData:
        paired = pair_by_names(root)
        lists = {} if settings.lists else lists_in(root)
        parts = parts_from_lists(root, lists, ids_of(root, list(paired.files)))
        remarks = [split_remark(root, lists, parts)] if lists else [] if settings.lists else [NO_LISTS]
        positions = positions_of(root, paired, _position)
        images = found_images(root, paired, positions=positions, parts=parts, remarks=remarks)
        return join(self, root, images, settings, numbered=CLASSES)


def _position(key: Key) -> VideoPosition:
    return VideoPosition(None, int(key[-1]) if NAME.fullmatch(key[-1]) else None)
