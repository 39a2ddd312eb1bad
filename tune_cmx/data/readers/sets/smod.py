"""SMOD (Chen et al. 2024): pairs `*_rgb.jpg`, `*_tir.jpg` of a campus by day and night, COCO JSON."""

from collections import defaultdict
from dataclasses import replace
from pathlib import Path
from typing import ClassVar

from tune_cmx.data.readers.base import Certainty, DataSettings, PairedData, Sign
from tune_cmx.data.readers.folders import found_images
from tune_cmx.data.readers.joining import join
from tune_cmx.data.readers.names import Key
from tune_cmx.data.readers.pairing import IMAGE_SUFFIXES, PairedFiles, files_under
from tune_cmx.data.readers.sequences import VideoPosition
from tune_cmx.data.readers.sets.named import NamedReader

CONDITIONS = ("day", "night")
_WORD = {"_rgb": "rgb", "_tir": "thermal"}


class SmodReader(NamedReader):
    """Folders day/ and night/ of pairs; the lists of annotations are of training and test, for one modality or both."""

    title: ClassVar[str] = "SMOD"
    holds: ClassVar[str] = "SMOD's day/ and night/ with *_rgb.jpg and *_tir.jpg"
    takes: ClassVar[frozenset[str]] = frozenset({"labels", "labels_from"})

    def sign(self, root: Path) -> Sign | None:
        for condition in CONDITIONS:
            for folder in (root / condition, root / "images" / condition):
                if any(folder.glob("*_tir.*")) and any(folder.glob("*_rgb.*")):
                    return Sign(f"{condition}/*_tir", Certainty.CERTAIN)
        return None

    def open(self, root: Path, settings: DataSettings) -> PairedData:
        files: dict[Key, dict[str, Path]] = defaultdict(dict)
        for path in files_under(root, IMAGE_SUFFIXES):
            stem, word = path.stem[:-4], path.stem[-4:].lower()
            if word in _WORD and path.parent.name in CONDITIONS:
                files[(path.parent.name, stem)][_WORD[word]] = root / path
        images = found_images(root, PairedFiles(dict(files), {}), positions={})
        assert images.keys is not None
        positions = {id: VideoPosition(None, condition=key[0]) for key, id in images.keys.items()}
        return join(self, root, replace(images, positions=positions, labels_from="rgb"), settings)
