"""The parts of the report about how the study was run: confirmation, failures, parameters, hours, protocol."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from tune_cmx.evidence.fairness import allowed_differences
from tune_cmx.evidence.markdown import Page
from tune_cmx.evidence.phases import has_phases
from tune_cmx.evidence.precision import seeds_planned
from tune_cmx.evidence.records import StudyRecords, Trial
from tune_cmx.evidence.wording import UNKNOWN, count, duration, number, value_text
from tune_cmx.notes import together

PHASES = ("search", "confirm", "single")
WITHOUT_REASON = {"paused": "waits at a rung", "planned": "not begun"}


def failures_section(page: Page, records: StudyRecords) -> None:
    """Trials that did not end as planned, each with its reason."""
    page.heading("Failed and unfinished trials")
    unfinished = [trial for trial in records.trials if trial.status not in ("complete", "stopped")]
    if not unfinished:
        page.paragraph("None.")
        return
    rows = [
        [
            link(trial, records),
            trial.phase,
            trial.status,
            str(trial.info.get("reason") or WITHOUT_REASON.get(trial.status, "no reason on record")),
            value_text(trial.seed),
            f"{trial.epochs} of {value_text(trial.epochs_planned)}",
        ]
        for trial in unfinished
    ]
    page.table(["arm", "phase", "status", "reason", "seed", "epochs"], rows, left=4)


def confirmation_section(page: Page, records: StudyRecords) -> None:
    """Each confirmed run behind the arms' means."""
    page.heading("Confirmation runs")
    trials = records.of_phase("confirm")
    if not trials:
        page.paragraph("None are on record.")
        return
    metrics = [f"{split}/{records.primary_metric.rpartition('/')[2]}" for split in ("test", "val")]
    rows = [
        [
            link(trial, records),
            trial.status,
            value_text(trial.seed),
            f"{trial.epochs} of {value_text(trial.epochs_planned)}",
            *(number(trial.result(metric)) for metric in metrics),
            duration(trial.seconds),
        ]
        for trial in sorted(trials, key=lambda trial: (trial.arm != records.control, trial.arm, trial.seed or 0))
    ]
    page.table(["arm", "status", "seed", "epochs", *metrics, "time"], rows, left=2)


def parameters_section(page: Page, records: StudyRecords) -> None:
    """Parameters by arm, and what the audit of the built models said."""
    page.heading("Parameters")
    first: dict[str, Trial] = {}
    for trial in records.trials:
        if trial.parameters("total") is not None:
            first.setdefault(trial.arm, trial)
    if not first:
        page.paragraph("No record holds parameter counts.")
        return
    rows = [
        [records.label(arm), *(_grouped(trial.parameters(which)) for which in ("total", "active"))]
        for arm, trial in sorted(
            first.items(), key=lambda entry: (entry[0] != records.control, records.label(entry[0]))
        )
    ]
    page.table(["arm", "total", "active"], rows)
    said = [
        (records.label(trial.arm), str(warning))
        for trial in records.trials
        for warning in trial.info.get("audit_warnings") or []
    ]
    if said:
        page.paragraph("Audit of the models:")
        page.bullets(together(said))


def hours_section(page: Page, records: StudyRecords) -> None:
    """Training time by phase, and its share of the exhaustive grid."""
    page.heading("Hours")
    by_phase = {phase: records.of_phase(phase) for phase in PHASES}
    rows = [_hours_row(phase, trials) for phase, trials in by_phase.items() if trials]
    if len(rows) > 1:
        rows.append(_hours_row("all", records.trials))
    if rows:
        page.table(["phase", "trials", "epochs", "training time"], rows)
    wall = records.study.get("seconds")
    if wall:
        page.paragraph(f"Wall clock of the whole study: {duration(float(wall))}.")
    page.paragraph(_grid_words(records))


def protocol_section(page: Page, records: StudyRecords) -> None:
    """What every arm shares."""
    study = records.study
    split, data = study.get("split") or {}, study.get("data") or {}
    page.heading("Protocol")
    page.paragraph(
        f"Hash {study.get('protocol_hash', 'unknown')}. Factors: {_listed(study.get('factors'))}. "
        f"Differences allowed besides: {_listed(study.get('allow_differences'))}."
    )
    differences = allowed_differences(records)
    if differences:
        page.bullets(differences)
    counts = split.get("counts") or {}
    sizes = [f"{part} {_counts(counts[part])}" for part in ("train", "val", "test") if part in counts]
    facts = [
        ["split", f"by {records.split_how or 'unknown'}, hash {split.get('hash', 'unknown')}"],
        *([["frames and boxes", "; ".join(sizes)]] if sizes else []),
        ["data fingerprint", str(data.get("fingerprint", "unknown"))],
        *([["classes", ", ".join(str(name) for name in data["classes"])]] if data.get("classes") else []),
        ["code version", _of_all(trial.info.get("code_version") for trial in records.trials)],
        ["device", _of_all(trial.info.get("device") for trial in records.trials)],
        ["packages", _of_all(_packages(trial) for trial in records.trials)],
    ]
    settings = [
        [str(path), "none" if value is None else value_text(value)]
        for path, value in sorted((study.get("protocol") or {}).items())
        if not path.startswith(("packages.", "code_version", "split_", "data_fingerprint"))  # said above
    ]
    page.table(["field", "value"], [*facts, *settings], left=2)


def link(trial: Trial, records: StudyRecords) -> str:
    """The trial's arm as a link to its record, from the report's folder."""
    return f"[{records.label(trial.arm)}](../records/{trial.name}/)"


def _hours_row(name: str, trials: Sequence[Trial]) -> list[str]:
    epochs, seconds = sum(trial.epochs for trial in trials), sum(trial.seconds for trial in trials)
    return [name, str(len(trials)), str(epochs), duration(seconds)]


def _grid_words(records: StudyRecords) -> str:
    """What all trials cost against every arm in full on every seed, which for a grid is the exhaustive grid."""
    kind = str((records.study.get("searcher") or {}).get("kind", "grid"))
    seeds = seeds_planned(records)
    schedules = [(arm.get("config") or {}).get("schedule") or {} for arm in records.arms.values()]
    lengths = [int(schedule["epochs"]) for schedule in schedules if schedule.get("epochs")]
    if not seeds or not lengths or len(lengths) < len(schedules):
        return "Share of the exhaustive grid: unknown, as the arms' epochs or the seeds are not on record."
    full = sum(lengths) * seeds
    epochs = sum(trial.epochs for trial in records.trials)
    share = f"{epochs} of {full} epochs, {number(100 * epochs / full, 0)} %"
    of_all = " of all phases" if has_phases(records) else ""
    every = f"each of the {count(len(lengths), 'arm')}{of_all}, control included, in full on {count(seeds, 'seed')}"
    ours = "our side counts every trial, failed ones too"
    if kind in ("random", "tpe"):
        name = "TPE" if kind == "tpe" else "a random search"
        return f"Share of the exhaustive grid: none, as {name} has no grid. Against {every}: {share}; {ours}."
    return f"Share of the exhaustive grid: {share}. The grid is {every}; {ours}."


def _counts(part: Mapping[str, Any]) -> str:
    return f"{part.get('frames', '?')} frames with {part.get('boxes', '?')} boxes"


def _packages(trial: Trial) -> str | None:
    return ", ".join(f"{name} {version}" for name, version in (trial.info.get("packages") or {}).items()) or None


def _of_all(values: Iterable[Any]) -> str:
    known = dict.fromkeys(str(value) for value in values if value)
    return " / ".join(known) or "unknown"


def _listed(names: Sequence[Any] | None) -> str:
    return ", ".join(str(name) for name in names or []) or "none"


def _grouped(value: int | None) -> str:
    return UNKNOWN if value is None else f"{value:,}"
