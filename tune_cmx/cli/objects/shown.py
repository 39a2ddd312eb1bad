"""What `show --json` prints: the first screen of a report."""

from tune_cmx.cli.objects.listed import Summary
from tune_cmx.cli.options.json_output import Printed


class Configuration(Printed):
    """A confirmed configuration against the baseline of its study."""

    id: str
    """Its id in study.json."""
    name: str
    """Its name for people."""
    n: int
    """Seeds."""
    mean: float | None
    """Mean over the seeds."""
    sd: float | None
    """Standard deviation over the seeds. null: fewer than two."""
    difference: float | None
    """Mean difference from the baseline. null: not compared."""
    interval: tuple[float, float] | None
    """95 % interval of the difference, not adjusted. null: not compared."""
    p: float | None
    """Two-sided p of the difference. null: not tested."""
    adjusted_p: float | None
    """p adjusted by Holm over the configurations of the study. null: not tested."""
    verdict: str | None
    """The verdict on “above the baseline”; baseline for the baseline. null: nothing was learnt."""
    why: str | None
    """The reason of the verdict. null: there is none."""


class Next(Printed):
    """What to do next."""

    words: str
    """In words."""
    command: str
    """The command."""


class Shown(Summary):
    """The first screen of a study's report."""

    question: str | None
    """The question of the search-space file."""
    factors: tuple[str, ...]
    """The fields that the study varies."""
    answer: str
    """The answer in one or two sentences."""
    learnt: bool
    """Whether a configuration is above the floor. If not, configurations are not compared."""
    configurations: tuple[Configuration, ...]
    """The confirmed configurations, the baseline first."""
    hours: float
    """Hours of training, times the devices of each trial."""
    hours_of: str
    """What the hours are of: GPU-hours, CPU-hours or device-hours."""
    report: str | None
    """The report. null: not written yet."""
    next: Next
    """What to do next."""
