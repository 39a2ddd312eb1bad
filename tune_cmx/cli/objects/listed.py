"""What `list --json` prints: studies, each in one line."""

from typing import Literal

from tune_cmx.cli.options.json_output import Printed


class ConfigurationValue(Printed):
    """A configuration and its value of the metric."""

    id: str
    """Its id in study.json."""
    name: str
    """Its name for people."""
    n: int
    """Seeds."""
    mean: float | None
    """Mean over the seeds, in the metric's unit. null: not measured."""
    sd: float | None
    """Standard deviation over the seeds. null: fewer than two."""


class Summary(Printed):
    """A study, an import or a single run."""

    folder: str
    """Its folder."""
    kind: Literal["study", "import", "run", "damaged"]
    """study; import; run, which `tune-cmx train` made; or damaged, which cannot be read."""
    name: str
    """Name of the study; of a run, of its folder."""
    status: str | None
    """Status in study.json or trial.json. null: damaged or not recorded."""
    running: bool
    """Whether a process holds the folder's lock."""
    date: str | None
    """Day on which a trial last ended, else was begun, in UTC. null: not recorded."""
    trials_done: int
    """Trials with a result, those that were stopped early included."""
    trials_planned: int
    """Trials of search and confirmation, as far as they are known."""
    metric: str | None
    """Metric of the values, with its split. null: none is measured."""
    selected: ConfigurationValue | None
    """The selected configuration; of a run, its configuration. null: no result yet."""
    baseline: ConfigurationValue | None
    """The baseline. null: no result yet."""
    bytes: int
    """Size on disk. A file with two names counts once."""
    form: int | None
    """Number of the form of the folder. null: version 0.1.0 wrote it, or it is a run or damaged."""
    stamps: tuple[str, ...]
    """Sentences without which no value of the study may be shown, such as a split over single images."""
    problems: tuple[str, ...]
    """What could not be read, a sentence each."""


class Listed(Printed):
    """What is below the folder."""

    folder: str
    """The folder that was searched."""
    studies: tuple[Summary, ...]
    """Studies, imports, single runs and damaged folders, in the order of their names."""
