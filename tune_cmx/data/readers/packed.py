"""Files of .npy that hold all modalities of one moment, H×W×bands, with YOLO labels."""

import io
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

from tune_cmx.config.trial import MODALITIES
from tune_cmx.data.pixels import Pixels, checked
from tune_cmx.data.readers.base import Certainty, DataSettings, PairedData, Reader, Sign
from tune_cmx.data.readers.joining import FoundImages, join
from tune_cmx.errors import ConfigError, DataError
from tune_cmx.registry import lookup

BANDS = {"rgb": (0, 1, 2), "thermal": (3,), "event": (4,)}
"""Channels of a five-band file, as the group writes them."""
_MOST_BANDS = 16
"""An array whose first axis is this short, and no other, has its bands there."""
FOLDER = "images"
"""Where the files lie, unless they lie in the set's folder itself."""


class PackedReader(Reader):
    """One .npy file a moment."""

    title: ClassVar[str] = "packed .npy files"
    holds: ClassVar[str] = f".npy files (H×W×bands) in it or in {FOLDER}/"
    takes: ClassVar[frozenset[str]] = frozenset({"bands", "labels", "labels_from"})

    def sign(self, root: Path) -> Sign | None:
        return None if _folder(root) is None else Sign(".npy files", Certainty.CERTAIN)

    def open(self, root: Path, settings: DataSettings) -> PairedData:
        folder = _folder(root)
        assert folder is not None, "sign found the files"
        return join(self, root, _found(folder, settings.bands), settings)

    def decode(self, data: PairedData, content: bytes, place: str) -> Pixels:
        try:
            pixels = np.load(io.BytesIO(content), allow_pickle=False)
        except (OSError, ValueError, EOFError) as error:
            raise DataError(f"{place}: corrupt, or no numpy array: {error}") from error
        wrong = not isinstance(pixels, np.ndarray) or pixels.ndim != 3 or 0 in pixels.shape
        if wrong or pixels.shape[2] != data.channels:
            raise DataError(f"{place}: shape is {getattr(pixels, 'shape', None)}; H×W×{data.channels} is needed")
        return checked(pixels, place)

    def modalities_of(self, data: PairedData, pixels: Pixels, modalities: Sequence[str]) -> dict[str, Pixels]:
        return {modality: pixels[:, :, list(data.bands[modality])] for modality in modalities}

    def write(self, root: Path, id: str, bands_HWC: NDArray[np.uint8]) -> None:
        (root / FOLDER).mkdir(exist_ok=True)
        np.save(root / FOLDER / f"{id}.npy", bands_HWC)


def _folder(root: Path) -> Path | None:
    return next((folder for folder in (root, root / FOLDER) if any(folder.glob("*.npy"))), None)


def _found(folder: Path, bands: Mapping[str, tuple[int, ...]] | None) -> FoundImages:
    paths = sorted(path for path in folder.glob("*.npy") if not path.name.startswith("."))
    try:
        shape = np.load(paths[0], mmap_mode="r", allow_pickle=False).shape
    except (OSError, ValueError, EOFError) as error:
        raise DataError(f"{paths[0]}: cannot be read as a numpy array: {error}") from error
    if len(shape) != 3:
        raise DataError(f"{paths[0]}: shape is {shape}; H×W×bands is needed")
    channels = int(shape[2])
    if shape[0] <= _MOST_BANDS < min(shape[1], channels):
        raise DataError(
            f"{paths[0]}: shape is {shape}, which looks like bands×H×W; H×W×bands is needed. Save the files again with "
            "numpy.moveaxis(array, 0, 2)"
        )
    if bands is None:
        if channels != 5:
            raise DataError(
                f"{paths[0]}: {channels} bands (shape {shape}, as H×W×bands), 5 are rgb, thermal and event by default; "
                "say which is what with bands in data.yaml, as in bands: {rgb: [0, 1, 2], thermal: [3]}"
            )
        bands = BANDS
    ordered = _checked_bands(bands, channels, paths[0])
    files = {path.stem: dict.fromkeys(ordered, path) for path in paths}
    return FoundImages(folder, files, ordered, channels, labels_beside=True)


def _checked_bands(bands: Mapping[str, tuple[int, ...]], channels: int, path: Path) -> dict[str, tuple[int, ...]]:
    """The bands in the order of MODALITIES, each channel of the file in at most one."""
    used: list[int] = []
    for name, indices in bands.items():
        lookup(dict.fromkeys(MODALITIES), name, "bands: unknown modality")
        if not indices:
            raise ConfigError(f"bands.{name}: no channel; name at least one of 0..{channels - 1}, or leave it out")
        for index in indices:
            if not 0 <= index < channels:
                raise ConfigError(f"bands.{name}: channel {index}; {path.name} has 0..{channels - 1}")
            if index in used:
                raise ConfigError(f"bands.{name}: channel {index} is named twice; each belongs to one modality")
            used.append(index)
    if not used:
        raise ConfigError("bands: empty; name the channels of at least one modality")
    return {name: tuple(bands[name]) for name in MODALITIES if name in bands}
