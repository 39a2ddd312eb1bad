"""The studies and single runs below a folder."""

import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from tune_cmx.errors import DataError
from tune_cmx.evidence.results.reading import read_run, read_study
from tune_cmx.evidence.results.study_results import StudyResults, Trial
from tune_cmx.old_form import OLD_TRIALS, TRIALS
from tune_cmx.state.study_state import STUDY_FILE
from tune_cmx.state.trial_state import TRIAL_FILE


@dataclass(frozen=True)
class Found:
    """One folder. A damaged one has neither `study` nor `run`."""

    folder: Path
    study: StudyResults | None = None
    run: Trial | None = None
    problems: tuple[str, ...] = ()
    """What could not be read, a sentence each."""


def find(folder: Path) -> Iterator[Found]:
    """Each study and each single run at or below a folder, in the order of names. Links are not followed.

    Raises:
        DataError: There is no such folder.
    """
    if not folder.is_dir():
        raise DataError(f"{folder}: there is no such folder; name the folder that holds the studies, as in runs")
    for place, folders, files in os.walk(folder):
        folders.sort()
        kind = _kind(Path(place), folders, files)
        if kind is not None:
            folders.clear()
            yield _read(Path(place), kind)


def _kind(place: Path, folders: list[str], files: list[str]) -> Literal["study", "run"] | None:
    if STUDY_FILE in files:
        return "study"
    if TRIAL_FILE in files:
        return "run"
    without = any(name in folders and any((place / name).glob(f"*/{TRIAL_FILE}")) for name in (TRIALS, OLD_TRIALS))
    return "study" if without else None


def _read(folder: Path, kind: Literal["study", "run"]) -> Found:
    problems: list[str] = []
    if kind == "run":
        run = read_run(folder, problems)
        return Found(folder, run=run, problems=tuple(problems))
    try:
        study = read_study(folder)
    except (DataError, OSError) as error:
        return Found(folder, problems=(str(error),))
    return Found(folder, study=study, problems=study.problems)
