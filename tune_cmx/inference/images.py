"""Images as a caller gives them: paths and arrays, checked against what a detector was trained on."""

from collections.abc import Mapping, Sequence
from enum import Enum
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tune_cmx.data.pixel_range import PixelScale
from tune_cmx.data.pixels import Pixels, checked, decode_image, with_bands
from tune_cmx.errors import DataError


class Omitted(Enum):
    """What stands for a modality that was not given; None says that it is missing."""

    OMITTED = "omitted"


OMITTED = Omitted.OMITTED
Image = NDArray[Any] | Path | str
"""An array, H×W×bands or H×W, or the path of an image file or .npy file."""
Given = Image | Sequence[Image] | Omitted | None


def read_pixels(image: Image, modality: str, bands: int) -> Pixels:
    """The pixels of an image, H×W×bands, in the number type that it has.

    Args:
        image: A path or an array.
        modality: For error messages.
        bands: Wanted. Colour becomes one band and grey three bands, as the readers of data sets do.

    Raises:
        DataError: It cannot be read, or has another number of bands.
    """
    place = modality if isinstance(image, np.ndarray) else f"{modality} {image}"
    pixels = image if isinstance(image, np.ndarray) else _file(Path(image), place)
    pixels = pixels[:, :, None] if pixels.ndim == 2 else pixels
    if pixels.ndim != 3 or 0 in pixels.shape:
        raise DataError(f"{place}: shape is {pixels.shape}; H x W{_bands(bands)} is needed")
    convertible = pixels.shape[2] in (1, 3) and bands in (1, 3)
    if pixels.shape[2] != bands and not convertible:
        raise DataError(f"{place}: shape is {pixels.shape}; H x W{_bands(bands)} is needed")
    pixels = checked(pixels, place)
    return with_bands(pixels, bands) if convertible else pixels


def refuse_range(pixels: Pixels, modality: str, number_type: str, scale: PixelScale) -> None:
    """Refuse pixels that the range of the training would turn into something else.

    Raises:
        DataError: Floats beyond 0 to 1 where the number type's range is used, or integers of another type where the
            range is in the units of the training images.
    """
    if scale.kind == "type" and pixels.dtype.kind != "u" and (pixels.min() < 0 or pixels.max() > 1):
        raise DataError(
            f"{modality}: {pixels.dtype} pixels from {pixels.min():g} to {pixels.max():g}; floats must be from 0 to 1 "
            f"here. Give {number_type} pixels as in training, or divide by the full scale"
        )
    other = pixels.dtype.kind == "u" and number_type.startswith("uint") and pixels.dtype.name != number_type
    if scale.kind in ("fixed", "percentile") and other:
        raise DataError(
            f"{modality}: {pixels.dtype} pixels; the training images are {number_type} with the range "
            f"{scale.low:g} to {scale.high:g}. Give raw {number_type} images"
        )


def one_size(pixels: Mapping[str, Pixels], place: str) -> tuple[int, int]:
    """Height and width of an image, in pixels.

    Args:
        pixels: H×W×bands by modality.
        place: The image, for error messages.

    Raises:
        DataError: Its modalities have different sizes.
    """
    sizes = {name: array.shape[:2] for name, array in pixels.items()}
    if len(set(sizes.values())) > 1:
        found = " and ".join(f"{name} {width} x {height}" for name, (height, width) in sizes.items())
        raise DataError(f"{place}: {found} pixels; the modalities of an image need one size, so resize one of them")
    height, width = next(iter(sizes.values()))
    return int(height), int(width)


def _file(path: Path, place: str) -> NDArray[Any]:
    try:
        if path.suffix.lower() == ".npy":
            found: NDArray[Any] = np.load(path, allow_pickle=False)
            return found
        return decode_image(path.read_bytes(), place)
    except (OSError, ValueError, EOFError) as error:
        raise DataError(f"{place}: cannot be read: {error}") from error


def _bands(bands: int) -> str:
    return " or H x W x 3" if bands == 1 else f" x {bands}"
