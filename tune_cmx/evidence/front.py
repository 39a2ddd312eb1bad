"""Several objectives at once: the trials of a search that no other surpasses in all of them."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

from tune_cmx.evidence.conduct import link
from tune_cmx.evidence.markdown import Page
from tune_cmx.evidence.records import StudyRecords, Trial
from tune_cmx.evidence.wording import count, listed, number

LOWER_IS_BETTER = frozenset({"parameters", "milliseconds"})


@dataclass(frozen=True)
class Point:
    """A complete search trial and its value in each objective."""

    trial: Trial
    values: tuple[float, ...]


def objectives(records: StudyRecords) -> tuple[str, ...]:
    """What the search optimised at once; empty: the selection metric alone."""
    return tuple(str(name) for name in (records.study.get("searcher") or {}).get("objectives") or [])


def points(records: StudyRecords) -> list[Point]:
    """The trials that the search trained to its end, with every objective as of their last epoch."""
    names = objectives(records)
    found = []
    for trial in records.of_phase("search"):
        values = [_value(trial, name) for name in names]
        known = tuple(value for value in values if value is not None and math.isfinite(value))
        if trial.searched_to_the_end and len(known) == len(names):
            found.append(Point(trial, known))
    return found


def front(candidates: Sequence[Point], names: Sequence[str]) -> list[Point]:
    """Those that no other equals or surpasses in every objective and surpasses in one; the first objective leads."""
    signs = [-1 if name in LOWER_IS_BETTER else 1 for name in names]

    def merits(point: Point) -> tuple[float, ...]:
        return tuple(sign * value for sign, value in zip(signs, point.values, strict=True))

    def surpassed(point: Point) -> bool:
        own = merits(point)
        rivals = [merits(other) for other in candidates]
        return any(
            rival != own and all(theirs >= mine for theirs, mine in zip(rival, own, strict=True)) for rival in rivals
        )

    return sorted((point for point in candidates if not surpassed(point)), key=merits, reverse=True)


def front_section(page: Page, records: StudyRecords, picture: str | None) -> None:
    """The front as a table, above its picture; nothing where the search had one objective."""
    names = objectives(records)
    if not names:
        return
    page.heading("Front of the objectives")
    candidates = points(records)
    chosen = front(candidates, names)
    if not chosen:
        page.paragraph(f"No complete search trial has all of {listed(names)} on record yet.")
        return
    timed = " Milliseconds are those of the machine that trained, with its load." if "milliseconds" in names else ""
    page.paragraph(
        f"{len(chosen)} of {count(len(candidates), 'complete search trial')}: no other surpasses them in "
        f"{listed(names)} together, at their last epoch. These are single runs on one seed: a place on the front holds "
        f"the luck of that run, and no verdict rests on it.{timed}"
    )
    rows = [
        [str(place), link(point.trial, records), *(_text(*pair) for pair in zip(names, point.values, strict=True))]
        for place, point in enumerate(chosen, 1)
    ]
    page.table(["no.", "arm", *names], rows, left=2)
    if picture:
        page.image(picture, "Complete search trials by objective, the front numbered as in the table")


def _value(trial: Trial, name: str) -> float | None:
    if name == "parameters":
        return trial.parameters("total")
    return trial.last("val/milliseconds" if name == "milliseconds" else name)


def _text(name: str, value: float) -> str:
    return f"{value:,.0f}" if name == "parameters" else number(value)
