"""How the study was run: confirmation runs, failures, protocol."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from tune_cmx.data.split import how_text
from tune_cmx.evidence.report.metric_text import title
from tune_cmx.evidence.report.page import Page
from tune_cmx.evidence.results.study_results import StudyResults, Trial
from tune_cmx.evidence.results.undeclared_differences import allowed_differences
from tune_cmx.evidence.wording import cell_text, count, duration, number

WITHOUT_REASON = {"paused": "waits at a rung", "planned": "not begun"}


def failures_section(page: Page, study: StudyResults) -> None:
    """Trials that did not end as planned, each with its reason; nothing where all did."""
    unfinished = [trial for trial in study.trials if trial.status not in ("complete", "stopped")]
    if not unfinished:
        return
    page.heading("Failed and unfinished trials")
    rows = [
        [
            link(trial, study),
            trial.phase,
            trial.status,
            str(trial.state.reason or WITHOUT_REASON.get(trial.status, "no reason recorded")),
            cell_text(trial.seed),
            f"{trial.epochs} of {cell_text(trial.epochs_planned)}",
        ]
        for trial in unfinished
    ]
    page.table(["configuration", "phase", "status", "reason", "seed", "epochs"], rows, left=4, in_paper=False)


def confirmation_section(page: Page, study: StudyResults) -> None:
    """Each confirmed run behind the means; nothing where there are none."""
    trials = study.of_phase("confirm")
    if not trials:
        return
    page.heading("Confirmation runs")
    metrics = [f"{split}/{study.primary_metric.rpartition('/')[2]}" for split in ("test", "val")]
    rows = [
        [
            link(trial, study),
            trial.status,
            cell_text(trial.seed),
            f"{trial.epochs} of {cell_text(trial.epochs_planned)}",
            *(number(trial.result(metric)) for metric in metrics),
            duration(trial.seconds),
        ]
        for trial in sorted(trials, key=lambda trial: (trial.arm != study.baseline, trial.arm, trial.seed or 0))
    ]
    page.table(
        ["configuration", "status", "seed", "epochs", *(f"{title(metric)}, points" for metric in metrics), "time"],
        rows,
        left=2,
        in_paper=False,
    )


def protocol_section(page: Page, study: StudyResults) -> None:
    """What all configurations share."""
    state = study.state
    split, data = state.split, state.data
    page.heading("Protocol")
    page.paragraph(
        f"Hash {state.protocol_hash or 'unknown'}. Factors: {_listed(state.factors)}. "
        f"Other differences that the file allows: {_listed(state.allow_differences)}."
    )
    differences = allowed_differences(study)
    if differences:
        page.bullets(differences)
    counts = split.counts
    sizes = [f"{part} {_counts(counts[part])}" for part in ("train", "val", "test") if part in counts]
    facts = [
        ["split", f"{how_text(study.split_how or 'unknown')}, hash {split.hash or 'unknown'}"],
        *([["images and boxes", "; ".join(sizes)]] if sizes else []),
        ["data fingerprint", data.fingerprint or "unknown"],
        *([["layout", ". ".join([data.layout, *data.notes])]] if data.layout else []),
        *([["classes", ", ".join(data.classes)]] if data.classes else []),
        *([f"range of {modality} pixels", text] for modality, text in data.ranges.items()),
        ["code version", _of_all(trial.state.code_version for trial in study.trials)],
        ["device", _of_all(trial.state.device for trial in study.trials)],
        ["packages", _packages(study.trials)],
    ]
    settings = [
        [str(path), "none" if value is None else cell_text(value)]
        for path, value in sorted(state.protocol.items())
        if not path.startswith(("packages.", "code_version", "split_", "data_fingerprint"))  # in the rows above
    ]
    page.table(["field", "value"], [*facts, *settings], left=2)


def link(trial: Trial, study: StudyResults) -> str:
    """The trial's configuration as a link to its run folder, from the report's folder."""
    return f"[{study.label(trial.arm)}](../{trial.folder.parent.name}/{trial.name}/)"


def _counts(part: Mapping[str, Any]) -> str:
    ignored = f" and {count(part['ignored'], 'ignore region')}" if part.get("ignored") else ""
    return f"{part.get('images', '?')} images with {part.get('boxes', '?')} boxes{ignored}"


def _packages(trials: Iterable[Trial]) -> str:
    """Each with its version; those of plugins are noted by the runs that use them alone."""
    found = [item for trial in trials for item in (trial.state.packages or {}).items()]
    return _of_all([", ".join(f"{name} {version}" for name, version in dict.fromkeys(found))])


def _of_all(values: Iterable[Any]) -> str:
    known = dict.fromkeys(str(value) for value in values if value)
    return " / ".join(known) or "unknown"


def _listed(names: Sequence[Any] | None) -> str:
    return ", ".join(str(name) for name in names or []) or "none"
