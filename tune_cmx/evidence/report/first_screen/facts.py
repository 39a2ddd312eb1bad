"""What a reader wants to know of a study before its answer: status, date, data, cost, code."""

from collections.abc import Iterable

from tune_cmx.evidence.results.device_hours import device_hours, hours_name
from tune_cmx.evidence.results.study_results import StudyResults
from tune_cmx.evidence.wording import count, hours_text, listed


def facts_line(study: StudyResults) -> str:
    """One line, such as `complete · 2026-11-29 · test: 20 images, 50 boxes · 0.1 GPU-hours · code 0.2.0+abc`."""
    split = study.primary_metric.partition("/")[0]
    trained = [trial for trial in study.trials if trial.seconds]
    facts = [
        str(study.state.status or "status unknown"),
        *_dates(trial.state.finished for trial in study.trials),
        *_size(study, split),
        *([f"{hours_text(device_hours(trained))} {hours_name(trained)}"] if trained else []),
        *_code(study),
    ]
    return " · ".join(facts)


def _dates(ends: Iterable[object]) -> list[str]:
    """The day of the last end, which is ISO 8601."""
    last = max((str(end) for end in ends if end), default="")
    return [last[:10]] if last[:4].isdigit() else []


def _size(study: StudyResults, split: str) -> list[str]:
    counts = study.state.split.counts.get(split, {})
    known = (
        (counts.get("images"), "image"),
        (counts.get("boxes"), "box"),
        (counts.get("ignored") or None, "ignore region"),
    )
    sizes = [count(n, noun) for n, noun in known if n is not None]
    sequences = study.state.split.sequences.get(split)
    sizes += [count(len(sequences), "sequence")] if sequences else []
    return [f"{split}: {', '.join(sizes)}"] if sizes else []


def _code(study: StudyResults) -> list[str]:
    versions = dict.fromkeys(trial.state.code_version for trial in study.trials if trial.state.code_version)
    return [f"code {listed(versions)}"] if versions else []
