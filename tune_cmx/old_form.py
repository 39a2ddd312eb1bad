"""Folders of studies written by version 0.1.0, read as if they had today's form.

Single fields with an older form are read where their model is: renamed keys in `config.section`, `control` in a claim
in `evidence.claims.form`, a model check's sentence in `model_audit`, a run without a noted divergence in
`evidence.results.training_curves`.

A `study.json` of today has the key `form`; version 0.1.0 wrote none. Old folders are read and never changed: `search`
refuses to resume them, because trials of two versions do not compare.
"""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from tune_cmx.config.names import baseline_name, configuration_name, free_name
from tune_cmx.config.parse import parse_trial
from tune_cmx.errors import ConfigError, DataError

FORM = 2
"""The form in which this version writes a study's folder; `form` in `study.json`."""
TRIALS, OLD_TRIALS = "trials", "records"
"""The folder of all run folders, now and in version 0.1.0."""
_OLD_BASELINE, _BASELINE = "control", "baseline"
_OLD_CONTINUE, _CONTINUE = "go on", "continue"
_OLD_KINDS = {"blank": "missing", "shift": "shifted", "delay": "delayed"}
"""Kinds of corruptions, then and now."""


def is_old(study: Mapping[str, Any]) -> bool:
    """Whether version 0.1.0 wrote this `study.json`."""
    return "form" not in study


def trials_folder(folder: Path) -> Path:
    """The folder that holds a study's run folders."""
    old = folder / OLD_TRIALS
    return old if old.is_dir() and not (folder / TRIALS).is_dir() else folder / TRIALS


def ground_truth_file(folder: Path, split: str) -> Path:
    """The file with the boxes of a split, in a study's folder."""
    file, old = folder / "data" / f"ground_truth_{split}.json.gz", folder / "data" / f"truth_{split}.json.gz"
    return old if old.is_file() and not file.is_file() else file


def current_study(content: Mapping[str, Any], path: Path) -> dict[str, Any]:
    """The content of a `study.json` in today's form.

    Args:
        content: The parsed file.
        path: Of the file, for messages.

    Raises:
        DataError: A newer version wrote it.
    """
    if not is_old(content):
        _refuse_unknown(content["form"], path)
        return dict(content)
    study = _renamed(content, control=_BASELINE, twins="equivalent")
    if study.get("baseline") == _OLD_BASELINE:
        study["baseline"] = _BASELINE
    for key in _SECTIONS:
        if isinstance(study.get(key), Mapping):
            study[key] = _SECTIONS[key](study[key])
    for key, convert in (("equivalent", _arm_ids), ("claims", _claim)):
        if isinstance(study.get(key), list):
            study[key] = [convert(entry) for entry in study[key]]
    return study if "imported" in study else {**study, "arms": _with_names(study.get("arms"))}


def current_trial(content: Mapping[str, Any]) -> dict[str, Any]:
    """The content of an old study's `trial.json` in today's form."""
    return {**content, "arm": _arm(content["arm"])} if "arm" in content else dict(content)


def current_decision(content: Mapping[str, Any]) -> dict[str, Any]:
    """A line of an old study's `search/rungs.jsonl` in today's form."""
    decision = content.get("decision")
    return {**content, "decision": _CONTINUE if decision == _OLD_CONTINUE else decision}


def current_robustness(content: Any) -> Any:
    """The content of a `robustness.json` in today's form; what has that form already stays as it is."""
    splits = content.get("splits") if isinstance(content, Mapping) else None
    if not isinstance(splits, Mapping):
        return content
    return {**content, "splits": {split: _robustness_of(part) for split, part in splits.items()}}


def refuse_resume(folder: Path, study: Mapping[str, Any]) -> None:
    """Refuse to continue a study of another form.

    Args:
        folder: The study's folder.
        study: The content of its `study.json`.

    Raises:
        ConfigError: Another version wrote it; the message names the version and what to do.
    """
    if not is_old(study):
        try:
            _refuse_unknown(study["form"], folder / "study.json")
        except DataError as error:
            raise ConfigError(str(error)) from error
        return
    version = _version(folder)
    raise ConfigError(
        f"{folder}: version {version} of tune-cmx wrote this study, and this version cannot resume it. Resume it with "
        f"that version, or start a new study: --output-dir ANOTHER --warm-start {folder} (needs searcher: tpe). "
        f"`tune-cmx report {folder}` still reads it"
    )


def _version(folder: Path) -> str:
    """The version on the study's runs; 0.1.0 where no run can be read."""
    for file in sorted(trials_folder(folder).glob("*/trial.json")):
        try:
            found = json.loads(file.read_bytes()).get("code_version")
        except (OSError, ValueError, AttributeError):
            continue
        if found:
            return str(found)
    return "0.1.0"


def _refuse_unknown(form: Any, path: Path) -> None:
    if form != FORM:
        raise DataError(
            f"{path}: form is {form!r}; this version reads form {FORM} and studies of version 0.1.0, which have no "
            "form. A newer version wrote it: install that version"
        )


def _renamed(content: Mapping[str, Any], **names: str) -> dict[str, Any]:
    """The content with today's keys; a keyword is the key of version 0.1.0."""
    return {names.get(key, key): value for key, value in content.items()}


def _arm(name: Any) -> Any:
    return _BASELINE if name == _OLD_BASELINE else name


def _arm_ids(names: Any) -> Any:
    return [_arm(name) for name in names] if isinstance(names, list) else names


def _arms(arms: Mapping[str, Any]) -> dict[str, Any]:
    return {_arm(name): about for name, about in arms.items()}


def _with_names(arms: Any) -> Any:
    """The arms with the names that configurations have today; with their old ones where a configuration is damaged."""
    try:
        configs = {arm: parse_trial(about["config"], source="study.json") for arm, about in arms.items()}
        names = {_BASELINE: baseline_name(configs[_BASELINE], arms[_BASELINE]["values"])}
        for arm, config in configs.items():
            if arm != _BASELINE:
                name = configuration_name(config, configs[_BASELINE], arms[arm]["values"])
                names[arm] = free_name(name, names.values())
        return {arm: {**about, "label": names[arm]} for arm, about in arms.items()}
    except (ConfigError, AttributeError, KeyError, TypeError):
        return arms


def _selection(selection: Mapping[str, Any]) -> dict[str, Any]:
    converted = {"finalists": _arm_ids(selection.get("finalists")), "winner": _arm(selection.get("winner"))}
    return {**selection, **{key: value for key, value in converted.items() if key in selection}}


def _import(about: Mapping[str, Any]) -> dict[str, Any]:
    return _renamed(about, controls="baselines")


def _split(split: Mapping[str, Any]) -> dict[str, Any]:
    counts = split.get("counts")
    if not isinstance(counts, Mapping):
        return dict(split)
    return {**split, "counts": {part: _renamed(about, frames="images") for part, about in counts.items()}}


def _early_stopping(stopping: Mapping[str, Any]) -> dict[str, Any]:
    """Studies older than the key `variant` had the stopping variant alone."""
    older = {"variant": "stop"} if stopping.get("kind") == "asha" else {}
    return {**older, **stopping}


_SECTIONS = {
    "early_stopping": _early_stopping,
    "arms": _arms,
    "selection": _selection,
    "imported": _import,
    "split": _split,
}


def _claim(claim: Any) -> Any:
    if not isinstance(claim, Mapping):
        return claim
    return {key: _side(value) for key, value in _renamed(claim, control=_BASELINE).items()}


def _side(value: Any) -> Any:
    if isinstance(value, Mapping) and value.get("arm") == _OLD_BASELINE:
        return {**value, "arm": _BASELINE}
    return _arm(value)


def _robustness_of(part: Any) -> Any:
    if not isinstance(part, Mapping):
        return part
    new = _renamed(part, undisturbed="clean", disturbed="corrupted")
    if isinstance(new.get("corrupted"), list):
        new["corrupted"] = [_corrupted(one) if isinstance(one, Mapping) else one for one in new["corrupted"]]
    return new


def _corrupted(outcome: Mapping[str, Any]) -> dict[str, Any]:
    new = _renamed(outcome, disturbance="corruption")
    corruption = new.get("corruption")
    if isinstance(corruption, Mapping) and corruption.get("kind") in _OLD_KINDS:
        new["corruption"] = {**corruption, "kind": _OLD_KINDS[corruption["kind"]]}
    return new
