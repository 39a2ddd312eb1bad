"""Read the pixels of a frame, in the number type that the file has."""

import io
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from tune_cmx.data.readers.layout import FOLDER_BANDS, PairedData, PairedImage
from tune_cmx.errors import DataError

Pixels = NDArray[Any]
"""H×W×bands; uint8, uint16, or float32 within 0..1."""
_READABLE_MODES = {"1": "L", "P": "RGB", "PA": "RGB", "LA": "L", "RGBA": "RGB", "CMYK": "RGB", "YCbCr": "RGB"}


def read_image(data: PairedData, frame: PairedImage, modalities: Sequence[str]) -> dict[str, Pixels]:
    """The frame's pixels by modality, H×W×bands each.

    Raises:
        DataError: A file is missing, corrupt, or not of the set's form.
    """
    if data.packed:
        path = next(iter(frame.files.values()))
        return split_bands(decode_packed(_bytes(path), data.place(path), data.channels), data.bands, modalities)
    return {
        modality: to_bands(decode_image(_bytes(path), data.place(path)), modality)
        for modality, path in frame.files.items()
        if modality in modalities
    }


def _bytes(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise DataError(f"{path}: cannot be read: {error}") from error


def decode_image(content: bytes, place: str) -> Pixels:
    """An image file's pixels, H×W×1 or H×W×3.

    A colour image of 16 bits a channel comes as its upper eight.
    """
    try:
        with Image.open(io.BytesIO(content)) as image:
            mode = _READABLE_MODES.get(image.mode)
            pixels = np.asarray(image if mode is None else image.convert(mode))
    except (OSError, ValueError, SyntaxError, Image.DecompressionBombError) as error:
        raise DataError(f"{place}: corrupt, or no image of a known form: {error}") from error
    if pixels.ndim == 2:
        pixels = pixels[:, :, None]
    return _plain(pixels, place)


def decode_packed(content: bytes, place: str, channels: int | None) -> Pixels:
    """An .npy file's pixels, H×W×channels."""
    try:
        pixels = np.load(io.BytesIO(content), allow_pickle=False)
    except (OSError, ValueError, EOFError) as error:
        raise DataError(f"{place}: corrupt, or no numpy array: {error}") from error
    if not isinstance(pixels, np.ndarray) or pixels.ndim != 3 or pixels.shape[2] != channels or 0 in pixels.shape:
        raise DataError(f"{place}: shape is {getattr(pixels, 'shape', None)}; H×W×{channels} is needed")
    return _plain(pixels, place)


def to_bands(pixels: Pixels, modality: str) -> Pixels:
    """An image with the bands of its modality: grey for rgb is repeated, colour for one band averaged."""
    wanted = len(FOLDER_BANDS[modality])
    if pixels.shape[2] == wanted:
        return pixels
    if wanted == 3:
        return pixels.repeat(3, axis=2)
    mean: Pixels = pixels.mean(axis=2, keepdims=True)
    return mean if pixels.dtype == np.float32 else np.rint(mean).astype(pixels.dtype)


def split_bands(pixels: Pixels, bands: Mapping[str, tuple[int, ...]], modalities: Sequence[str]) -> dict[str, Pixels]:
    """An .npy file's pixels by modality."""
    return {modality: pixels[:, :, list(bands[modality])] for modality in modalities}


def full_scale(dtype: np.dtype[Any]) -> float:
    """The value that becomes 1."""
    return float(np.iinfo(dtype).max) if dtype.kind == "u" else 1.0


def _plain(pixels: Pixels, place: str) -> Pixels:
    """One of the three number types, in this machine's byte order, its values checked."""
    if pixels.dtype.kind == "u" and pixels.dtype.itemsize <= 2:
        return pixels.astype(pixels.dtype.newbyteorder("="), copy=False)
    if pixels.dtype.kind != "f":
        raise DataError(f"{place}: numbers are {pixels.dtype}; uint8, uint16, or floats within 0..1 are allowed")
    if not np.isfinite(pixels).all():
        row, column, band = np.argwhere(~np.isfinite(pixels))[0].tolist()
        raise DataError(
            f"{place}: {pixels[row, column, band]} at row {row}, column {column}, band {band}; 0..1 is needed"
        )
    low, high = float(pixels.min()), float(pixels.max())
    if low < 0 or high > 1:
        raise DataError(f"{place}: floats must be within 0..1; got {low:g}..{high:g}. Scale them, or store uint8")
    return pixels.astype(np.float32)
