"""Decode image files, in the number type that the file has, and check their values."""

import io
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from tune_cmx.errors import DataError

Pixels = NDArray[Any]
"""H×W×bands; uint8, uint16, or float32 within 0..1."""
_READABLE_MODES = {"1": "L", "P": "RGB", "PA": "RGB", "LA": "L", "RGBA": "RGB", "CMYK": "RGB", "YCbCr": "RGB"}


def decode_image(content: bytes, place: str) -> Pixels:
    """The pixels of an image file of any kind that Pillow reads, H×W×1 or H×W×3.

    A colour image of 16 bits a channel is reduced to its upper eight.

    Args:
        content: The file's bytes.
        place: The file's name for error messages.

    Raises:
        DataError: The file is corrupt or of an unknown kind.
    """
    try:
        with Image.open(io.BytesIO(content)) as image:
            mode = _READABLE_MODES.get(image.mode)
            pixels = np.asarray(image if mode is None else image.convert(mode))
    except (OSError, ValueError, SyntaxError, Image.DecompressionBombError) as error:
        raise DataError(f"{place}: corrupt, or no image of a known form: {error}") from error
    if pixels.ndim == 2:
        pixels = pixels[:, :, None]
    return checked(pixels, place)


def with_bands(pixels: Pixels, count: int) -> Pixels:
    """An image with one or three bands: grey is repeated three times, colour is averaged to one band.

    Args:
        pixels: H×W×1 or H×W×3.
        count: 1 or 3.
    """
    if pixels.shape[2] == count:
        return pixels
    if count == 3:
        return pixels.repeat(3, axis=2)
    mean: Pixels = pixels.mean(axis=2, keepdims=True)
    return mean if pixels.dtype == np.float32 else np.rint(mean).astype(pixels.dtype)


def full_scale(dtype: np.dtype[Any]) -> float:
    """The value that becomes 1 once pixels are scaled: 255, 65535, or 1 for floats."""
    return float(np.iinfo(dtype).max) if dtype.kind == "u" else 1.0


def checked(pixels: NDArray[Any], place: str) -> Pixels:
    """The pixels in one of the three number types, in this machine's byte order.

    Args:
        pixels: H×W×channels.
        place: The file's name for error messages.

    Raises:
        DataError: The number type is another one, or a float is not within 0..1.
    """
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
