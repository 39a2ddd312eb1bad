"""A study's folder read back: its description, its trials, and what is wrong with them."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pandas as pd

from tune_cmx.errors import DataError
from tune_cmx.evidence.records import StudyRecords, Trial


def read_study(folder: Path) -> StudyRecords:
    """The records of a study, as far as they can be read.

    Raises:
        DataError: There is no readable study.json; damaged trials are listed in `problems` instead.
    """
    folder = Path(folder)
    if not (folder / "study.json").is_file():
        raise DataError(f"{folder}: no study.json here; give the folder that a search wrote")
    try:
        study = json.loads((folder / "study.json").read_text(encoding="utf-8"))
    except ValueError as error:
        raise DataError(f"{folder / 'study.json'}: not JSON: {error}") from error
    if not isinstance(study, dict):
        raise DataError(f"{folder / 'study.json'}: needs an object; got {type(study).__name__}")
    problems: list[str] = []
    places = sorted(place for place in (folder / "records").glob("*") if place.is_dir())
    trials = [trial for place in places if (trial := _read_trial(place, problems)) is not None]
    return StudyRecords(folder, study, tuple(trials), _read_rungs(folder, problems), tuple(problems))


def _read_trial(place: Path, problems: list[str]) -> Trial | None:
    info = _read_object(place / "trial.json", problems)
    if info is None:
        return None
    config = _read_object(place / "config.json", problems) or {}
    final = _read_object(place / "final_results.json", problems, needed=info.get("status") == "complete") or {}
    reported_on = final.get("split")
    results = dict(final.get("results_by_split") or {})
    if reported_on and final.get("results"):
        results.setdefault(reported_on, final["results"])
    return Trial(
        name=place.name,
        folder=place,
        info=info,
        config=config,
        metrics=_read_metrics(place / "metrics.csv", problems),
        results=results,
        reported_on=reported_on,
    )


def _read_object(path: Path, problems: list[str], needed: bool = True) -> dict[str, Any] | None:
    place = f"{path.parent.name}/{path.name}"
    if not path.is_file():
        if needed:
            problems.append(f"{place} is missing")
        return None
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        problems.append(f"{place} is not JSON: {error}")
        return None
    if not isinstance(content, dict):
        problems.append(f"{place} needs an object; got {type(content).__name__}")
        return None
    return content


def _read_metrics(path: Path, problems: list[str]) -> pd.DataFrame:
    """Epochs in order; of an epoch that stands there twice the later row, with a word about it."""
    place = f"{path.parent.name}/{path.name}"
    if not path.is_file() or path.stat().st_size == 0:
        return pd.DataFrame()
    try:
        table = pd.read_csv(path)
    except (ValueError, pd.errors.ParserError) as error:
        problems.append(f"{place} cannot be read: {error}")
        return pd.DataFrame()
    if "epoch" not in table:
        problems.append(f"{place} has no column epoch")
        return pd.DataFrame()
    if table["epoch"].duplicated().any():
        problems.append(f"{place} has epochs more than once; the later rows are used")
        table = table.drop_duplicates("epoch", keep="last")
    return table.sort_values("epoch", ignore_index=True)


def _read_rungs(folder: Path, problems: list[str]) -> tuple[Mapping[str, Any], ...]:
    path = folder / "search" / "rungs.jsonl"
    if not path.is_file():
        return ()
    latest: dict[tuple[str, Any], Mapping[str, Any]] = {}
    for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), start=1):
        if not line.strip():
            continue
        try:
            entry = json.loads(line)
            latest[(str(entry["trial"]), entry["rung"])] = entry
        except (ValueError, KeyError, TypeError):
            problems.append(f"search/rungs.jsonl, line {number} cannot be read")
    return tuple(latest.values())
