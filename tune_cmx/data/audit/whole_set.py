"""Read every image and label once, before any training: unusable files, sizes, counts and pixel sums."""

import hashlib
import json
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from functools import cached_property
from itertools import chain
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tune_cmx.data.audit.kept import KeptAudits
from tune_cmx.data.audit.one_image import ImageAudit, audit_image
from tune_cmx.data.audit.set_sums import SetSums
from tune_cmx.data.audit.uncollected import uncollected
from tune_cmx.data.events.kept_images import config_key
from tune_cmx.data.labels.base import Labels
from tune_cmx.data.readers import PairedData, read_labels
from tune_cmx.errors import DataError

PROBLEMS_SHOWN = 5
_TOGETHER = 32
"""Images that a thread reads at once."""


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
    sums: SetSums
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

    @cached_property
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
        fields = {name: getattr(self, name) for name in self.__dataclass_fields__ if name != "sums"}
        return {**fields, "sums_of": self.sums.to_json()}

    @classmethod
    def from_json(cls, content: Mapping[str, Any], data: PairedData) -> "Audit":
        """The audit from the content that `to_json` gave.

        Args:
            content: What is missing, as an earlier version did not store it, is as that version took it.
            data: The set. The classes of its boxes are read where an earlier version stored only their number.

        Raises:
            DataError: A label cannot be read.
        """
        if "sums" in content:  # of an earlier version
            sums = SetSums.of(list(content["sums"]), list(content["sums"].values()))
        else:
            sums = SetSums.from_json(list(content["sizes"]), content["sums_of"])
        known = {"types": {}, "extremes": {}, "label_classes": data.class_map.source}
        content = {**known, **{name: value for name, value in content.items() if name in cls.__dataclass_fields__}}
        if "classes" not in content:
            content["classes"] = {image.id: _objects(read_labels(data, image)) for image in data.images}
        sizes = {id: tuple(size) for id, size in content["sizes"].items()}
        extremes = {
            modality: {id: tuple(ends) for id, ends in found.items()} for modality, found in content["extremes"].items()
        }
        classes = {id: tuple(ids) for id, ids in content["classes"].items()}
        texts = {key: tuple(content[key]) for key in ("warnings", "label_classes")}
        return cls(**{**content, **texts, "sizes": sizes, "sums": sums, "classes": classes, "extremes": extremes})


def audit(data: PairedData, *, progress: Callable[[int, int], None] | None = None, workers: int = 2) -> Audit:
    """Decode every image and read every label; see `read_set`."""
    return read_set(data, progress=progress, workers=workers)[0]


def read_set(
    data: PairedData,
    *,
    kept: KeptAudits | None = None,
    progress: Callable[[int, int], None] | None = None,
    workers: int = 2,
) -> tuple[Audit, dict[str, Labels]]:
    """Decode every image and read every label that is not kept from an earlier reading.

    Args:
        data: The set.
        kept: Of the set; receives what is read. None: all is read, and nothing is kept.
        progress: Called with the number of images read and their total.
        workers: Threads.

    Returns:
        The audit, and the boxes of each image by its id.

    Raises:
        DataError: An image or label cannot be used; the message lists the first few problems and counts the rest.
    """
    results: list[ImageAudit | None] = [None] * len(data.images) if kept is None else kept.found()
    unread = [index for index, result in enumerate(results) if result is None]
    parts = [unread[start : start + _TOGETHER] for start in range(0, len(unread), _TOGETHER)]
    with ThreadPoolExecutor(max(1, workers)) as pool:
        read = pool.map(lambda part: [audit_image(data, data.images[index]) for index in part], parts)
        for done, (index, result) in enumerate(zip(unread, chain.from_iterable(read), strict=True), start=1):
            results[index] = result
            if progress is not None:
                progress(done, len(unread))
    whole = [result for result in results if result is not None]
    if kept is not None and unread:
        kept.keep(whole)
    return _joined(data, whole), {image.id: result.labels for image, result in zip(data.images, whole, strict=True)}


@uncollected()
def _joined(data: PairedData, results: Sequence[ImageAudit]) -> Audit:
    """The audit of a set from those of its images, in their order."""
    problems = [problem for result in results for problem in result.problems] + _mixed_types(data, results)
    if problems:
        raise DataError(_summary(data.root, problems))
    classes = [_objects(result.labels) for result in results]
    class_ids = Counter(class_id for own in classes for class_id in own)
    if not class_ids:
        raise DataError(f"{data.root}: no image has a box; a detector needs boxes to learn from")
    ids = [image.id for image in data.images]
    regions = [len(result.labels.classes) - len(own) for result, own in zip(results, classes, strict=True)]
    return Audit(
        sizes={id: result.size for id, result in zip(ids, results, strict=True)},
        classes=dict(zip(ids, classes, strict=True)),
        class_boxes={name: class_ids[index] for index, name in enumerate(data.classes)},
        negatives=classes.count(()),
        sums=SetSums.of(ids, [result.sums for result in results]),
        fingerprint=_fingerprint(data, results),
        warnings=tuple(_warnings(data, results, class_ids)),
        label_classes=data.class_map.source,
        conditions={image.id: image.condition for image in data.images if image.condition is not None},
        ignored={id: number for id, number in zip(ids, regions, strict=True) if number},
        types=results[0].types,
        extremes={
            modality: {id: result.extremes[modality] for id, result in zip(ids, results, strict=True)}
            for modality in results[0].extremes
        },
        events="" if data.raw_events is None else config_key(data.raw_events.config),
    )


def _objects(labels: Labels) -> tuple[int, ...]:
    """Class ids of the boxes that are no ignore regions."""
    return tuple(labels.classes[~labels.ignore].tolist())


def statistics(audit: Audit, ids: Sequence[str]) -> dict[str, dict[str, list[float]]]:
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
    if not ids:
        raise DataError("statistics need at least one image")
    return {modality: moments(np.sum(sums, axis=0)) for modality, sums in audit.sums.columns(ids).items()}


def moments(totals: NDArray[np.float64]) -> dict[str, list[float]]:
    """`mean` and `std` of each band; a constant band has a deviation of 1.

    Args:
        totals: Bands×3: sum, sum of squares, number of pixels.
    """
    mean = totals[:, 0] / totals[:, 2]
    deviation = np.sqrt(np.maximum(totals[:, 1] / totals[:, 2] - mean**2, 0))
    deviation[deviation < 1e-6] = 1.0
    return {"mean": mean.tolist(), "std": deviation.tolist()}


def _mixed_types(data: PairedData, results: Sequence[ImageAudit]) -> list[str]:
    """A problem for each modality whose files have several number types: one mean over them would mean nothing."""
    problems: dict[str, list[str]] = {}
    for modality in data.bands:
        if len({result.types.get(modality) for result in results}) == 1:
            continue
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


def _fingerprint(data: PairedData, results: Sequence[ImageAudit]) -> str:
    raw = () if data.raw_events is None else ("event",)  # their bands depend on the configuration
    described: dict[str, Any] = {
        "bands": {modality: [] if modality in raw else list(data.bands[modality]) for modality in data.bands},
        "classes": list(data.classes),
        "frames": [result.digest for result in results],
    }
    if not data.class_map.is_identity:  # the digests are of the labels as they lie
        described["class_map"] = list(data.class_map.to)
    return hashlib.sha256(json.dumps(described, sort_keys=True).encode()).hexdigest()[:12]


def _warnings(data: PairedData, results: Sequence[ImageAudit], class_ids: Mapping[int, int]) -> list[str]:
    odd = Counter(note for result in results for note in result.odd)
    notes = [f"{modality}: {count} of {len(results)} images {note}" for (modality, note), count in odd.items()]
    return notes + [f"class '{name}' has no box" for index, name in enumerate(data.classes) if index not in class_ids]


def _summary(root: Path, problems: list[str]) -> str:
    if len(problems) == 1:
        return f"{root}: {problems[0]}"
    shown = "\n".join(f"  {problem}" for problem in problems[:PROBLEMS_SHOWN])
    more = f"\n  and {len(problems) - PROBLEMS_SHOWN} more" if len(problems) > PROBLEMS_SHOWN else ""
    return f"{root}: {len(problems)} problems:\n{shown}{more}"
