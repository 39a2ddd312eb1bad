"""The number of confirmation seeds, and how a wanted interval width fixed it."""

import pandas as pd

from tune_cmx.evidence.results.study_results import StudyResults
from tune_cmx.evidence.wording import count, listed, number, unit
from tune_cmx.state.study_state import ArmPilotState, TwoStageState


def pilot_seeds(study: StudyResults) -> tuple[int, ...]:
    """Seeds of the pilot that fixed the number of seeds; empty: the number was given, or is not fixed yet."""
    return _fixed(study).pilot_seeds


def seeds_planned(study: StudyResults) -> int | None:
    """Confirmation seeds of a configuration: as the pilot fixed them, as given, or as planned."""
    given = _fixed(study).seeds or study.state.confirm.seeds
    planned = {trial.seed for trial in study.of_phase("confirm")}
    return given or len(planned) or None


def width_words(study: StudyResults, arms: pd.DataFrame) -> str | None:
    """How the number of seeds was fixed; None where it was given.

    Args:
        study: A study.
        arms: As `compare_arms` gives them.
    """
    half_width = _wanted_width(study)
    if half_width is None:
        return None
    fixed = study.state.two_stage
    metric = study.selection_metric if fixed is None or fixed.metric is None else fixed.metric
    if fixed is None:
        return (
            f"The pilot fixes the number of seeds, for a 95 % interval of ± {half_width:g}{unit(metric)}. "
            "The pilot is not finished: these figures are of its runs so far."
        )
    pilots = [f"{study.label(arm)} {_pilot_text(found)}" for arm, found in fixed.by_arm.items()]
    words = (
        f"Stein's two-stage rule fixed the number of seeds once, at {fixed.seeds}, for a 95 % interval of "
        f"± {half_width:g}{unit(metric)} on {metric}. "
        f"The pilot's {count(len(pilot_seeds(study)), 'seed')} gave {listed(pilots) or 'no sd'}. "
        f"Intervals and p keep the pilot's sd and its degrees of freedom."
    )
    reached = _widest(arms)
    if reached is not None:
        words += f" The widest interval in the table is ± {number(reached)}."
    return " ".join([words, *width_missed(study)])


def width_missed(study: StudyResults) -> list[str]:
    """A sentence where the maximum of seeds, or failed runs, left the interval wider than wanted."""
    half_width, fixed = _wanted_width(study), study.state.two_stage
    if half_width is None or fixed is None:
        return []
    aim = f"an interval of ± {half_width:g}{unit(str(fixed.metric))}"
    wanted, seeds = fixed.wanted, fixed.seeds or 0
    if wanted is None:
        return [f"No pilot has two pairs with the baseline, so the number of seeds for {aim} is not known."]
    if wanted > seeds:
        missed = f"The interval is wider than wanted: {aim} needs {wanted} seeds, and max_seeds allowed {seeds}"
        return [f"{missed}."]
    return []


def _fixed(study: StudyResults) -> TwoStageState:
    return study.state.two_stage or TwoStageState()


def _wanted_width(study: StudyResults) -> float | None:
    return study.state.confirm.half_width


def _pilot_text(found: ArmPilotState) -> str:
    if found.sd is None:
        return "no sd (runs failed)"
    return f"sd {number(found.sd)} ({count(found.wanted or 0, 'seed')} wanted)"


def _widest(arms: pd.DataFrame) -> float | None:
    widths = (pd.to_numeric(arms["ci95_high"]) - pd.to_numeric(arms["ci95_low"])).dropna() / 2
    return float(widths.max()) if len(widths) else None
