"""Which video sequence each frame belongs to: from a CSV file or from the frames' names."""

import csv
import re
from collections.abc import Sequence
from pathlib import Path

from tune_cmx.errors import ConfigError, DataError
from tune_cmx.registry import suggestion

Place = tuple[str, int | None]
"""Sequence, and the frame's number in it where known."""


def read_sequences(source: Path | str, ids: Sequence[str]) -> dict[str, Place]:
    """Each frame's sequence, from a CSV file (a Path) or a regular expression (a string).

    Raises:
        ConfigError: The regular expression cannot be used.
        DataError: The CSV file lacks a column or a frame, or a frame's name does not match.
    """
    places = _from_csv(source) if isinstance(source, Path) else _from_names(source, ids)
    missing = [id for id in ids if id not in places]
    if missing:
        fix = "add a line for each" if isinstance(source, Path) else "the expression must match every frame's id"
        raise DataError(f"{source}: no sequence for {len(missing)} of {len(ids)} frames, such as '{missing[0]}'; {fix}")
    return {id: places[id] for id in ids}


def _from_csv(path: Path) -> dict[str, Place]:
    try:
        lines = path.read_text(encoding="utf-8-sig").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise DataError(f"{path}: cannot be read: {error}") from error
    reader = csv.DictReader(lines)
    columns = list(reader.fieldnames or [])
    for needed in ("id", "sequence"):
        if needed not in columns:
            raise DataError(
                f"{path}: no column '{needed}'; the first line must name id, sequence and, if known, frame; "
                f"got {', '.join(columns) or 'nothing'}.{suggestion(needed, columns)}"
            )
    places: dict[str, Place] = {}
    for row in reader:
        place = f"{path}:{reader.line_num}"
        id, sequence = (row["id"] or "").strip(), (row["sequence"] or "").strip()
        if not id or not sequence:
            raise DataError(f"{place}: id and sequence must both be given; got '{id}' and '{sequence}'")
        if id in places:
            raise DataError(f"{place}: frame '{id}' stands twice; keep one line")
        places[id] = (sequence, _number((row.get("frame") or "").strip(), place))
    return places


def _from_names(pattern: str, ids: Sequence[str]) -> dict[str, Place]:
    try:
        expression = re.compile(pattern)
    except re.error as error:
        raise ConfigError(f"sequences: not a regular expression: {error}; got '{pattern}'") from error
    if "sequence" not in expression.groupindex:
        raise ConfigError(
            "sequences: name a .csv file, or an expression with a group named sequence, "
            f"as in (?P<sequence>.+)_(?P<frame>[0-9]+); got '{pattern}'"
        )
    has_number = "frame" in expression.groupindex
    places: dict[str, Place] = {}
    for id in ids:
        match = expression.search(id)
        if match is not None and match["sequence"]:
            places[id] = (match["sequence"], _number(match["frame"] or "" if has_number else "", f"frame '{id}'"))
    return places


def _number(text: str, place: str) -> int | None:
    if not text:
        return None
    try:
        return int(text)
    except ValueError as error:
        raise DataError(f"{place}: a frame's number must be a whole number; got '{text}'") from error
