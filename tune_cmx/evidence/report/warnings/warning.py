"""One warning, as data until it is printed."""

from dataclasses import dataclass
from enum import IntEnum


class Severity(IntEnum):
    """How much of a report a warning concerns; the lowest number is the gravest."""

    INVALID = 0
    """The figures are not what their names say."""
    UNDECIDED = 1
    """A comparison lacks runs, or has runs that differ in more than the factors."""
    LIMITED = 2
    """The figures hold, but for less than a reader may think."""
    NOTE = 3


@dataclass(frozen=True)
class Warning:
    """What limits the figures, and what to do."""

    kind: str
    severity: Severity
    fact: str
    """A sentence without its full stop."""
    advice: str
    """Another one."""

    def __str__(self) -> str:
        return f"{_sentence(self.fact)} {_sentence(self.advice)}"


def _sentence(words: str) -> str:
    """With a capital, except names such as mAP and model.drop_path, and a full stop."""
    first = words.split(maxsplit=1)[0]
    start = words[:1].upper() if len(first) > 1 and first.isalpha() and first.islower() else words[:1]
    return f"{start}{words[1:]}{'' if words.endswith('.') else '.'}"
