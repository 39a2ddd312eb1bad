"""What the configurations cost, and what the study cost against the exhaustive grid."""

import statistics
from collections.abc import Sequence
from dataclasses import dataclass

from tune_cmx.config.searchers import SEARCHERS
from tune_cmx.evidence.report.metric_text import title
from tune_cmx.evidence.report.page import Page
from tune_cmx.evidence.report.sections.search_phases import has_phases
from tune_cmx.evidence.results.device_hours import device_hours, hours_name
from tune_cmx.evidence.results.interval_width import seeds_planned
from tune_cmx.evidence.results.searched_factors import taken_up
from tune_cmx.evidence.results.study_results import StudyResults, Trial
from tune_cmx.evidence.wording import UNKNOWN, count, duration, hours_text, listed, number

PHASES = ("search", "confirm", "single")


@dataclass(frozen=True)
class Bill:
    """Epochs, and the hours of devices that they took."""

    name: str
    trials: int
    epochs: int
    hours: float
    """Of one device each: a trial on two GPUs counts twice its seconds."""


def cost_section(page: Page, study: StudyResults) -> None:
    """Parameters, FLOPs and time by configuration, then hours by phase against every configuration in full.

    Args:
        page: Receives the section.
        study: A study.
    """
    if not any(trial.epochs for trial in study.trials):
        return
    page.heading("Cost")
    _by_arm(page, study)
    _hours(page, study)


def milliseconds(trial: Trial) -> float | None:
    """Per image of validation: the median over the trial's epochs, which one slow epoch does not move."""
    column = trial.metrics.get("val/milliseconds")
    known = [] if column is None else column.dropna().tolist()
    return statistics.median(known) if known else None


def gflops(trial: Trial) -> float | None:
    """Of one forward of one image, a multiplication and an addition counted as two; None where it is not recorded."""
    found = trial.state.gflops
    return None if found is None else float(found)


def full_grid(study: StudyResults, seeds: int) -> Bill | None:
    """Every recorded arm in full on so many seeds; None where an arm's schedule is not recorded.

    Hours are estimated from an arm's own seconds an epoch; an arm that was not trained takes the mean of the others.
    """
    trained = [trial for trial in study.trials if trial.epochs]
    overall = device_hours(trained) / sum(trial.epochs for trial in trained) if trained else 0.0
    epochs, hours = 0, 0.0
    for arm, found in study.arms.items():
        length = (found.config.get("schedule") or {}).get("epochs")
        if not length:
            return None
        own = [trial for trial in trained if trial.arm == arm]
        pace = device_hours(own) / sum(trial.epochs for trial in own) if own else overall
        epochs += int(length) * seeds
        hours += int(length) * seeds * pace
    words = f"every configuration in full, {count(seeds, 'seed')}"
    return Bill(words, len(study.arms) * seeds, epochs, hours) if study.arms else None


def lost_words(study: StudyResults) -> list[str]:
    """Epochs that led to no result, or were trained more than once."""
    failed = [trial for trial in study.trials if trial.status == "failed"]
    again = {trial.name: repeats for trial in study.trials if (repeats := _repeated(trial))}
    resumed = taken_up(study)
    found = []
    if failed:
        epochs, seconds = sum(trial.epochs for trial in failed), sum(trial.seconds for trial in failed)
        found.append(f"{count(len(failed), 'failed trial')} took {count(epochs, 'epoch')}, {duration(seconds)}")
    if again:
        found.append(f"{count(sum(again.values()), 'epoch')} trained more than once: {listed(again)}")
    if resumed:
        found.append(
            f"{count(len(resumed), 'trial')} resumed after an interruption; the time of unfinished epochs is not "
            "recorded"
        )
    return found


def _by_arm(page: Page, study: StudyResults) -> None:
    trained = [trial for trial in study.trials if trial.epochs or trial.parameters("total") is not None]
    known = list(dict.fromkeys(trial.arm for trial in trained))
    arms = sorted(known, key=lambda arm: (arm != study.baseline, study.label(arm)))
    flops = any(gflops(trial) is not None for trial in trained)
    header = [
        *("configuration", title("params_total"), title("params_active"), *([title("gflops")] if flops else [])),
        *("ms an image", "s an epoch", "full run"),
    ]
    rows = []
    for arm in arms:
        own = [trial for trial in trained if trial.arm == arm]
        full = [trial.seconds for trial in own if trial.phase == "confirm" and trial.status == "complete"]
        times = [value for trial in own if (value := milliseconds(trial)) is not None]
        operations = next((value for trial in own if (value := gflops(trial)) is not None), None)
        epochs = sum(trial.epochs for trial in own)
        rows.append(
            [
                study.label(arm),
                *(_counted(own, which) for which in ("total", "active")),
                *([UNKNOWN if operations is None else f"{operations:.3g}"] if flops else []),
                number(statistics.fmean(times), 1) if times else UNKNOWN,
                number(sum(trial.seconds for trial in own) / epochs, 1) if epochs else UNKNOWN,
                _spread(full),
            ]
        )
    operations_words = (
        "FLOPs are of one forward pass of one image; a multiplication and an addition count as two. "
        if flops
        else "FLOPs are not recorded; `tune-cmx describe` gives them. "
    )
    page.paragraph(
        f"Active parameters receive a gradient. {operations_words}Milliseconds are of validation: the median over "
        "epochs, then the mean over runs. A full run is the mean ± sd of confirmed runs. All times include the "
        "machine's other load, so do not compare them between configurations."
    )
    page.table(header, rows)


def _hours(page: Page, study: StudyResults) -> None:
    spent = [_bill(phase, found) for phase in PHASES if (found := study.of_phase(phase))]
    whole = _bill("all", study.trials)
    seeds = seeds_planned(study)
    grids = [bill for n in sorted({1, seeds or 1}) if (bill := full_grid(study, n)) is not None]
    unit = hours_name(study.trials)
    bills = [*spent, *([whole] if len(spent) > 1 else []), *grids]
    page.table(
        ["phase", "trials", "epochs", unit, "share of all trials"],
        [
            [bill.name, str(bill.trials), str(bill.epochs), hours_text(bill.hours), _share(whole, bill)]
            for bill in bills
        ],
    )
    page.paragraph(_hours_words(study, whole, grids, unit))
    losses = lost_words(study)
    if losses:
        page.bullets(losses)


def _hours_words(study: StudyResults, whole: Bill, grids: Sequence[Bill], unit: str) -> str:
    kind = study.state.searcher.kind
    searcher = SEARCHERS.get(kind or "")
    exhaustive = searcher is not None and searcher.exhaustive
    whole_grid = exhaustive and not has_phases(study)
    grid = "the exhaustive grid" if whole_grid else "every configuration that was drawn"
    words = []
    if grids:
        last = grids[-1]
        words.append(
            f"The study took {whole.epochs} epochs. That is {number(100 * whole.epochs / last.epochs, 0)} % of the "
            f"{last.epochs} epochs of {grid} with the baseline, {last.name.partition(', ')[2]}. Hours of "
            "configurations in full are estimates, from the seconds an epoch of the runs here."
        )
    else:
        words.append("The cost of every configuration in full is unknown, because schedules are not recorded.")
    if kind is None:
        words.append("The searcher is not recorded; configurations that were not drawn are not counted.")
    elif not exhaustive:
        name = kind if searcher is None else searcher.title
        words.append(f"A {name} search has no grid; configurations that it did not draw are not counted.")
    if unit == "CPU-hours":
        words.append("CPU-hours count one process, whatever its threads; they do not predict GPU-hours.")
    elif unit == "device-hours":
        words.append("Some trials ran on CPUs and some on GPUs or unknown devices, so their hours are not of one kind.")
    else:
        words.append("A trial that shared a GPU counts as if it had the GPU alone.")
    wall = study.state.seconds
    if wall:
        words.append(f"Wall clock of the study: {duration(wall)}. Failed trials are counted throughout.")
    return " ".join(words)


def _bill(name: str, trials: Sequence[Trial]) -> Bill:
    return Bill(name, len(trials), sum(trial.epochs for trial in trials), device_hours(trials))


def _share(whole: Bill, bill: Bill) -> str:
    return f"{number(100 * bill.hours / whole.hours, 0)} %" if whole.hours else UNKNOWN


def _repeated(trial: Trial) -> int:
    """Epochs that its sessions trained beyond those that it has."""
    last = [(session.first_epoch, session.last_epoch) for session in trial.state.lineage]
    done = sum(end - start + 1 for start, end in last if end is not None)
    return max(0, done - trial.epochs)


def _counted(trials: Sequence[Trial], which: str) -> str:
    found = next((value for trial in trials if (value := trial.parameters(which)) is not None), None)
    return UNKNOWN if found is None else f"{found:,}"


def _spread(seconds: Sequence[float]) -> str:
    if not seconds:
        return UNKNOWN
    sd = f" ± {duration(statistics.stdev(seconds))}" if len(set(seconds)) > 1 else ""
    return f"{duration(statistics.fmean(seconds))}{sd}"
