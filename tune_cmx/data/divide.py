"""Ways to divide images into train, val and test without leaks between the parts."""

import random
from collections import Counter
from collections.abc import Mapping, Sequence

from tune_cmx.data.readers import PairedData, PairedImage
from tune_cmx.errors import DataError

PARTS = ("train", "val", "test")
CANDIDATES = 500
"""Seeded shuffles of the sequences to choose from; 11 sequences need about a tenth of it."""


def by_sequence(data: PairedData, fractions: Sequence[float], seed: int) -> dict[str, list[str]]:
    """The best of many seeded assignments: each part has boxes, and the shares are nearest to the fractions."""
    if not data.sequences_known:
        raise DataError(
            "a split by sequence needs sequences: put sequences.csv (columns id, sequence) beside the images, "
            "or give --sequences"
        )
    members: dict[str, list[str]] = {}
    classes: dict[str, set[int]] = {}
    for image in data.images:
        members.setdefault(str(image.sequence), []).append(image.id)
        classes.setdefault(str(image.sequence), set()).update(classes_in(data, image))
    sizes = {name: len(ids) for name, ids in members.items()}
    names = sorted(members)
    draw = random.Random(seed)
    best: tuple[tuple[float, ...], dict[str, list[str]]] | None = None
    for _ in range(CANDIDATES):
        draw.shuffle(names)
        parts = _fill(names, sizes, fractions)
        cost = _cost(parts, sizes, classes, fractions)
        if best is None or cost < best[0]:
            best = cost, parts
    assert best is not None
    return {part: [id for name in best[1][part] for id in members[name]] for part in PARTS}


def _fill(names: Sequence[str], sizes: Mapping[str, int], fractions: Sequence[float]) -> dict[str, list[str]]:
    """The first three sequences go to one part each, each next one to the part that is furthest below its share."""
    total = sum(sizes.values())
    parts: dict[str, list[str]] = {part: [] for part in PARTS}
    counts = Counter(dict.fromkeys(PARTS, 0))
    for position, name in enumerate(names):
        if position < len(PARTS):
            part = PARTS[position]
        else:
            part = max(PARTS, key=lambda part: fractions[PARTS.index(part)] - counts[part] / total)
        parts[part].append(name)
        counts[part] += sizes[name]
    return parts


def _cost(
    parts: Mapping[str, Sequence[str]],
    sizes: Mapping[str, int],
    classes: Mapping[str, set[int]],
    fractions: Sequence[float],
) -> tuple[float, ...]:
    """What to minimise, in this order.

    Parts without a box, parts of a single sequence, distance from the fractions in steps of 5 %, missing classes, and
    the exact distance.
    """
    total = sum(sizes.values())
    distance = sum(
        abs(sum(sizes[name] for name in parts[part]) / total - fraction)
        for part, fraction in zip(PARTS, fractions, strict=True)
    )
    found = [set().union(*(classes[name] for name in parts[part])) for part in PARTS]
    everywhere = set().union(*found)
    return (
        sum(not part for part in found),
        sum(len(parts[part]) == 1 for part in PARTS),
        round(distance / 0.05),
        sum(len(everywhere - part) for part in found),
        round(distance, 9),
    )


def by_block(ids: Sequence[str], fractions: Sequence[float], guard: int) -> dict[str, list[str]]:
    """Blocks in the order of the ids: train, guard, val, guard, test.

    Args:
        ids: Of all images.
        fractions: Shares of train, val and test.
        guard: Images left out between two blocks.
    """
    usable = max(0, len(ids) - 2 * guard)
    first = round(usable * fractions[0])
    second = round(usable * (fractions[0] + fractions[1]))
    return {
        "train": list(ids[:first]),
        "val": list(ids[first + guard : second + guard]),
        "test": list(ids[second + 2 * guard : usable + 2 * guard]),
    }


def by_frame(ids: Sequence[str], fractions: Sequence[float], seed: int) -> dict[str, list[str]]:
    """Single images, shuffled by the seed."""
    shuffled = list(ids)
    random.Random(seed).shuffle(shuffled)
    return by_block(shuffled, fractions, guard=0)


def classes_in(data: PairedData, image: PairedImage) -> set[int]:
    """The class ids of an image's boxes; lines that cannot be used are left to the audit."""
    labels, _ = data.reader.parse_labels(data.reader.label_bytes(image), image.id, data.classes)
    return set(labels.classes.tolist())
