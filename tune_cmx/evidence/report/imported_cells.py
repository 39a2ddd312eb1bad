"""The cells of tables of imported runs: what a run's source says, as a reader sees it."""

from collections.abc import Sequence

from tune_cmx.evidence.importer.vocabulary import is_partly_timed
from tune_cmx.evidence.results.study_results import Trial
from tune_cmx.evidence.wording import UNKNOWN, cell_text, number
from tune_cmx.metrics import METRICS

SCHEDULE = ("epochs", "batch", "lr")
RESUMED = "‡"
"""Marks a time that may cover the last segment only."""


def heading(name: str) -> str:
    """A result's name in a table's header, with its unit; points are said above the tables."""
    metric = METRICS.get(name)
    if metric is None:
        return name
    return f"{metric.title} ({metric.unit})" if metric.unit not in ("", "points", "GFLOP") else metric.title


def fact(run: Trial, name: str) -> str:
    """What the source says of which run it is; empty where it says nothing."""
    value = run.seed if name == "seed" else run.imported.says.get(name)
    return "" if value is None else cell_text(value)


def resumed_words(runs: Sequence[Trial]) -> str:
    """What the mark of a resumed run means, with a space before it; empty where no time has the mark."""
    times = [name for name in shown(runs) if name in METRICS and METRICS[name].kind == "time"]
    if not times or not any(is_partly_timed(run.imported.says) for run in runs):
        return ""
    return f" {RESUMED}: a resumed run; its time may cover the last segment only, so no claim about time uses it."


def has_figure(name: str, run: Trial) -> bool:
    """Whether the source gives the result."""
    return name in run.imported.figures


def field_value(run: Trial, field: str) -> str:
    """A field of the run's configuration."""
    value = run.imported.fields.get(field)
    return UNKNOWN if value is None else cell_text(value)


def factor_value(run: Trial, factor: str) -> str:
    """A field of the run's configuration, or its whole `schedule`."""
    if factor != "schedule":
        return field_value(run, factor)
    return ", ".join(f"{field} {field_value(run, field)}" for field in SCHEDULE)


def header(runs: Sequence[Trial]) -> list[str]:
    """The headings of the results that some run has."""
    return [heading(name) for name in shown(runs)]


def cells(run: Trial, runs: Sequence[Trial]) -> list[str]:
    """A run's results, below the header of these runs."""
    return [printed(run, name) for name in shown(runs)]


def shown(runs: Sequence[Trial]) -> list[str]:
    """Results that some run has: those of the metric table in its order, then others."""
    names = dict.fromkeys(name for run in runs for name in run.imported.figures)
    if "params_M" in names:
        names.pop("params_total", None)  # one count, in another unit
    return [*(name for name in METRICS if name in names), *(name for name in names if name not in METRICS)]


def printed(run: Trial, name: str) -> str:
    """As the source prints it; a source with all digits, with those of the metric table."""
    about, metric = run.imported, METRICS.get(name)
    text = str(about.printed.get(name) or number(about.figures.get(name), metric.digits if metric else 4))
    is_time = metric is not None and metric.kind == "time" and text != UNKNOWN
    return f"{text} {RESUMED}" if is_time and is_partly_timed(about.says) else text


def link(run: Trial) -> str:
    """The run's name as a link to its run folder, from the report's folder."""
    return f"[{run.imported.name}](../{run.folder.parent.name}/{run.name}/)"
