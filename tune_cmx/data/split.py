"""The split of a set's images into train, val and test: drawn or given, kept in a file, with its warnings."""

import hashlib
import json
import os
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Literal, get_args

from tune_cmx.counting import count
from tune_cmx.data.divide import PARTS, box_classes, by_block, by_frame, by_sequence, in_two
from tune_cmx.data.readers import PairedData
from tune_cmx.data.readers.order import listed
from tune_cmx.errors import ConfigError, DataError
from tune_cmx.registry import lookup, suggestion

How = Literal["official", "sequence", "block", "frame", "given"]


def how_text(how: str) -> str:
    """`split by sequence`, `official split`, `given split`."""
    return f"{how} split" if how in ("official", "given") else f"split by {how}"


@dataclass(frozen=True)
class Split:
    """Image ids of the three parts, each in the set's order."""

    train: tuple[str, ...]
    val: tuple[str, ...]
    test: tuple[str, ...]
    how: How
    """How it came about. `official`: the set's own. `given`: a list that was not drawn here, or was changed since."""
    seed: int | None
    """None where nothing was drawn: blocks, official and given lists."""
    hash: str
    """Of the three parts' ids and nothing else."""
    left_out: tuple[str, ...] = ()
    """Ids of the images in no part."""
    sequences: Mapping[str, Sequence[str]] = field(default_factory=dict)
    """Names of the sequences in each part; empty where they are not known."""
    statistics: Mapping[str, Any] = field(default_factory=dict)
    """Range, mean and deviation of each modality over the training part, from `pixel_statistics`; of the configuration
    with which the data were prepared."""
    notes: tuple[str, ...] = ()
    """How a part came about that the official or given lists do not have."""

    def with_statistics(self, statistics: Mapping[str, Any]) -> "Split":
        """The same split with the pixel statistics of its training part; the hash does not change."""
        return replace(self, statistics=dict(statistics))


def make_split(
    data: PairedData,
    *,
    fractions: tuple[float, float, float] = (0.7, 0.15, 0.15),
    seed: int = 0,
    by: str | None = None,
    guard: int | None = None,
    classes_of: Mapping[str, Collection[int]] | None = None,
) -> Split:
    """Split a set.

    Args:
        data: The set.
        fractions: Shares of train, val and test.
        seed: Random seed of the draw of sequences or images; blocks are not drawn.
        by: `official`, `sequence`, `block` or `frame`; None: the official split if there is one, else by sequence where
            sequences are known, else by blocks.
        guard: Images left out between two blocks; None: 8, of few images an eighth.
        classes_of: Class ids of the boxes by image id; None: the labels are read.

    Raises:
        ConfigError: `by` is unknown.
        DataError: A part would be empty, or the set does not have what `by` needs.
    """
    ids = [image.id for image in data.images]
    official = _official(data)
    how = by or ("official" if official else "sequence" if data.sequences_known else "block")
    if classes_of is None and how in ("official", "sequence"):
        classes_of = box_classes(data)
    if how == "official":
        if not official:
            raise DataError(f"{data.root}: has no split of its own; take --split-by sequence, block or frame")
        return _completed(data, official, how, fractions, seed, guard, classes_of)
    if how == "sequence":
        if not data.sequences_known:
            raise DataError(
                "a split by sequence needs sequences: put sequences.csv (columns id, sequence) beside the images, "
                "or give --sequences"
            )
        assert classes_of is not None
        parts = by_sequence(data.images, dict(zip(PARTS, fractions, strict=True)), seed, classes_of)
    elif how == "block":
        parts = by_block(ids, fractions, guard)
    elif how == "frame":
        parts = by_frame(ids, fractions, seed)
    else:
        raise ConfigError(f"a split is official, or by sequence, block or frame; got '{how}'")
    whole = {image.part for image in data.images}
    drawn = _split(data, parts, how=how, seed=None if how == "block" else seed)
    if len(whole) == 1 and None not in whole:
        note = f"the official split has every image in {whole.pop()}, so train, val and test are drawn here"
        return replace(drawn, notes=(note,))
    return drawn


def _official(data: PairedData) -> dict[str, list[str]]:
    """The parts of the set's own split; empty where it has none, or where one part holds every image."""
    parts: dict[str, list[str]] = {part: [] for part in PARTS}
    for image in data.images:
        if image.part is not None:
            parts[image.part].append(image.id)
    longest = max(map(len, parts.values()))
    return parts if 0 < longest < len(data.images) else {}


def _completed(
    data: PairedData,
    parts: Mapping[str, Sequence[str]],
    how: str,
    fractions: tuple[float, float, float],
    seed: int,
    guard: int | None,
    classes_of: Mapping[str, Collection[int]] | None,
) -> Split:
    """A split of which a part may be missing.

    Without test, val becomes test. Without val, it is taken from train. What an official split names is kept, and what
    it lacks else is drawn from the images that it does not name.
    """
    notes = []
    parts = {part: list(ids) for part, ids in parts.items()}
    named = [part for part in PARTS if parts[part]]
    if how == "official" and (len(named) == 1 or "train" not in named):
        members = {id for ids in parts.values() for id in ids}
        rest = [image for image in data.images if image.id not in members]
        classes_of = classes_of or box_classes(data)
        lacking = {part: share for part, share in zip(PARTS, fractions, strict=True) if part not in named}
        if len(lacking) == 2:
            divided, way = in_two(rest, lacking, seed, guard, classes_of)
            drawn = f"{' and '.join(f'{part} {len(ids)}' for part, ids in divided.items())}; {way}"
        else:
            divided, drawn = {"train": [image.id for image in rest]}, f"train {len(rest)}"
        parts.update(divided)
        notes.append(
            f"{how} split names {' and '.join(named)} alone: the {count(len(rest), 'other image')} became "
            f"{' and '.join(lacking)} ({drawn})"
        )
    if how == "official" and not parts["test"]:
        notes.append(
            f"{how} split without a test part: its validation part ({count(len(parts['val']), 'image')}) is test "
            "here, so that no configuration is selected on the images that are reported"
        )
        parts.update(test=parts["val"], val=[])
    if not parts["val"] and parts["train"] and parts["test"]:
        members = set(parts["train"])
        train = [image for image in data.images if image.id in members]
        shares = {"train": fractions[0], "val": fractions[1]}
        divided, way = in_two(train, shares, seed, guard, classes_of or box_classes(data))
        taken = count(len(divided["val"]), "image")
        notes.append(f"{how} split without a validation part: {taken} of train became val, {way}")
        parts.update(divided)
    return replace(_split(data, parts, how=how, seed=None), notes=tuple(notes))


def read_split(
    path: Path,
    data: PairedData,
    *,
    fractions: tuple[float, float, float] = (0.7, 0.15, 0.15),
    seed: int = 0,
    guard: int | None = None,
    classes_of: Mapping[str, Collection[int]] | None = None,
) -> Split:
    """A split from a JSON file with lists of image ids under train, val and test; val may be absent.

    Args:
        path: Of the file: one from `write_split`, or the user's.
        data: The set.
        fractions: As for `make_split`, like the other arguments: for a validation part that is taken from train.
        seed: Random seed.
        guard: Images left out between two blocks; None: 8, of few images an eighth.
        classes_of: Class ids of the boxes by image id; None: the labels are read.

    Raises:
        DataError: The file cannot be read, names an unknown image or one image twice, or a part is empty.
    """
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise DataError(f"{path}: cannot be read as JSON: {error}") from error
    if not isinstance(content, dict):
        raise DataError(f"{path}: lists of image ids under train, val and test are needed")
    known_keys = list(Split.__dataclass_fields__)
    for key in content:
        if key not in known_keys:
            raise DataError(
                f"{path}: unknown key '{key}'. Known: {', '.join(known_keys)}.{suggestion(key, known_keys)}"
            )
    parts = _given_parts(path, content, {image.id for image in data.images})
    try:
        if content.get("hash") == split_hash(parts) and content.get("how") in get_args(How):
            split = _split(data, parts, how=content["how"], seed=content.get("seed"))
            return replace(
                split, statistics=dict(content.get("statistics") or {}), notes=tuple(content.get("notes") or ())
            )
        return _completed(data, parts, "given", fractions, seed, guard, classes_of)
    except DataError as error:
        raise DataError(f"{path}: {error}") from error


def write_split(split: Split, path: Path) -> None:
    """Write a split as JSON, whole or not at all."""
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.{os.getpid()}")
    content = {name: getattr(split, name) for name in Split.__dataclass_fields__}
    temporary.write_text(json.dumps(content, indent=1) + "\n", encoding="utf-8")
    temporary.replace(path)


def split_hash(parts: Mapping[str, Sequence[str]]) -> str:
    """Twelve hexadecimal digits over the sorted ids of each part."""
    content = json.dumps([sorted(parts[part]) for part in PARTS])
    return hashlib.sha256(content.encode()).hexdigest()[:12]


@dataclass(frozen=True)
class SplitWarning:
    """What a reader of the results must know of the split."""

    kind: Literal["single images", "leak", "sequences unknown", "left out", "no boxes", "completed"]
    text: str

    def __str__(self) -> str:
        return self.text


def split_warnings(
    split: Split, data: PairedData, classes_of: Mapping[str, Collection[int]] | None = None
) -> list[SplitWarning]:
    """Leaks, images left out, parts that were completed, and parts without a box.

    Args:
        split: Of the set.
        data: The set.
        classes_of: Class ids of the boxes by image id; None: the labels are read.
    """
    if classes_of is None:
        classes_of = box_classes(data)
    paired = {image.id: image for image in data.images}
    part_of = {id: part for part in PARTS for id in getattr(split, part)}
    warnings = [SplitWarning("completed", note) for note in split.notes]
    if split.how == "frame":
        text = "split over single images: neighbouring video frames leak from train into val and test"
        warnings.append(SplitWarning("single images", text))
    if data.sequences_known:
        parts_of: dict[str, set[str]] = {}
        for id, part in part_of.items():
            parts_of.setdefault(str(paired[id].sequence), set()).add(part)
        for sequence, parts in sorted(parts_of.items()):
            if len(parts) > 1:
                text = f"sequence {sequence} is in {' and '.join(part for part in PARTS if part in parts)}"
                warnings.append(SplitWarning("leak", text))
    elif split.how == "block":
        text = "sequences unknown: split by blocks in the order of names; a video may be in two parts"
        warnings.append(SplitWarning("sequences unknown", text))
    elif split.how in ("given", "official"):
        text = f"sequences unknown: the {split.how} split cannot be checked for leaks"
        warnings.append(SplitWarning("sequences unknown", text))
    if split.how in ("given", "official") and split.left_out:
        names = listed(split.left_out, 3)
        text = f"the {split.how} split leaves out {len(split.left_out)} of {len(data.images)} images: {names}"
        warnings.append(SplitWarning("left out", text))
    for part in PARTS:
        if not any(classes_of[id] for id in getattr(split, part)):
            warnings.append(SplitWarning("no boxes", f"no image of {part} has a box"))
    return warnings


def _split(
    data: PairedData,
    parts: Mapping[str, Sequence[str]],
    *,
    how: str,
    seed: int | None,
) -> Split:
    for part in PARTS:
        if not parts[part]:
            raise DataError(_empty_part(part, how, data))
    members = {part: set(parts[part]) for part in PARTS}
    ordered = {part: tuple(image.id for image in data.images if image.id in members[part]) for part in PARTS}
    sequences: dict[str, list[str]] = {}
    for part in PARTS:
        found = {image.sequence for image in data.images if image.id in members[part] and image.sequence is not None}
        sequences[part] = sorted(found)
    used = set().union(*members.values())
    return Split(
        train=ordered["train"],
        val=ordered["val"],
        test=ordered["test"],
        how=lookup({name: name for name in get_args(How)}, how, "a split's how: unknown value"),
        seed=seed,
        hash=split_hash(ordered),
        left_out=tuple(image.id for image in data.images if image.id not in used),
        sequences=sequences,
    )


def _empty_part(part: str, how: str, data: PairedData) -> str:
    if how == "sequence":
        count = len({image.sequence for image in data.images})
        return (
            f"the part {part} of the split would be empty: {count} sequences for three parts; "
            "add sequences, change the fractions, or split by block"
        )
    if how == "given":
        return f"the part {part} of the split is empty; each of train, val and test needs an image"
    fix = "lower the guard or change the fractions" if how == "block" else "change the fractions"
    return f"the part {part} of the split would be empty, with {len(data.images)} images in all; add images, {fix}"


def _given_parts(path: Path, content: Mapping[str, Any], known: set[str]) -> dict[str, list[str]]:
    parts: dict[str, list[str]] = {}
    part_of: dict[str, str] = {}
    for part in PARTS:
        ids = content.get(part, [])
        if not isinstance(ids, list) or not all(isinstance(id, str) for id in ids):
            raise DataError(f"{path}: {part}: a list of image ids is needed")
        unknown = [id for id in ids if id not in known]
        if unknown:
            raise DataError(
                f"{path}: {part}: no such image in the data: {listed(unknown)}; ids are file names without suffix."
                f"{suggestion(unknown[0], known)}"
            )
        for id in ids:
            if id in part_of:
                where = f"twice in {part}" if part_of[id] == part else f"in both {part_of[id]} and {part}"
                raise DataError(f"{path}: image '{id}' is listed {where}; each image belongs to one part")
            part_of[id] = part
        parts[part] = ids
    return parts
