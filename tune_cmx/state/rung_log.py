"""`search/rungs.jsonl`: a line for each decision of ASHA. One type, for the search and for reports."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from pydantic import TypeAdapter, ValidationError

from tune_cmx.errors import DataError


@dataclass(frozen=True)
class Decision:
    """What ASHA decided about one trial at one rung; a line of `rungs.jsonl`.

    A trial has one line at a rung, and a second one if it was paused there: `continue` when it is resumed, `stop` at
    the end of the search.
    """

    trial: str
    arm: str
    rung: float
    at: float
    """Where the trial stood when it was compared, in the unit of the rungs."""
    value: float
    cutoff: float | None
    """What it was compared with; None where there were too few to compare with, and where the search ends."""
    decision: str
    phase: str = "search"
    """Several searches of a study share a log; each judges by its own."""
    bracket: int = 0


_LINE = TypeAdapter(Decision)


def parse_decision(entry: Mapping[str, Any], place: str) -> Decision:
    """A line of the log.

    Args:
        entry: The line's object.
        place: File and line, for the error.

    Raises:
        DataError: A field is missing or is of another type.
    """
    try:
        return _LINE.validate_python(entry)
    except ValidationError as error:
        first = error.errors()[0]
        field = ".".join(map(str, first["loc"]))
        raise DataError(f"{place}: {field or 'the line'}: {first['msg']}; got {first['input']!r:.80}") from error
