"""What the study planned against what its records hold."""

from collections.abc import Sequence
from itertools import pairwise

from tune_cmx.evidence.report.page import Page
from tune_cmx.evidence.report.sections.search_phases import has_phases, search_phases
from tune_cmx.evidence.results.interval_width import seeds_planned
from tune_cmx.evidence.results.searched_factors import stopped_early, taken_up
from tune_cmx.evidence.results.study_results import StudyResults, Trial
from tune_cmx.evidence.results.undeclared_differences import allowed_differences
from tune_cmx.evidence.wording import UNKNOWN, count, listed, value_text


def planned_section(page: Page, records: StudyResults) -> None:
    """Trials, epochs, seeds, arms and phases: planned, executed, and every deviation by name."""
    page.heading("Planned and executed")
    rows = [
        ["phases", *_phases(records)],
        ["search trials", *_pair(_search_planned(records), len(_begun(records.of_phase("search"))))],
        ["search epochs", *_pair(_search_epochs(records), _epochs(records.of_phase("search")), "at most ")],
        ["arms confirmed", *_pair(_arms_planned(records), len({trial.arm for trial in records.confirmed}))],
        ["seeds an arm", *_seeds(records)],
        ["confirmation runs", *_pair(_runs_planned(records), len(records.confirmed))],
        ["confirmation epochs", *_pair(_confirm_epochs(records), _epochs(records.of_phase("confirm")))],
    ]
    page.table(["what", "planned", "executed"], rows)
    found = deviations(records)
    if found:
        page.paragraph("Deviations:")
        page.bullets(found)
    else:
        page.paragraph("No deviation is on record.")


def deviations(records: StudyResults) -> list[str]:
    """Everything that did not go as planned, a sentence each."""
    found = []
    status = records.study.get("status", "unknown")
    if status != "complete":
        found.append(f"the study has not ended: status {status}")
    found += [
        f"{trial.name}: {trial.status} after {count(trial.epochs, 'epoch')}"
        + (f", {trial.info['reason']}" if trial.info.get("reason") else "")
        for trial in records.trials
        if trial.status not in ("complete", "stopped")
    ]
    early = sum(map(stopped_early, records.of_phase("search")))
    if early:
        found.append(f"{count(early, 'search trial')} stopped early, as the file provides for")
    found += _missing_seeds(records)
    if resumed := taken_up(records):
        found.append(f"taken up again after an interruption: {listed(trial.name for trial in resumed)}")
    found += _changes(records, "code_version", "code")
    found += _changes(records, "device", "device")
    found += [f"allowed by the file: {difference}" for difference in allowed_differences(records)]
    return found


def _begun(trials: Sequence[Trial]) -> list[Trial]:
    return [trial for trial in trials if trial.status != "planned"]


def _epochs(trials: Sequence[Trial]) -> int:
    return sum(trial.epochs for trial in trials)


def _pair(planned: int | None, executed: int, before: str = "") -> list[str]:
    return [UNKNOWN if planned is None else f"{before}{planned}", str(executed)]


def _phases(records: StudyResults) -> list[str]:
    planned = list(records.study.get("space") or {}) if has_phases(records) else ["search"]
    done = [phase.name or "search" for phase in search_phases(records) if phase.trials]
    confirm = [trial for trial in records.of_phase("confirm") if trial.epochs]
    return [", ".join([*planned, "confirm"]), ", ".join([*done, *(["confirm"] if confirm else [])]) or "none"]


def _search_planned(records: StudyResults) -> int | None:
    """Trials of the search; None where it follows from what the phases before kept."""
    searcher = records.study.get("searcher") or {}
    if searcher.get("trials"):
        return int(searcher["trials"])
    if has_phases(records) and records.study.get("status") != "complete":
        return None
    return len([arm for arm in records.arms if arm != records.baseline]) or None


def _search_epochs(records: StudyResults) -> int | None:
    """Were no trial stopped before the search's end."""
    trials = records.of_phase("search")
    planned = _search_planned(records)
    lengths = [trial.epochs_planned for trial in trials]
    if planned is None or planned != len(trials) or None in lengths:
        return None
    last = float((records.study.get("early_stopping") or {}).get("last") or 1.0)
    if records.clock == "gpu_seconds":
        return None
    rungs = (records.study.get("early_stopping") or {}).get("rungs") or []
    if last < 1 and rungs and records.clock == "epoch":
        return sum(min(int(length or 0), int(max(rungs))) for length in lengths)
    return sum(round(int(length or 0) * last) for length in lengths)


def _arms_planned(records: StudyResults) -> int | None:
    """Finalists and baseline; the arms that the claims name are known from the runs planned for them."""
    finalists = (records.study.get("confirm") or {}).get("finalists")
    on_record = {trial.arm for trial in records.of_phase("confirm")}
    if finalists is None:
        return len(on_record) or None
    return max(int(finalists) + 1, len(on_record))


def _seeds(records: StudyResults) -> list[str]:
    runs = [
        len({trial.seed for trial in records.confirmed if trial.arm == arm})
        for arm in {trial.arm for trial in records.of_phase("confirm")}
    ]
    done = UNKNOWN if not runs else str(min(runs)) if len(set(runs)) == 1 else f"{min(runs)} to {max(runs)}"
    return [value_text(seeds_planned(records)), done]


def _runs_planned(records: StudyResults) -> int | None:
    arms, seeds = _arms_planned(records), seeds_planned(records)
    return None if arms is None or seeds is None else arms * seeds


def _confirm_epochs(records: StudyResults) -> int | None:
    runs, lengths = _runs_planned(records), {trial.epochs_planned for trial in records.of_phase("confirm")}
    length = lengths.pop() if len(lengths) == 1 else None
    return None if runs is None or length is None else runs * length


def _missing_seeds(records: StudyResults) -> list[str]:
    """Arms that lack runs, with the seeds that the others have."""
    wanted = sorted({trial.seed for trial in records.of_phase("confirm") if trial.seed is not None})
    found = []
    for arm in dict.fromkeys(trial.arm for trial in records.of_phase("confirm")):
        done = {trial.seed for trial in records.confirmed if trial.arm == arm}
        missing = [str(seed) for seed in wanted if seed not in done]
        if missing:
            found.append(f"{records.label(arm)}: no complete confirmation run on {_seed_words(missing)}")
    planned, arms = seeds_planned(records), {trial.arm for trial in records.confirmed}
    if planned and wanted and len(wanted) < planned:
        found.append(f"{count(len(wanted), 'seed')} of {planned} planned were begun")
    if records.finalists and arms and (lacking := [arm for arm in records.finalists if arm not in arms]):
        found.append(f"finalists without a complete confirmation run: {listed(map(records.label, lacking))}")
    return found


def _seed_words(seeds: Sequence[str]) -> str:
    return f"{'seed' if len(seeds) == 1 else 'seeds'} {listed(seeds)}"


def _changes(records: StudyResults, field: str, word: str) -> list[str]:
    """Where trials differ in a field: each value with its number of trials, in the order of their beginning."""
    begun = sorted(_begun(records.trials), key=lambda trial: str(trial.info.get("created")))
    values = [str(trial.info.get(field) or "unknown") for trial in begun]
    if len(set(values)) < 2:
        return []
    changes = sum(first != then for first, then in pairwise(values))
    shares = [f"{value} ({count(values.count(value), 'trial')})" for value in dict.fromkeys(values)]
    return [f"the {word} changed {count(changes, 'time')} between trials: {listed(shares)}"]
