"""Every metric that this software knows: what it is, its unit and direction, how it is printed, where it comes from.

A new metric is one entry of `METRICS`, here or by an entry point of another package. Scoring, configurations, claims,
imports, report and TensorBoard read it here.
"""

import math
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, Literal

from tune_cmx.registry import Table

Kind = Literal["noisy", "exact", "time"]
Direction = Literal["higher", "lower"]
SPLITS = ("val", "test")


@dataclass(frozen=True)
class Metric:
    """One metric.

    Args:
        title: As tables and plots print it.
        meaning: One sentence for the reference.
        unit: As it stands behind a number, such as `h`; `points` are percent points of a score within 0..100.
        better: Which way is an improvement.
        kind: `noisy` differs between seeds and needs a test, `exact` is equal in all runs of a configuration, `time`
            depends on the machine and its load.
        digits: After the decimal point in print.
        aliases: Other names in tables of results; case, `-`, `_`, `@`, brackets and spaces do not matter.
        score: From an evaluated COCO object (of faster-coco-eval or pycocotools, accumulated and summarized) its value
            as a fraction within 0..1, below 0 where it is not defined. None: it is not scored on a split.
        selects: Whether a search may select and stop trials on it; only where higher is better.
        of_run: Whether each confirmed run of a study holds it, without a split; then a search space may claim it.
        matches: The matches that it is a mean over: COCO's name of a range of box areas, and a part of the IoU
            thresholds 0.50, 0.55 … 0.95. The test-set bootstrap counts them. None: there is no such interval.
    """

    title: str
    meaning: str
    unit: str
    better: Direction
    kind: Kind = "noisy"
    digits: int = 2
    aliases: tuple[str, ...] = ()
    score: Callable[[Any], float] | None = None
    selects: bool = False
    of_run: bool = False
    matches: tuple[str, slice] | None = None

    def __post_init__(self) -> None:
        """Raises ValueError where a search would select the worst: ASHA, finalists and rungs take the highest value."""
        if self.selects and self.better == "lower":
            raise ValueError(f"{self.title}: a search selects the highest value, but a lower one is better")


def _stat(place: int) -> Callable[[Any], float]:
    """One of the numbers that COCO's summary holds."""
    return lambda counted: float(counted.stats[place])


def _average_precision(
    title: str, boxes: str, place: int, *aliases: str, area: str = "all", ious: slice = slice(None)
) -> Metric:
    """COCO's; a search may select on those over boxes of all sizes."""
    meaning = f"COCO average precision {boxes}, mean over classes"
    matches, selects = (area, ious), area == "all"
    return Metric(
        title, meaning, "points", "higher", aliases=aliases, score=_stat(place), selects=selects, matches=matches
    )


def _not_a_metric(name: str, entry: Any) -> str | None:
    """What is wrong with the object of another package's entry point."""
    if not isinstance(entry, Metric):
        return f"needs a tune_cmx.metrics.Metric; got {entry!r}"
    if not (entry.title and entry.meaning):
        return "needs a title and a meaning, which tables and the reference print"
    named = {_normal(word) for word in (name, *entry.aliases)}
    for known, metric in METRICS.own().items():
        if doubled := named & {_normal(word) for word in (known, *metric.aliases)}:
            return f"the name or alias '{min(doubled)}' is that of {known}, a metric of tune_cmx"
    return None


METRICS: Table[Metric] = Table(
    "tune_cmx.metrics",
    {
        "mAP": _average_precision("mAP", "over IoU 0.50 to 0.95", 0, "AP", "mAP_50_95"),
        "mAP_50": _average_precision("mAP@50", "at IoU 0.50", 1, "AP50", ious=slice(0, 1)),
        "mAP_75": _average_precision("mAP@75", "at IoU 0.75", 2, "AP75", ious=slice(5, 6)),
        "mAP_small": _average_precision(
            "mAP small", "over boxes below 32² pixels", 3, "AP_small", "small", area="small"
        ),
        "mAP_medium": _average_precision(
            "mAP medium", "over boxes of 32² to 96² pixels", 4, "AP_medium", "medium", area="medium"
        ),
        "mAP_large": _average_precision(
            "mAP large", "over boxes from 96² pixels on", 5, "AP_large", "large", area="large"
        ),
        "train_loss": Metric(
            "training loss",
            "sum of the detector's losses, mean over an epoch's images",
            "",
            "lower",
            digits=4,
            aliases=("loss", "final_train_loss"),
        ),
        "hours": Metric(
            "training time",
            "time of training over all segments of a run",
            "h",
            "lower",
            "time",
            aliases=("total_time_hours", "time_hours", "training_hours"),
            of_run=True,
        ),
        "gpu_hours": Metric("GPU-hours", "hours of training times the GPUs taken", "h", "lower", "time", of_run=True),
        "seconds": Metric(
            "training time", "the same in seconds", "s", "lower", "time", 0, ("cumulative_seconds",), of_run=True
        ),
        "milliseconds": Metric("forward time", "time of a forward pass of one image", "ms", "lower", "time"),
        "params_total": Metric(
            "parameters",
            "parameters of the model, used or not",
            "",
            "lower",
            "exact",
            0,
            (
                "parameters",
                "params",
                "total_params",
                "num_params",
                "num_parameters",
                "n_params",
                "n_parameters",
                "param_count",
            ),
            of_run=True,
        ),
        "params_active": Metric(
            "active parameters", "parameters that get a gradient", "", "lower", "exact", 0, of_run=True
        ),
        "params_M": Metric(
            "parameters", "parameters of the model", "M", "lower", "exact", 2, ("total_params_m", "parameters_m")
        ),
        "params_trainable": Metric(
            "trainable parameters",
            "parameters that are not frozen, used or not",
            "",
            "lower",
            "exact",
            0,
            ("trainable_params", "trainable_parameters", "num_trainable_params"),
        ),
        "gflops": Metric(
            "GFLOPs",
            "10^9 floating-point operations of one forward pass of one image",
            "GFLOP",
            "lower",
            "exact",
            1,
            ("gflop", "flops_g"),
            of_run=True,
        ),
        "mflops": Metric(
            "MFLOPs", "10^6 floating-point operations of one forward pass", "MFLOP", "lower", "exact", 1, ("mflop",)
        ),
        "flops": Metric("FLOPs", "floating-point operations of one forward pass", "FLOP", "lower", "exact", 0),
        "macs": Metric("MACs", "multiply-accumulate operations of one forward pass", "MAC", "lower", "exact", 0),
        "gmacs": Metric(
            "GMACs", "10^9 multiply-accumulate operations of one forward pass", "GMAC", "lower", "exact", 1
        ),
        "model_size_mb": Metric(
            "file size",
            "size of the file of weights",
            "MB",
            "lower",
            "exact",
            1,
            (
                "file_size",
                "file_size_mb",
                "size_mb",
                "model_size",
                "checkpoint_size",
                "checkpoint_size_mb",
                "weights_mb",
            ),
        ),
        "model_size_bytes": Metric(
            "file size", "the same in bytes", "B", "lower", "exact", 0, ("file_size_bytes", "size_bytes")
        ),
    },
    _not_a_metric,
)
"""By name, in the order of print. `evaluate` returns the scored ones in this order."""


def find(name: str) -> tuple[str, Metric] | None:
    """The metric that a field names, with or without its split, under its own name or an alias; None: not known."""
    plain = name.rpartition("/")[2] if name.partition("/")[0] in (*SPLITS, "train") else name
    if plain in METRICS:
        return plain, METRICS[plain]
    wanted = _normal(plain)
    for known, metric in METRICS.items():
        if wanted in map(_normal, (known, *metric.aliases)):
            return known, metric
    return None


def is_time(name: str) -> bool:
    """Whether the metric that a field names depends on the machine and its load."""
    known = find(name)
    return known is not None and known[1].kind == "time"


def scored() -> Mapping[str, Metric]:
    """Those that are computed from detections on a split."""
    return {name: metric for name, metric in METRICS.items() if metric.score is not None}


def of_runs() -> tuple[str, ...]:
    """What each confirmed run of a study holds without a split, such as `hours`."""
    return tuple(name for name, metric in METRICS.items() if metric.of_run)


def selectable() -> tuple[str, ...]:
    """What a search may select on, such as `val/mAP`."""
    return tuple(f"val/{name}" for name, metric in METRICS.items() if metric.selects)


def points(counted: Any) -> dict[str, float]:
    """All scored metrics of an evaluated COCO object, in points; nan where one is not defined."""
    values = {name: metric.score(counted) for name, metric in scored().items() if metric.score is not None}
    return {name: math.nan if value < 0 else 100 * value for name, value in values.items()}


@lru_cache(maxsize=4096)  # a report asks for the same columns ten thousand times
def _normal(name: str) -> str:
    return re.sub(r"[\s@_()\[\]-]+", "", name).lower()
