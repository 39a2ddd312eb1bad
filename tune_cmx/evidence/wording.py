"""Numbers as the report and the reasons of verdicts print them."""

import json
import math
import statistics
from collections.abc import Iterable, Sequence
from typing import Any

from tune_cmx import metrics, ties
from tune_cmx.counting import count as count  # the reports take it from here, with the other words

UNKNOWN = "-"
FRACTION = "average precision as a fraction"
"""In place of a metric's name, where a table has average precision from 0 to 1."""


def number(value: float | None, digits: int = 2) -> str:
    """Fixed digits, never a negative zero; a hyphen for an unknown value."""
    if value is None or not math.isfinite(value):
        return UNKNOWN
    text = f"{round(value, 9):.{digits}f}"  # 3.025 and 3.0250000000000004 print alike
    return f"{0.0:.{digits}f}" if float(text) == 0 else text


def signed(value: float | None, digits: int = 2) -> str:
    """As `number`, with a plus sign above zero."""
    text = number(value, digits)
    return f"+{text}" if value is not None and text != UNKNOWN and float(text) > 0 else text


def mean_sd(values: Sequence[float]) -> str:
    """Mean and, of more than one, standard deviation: `31.20 ± 0.66`."""
    if not values:
        return "undefined"
    sd = f" ± {number(statistics.stdev(values))}" if len(values) > 1 else ""
    return f"{number(statistics.fmean(values))}{sd}"


def interval(ends: Sequence[float] | None, digits: int = 2) -> str:
    """`0.67 to 1.13`."""
    return UNKNOWN if ends is None else f"{number(ends[0], digits)} to {number(ends[1], digits)}"


def p_value(p: float | None) -> str:
    """Three decimals."""
    if p is None or not math.isfinite(p):
        return UNKNOWN
    return "<0.001" if p < 0.0005 else f"{p:.3f}"


def duration(seconds: float | None) -> str:
    """Seconds below two minutes, minutes below two hours, hours beyond."""
    if seconds is None or not math.isfinite(seconds):
        return UNKNOWN
    if seconds < 120:
        return f"{seconds:.1f} s" if seconds < 10 else f"{seconds:.0f} s"
    return f"{seconds / 60:.1f} min" if seconds < 7200 else f"{seconds / 3600:.2f} h"


def hours_text(hours: float) -> str:
    """Hours with digits that tell: `12.0`, `0.037`, `less than 0.001`."""
    if 0 < hours < 0.001:
        return "less than 0.001"
    return number(hours, 1 if hours >= 1 else 3)


def unit(metric: str) -> str:
    """What a difference of this metric is counted in, with a space before it; empty where it has no unit."""
    known = metrics.find(metric)
    return f" {known[1].unit}" if known is not None and known[1].unit else ""


def figure(value: float | None, metric: str, more: int = 0) -> str:
    """A value of a metric in its printed form, with its unit: `84.10 points`, `43,400,000`; `more` adds digits."""
    text = _digits(value, metric, more)
    return text if text == UNKNOWN else f"{text}{unit(metric)}"


def signed_figure(value: float | None, metric: str, more: int = 0) -> str:
    """As `figure`, with a plus sign above zero."""
    text = _digits(value, metric, more)
    sign = "+" if value is not None and text != UNKNOWN and value > 0 and text.strip("0.,") else ""
    return text if text == UNKNOWN else f"{sign}{text}{unit(metric)}"


def digits_apart(values: Iterable[float], metric: str) -> int:
    """How many more digits values need that differ, so that no two of them print alike; at most 9."""
    unlike = {ties.key(value) for value in values}
    return next(
        (more for more in range(9) if len({_digits(value, metric, more) for value in unlike}) == len(unlike)), 9
    )


def metric_interval(ends: Sequence[float] | None, metric: str) -> str:
    """The ends of an interval in the metric's printed form, without its unit."""
    return UNKNOWN if ends is None else f"{_digits(ends[0], metric)} to {_digits(ends[1], metric)}"


def _digits(value: float | None, metric: str, more: int = 0) -> str:
    """As the table of metrics prints it; an unknown metric with four significant digits."""
    if value is None or not math.isfinite(value):
        return UNKNOWN
    if metric == FRACTION:
        return number(value, 4 + more)
    known = metrics.find(metric)
    if known is not None:
        digits = known[1].digits
        return f"{round(value, more) + 0.0:,.{more}f}" if digits == 0 else number(value, digits + more)
    size = abs(value)
    least = 2 if size == 0 or size >= 10 else min(8, max(2, 3 - math.floor(math.log10(size))))
    return number(value, least + more)


def listed(names: Iterable[str]) -> str:
    """Names with commas, or semicolons where names hold commas; at most eight of them."""
    all_names = list(names)
    separator = "; " if any("," in name for name in all_names) else ", "
    return separator.join(all_names[:8]) + (f" and {len(all_names) - 8} more" if len(all_names) > 8 else "")


def listed_in_clause(names: Iterable[str]) -> str:
    """As `listed`, with no-break spaces behind semicolons: only those with a plain space end a clause of a reason."""
    return listed(names).replace("; ", ";\u00a0")


def clauses(reason: str) -> list[str]:
    """The clauses of a reason, each of which a report prints as a sentence."""
    return [clause.replace(";\u00a0", "; ") for clause in reason.split("; ")]


def cell_text(value: Any) -> str:
    """A setting as a configuration has it; a hyphen for none."""
    if value is None:
        return UNKNOWN
    if isinstance(value, float):
        return f"{value:g}"
    return value if isinstance(value, str) else json.dumps(value)


def sentence(words: str) -> str:
    """A clause with a full stop and a capital; names such as mAP and model.drop_path keep their first letter."""
    first = words.split(maxsplit=1)[0]
    start = words[:1].upper() if len(first) > 1 and first.isalpha() and first.islower() else words[:1]
    return f"{start}{words[1:]}{'' if words.endswith('.') else '.'}"
