"""What notes beside a run say of how it went."""

import re
from functools import lru_cache

from tune_cmx.evidence.claims.rows import Row

NOTES = frozenset({"note", "notes", "comment", "comments", "remark", "remarks"})
"""Words in the name of a column of notes."""

_EVENT = (
    r"(resum(e|es|ed|ing|ption)|restart(s|ed|ing)?|segments?|crash(es|ed|ing)?|interrupt(s|ed|ions?)?|preempt(ed|ions?)?"
    r"|(picked|picks|picking) up|continu(e|es|ed|ing|ation) (from|at|after|of|with epoch))"
)
_RESUMED = re.compile(rf"\b({_EVENT}|part \d+ ?(of|/) ?\d+)\b", re.IGNORECASE)
_NOT_RESUMED = re.compile(
    rf"\b(not|never|without|no)\s+(been\s+|any\s+|a\s+|an\s+)?{_EVENT}|\bwarm restarts?\b", re.IGNORECASE
)


@lru_cache(maxsize=4096)  # asked for each field of each run
def is_note(column: str) -> bool:
    """Whether a column of this name holds notes."""
    return bool(NOTES & set(re.split(r"[\s_/-]+", column.lower())))


def speaks_of_resuming(text: str) -> bool:
    """Whether a note says that the run was interrupted or resumed, so that a time may cover a part of it."""
    return _RESUMED.search(_NOT_RESUMED.sub("", text)) is not None


def was_resumed(row: Row) -> bool:
    """Whether a run was resumed, by its field `resumed` or by a note."""
    notes = (str(value) for column, value in row.items() if value is not None and is_note(column))
    return bool(row.get("resumed")) or any(map(speaks_of_resuming, notes))
