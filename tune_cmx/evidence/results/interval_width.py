"""How many seeds a study confirms with, and what is said where a wanted precision fixed that number."""

from collections.abc import Mapping
from typing import Any

import pandas as pd

from tune_cmx.evidence.results.study_results import StudyResults
from tune_cmx.evidence.wording import count, listed, number, unit


def pilot_seeds(records: StudyResults) -> tuple[int, ...]:
    """Seeds of the pilot that fixed the number of all; empty: that number was given, or is not fixed yet."""
    return tuple(int(seed) for seed in _fixed(records).get("pilot_seeds") or [])


def seeds_planned(records: StudyResults) -> int | None:
    """Confirmation seeds of an arm: as fixed by the pilot, as given, or as the planned trials have them."""
    given = _fixed(records).get("seeds") or (records.study.get("confirm") or {}).get("seeds")
    planned = {trial.seed for trial in records.of_phase("confirm")}
    return int(given or 0) or len(planned) or None


def precision_words(records: StudyResults, arms: pd.DataFrame) -> str | None:
    """How the number of seeds came about; None where it was given.

    Args:
        records: A study.
        arms: As `compare_arms` gives them.
    """
    half_width = _wanted_width(records)
    if half_width is None:
        return None
    fixed = _fixed(records)
    if not fixed:
        return (
            f"The number of seeds will follow from the precision wanted, a 95 % interval of ± {half_width:g} points: "
            "the pilot is not finished, and these figures are of its runs so far."
        )
    pilots = [f"{records.label(str(arm))} {_pilot_text(found)}" for arm, found in (fixed.get("by_arm") or {}).items()]
    words = (
        f"The number of seeds, {fixed.get('seeds')}, was fixed once, by Stein's two-stage rule, for a 95 % interval of "
        f"± {half_width:g} points on {fixed.get('metric')}. "
        f"The pilot's {count(len(pilot_seeds(records)), 'seed')} gave {listed(pilots) or 'no sd'}. "
        f"Intervals and p keep the pilot's sd and its degrees of freedom."
    )
    reached = _widest(arms)
    if reached is not None:
        words += f" The widest interval in the table is ± {number(reached)}."
    return " ".join([words, *precision_missed(records)])


def precision_missed(records: StudyResults) -> list[str]:
    """A sentence where the maximum of seeds, or lost runs, left the wanted precision out of reach."""
    half_width, fixed = _wanted_width(records), _fixed(records)
    if half_width is None or not fixed:
        return []
    aim = f"an interval of ± {half_width:g}{unit(str(fixed.get('metric')))}"
    wanted, seeds = fixed.get("wanted"), fixed.get("seeds") or 0
    if wanted is None:
        return [f"No arm's pilot has two pairs with the baseline, so the seeds that {aim} takes are not known."]
    if wanted > seeds:
        missed = f"The wanted precision was not reached: {aim} takes {wanted} seeds, and max_seeds allowed {seeds}"
        return [f"{missed}; the wider interval is reported."]
    return []


def _fixed(records: StudyResults) -> Mapping[str, Any]:
    found = records.study.get("two_stage")
    return found if isinstance(found, Mapping) else {}


def _wanted_width(records: StudyResults) -> float | None:
    width = (records.study.get("confirm") or {}).get("half_width")
    return None if width is None else float(width)


def _pilot_text(found: Mapping[str, Any]) -> str:
    sd, wanted = found.get("sd"), found.get("wanted")
    return "no sd (runs failed)" if sd is None else f"sd {number(float(sd))} ({count(int(wanted or 0), 'seed')} wanted)"


def _widest(arms: pd.DataFrame) -> float | None:
    widths = (pd.to_numeric(arms["ci95_high"]) - pd.to_numeric(arms["ci95_low"])).dropna() / 2
    return float(widths.max()) if len(widths) else None
