"""What is known of a study's models once they were built, in a form that needs no torch to be read."""

from dataclasses import dataclass

from tune_cmx.model_audit import AuditWarning


@dataclass(frozen=True)
class BuiltArm:
    """An arm's model in numbers."""

    id: str
    label: str
    epochs: int
    parameters: dict[str, int]
    """By part, `total` and `active`."""
    gflops: float | None
    """Of one forward of one image of the usual size; None: the data are not known."""
    warnings: tuple[AuditWarning, ...]


@dataclass(frozen=True)
class Checked:
    """A study whose models were built."""

    arms: tuple[BuiltArm, ...]
    equivalent: list[list[str]]
    """Ids of arms that are one function under several names, group by group."""
    equivalent_texts: list[str]
    """A sentence on each factor without effect."""
