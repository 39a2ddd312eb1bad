"""A study's folder read back: its description, its trials, and what is wrong with them."""

import csv
import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from tune_cmx.errors import DataError
from tune_cmx.evidence.results.study_results import StudyResults, Trial
from tune_cmx.old_form import current_decision, current_study, current_trial, is_old, trials_folder
from tune_cmx.state.damaged import parsed_as_far
from tune_cmx.state.final_results import RESULTS_FILE, FinalResults
from tune_cmx.state.json_file import json_object
from tune_cmx.state.rung_log import Decision, parse_decision
from tune_cmx.state.study_state import STUDY_FILE, StudyState
from tune_cmx.state.trial_state import TRIAL_FILE, TrialState

Types = tuple[type, ...]


def read_study(folder: Path) -> StudyResults:
    """The trials of a study, as far as they can be read.

    Raises:
        DataError: There is no readable study.json; damaged trials are listed in `problems` instead.
    """
    folder = Path(folder)
    if not (folder / "study.json").is_file():
        raise DataError(f"{folder}: no study.json here; give the folder that a search wrote")
    study = json_object(folder / STUDY_FILE, (folder / STUDY_FILE).read_bytes())
    old = is_old(study)
    study = current_study(study, folder / "study.json")
    problems: list[str] = []
    state = parsed_as_far(StudyState, study, STUDY_FILE, problems, {"study": folder.name})
    if state.imported is None:
        problems += defaults_taken(state)
    places = sorted(place for place in trials_folder(folder).glob("*") if place.is_dir())
    trials = [trial for place in places if (trial := read_run(place, problems, old=old)) is not None]
    return StudyResults(folder, state, tuple(trials), _read_rungs(folder, problems, old), tuple(problems))


def defaults_taken(state: StudyState) -> list[str]:
    """A sentence for each setting of the search that `study.json` lacks and for which the report takes a default."""
    stopping = state.early_stopping
    lacking = {
        "metric; the report takes val/mAP": stopping.metric or state.selection.metric,
        "compare_at; the report takes epoch": stopping.compare_at,
        "smooth_epochs; the report takes 1": stopping.smooth_epochs,
    }
    return [f"{STUDY_FILE} lacks early_stopping.{words}" for words, value in lacking.items() if value is None]


def read_run(place: Path, problems: list[str], *, old: bool = False) -> Trial | None:
    """Read a run folder as far as possible.

    Args:
        place: The run folder.
        problems: Receives a sentence for each thing that is wrong.
        old: Whether version 0.1.0 wrote it.

    Returns:
        The trial; None: its trial.json cannot be read.
    """
    content = _read_object(place / TRIAL_FILE, problems)
    if content is None:
        return None
    least = {"id": place.name, "arm": place.name, "phase": "single", "status": "unknown"}
    found = current_trial(content) if old else content
    state = parsed_as_far(TrialState, found, f"{place.name}/{TRIAL_FILE}", problems, least)
    config = _read_object(place / "config.json", problems) or {}
    sections: dict[str, Types] = dict.fromkeys(("model", "data", "schedule", "compute"), (dict,))
    _drop_wrong(config, sections, f"{place.name}/config.json", problems)
    final = _read_object(place / RESULTS_FILE, problems, needed=state.status == "complete") or {}
    return Trial(
        name=place.name,
        folder=place,
        state=state,
        config=config,
        metrics=_read_metrics(place / "metrics.csv", problems),
        final=parsed_as_far(FinalResults, final, f"{place.name}/{RESULTS_FILE}", problems, {}),
    )


def _drop_wrong(content: dict[str, Any], types: Mapping[str, Types], place: str, problems: list[str]) -> None:
    """Drop what is of another type than it must be, and say so."""
    for key, wanted in types.items():
        value = content.get(key)
        if value is None:
            continue
        if not isinstance(value, wanted):
            problems.append(f"{place}: {key} cannot be {value!r:.40}; it is left out")
            del content[key]


def _read_object(path: Path, problems: list[str], needed: bool = True) -> dict[str, Any] | None:
    place = f"{path.parent.name}/{path.name}"
    if not path.is_file():
        if needed:
            problems.append(f"{place} is missing")
        return None
    try:
        return json_object(Path(place), path.read_bytes())
    except DataError as error:
        problems.append(str(error))
        return None


def _read_metrics(path: Path, problems: list[str]) -> pd.DataFrame:
    """Epochs in order; of an epoch that stands there twice the later row, with a word about it."""
    place = f"{path.parent.name}/{path.name}"
    if not path.is_file() or path.stat().st_size == 0:
        return pd.DataFrame()
    try:  # by csv, as pandas takes five times as long for so few rows, and a study has many such files
        with path.open(newline="", encoding="utf-8") as file:
            header, *rows = [row for row in csv.reader(file) if row]
        if any(len(row) > len(header) for row in rows):
            raise ValueError("a row has more cells than the header")
    except (ValueError, csv.Error) as error:
        problems.append(f"{place} cannot be read: {error}")
        return pd.DataFrame()
    if "epoch" not in header:
        problems.append(f"{place} has no column epoch")
        return pd.DataFrame()
    columns = {
        name: [_number(row[at]) if at < len(row) else math.nan for row in rows] for at, name in enumerate(header)
    }
    if any(None in column for column in columns.values()):
        problems.append(f"{place} has cells that are no numbers; they are left out")
        columns = {name: [math.nan if one is None else one for one in column] for name, column in columns.items()}
    table = pd.DataFrame(columns)
    epochs = table["epoch"].to_numpy(dtype=float)
    if np.isfinite(epochs).all() and (np.diff(epochs) > 0).all():
        return table  # as a run writes it
    if table["epoch"].hasnans:
        table = table.dropna(subset=["epoch"])
    if table["epoch"].duplicated().any():
        problems.append(f"{place} has epochs more than once; the later rows are used")
        table = table.drop_duplicates("epoch", keep="last")
    return table.sort_values("epoch", ignore_index=True)


def _number(cell: str) -> float | None:
    """None for a cell that cannot be read. An empty cell is nan."""
    try:
        return int(cell) if cell.isdecimal() and len(cell) < 16 else float(cell or "nan")
    except ValueError:
        return None


def _read_rungs(folder: Path, problems: list[str], old: bool) -> tuple[Decision, ...]:
    path = folder / "search" / "rungs.jsonl"
    if not path.is_file():
        return ()
    latest: dict[tuple[str, float], Decision] = {}
    for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), start=1):
        if not line.strip():
            continue
        place = f"search/rungs.jsonl, line {number}"
        try:
            entry = json_object(Path(place), line)
            found = parse_decision(current_decision(entry) if old else entry, place)
            latest[(found.trial, found.rung)] = found
        except DataError:
            problems.append(f"{place} cannot be read")
    return tuple(latest.values())
