"""Which video each image belongs to: from a CSV file or from the images' ids."""

import csv
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path, PurePath

from tune_cmx.errors import ConfigError, DataError
from tune_cmx.registry import suggestion


@dataclass(frozen=True)
class VideoPosition:
    """The position of an image in a video."""

    sequence: str | None
    """Name of the video; None: not known."""
    number: int | None = None
    """Position in it, where known."""
    condition: str | None = None
    """What the image was taken under, such as `day` or `night`, where known."""


def read_sequences(source: Path | str, ids: Sequence[str]) -> dict[str, VideoPosition]:
    """The position of each image, by its id.

    Args:
        source: A CSV file (a Path), or a regular expression (a string) that is searched in each id.
        ids: Of all images of the set.

    Raises:
        ConfigError: The regular expression cannot be used.
        DataError: The CSV file lacks a column or an image, or an id does not match.
    """
    positions = _from_csv(source) if isinstance(source, Path) else _from_names(source, ids)
    missing = [id for id in ids if id not in positions]
    if missing:
        fix = "add a line for each" if isinstance(source, Path) else "the expression must match every image's id"
        if any(PurePath(id).stem == missing[0] for id in positions if id not in ids):
            fix = "an id is a file's name without suffix"
        raise DataError(f"{source}: no sequence for {len(missing)} of {len(ids)} images, such as '{missing[0]}'; {fix}")
    return {id: positions[id] for id in ids}


def _from_csv(path: Path) -> dict[str, VideoPosition]:
    try:
        lines = path.read_text(encoding="utf-8-sig").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise DataError(f"{path}: cannot be read: {error}") from error
    head = lines[0] if lines else ""
    reader = csv.DictReader(lines, delimiter=";" if ";" in head and "," not in head else ",")
    columns = [name.strip().lower() for name in reader.fieldnames or []]
    reader.fieldnames = columns
    for needed in ("id", "sequence"):
        if needed not in columns:
            raise DataError(
                f"{path}: no column '{needed}'; the first line must name id, sequence and, if known, frame and "
                f"condition; got {', '.join(columns) or 'nothing'}.{suggestion(needed, columns)}"
            )
    positions: dict[str, VideoPosition] = {}
    for row in reader:
        place = f"{path}:{reader.line_num}"
        id, sequence = (row["id"] or "").strip(), (row["sequence"] or "").strip()
        if not id or not sequence:
            raise DataError(f"{place}: id and sequence must both be given; got '{id}' and '{sequence}'")
        if id in positions:
            raise DataError(f"{place}: image '{id}' is listed twice; keep one line")
        number = _number((row.get("frame") or "").strip(), place)
        positions[id] = VideoPosition(sequence, number, (row.get("condition") or "").strip() or None)
    return positions


def _from_names(pattern: str, ids: Sequence[str]) -> dict[str, VideoPosition]:
    try:
        expression = re.compile(pattern)
    except re.error as error:
        raise ConfigError(f"sequences: not a regular expression: {error}; got '{pattern}'") from error
    if "sequence" not in expression.groupindex:
        raise ConfigError(
            "sequences: name a .csv file, or an expression with a group named sequence, "
            f"as in (?P<sequence>.+)_(?P<frame>[0-9]+); got '{pattern}'"
        )
    positions: dict[str, VideoPosition] = {}
    for id in ids:
        match = expression.search(id)
        if match is not None and match["sequence"]:
            groups = match.groupdict()
            number = _number(groups.get("frame") or "", f"image '{id}'")
            positions[id] = VideoPosition(match["sequence"], number, groups.get("condition") or None)
    return positions


def _number(text: str, place: str) -> int | None:
    if not text:
        return None
    try:
        return int(text)
    except ValueError as error:
        raise DataError(f"{place}: a frame's number must be a whole number; got '{text}'") from error
