"""Read the files and the labels of one image."""

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache

import numpy as np
from numpy.typing import NDArray

from tune_cmx.data.labels.base import LabelReading, Labels
from tune_cmx.data.pixels import TURNED, Pixels, full_scale, picture_remarks
from tune_cmx.data.readers import PairedData, PairedImage
from tune_cmx.data.readers.base import image_files, label_reading, of_one_size
from tune_cmx.errors import DataError

Sums = tuple[float, float, int]
"""Sums over the pixels of one band of one image, scaled by their number type: sum, sum of squares, number."""

NO_EVENTS = "have no event in their window, so their event image is empty"


@dataclass(frozen=True, slots=True)
class ImageAudit:
    """What was found in the files of one image."""

    size: tuple[int, int]
    """Height and width in pixels; 0 where no file could be read."""
    sums: Mapping[str, tuple[Sums, ...]]
    """By modality, of each band."""
    labels: Labels
    digest: str
    """Of id, files and labels."""
    problems: Sequence[str]
    """Why it cannot be used."""
    odd: Sequence[tuple[str, str]]
    """Modality, and a remark on its image."""
    types: Mapping[str, str]
    """Number type by modality."""
    extremes: Mapping[str, tuple[float, float]]
    """Lowest and highest value by modality; of those that are not uint8."""


def audit_image(data: PairedData, image: PairedImage) -> ImageAudit:
    """Decode the files of an image and read its labels; what is wrong is among its problems."""
    problems: list[str] = []
    odd: list[tuple[str, str]] = []
    digest = hashlib.sha256(image.id.encode())
    pixels: dict[str, Pixels] = {}
    for path, modalities in image_files(image):
        try:
            content = data.reader.content(data, image, path)
            digest.update(hashlib.sha256(data.reader.identity(data, image, path, content)).digest())
            decoded = data.reader.decode(data, content, data.place(path))
        except OSError as error:
            problems.append(f"{data.place(path)}: cannot be read: {error}")
        except DataError as error:
            problems.append(str(error))
        else:
            held = data.reader.modalities_of(data, decoded, modalities)
            pixels.update(held)
            remarks = ((modality, data.reader.remark(decoded, bands)) for modality, bands in held.items())
            odd.extend((modality, remark) for modality, remark in remarks if remark)
            odd.extend((modality, remark) for remark in picture_remarks(content) for modality in held)
    if data.raw_events is not None and "event" in pixels and pixels["event"].min() == pixels["event"].max():
        odd.append(("event", NO_EVENTS))
    pixels = of_one_size(data, pixels)
    turned = any(remark == TURNED for _, remark in odd)
    sizes = {modality: bands.shape[:2] for modality, bands in pixels.items()}
    if len(set(sizes.values())) > 1:
        shown = ", ".join(f"{modality} {width}×{height}" for modality, (height, width) in sizes.items())
        applied = " (after their EXIF orientation was applied)" if turned else ""
        problems.append(
            f"image {image.id}: modalities differ in size (width×height): {shown}{applied}; register them to one size. "
            f"Where they show the same view, data.yaml can resize one, as in size_of: {next(iter(sizes))}"
        )
    size = next(iter(sizes.values()), (0, 0))
    labels = label_reading(data, image)
    digest.update(labels.digest.encode())
    problems.extend(labels.problems)
    if image.label is not None and pixels:
        problems.extend(_misfits(data.place(image.label.path), labels, size, turned=turned))
    odd.extend(("labels", remark) for remark in labels.remarks)
    sums = {modality: band_sums(pixels[modality]) for modality in data.bands if modality in pixels}
    types = {modality: bands.dtype.name for modality, bands in pixels.items()}
    extremes = {
        modality: (float(bands.min()), float(bands.max()))
        for modality, bands in pixels.items()
        if bands.dtype != np.uint8
    }
    height, width = int(size[0]), int(size[1])
    return ImageAudit((height, width), sums, labels.labels, digest.hexdigest(), problems, odd, types, extremes)


def _misfits(place: str, labels: LabelReading, size: tuple[int, ...], *, turned: bool) -> list[str]:
    """What of the labels does not fit an image of this height and width, which may be turned as its EXIF data say."""
    height, width = size
    fix = (
        ". Its EXIF orientation was applied; boxes that were drawn on the picture as it is stored need a file without "
        "it, as from exiftool -Orientation= FILE"
        if turned
        else ""
    )
    if labels.size is not None and labels.size != (height, width):
        stated = f"{labels.size[1]}×{labels.size[0]}"
        return [f"{place}: is for an image of {stated} pixels (width×height), and the image has {width}×{height}{fix}"]
    outside = labels.labels.outside(height, width)
    return [] if outside is None else [f"{place}: {outside}{fix}"]


def band_sums(pixels: Pixels) -> tuple[Sums, ...]:
    """The pixel sums of each band, H×W×bands. Whole numbers are summed exactly, by a histogram."""
    count = pixels.shape[0] * pixels.shape[1]
    scale = full_scale(pixels.dtype)
    found = []
    for band in range(pixels.shape[2]):
        values = pixels[:, :, band].ravel()
        if pixels.dtype.kind == "u":
            histogram = np.bincount(values)
            levels, squares = _levels(scale)
            found.append(
                (float(histogram @ levels[: len(histogram)]), float(histogram @ squares[: len(histogram)]), count)
            )
        else:
            exact = values.astype(np.float64)
            found.append((float(exact.sum()), float((exact**2).sum()), count))
    return tuple(found)


@cache
def _levels(scale: float) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """All levels of a number type, scaled, and their squares."""
    levels = np.arange(int(scale) + 1) / scale
    return levels, levels**2
