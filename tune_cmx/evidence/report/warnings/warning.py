"""One warning, as data until it is printed."""

from dataclasses import dataclass
from enum import IntEnum

from tune_cmx.evidence.wording import sentence


class Severity(IntEnum):
    """How much of a report a warning concerns; the lowest number is the gravest."""

    INVALID = 0
    """The figures are not what their names say."""
    UNDECIDED = 1
    """A comparison lacks runs, or has runs that differ in more than the factors."""
    LIMITED = 2
    """The figures hold for less than a reader may think."""
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
        return f"{sentence(self.fact)} {sentence(self.advice)}"
