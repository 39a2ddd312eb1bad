"""What `delete` removes of a study folder, and what it keeps."""

import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from tune_cmx.errors import ConfigError, DataError
from tune_cmx.evidence.results.comparison import compare_arms
from tune_cmx.evidence.results.reading import read_study
from tune_cmx.evidence.results.selection import median_run, selected_arm, was_selected
from tune_cmx.evidence.results.study_results import StudyResults, Trial
from tune_cmx.evidence.studies.disk import freed_bytes, size_bytes
from tune_cmx.old_form import OLD_TRIALS, TRIALS, trials_folder
from tune_cmx.state.locks import LOCK_FILE, is_locked
from tune_cmx.state.study_state import STUDY_FILE

WEIGHTS = ("checkpoint", "model")
"""Folders with weights, in a run folder."""
_OF_RUN = (*WEIGHTS, "events.out.tfevents.*")
"""What --keep best removes of a run folder."""
_OF_STUDY = ("search/ray",)
"""What it removes besides: Ray's own files, which serve an interrupted search alone."""
_ENTRIES = (TRIALS, OLD_TRIALS, "data", "search", "report", "robustness.csv", "space.yaml", STUDY_FILE, LOCK_FILE)
"""What a study folder holds; study.json and the lock go last, so that an interrupted removal can be repeated."""


@dataclass(frozen=True)
class Removal:
    """What is to be removed."""

    folder: Path
    places: tuple[Path, ...]
    """Files, folders and links, in the order in which they are removed."""
    kept_runs: tuple[Trial, ...] = ()
    """Runs whose weights stay."""
    left: tuple[str, ...] = ()
    """What stays although it is in the folder, a sentence each."""

    @property
    def freed(self) -> int:
        """Bytes that the removal frees."""
        return freed_bytes(self.places)

    @property
    def kept(self) -> int:
        """Bytes that stay in the folder."""
        return size_bytes([self.folder]) - self.freed


def plan_removal(folder: Path, *, keep_best: bool) -> Removal:
    """What is to be removed of a study folder.

    Args:
        folder: As it was named; links are not resolved.
        keep_best: Keep what the report needs, and the weights of two runs: the median runs of the selected
            configuration and of the baseline.

    Raises:
        ConfigError: It is a link or no study folder, a process works on it, or nothing in it is best.
        DataError: study.json cannot be read, or a run that stays has no weights.
    """
    if folder.is_symlink():
        raise ConfigError(f"{folder}: is a symbolic link; name the folder itself: {folder.resolve()}")
    if not (folder / STUDY_FILE).is_file() or (folder / STUDY_FILE).is_symlink():
        what = f"no {STUDY_FILE} is in it" if folder.is_dir() else "there is no such folder"
        raise ConfigError(f"{folder}: {what}; delete removes study folders alone, as in runs/demo")
    study = read_study(folder)
    refuse_running(folder)
    return _all_but_best(study) if keep_best else _whole(folder)


def refuse_running(folder: Path) -> None:
    """Refuse a study that a process works on.

    Raises:
        ConfigError: A search of it runs, or a run of it is trained.
    """
    if is_locked(folder):
        raise ConfigError(f"{folder}: a search of this study is running; wait for it, or end it")
    for run in trials_folder(folder).glob("*"):
        if is_locked(run):
            raise ConfigError(f"{run}: a process is training this run; wait for it, or end it")


def remove(removal: Removal) -> None:
    """Remove the places, and the study folder if it is empty then. Links are removed, not what they point to."""
    for place in removal.places:
        if place.is_symlink() or not place.is_dir():
            place.unlink(missing_ok=True)
        else:
            shutil.rmtree(place)
    if not (removal.folder / STUDY_FILE).exists():
        (removal.folder / LOCK_FILE).unlink(missing_ok=True)  # the lock of the removal itself
    if not any(removal.folder.iterdir()):
        removal.folder.rmdir()


def _whole(folder: Path) -> Removal:
    found = [folder / name for name in _ENTRIES if (folder / name).is_symlink() or (folder / name).exists()]
    others = sorted(entry.name for entry in folder.iterdir() if entry.name not in _ENTRIES)
    left = [f"{name} is not the study's" for name in others]
    return Removal(folder, tuple(found), left=(*_links(found), *left))


def _all_but_best(study: StudyResults) -> Removal:
    if study.state.status != "complete":
        raise ConfigError(
            f"{study.folder}: the study is {study.state.status or 'of unknown status'}, and its trials need their "
            "checkpoints to resume; let it end (tune-cmx search SPACE --resume), or leave --keep out to delete it all"
        )
    selected = selected_arm(study, compare_arms(study))
    if selected is None or not was_selected(study, selected):
        raise ConfigError(f"{study.folder}: no configuration that the search selected has a confirmed run")
    kept = [run for arm in dict.fromkeys((selected, study.baseline)) if arm and (run := median_run(study, arm))]
    for run in kept:
        if not any((run.folder / name).is_dir() for name in WEIGHTS):
            raise DataError(
                f"{run.folder}: has neither {' nor '.join(WEIGHTS)}, so the weights of the median run would be lost; "
                "copy them back, or leave --keep out to delete all of the study"
            )
    trials = trials_folder(study.folder)
    runs = [] if trials.is_symlink() else sorted(run for run in trials.iterdir() if run.is_dir())
    places = [place for run in runs if not run.is_symlink() for place in _of_run(run, kept)]
    places += [study.folder / name for name in _OF_STUDY if (study.folder / name).exists()]
    return Removal(study.folder, tuple(places), tuple(kept), tuple(_links([trials, *runs])))


def _of_run(run: Path, kept: list[Trial]) -> Iterator[Path]:
    stays = WEIGHTS if run in [one.folder for one in kept] else ()
    for pattern in _OF_RUN:
        if pattern not in stays:
            yield from sorted(run.glob(pattern))


def _links(places: list[Path]) -> list[str]:
    return [f"{place} is a link; what it points to stays" for place in places if place.is_symlink()]
