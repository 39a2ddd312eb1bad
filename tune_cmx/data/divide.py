"""Ways to divide images into train, val and test without leaks between the parts."""

import math
import random
from collections import Counter
from collections.abc import Collection, Mapping, Sequence

from tune_cmx.counting import count
from tune_cmx.data.readers import PairedData, PairedImage
from tune_cmx.data.readers.base import label_reading

PARTS = ("train", "val", "test")
CANDIDATES = 500
"""Seeded shuffles of the sequences to choose from; 11 sequences need about a tenth of it."""


def by_sequence(
    images: Sequence[PairedImage], shares: Mapping[str, float], seed: int, classes_of: Mapping[str, Collection[int]]
) -> dict[str, list[str]]:
    """The best of many seeded assignments: each part has boxes, and the shares are nearest to those asked for.

    Args:
        images: To divide; their sequences are known.
        shares: Fraction of the images by part.
        seed: Random seed.
        classes_of: Class ids of the boxes by image id.
    """
    members: dict[str, list[str]] = {}
    classes: dict[str, set[int]] = {}
    for image in images:
        members.setdefault(str(image.sequence), []).append(image.id)
        classes.setdefault(str(image.sequence), set()).update(classes_of[image.id])
    sizes = {name: len(ids) for name, ids in members.items()}
    names = sorted(members)
    draw = random.Random(seed)
    best: tuple[tuple[float, ...], dict[str, list[str]]] | None = None
    for _ in range(CANDIDATES):
        draw.shuffle(names)
        parts = _fill(names, sizes, shares)
        cost = _cost(parts, sizes, classes, shares)
        if best is None or cost < best[0]:
            best = cost, parts
    assert best is not None
    return {part: [id for name in best[1][part] for id in members[name]] for part in shares}


def _fill(names: Sequence[str], sizes: Mapping[str, int], shares: Mapping[str, float]) -> dict[str, list[str]]:
    """The first sequences go to one part each, each next one to the part that is furthest below its share."""
    total = sum(sizes.values())
    parts: dict[str, list[str]] = {part: [] for part in shares}
    counts = Counter(dict.fromkeys(shares, 0))
    for position, name in enumerate(names):
        if position < len(shares):
            part = list(shares)[position]
        else:
            part = max(shares, key=lambda part: shares[part] - counts[part] / total)
        parts[part].append(name)
        counts[part] += sizes[name]
    return parts


def _cost(
    parts: Mapping[str, Sequence[str]],
    sizes: Mapping[str, int],
    classes: Mapping[str, set[int]],
    shares: Mapping[str, float],
) -> tuple[float, ...]:
    """What to minimise, in this order.

    Parts without a box, parts of a single sequence, distance from the fractions in steps of 5 %, missing classes, and
    the exact distance.
    """
    total = sum(sizes.values())
    distance = sum(abs(sum(sizes[name] for name in parts[part]) / total - share) for part, share in shares.items())
    found = [set().union(*(classes[name] for name in parts[part])) for part in shares]
    everywhere = set().union(*found)
    return (
        sum(not part for part in found),
        sum(len(parts[part]) == 1 for part in shares),
        round(distance / 0.05),
        sum(len(everywhere - part) for part in found),
        round(distance, 9),
    )


def guard_between(guard: int | None, images: int) -> int:
    """Images left out between two blocks: as given, or 8; of few images an eighth, at least 1."""
    return min(8, max(1, images // 8)) if guard is None else guard


def by_block(ids: Sequence[str], fractions: Sequence[float], guard: int | None) -> dict[str, list[str]]:
    """Blocks in the order of the ids: train, guard, val, guard, test.

    Args:
        ids: Of all images.
        fractions: Shares of train, val and test.
        guard: Images left out between two blocks; None: see `guard_between`.
    """
    guard = guard_between(guard, len(ids))
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


def in_two(
    images: Sequence[PairedImage],
    shares: Mapping[str, float],
    seed: int,
    guard: int | None,
    classes_of: Mapping[str, Collection[int]],
) -> tuple[dict[str, list[str]], str]:
    """Divide images into two parts: whole sequences where they are known, otherwise two blocks.

    Args:
        images: In the set's order.
        shares: Of the two parts; only their ratio counts.
        seed: Random seed.
        guard: Images left out between two blocks; None: see `guard_between`.
        classes_of: Class ids of the boxes by image id.

    Returns:
        Ids of both parts, and how they were divided.
    """
    first, second = shares
    share = shares[second] / (shares[first] + shares[second])
    sequences = {image.sequence for image in images}
    if None not in sequences and len(sequences) > 1:
        return by_sequence(images, {first: 1 - share, second: share}, seed, classes_of), "by sequence"
    gap = guard_between(guard, len(images))
    end = max(1, math.floor((len(images) - gap) * (1 - share)))
    ids = [image.id for image in images]
    way = f"as the last block, with {count(gap, 'image')} left out before it"
    return {first: ids[:end], second: ids[end + gap :]}, way


def box_classes(data: PairedData) -> dict[str, set[int]]:
    """Class ids of the boxes by image id; labels that cannot be used are left to the audit."""
    found = {image.id: label_reading(data, image).labels for image in data.images}
    return {id: set(labels.classes[~labels.ignore].tolist()) for id, labels in found.items()}
