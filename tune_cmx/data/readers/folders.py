"""Folders of images: rgb/, thermal/ and event/, any of them absent, with YOLO labels."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from tune_cmx.config.trial import MODALITIES
from tune_cmx.data.pixels import Pixels, bands_remark, decode_image, with_bands
from tune_cmx.data.readers.base import DataSettings, PairedData, Reader
from tune_cmx.data.readers.joining import FoundImages, join, listed, natural_order
from tune_cmx.errors import ConfigError, DataError

IMAGE_SUFFIXES = (".bmp", ".jpeg", ".jpg", ".png", ".tif", ".tiff")
BANDS = {"rgb": (0, 1, 2), "thermal": (0,), "event": (0,)}
"""Channels of each modality's images."""


class FolderReader(Reader):
    """One folder a modality; the images of one moment have one name."""

    holds = "folders rgb/, thermal/, event/ of images"

    def sign(self, root: Path) -> str | None:
        folders = _folders(root)
        return f"{folders[0]}/" if folders else None

    def open(self, root: Path, settings: DataSettings) -> PairedData:
        folders = _folders(root)
        if settings.bands is not None:
            raise ConfigError(f"{root}: bands is for .npy files; here are folders of images, {', '.join(folders)}")
        return join(self, root, _found(root, folders), settings)

    def decode(self, data: PairedData, content: bytes, place: str) -> Pixels:  # noqa: ARG002  # the contract
        return decode_image(content, place)

    def modalities_of(self, data: PairedData, pixels: Pixels, modalities: Sequence[str]) -> dict[str, Pixels]:
        return {modality: with_bands(pixels, len(data.bands[modality])) for modality in modalities}

    def remark(self, pixels: Pixels, bands: Pixels) -> str:
        return bands_remark(pixels, bands.shape[2])

    def write(self, root: Path, id: str, bands_HWC: NDArray[np.uint8]) -> None:
        parts = {"rgb": bands_HWC[:, :, :3], "thermal": bands_HWC[:, :, 3], "event": bands_HWC[:, :, 4]}
        for modality, pixels in parts.items():
            (root / modality).mkdir(exist_ok=True)
            Image.fromarray(pixels).save(root / modality / f"{id}.png")


def _folders(root: Path) -> list[str]:
    return [name for name in MODALITIES if (root / name).is_dir()]


def _found(root: Path, folders: Sequence[str]) -> FoundImages:
    by_modality: dict[str, dict[str, Path]] = {}
    for modality in folders:
        found = by_modality.setdefault(modality, {})
        for path in sorted((root / modality).iterdir()):
            if path.suffix.lower() not in IMAGE_SUFFIXES or path.name.startswith("."):
                continue
            if path.stem in found:
                raise DataError(f"{root / modality}: {found[path.stem].name} and {path.name} have one id; keep one")
            found[path.stem] = path
        if not found:
            raise DataError(f"{root / modality}: no image ({', '.join(IMAGE_SUFFIXES)}); fill or remove the folder")
    ids = sorted(set().union(*by_modality.values()), key=natural_order)
    missing = [
        f"{modality}/{id}{next(iter(by_modality[modality].values())).suffix}"
        for id in ids
        for modality in folders
        if id not in by_modality[modality]
    ]
    if missing:
        raise DataError(
            f"{root}: each id needs an image in each of {', '.join(folders)}; missing: {listed(missing)}. "
            "Add them, or remove their partners"
        )
    files = {id: {modality: by_modality[modality][id] for modality in folders} for id in ids}
    return FoundImages(root, files, {modality: BANDS[modality] for modality in folders})
