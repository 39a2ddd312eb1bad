"""Metrics as the report names them; names, units and digits are those of `tune_cmx.metrics`, looked up when printed."""

from collections.abc import Iterable

from tune_cmx import metrics
from tune_cmx.evidence.results.study_results import Trial


def title(name: str) -> str:
    """`mAP@50` for `mAP_50`; with its split where the name has one: `test mAP@50`."""
    split, _, plain = name.rpartition("/")
    found = metrics.find(plain)
    words = plain if found is None else found[1].title
    return f"{split} {words}" if split else words


def recorded_metrics(runs: Iterable[Trial], split: str) -> list[str]:
    """The metrics of the table that the runs have on a split, in its order; those scored there are always in it."""
    recorded = {name for run in runs for name in run.results.get(split, {})}
    return [name for name, metric in metrics.METRICS.items() if metric.score is not None or name in recorded]
