"""What a folder of data holds: every label, and the pixels of some images."""

from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

import numpy as np

from tune_cmx.data.divide import PARTS
from tune_cmx.data.readers import PairedData, read_image
from tune_cmx.data.readers.base import label_reading
from tune_cmx.errors import DataError

SAMPLE = 32
"""Images whose pixels are read, spread evenly over the set."""


@dataclass(frozen=True)
class PixelFacts:
    """What the sampled images of a modality have."""

    bands: int
    types: tuple[str, ...]
    """Number types of the files, such as `uint8`."""
    sizes: tuple[tuple[int, int], ...]
    """Heights and widths that occur, the commonest first."""
    low: float
    """Lowest value, as the file has it."""
    high: float


@dataclass(frozen=True)
class Inspection:
    """What was read."""

    sampled: int
    """Images whose pixels were read."""
    pixels: Mapping[str, PixelFacts]
    """By modality."""
    class_boxes: Mapping[str, int]
    """Number of boxes by class name."""
    ignored: int
    """Number of ignore regions."""
    without_boxes: int
    """Images without a box."""
    without_label: int
    """Those of them for which there is no label."""
    parts: Mapping[str, int]
    """Images by part of the set's own split; empty where it has none."""
    sequences: tuple[int, int, int] | None
    """Number of sequences, and images in the shortest and the longest; None: not known."""
    conditions: Mapping[str, int]
    """Images by condition; empty where none is known."""
    problems: tuple[str, ...] = field(default=())
    """What is wrong with labels, and with the images that were sampled."""


def inspect(data: PairedData, *, progress: Callable[[int, int], None] | None = None) -> Inspection:
    """Read every label, and the pixels of up to 32 images.

    Args:
        data: The set.
        progress: Called with the number of labels read and their total.
    """
    class_ids: Counter[int] = Counter()
    ignored = without = 0
    problems: list[str] = []
    for number, image in enumerate(data.images, start=1):
        found = label_reading(data, image)
        problems.extend(found.problems)
        objects = found.labels.classes[~found.labels.ignore].tolist()
        class_ids.update(objects)
        ignored += int(found.labels.ignore.sum())
        without += not objects
        if progress is not None:
            progress(number, len(data.images))
    sampled, pixels = _pixels(data, problems)
    in_parts = Counter(image.part for image in data.images)
    lengths = Counter(image.sequence for image in data.images).values() if data.sequences_known else []
    return Inspection(
        sampled=sampled,
        pixels=pixels,
        class_boxes={name: class_ids[number] for number, name in enumerate(data.classes)},
        ignored=ignored,
        without_boxes=without,
        without_label=sum(image.label is None for image in data.images),
        parts={part: in_parts[part] for part in PARTS if in_parts[part]},
        sequences=(len(lengths), min(lengths), max(lengths)) if lengths else None,
        conditions=dict(sorted(Counter(image.condition for image in data.images if image.condition).items())),
        problems=tuple(problems),
    )


def _pixels(data: PairedData, problems: list[str]) -> tuple[int, dict[str, PixelFacts]]:
    """How many images were read, and what they have; what is wrong with one is added to the problems."""
    chosen = np.unique(np.linspace(0, len(data.images) - 1, SAMPLE).round().astype(int))
    types: dict[str, Counter[str]] = {modality: Counter() for modality in data.bands}
    sizes: dict[str, Counter[tuple[int, int]]] = {modality: Counter() for modality in data.bands}
    ends: dict[str, list[float]] = {modality: [] for modality in data.bands}
    read = 0
    for index in chosen:
        try:
            image = read_image(data, data.images[index], list(data.bands))
        except DataError as error:
            problems.append(str(error))
            continue
        read += 1
        for modality, bands in image.items():
            types[modality][bands.dtype.name] += 1
            sizes[modality][(int(bands.shape[0]), int(bands.shape[1]))] += 1
            ends[modality] += [float(bands.min()), float(bands.max())]
    facts = {
        modality: PixelFacts(
            bands=len(data.bands[modality]),
            types=tuple(name for name, _ in types[modality].most_common()),
            sizes=tuple(size for size, _ in sizes[modality].most_common()),
            low=min(ends[modality]),
            high=max(ends[modality]),
        )
        for modality in data.bands
        if read
    }
    return read, facts
