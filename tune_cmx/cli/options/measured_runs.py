"""The runs that the argument of `robustness` names."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from tune_cmx.cli.earlier import study_copy
from tune_cmx.cli.output import warn
from tune_cmx.config.parse import read_trial
from tune_cmx.config.trial import TrialConfig
from tune_cmx.counting import count
from tune_cmx.errors import ConfigError
from tune_cmx.state.study_state import STUDY_FILE
from tune_cmx.state.trial_state import TRIAL_FILE

if TYPE_CHECKING:
    from tune_cmx.evidence.results.study_results import Trial
    from tune_cmx.storage import Mirror


@dataclass(frozen=True)
class MeasuredRuns:
    """What is to be measured, and where its results go."""

    folder: Path
    trials: Sequence["Trial"]
    label: Callable[[str], str]
    """Of an arm."""
    data: Path
    """The folder that holds the split and the audit."""
    study: bool
    """False: a single run folder."""
    mirror: "Mirror | None" = None


def measured_runs(text: str) -> MeasuredRuns:
    """What the argument names.

    Raises:
        ConfigError: It is neither a study nor a run folder, or holds no complete run.
    """
    from tune_cmx.evidence.results.reading import read_run, read_study
    from tune_cmx.training.corruption_scores import refuse_unfinished

    folder, mirror = study_copy(text) if "://" in text else (Path(text).resolve(), None)
    if (folder / STUDY_FILE).is_file():
        results = read_study(folder)
        for problem in results.problems:
            warn(problem)
        if not results.confirmed:
            raise ConfigError(
                f"{folder}: no confirmation run is complete; let the search end (tune-cmx search SPACE --resume), or "
                "name one run folder"
            )
        left = [trial.name for trial in results.of_phase("confirm") if trial.status != "complete"]
        if left:
            warn(f"{count(len(left), 'confirmation run')} not complete and left out: {', '.join(left)}")
        return MeasuredRuns(folder, results.confirmed, results.label, folder / "data", study=True, mirror=mirror)
    if not (folder / TRIAL_FILE).is_file():
        what = f"neither {STUDY_FILE} nor {TRIAL_FILE} is in it" if folder.is_dir() else "there is no such folder"
        raise ConfigError(f"{folder}: {what}; name a study folder, as in runs/demo, or one run folder")
    problems: list[str] = []
    trial = read_run(folder, problems)
    if trial is None:
        raise ConfigError(f"{folder}: cannot be measured: {'; '.join(problems)}")
    refuse_unfinished(folder, trial.status)
    label = trial.state.label or trial.arm
    own = folder / "data"
    return MeasuredRuns(
        folder, [trial], lambda _: label, own if own.is_dir() else folder.parents[1] / "data", study=False
    )


def config_of(trial: "Trial") -> TrialConfig | None:
    """A run's configuration. None: it cannot be read, and a later message says so."""
    try:
        return read_trial(trial.folder / "config.json")
    except ConfigError:
        return None
