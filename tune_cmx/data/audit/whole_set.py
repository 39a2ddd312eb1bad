"""Read every image and label once, before any training: unusable files, sizes, counts and pixel sums."""

import hashlib
import json
from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass, field
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tune_cmx.data.events.kept_images import config_key
from tune_cmx.data.labels.base import LabelReading
from tune_cmx.data.pixels import TURNED, Pixels, full_scale, picture_remarks
from tune_cmx.data.readers import PairedData, PairedImage
from tune_cmx.data.readers.base import image_files, label_reading, of_one_size
from tune_cmx.errors import DataError

PROBLEMS_SHOWN = 5
Sums = tuple[float, float, int]
"""Sums over the pixels of one band of one image, scaled by their number type: sum, sum of squares, number."""


@dataclass(frozen=True)
class Audit:
    """What one reading of the whole set found."""

    sizes: Mapping[str, tuple[int, int]]
    """Height and width in pixels by image id."""
    classes: Mapping[str, tuple[int, ...]]
    """Class ids of the boxes by image id."""
    class_boxes: Mapping[str, int]
    """Number of boxes by class name."""
    negatives: int
    """Number of images without a box; those with ignore regions alone are among them."""
    sums: Mapping[str, Mapping[str, tuple[Sums, ...]]]
    """Pixel sums of each band, by image id and modality."""
    fingerprint: str
    """Hash of ids, bands, classes, labels and images; the same files give the same hash on every machine. Of raw events
    it has the sizes of the files."""
    warnings: tuple[str, ...]
    """Sentences on what can be used, but may be a mistake."""
    label_classes: tuple[str, ...]
    """Names of the classes as the labels have them."""
    conditions: Mapping[str, str] = field(default_factory=dict)
    """Condition by image id, such as `day`; of the images for which it is known."""
    ignored: Mapping[str, int] = field(default_factory=dict)
    """Number of ignore regions by image id, of the images that have any. `boxes` does not count them."""
    types: Mapping[str, str] = field(default_factory=dict)
    """Number type of the files by modality: `uint8`, `uint16`, `int32` or `float32`."""
    extremes: Mapping[str, Mapping[str, tuple[float, float]]] = field(default_factory=dict)
    """Lowest and highest value of the file, by modality and image id; of the modalities that are not uint8."""
    events: str = ""
    """Key of the configuration by which raw events became images; empty where there are no raw events."""

    @property
    def boxes(self) -> dict[str, int]:
        """Number of boxes by image id."""
        return {id: len(ids) for id, ids in self.classes.items()}

    @property
    def usual_size(self) -> tuple[float, float]:
        """Median height and width of the images, in pixels."""
        heights, widths = zip(*self.sizes.values(), strict=True)
        return median(heights), median(widths)

    def to_json(self) -> dict[str, Any]:
        """The audit as JSON types, for a study's folder."""
        return asdict(self)

    @classmethod
    def from_json(cls, content: Mapping[str, Any]) -> "Audit":
        """The audit from the content that `to_json` gave."""
        sums = {
            id: {modality: tuple(tuple(band) for band in bands) for modality, bands in modalities.items()}
            for id, modalities in content["sums"].items()
        }
        sizes = {id: tuple(size) for id, size in content["sizes"].items()}
        extremes = {
            modality: {id: tuple(ends) for id, ends in found.items()} for modality, found in content["extremes"].items()
        }
        classes = {id: tuple(ids) for id, ids in content["classes"].items()}
        texts = {key: tuple(content[key]) for key in ("warnings", "label_classes")}
        return cls(**{**content, **texts, "sizes": sizes, "sums": sums, "classes": classes, "extremes": extremes})


@dataclass(frozen=True)
class _ImageAudit:
    size: tuple[int, int]
    sums: dict[str, tuple[Sums, ...]]
    classes: list[int]
    ignored: int
    digest: str
    problems: list[str]
    odd: list[tuple[str, str]]
    """Modality, and a remark on its image."""
    types: dict[str, str]
    """Number type by modality."""
    extremes: dict[str, tuple[float, float]]
    """Lowest and highest value by modality; of those that are not uint8."""


def audit(data: PairedData, *, progress: Callable[[int, int], None] | None = None, workers: int = 2) -> Audit:
    """Decode every image and read every label.

    Args:
        data: The set.
        progress: Called with the number of images read and their total.
        workers: Threads.

    Raises:
        DataError: An image or label cannot be used; the message lists the first few problems and counts the rest.
    """
    results: list[_ImageAudit] = []
    with ThreadPoolExecutor(max(1, workers)) as pool:
        for result in pool.map(lambda image: _audit_image(data, image), data.images):
            results.append(result)
            if progress is not None:
                progress(len(results), len(data.images))
    problems = [problem for result in results for problem in result.problems] + _mixed_types(data, results)
    if problems:
        raise DataError(_summary(data.root, problems))
    class_ids = Counter(class_id for result in results for class_id in result.classes)
    if not class_ids:
        raise DataError(f"{data.root}: no image has a box; a detector needs boxes to learn from")
    ids = [image.id for image in data.images]
    return Audit(
        sizes={id: result.size for id, result in zip(ids, results, strict=True)},
        classes={id: tuple(result.classes) for id, result in zip(ids, results, strict=True)},
        class_boxes={name: class_ids[index] for index, name in enumerate(data.classes)},
        negatives=sum(not result.classes for result in results),
        sums={id: result.sums for id, result in zip(ids, results, strict=True)},
        fingerprint=_fingerprint(data, results),
        warnings=tuple(_warnings(data, results, class_ids)),
        label_classes=data.class_map.source,
        conditions={image.id: image.condition for image in data.images if image.condition is not None},
        ignored={id: result.ignored for id, result in zip(ids, results, strict=True) if result.ignored},
        types=results[0].types,
        extremes={
            modality: {id: result.extremes[modality] for id, result in zip(ids, results, strict=True)}
            for modality in results[0].extremes
        },
        events="" if data.raw_events is None else config_key(data.raw_events.config),
    )


def statistics(audit: Audit, ids: Iterable[str]) -> dict[str, dict[str, list[float]]]:
    """Mean and standard deviation of each band over all pixels of some images, scaled by their number type.

    Args:
        audit: Of the set.
        ids: Of the images.

    Returns:
        By modality `mean` and `std`, a number a band, within 0..1. A constant band has a deviation of 1, so that
        normalising it gives zeros.

    Raises:
        DataError: There is no image.
    """
    images = [audit.sums[id] for id in ids]
    if not images:
        raise DataError("statistics need at least one image")
    found: dict[str, dict[str, list[float]]] = {}
    for modality in images[0]:
        found[modality] = moments(np.sum([image[modality] for image in images], axis=0))
    return found


def moments(totals: NDArray[np.float64]) -> dict[str, list[float]]:
    """`mean` and `std` of each band; a constant band has a deviation of 1.

    Args:
        totals: Bands×3: sum, sum of squares, number of pixels.
    """
    mean = totals[:, 0] / totals[:, 2]
    deviation = np.sqrt(np.maximum(totals[:, 1] / totals[:, 2] - mean**2, 0))
    deviation[deviation < 1e-6] = 1.0
    return {"mean": mean.tolist(), "std": deviation.tolist()}


def _audit_image(data: PairedData, image: PairedImage) -> _ImageAudit:
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
    pixels = of_one_size(data, pixels)
    turned = any(remark == TURNED for _, remark in odd)
    sizes = {modality: bands.shape[:2] for modality, bands in pixels.items()}
    if len(set(sizes.values())) > 1:
        shown = ", ".join(f"{modality} {width}×{height}" for modality, (height, width) in sizes.items())
        applied = " (after their EXIF orientation was applied)" if turned else ""
        problems.append(
            f"image {image.id}: modalities differ in size (width×height): {shown}{applied}; register them to one size"
        )
    size = next(iter(sizes.values()), (0, 0))
    labels = label_reading(data, image)
    digest.update(labels.digest.encode())
    problems.extend(labels.problems)
    if image.label is not None and pixels:
        problems.extend(_misfits(data.place(image.label.path), labels, size, turned=turned))
    odd.extend(("labels", remark) for remark in labels.remarks)
    classes, ignored = labels.labels.classes[~labels.labels.ignore].tolist(), int(labels.labels.ignore.sum())
    sums = {modality: band_sums(pixels[modality]) for modality in data.bands if modality in pixels}
    types = {modality: bands.dtype.name for modality, bands in pixels.items()}
    extremes = {
        modality: (float(bands.min()), float(bands.max()))
        for modality, bands in pixels.items()
        if bands.dtype != np.uint8
    }
    return _ImageAudit(
        (int(size[0]), int(size[1])), sums, classes, ignored, digest.hexdigest(), problems, odd, types, extremes
    )


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
            levels = np.arange(len(histogram)) / scale
            found.append((float(histogram @ levels), float(histogram @ levels**2), count))
        else:
            exact = values.astype(np.float64)
            found.append((float(exact.sum()), float((exact**2).sum()), count))
    return tuple(found)


def _mixed_types(data: PairedData, results: list[_ImageAudit]) -> list[str]:
    """A problem for each modality whose files have several number types: one mean over them would mean nothing."""
    problems: dict[str, list[str]] = {}
    for modality in data.bands:
        places: dict[str, list[str]] = {}
        for image, result in zip(data.images, results, strict=True):
            if modality in result.types:
                places.setdefault(result.types[modality], []).append(data.place(image.files[modality]))
        if len(places) > 1:
            shown = ", ".join(
                f"{files[0]} is {name} ({len(files)} of {len(results)})" for name, files in places.items()
            )
            problems.setdefault(shown, []).append(modality)
    return [
        f"{', '.join(of)}: several number types: {shown}; store all of them in one" for shown, of in problems.items()
    ]


def _fingerprint(data: PairedData, results: list[_ImageAudit]) -> str:
    raw = () if data.raw_events is None else ("event",)  # their bands depend on the configuration
    described: dict[str, Any] = {
        "bands": {modality: [] if modality in raw else list(data.bands[modality]) for modality in data.bands},
        "classes": list(data.classes),
        "frames": [result.digest for result in results],
    }
    if not data.class_map.is_identity:  # the digests are of the labels as they lie
        described["class_map"] = list(data.class_map.to)
    return hashlib.sha256(json.dumps(described, sort_keys=True).encode()).hexdigest()[:12]


def _warnings(data: PairedData, results: list[_ImageAudit], class_ids: Mapping[int, int]) -> list[str]:
    odd = Counter(note for result in results for note in result.odd)
    notes = [f"{modality}: {count} of {len(results)} images {note}" for (modality, note), count in odd.items()]
    return notes + [f"class '{name}' has no box" for index, name in enumerate(data.classes) if index not in class_ids]


def _summary(root: Path, problems: list[str]) -> str:
    if len(problems) == 1:
        return f"{root}: {problems[0]}"
    shown = "\n".join(f"  {problem}" for problem in problems[:PROBLEMS_SHOWN])
    more = f"\n  and {len(problems) - PROBLEMS_SHOWN} more" if len(problems) > PROBLEMS_SHOWN else ""
    return f"{root}: {len(problems)} problems:\n{shown}{more}"
