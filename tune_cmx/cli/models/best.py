"""`tune-cmx best`: the model that stands for a study, or the model of one run, taken out of its folder."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.markup import escape

from tune_cmx.cli.earlier import study_copy
from tune_cmx.cli.options.flags import DATA, OUTPUT, Labels, Sequences, data_settings
from tune_cmx.cli.output import out, say, warn
from tune_cmx.cli.prepare import prepare_data
from tune_cmx.config.parse import read_trial
from tune_cmx.counting import count
from tune_cmx.errors import ConfigError, DataError
from tune_cmx.old_form import TRIALS, ground_truth_file
from tune_cmx.state.data_files import SPLIT_FILE
from tune_cmx.state.model_state import MODEL_FILE
from tune_cmx.state.study_state import STUDY_FILE
from tune_cmx.state.trial_state import TRIAL_FILE

if TYPE_CHECKING:
    from tune_cmx.evidence.results.study_results import StudyResults, Trial
    from tune_cmx.storage import Mirror

RULE = "the run of median validation score"


@dataclass(frozen=True)
class _Chosen:
    """A run, and where the files beside it are."""

    trial: "Trial"
    home: Path
    """The study folder, or the run folder of a single trial; its `data/` holds split and ground truth."""
    study: "StudyResults | None" = None
    mirror: "Mirror | None" = None


def best(
    study: Annotated[
        str, typer.Argument(help="Folder or URI of a study, for its selected configuration; or one run folder.")
    ],
    export: Annotated[
        Path | None,
        typer.Option(
            "--export",
            help="Folder that receives the model: weights, configuration, metrics and model card. Default: nothing is "
            "written.",
            rich_help_panel=OUTPUT,
        ),
    ] = None,
    license: Annotated[
        str | None,
        typer.Option(
            "--license",
            help="Licence of the weights for the model card, such as apache-2.0. Default: not stated.",
            rich_help_panel=OUTPUT,
        ),
    ] = None,
    force: Annotated[
        bool, typer.Option("--force", help="Replace a model that is in --export.", rich_help_panel=OUTPUT)
    ] = False,
    data: Annotated[
        str | None,
        typer.Option(
            "--data",
            help="Folder of the training images; only for a run of an earlier version, which left no model folder. "
            "Default: as in the run's configuration.",
            rich_help_panel=DATA,
        ),
    ] = None,
    labels: Labels = None,
    sequences: Sequences = None,
) -> None:
    """Name the run that stands for a study, and take its model out with --export.

    It is the confirmation run of the selected configuration with the median validation score. Test scores do not choose
    it.

    Examples:

    `tune-cmx best runs/cssa-stages --export models/cssa`

    `tune-cmx best runs/trial --export models/trial --license apache-2.0`
    """
    chosen = _run(study) if not _is_study(study) else _of_study(study)
    if export is not None:
        _export(
            chosen, export.resolve(), license, force, data_settings(data, labels, None, None, None, sequences, None)
        )
    out.print(f"[bold]{escape(_last_line(chosen, export))}[/bold]", soft_wrap=True)


def _is_study(text: str) -> bool:
    return "://" in text or (Path(text) / STUDY_FILE).is_file()


def _of_study(text: str) -> _Chosen:
    """The run that stands for the selected configuration.

    Raises:
        ConfigError: No configuration was selected, or it has no complete confirmation run.
    """
    from tune_cmx.evidence.results.comparison import compare_arms
    from tune_cmx.evidence.results.reading import read_study
    from tune_cmx.evidence.results.selection import median_run, selected_arm, was_selected

    folder, mirror = study_copy(text) if "://" in text else (Path(text).resolve(), None)
    study = read_study(folder)
    if study.state.imported is not None:
        raise ConfigError(f"{folder}: its runs are imported and have no weights; name a study that tune-cmx trained")
    arm = selected_arm(study, compare_arms(study))
    if arm is None or not was_selected(study, arm):
        what = "no configuration but the baseline has" if study.confirmed else "no configuration has"
        raise ConfigError(
            f"{folder}: {what} a complete confirmation run that the search selected (status: {study.state.status}); "
            "let the search end (tune-cmx search SPACE --resume), or name one run folder"
        )
    trial = median_run(study, arm)
    assert trial is not None, "a selected configuration has confirmed runs"
    if study.winner not in (None, arm):
        warn(
            f"after confirmation, {study.label(str(study.winner))} has the higher validation mean; the search had "
            f"selected {study.label(arm)}. To take out the other, name one of its run folders"
        )
    runs = sum(one.arm == arm for one in study.confirmed)
    say(f"selected configuration: {escape(study.label(arm))}; {RULE} of {count(runs, 'run')}, not the highest by test")
    return _Chosen(trial, folder, study, mirror)


def _run(text: str) -> _Chosen:
    """One run folder.

    Raises:
        ConfigError: It is none, or its trial is not complete.
    """
    from tune_cmx.evidence.results.reading import read_run

    folder = Path(text).resolve()
    if not (folder / TRIAL_FILE).is_file():
        what = f"neither {STUDY_FILE} nor {TRIAL_FILE} is in it" if folder.is_dir() else "there is no such folder"
        raise ConfigError(f"{folder}: {what}; name a study folder, as in runs/demo, or one run folder")
    problems: list[str] = []
    trial = read_run(folder, problems)
    if trial is None:
        raise ConfigError(f"{folder}: cannot be read: {'; '.join(problems)}")
    if trial.status != "complete":
        raise ConfigError(
            f"{folder}: this trial is not complete (status: {trial.status}), so it has no model; resume it: `tune-cmx "
            "search ... --resume` for a study, the same `tune-cmx train` for a single trial"
        )
    return _Chosen(trial, folder if (folder / "data").is_dir() else folder.parent.parent)


def _export(chosen: _Chosen, target: Path, license: str | None, force: bool, moved: Mapping[str, Any]) -> None:
    from tune_cmx.inference.model_folder import IN_RUN, export_run, leave_model, refuse_occupied
    from tune_cmx.training.run_folder import RunFolder

    refuse_occupied(target, force=force)
    trial = chosen.trial
    if chosen.mirror is not None:
        chosen.mirror.pull(f"{TRIALS}/{trial.name}")  # with its weights
    if not (trial.folder / IN_RUN / MODEL_FILE).is_file():
        place, config = chosen.home / "data", read_trial(trial.folder / "config.json").data
        if not (place / SPLIT_FILE).is_file():
            raise ConfigError(f"{place}: no {SPLIT_FILE}, so the training images are not known; restore that folder")
        update = {path.removeprefix("data."): value for path, value in moved.items()}
        prepared = prepare_data(config.model_copy(update={**update, "split": None}), place)
        if prepared.hashes()["data_fingerprint"] != trial.state.data_fingerprint:
            raise DataError(f"{prepared.data.root}: are not the images of this run; name them with --data")
        if leave_model(RunFolder(trial.folder), prepared) is None:
            raise ConfigError(f"{trial.folder}: its weights are missing, or it is a run of the search; name another")
    fields: dict[str, Any] = {"license": license, "metrics": _metrics(chosen)}
    if chosen.study is not None:
        fields["chosen_from"] = _chosen_from(chosen.study, trial)
    export_run(trial.folder, target, force=force, **fields)


def _metrics(chosen: _Chosen) -> dict[str, dict[str, Any]]:
    """As in the run's `model.json`, with intervals of the split whose detections are stored."""
    from tune_cmx.evidence.results.run_intervals import run_intervals
    from tune_cmx.inference.model_folder import IN_RUN
    from tune_cmx.state.model_state import read_model_state

    trial = chosen.trial
    known = read_model_state(trial.folder / IN_RUN / MODEL_FILE).metrics
    found = {split: {name: one.as_json() for name, one in named.items()} for split, named in known.items()}
    split = trial.reported_on
    truth = _content(ground_truth_file(chosen.home, split)) if split else None
    detections = _content(trial.folder / "detections.json.gz")
    if split is None or truth is None or detections is None:
        warn("no test-set bootstrap interval: the ground truth or the stored detections are missing")
        return found
    for name, one in run_intervals(detections, truth).items():
        if name in found.get(split, {}) and one.ci95 is not None:
            found[split][name] |= {"interval": list(one.ci95), "n": one.units, "unit": one.unit}
    return found


def _content(path: Path) -> Any:
    """The JSON in a compressed file; None: it is missing or damaged."""
    import gzip
    import json

    if not path.is_file():
        return None
    try:
        return json.loads(gzip.decompress(path.read_bytes()))
    except (OSError, EOFError, ValueError):
        return None


def _chosen_from(study: "StudyResults", trial: "Trial") -> dict[str, Any]:
    from tune_cmx.evidence.statistics.difference import mean_interval

    runs = [one for one in study.confirmed if one.arm == trial.arm]
    values = [value for one in runs if (value := one.result(study.primary_metric)) is not None]
    return {
        "study": study.state.study,
        "configuration": study.label(trial.arm),
        "rule": RULE,
        "metric": study.primary_metric,
        "mean": sum(values) / len(values) if values else None,
        "interval": list(mean_interval(values)) if len(values) > 1 else None,
        "n": len(runs),
    }


def _last_line(chosen: _Chosen, export: Path | None) -> str:
    """Name, seed and scores of the run; with --export also where its model is."""
    from tune_cmx.evidence.report.metric_text import title

    trial = chosen.trial
    scores = [
        f"{title(f'{split}/mAP')} {value:.2f}"
        for split in ("val", "test")
        if (value := trial.result(f"{split}/mAP")) is not None
    ]
    parts = [f"run: {trial.name}", f"seed {trial.seed}", *scores]
    if export is not None:
        parts.append(f"model: {export.resolve()}")
    else:
        parts.append("to take its model out: --export DIR")
    return "; ".join(parts)
