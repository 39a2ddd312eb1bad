"""The option --warm-start of `search`: earlier trials, read from their run folders, with which the search begins."""

import re
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from tune_cmx.cli.options.flags import CONFIGURATION
from tune_cmx.cli.output import say, warn, warn_each
from tune_cmx.config.parse import validate
from tune_cmx.config.study import Study
from tune_cmx.counting import count
from tune_cmx.errors import ConfigError
from tune_cmx.state.study_state import STUDY_FILE, StudyState

if TYPE_CHECKING:
    from tune_cmx.evidence.results.study_results import Trial
    from tune_cmx.search.warm_start import Candidate, WarmStart

WarmStarts = Annotated[
    list[Path] | None,
    typer.Option(
        "--warm-start",
        help="Begin the search with the trials of this import or study; for searcher tpe. Repeatable.",
        rich_help_panel=CONFIGURATION,
    ),
]


def warm_started(study: Study, folders: Sequence[Path] | None, before: StudyState | None) -> Study:
    """The study, its search beginning with the trials of some folders.

    Args:
        study: Parsed.
        folders: Of imports and studies; none: the search begins with what it began with before.
        before: The study's `study.json` if the study is resumed. What it says is used, and no folder is read again.

    Raises:
        ConfigError: The searcher takes no observations, or the study that is resumed began with other folders.
    """
    from tune_cmx.search.warm_start import WarmStart, begun_with, choose, refuse_cold

    named = list(dict.fromkeys(str(folder.resolve()) for folder in folders or []))
    kept = None if before is None else before.searcher.warm_start
    if kept is not None:
        warm = validate(WarmStart, kept, source=STUDY_FILE, lines={}, prefix="searcher.warm_start")
        if named and named != list(warm.folders):
            raise ConfigError(
                f"--warm-start: the search began with {', '.join(warm.folders)}; leave --warm-start out, or start a "
                "new study with another --output-dir"
            )
        return begun_with(study, warm)
    if not named:
        return study
    if before is not None:
        raise ConfigError(
            "--warm-start: the search began without earlier trials; leave --warm-start out, or start a new study with "
            "another --output-dir"
        )
    refuse_cold(study)
    warm = choose(study, named, list(_candidates(named, study)))
    _say(warm)
    return begun_with(study, warm)


def _candidates(folders: Sequence[str], study: Study) -> "Iterator[Candidate]":
    """All trials of imports and studies, each under a name of its own."""
    from tune_cmx.evidence.results.reading import read_study

    short = [Path(folder).name for folder in folders]
    for folder, name in zip(folders, short, strict=True):
        place = name if short.count(name) == 1 else folder
        for trial in read_study(Path(folder)).trials:
            yield _candidate(f"{place}/{trial.name}", trial, study.file.early_stopping.metric)


def _candidate(name: str, trial: "Trial", metric: str) -> "Candidate":
    """A trial with its value, or the reason why it has none."""
    from tune_cmx.search.warm_start import Candidate

    imported = trial.state.imported
    ended = _ended(imported.says, trial.epochs_planned) if imported else trial.status
    if ended != "complete":
        at = f" at epoch {trial.epochs}" if trial.epochs else ""
        return Candidate(name, trial.config, None, f"{ended}{at}: its last value is no final one")
    value, figure = trial.result(metric), metric.rpartition("/")[2]
    if imported and value is None and trial.reported_on is None and figure in imported.figures:
        note = f"the split of some values is not known: their {figure} is taken for {metric}"
        return Candidate(name, trial.config, imported.figures[figure], note=note)
    reported = f"; it reports {trial.reported_on}" if trial.reported_on else ""
    return Candidate(name, trial.config, value, f"{metric}, on which the search selects, is not known{reported}")


def _ended(says: Mapping[str, Any], epochs: int | None) -> str:
    """How an imported run ended; one that its source calls nothing, and does not show to end early, is complete."""
    logged = [int(epoch) for epoch in re.findall(r"\d+", str(says.get("epochs_logged") or ""))]
    if logged and epochs is not None and max(logged) < epochs:
        return f"ended after {max(logged)} of {epochs} epochs"
    return str(says.get("status") or "complete")


def _say(warm: "WarmStart") -> None:
    say(f"the search begins with {count(len(warm.used), 'trial')} of {', '.join(warm.folders)}")
    for note in warm.notes:
        warn(note)
    warn_each("left out", [f"{left.name}: {left.reason}" for left in warm.left_out])
