"""What `compare --json` prints: several studies side by side."""

from tune_cmx.cli.objects.shown import Configuration
from tune_cmx.cli.options.json_output import Printed


class ComparedStudy(Printed):
    """One of the studies."""

    folder: str
    """Its folder."""
    name: str
    """Its name."""
    status: str | None
    """Its status. null: not recorded."""
    metric: str
    """The metric of its values, with the split."""
    stamps: tuple[str, ...]
    """Sentences without which no value of the study may be shown, such as a split over single images."""
    learnt: bool
    """Whether a configuration is above the floor. If not, configurations are not compared."""
    configurations: tuple[Configuration, ...]
    """Its confirmed configurations, the baseline first. Differences and verdicts are from its own baseline."""
    problems: tuple[str, ...]
    """What could not be read, a sentence each."""


class ProtocolField(Printed):
    """A protocol field in which the studies differ."""

    field: str
    """The field, by dotted path."""
    values: tuple[tuple[str, ...], ...]
    """For each study the values of its confirmed runs; `-` for an unknown one."""
    varied: tuple[bool, ...]
    """For each study whether it varies the field."""


class Compared(Printed):
    """Several studies side by side."""

    studies: tuple[ComparedStudy, ...]
    """The studies, as they were named."""
    same_protocol: bool
    """Whether no protocol field differs."""
    differing: tuple[ProtocolField, ...]
    """The protocol fields in which the studies differ."""
    comparison: str
    """What may be said across the studies: always descriptive."""
