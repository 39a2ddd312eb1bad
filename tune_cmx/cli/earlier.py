"""What lies in --output-dir from before, and whether a command may go on from it."""

import json
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tune_cmx.config.arms import BASELINE, differing
from tune_cmx.config.parse import dump, flatten, read_trial
from tune_cmx.config.trial import TrialConfig
from tune_cmx.errors import ConfigError
from tune_cmx.old_form import refuse_resume

if TYPE_CHECKING:
    from tune_cmx.storage import Mirror


def study_place(output_dir: str, name: str) -> tuple[Path, "Mirror | None"]:
    """A study's folder here, and what brings it to storage, where --output-dir is a URI; then what is there comes."""
    from tune_cmx.storage import Mirror, below, check_writable, is_uri
    from tune_cmx.storage.cache import driver_folder

    if not is_uri(output_dir):
        return (Path(output_dir) / name).resolve(), None
    uri = below(output_dir, name)
    check_writable(uri)
    mirror = Mirror(driver_folder(uri), uri)
    if mirror.exists("study.json"):
        mirror.pull_all()
    elif mirror.local.exists():
        shutil.rmtree(mirror.local)  # of a study that is no longer there
    return mirror.local, mirror


def study_copy(uri: str) -> tuple[Path, "Mirror"]:
    """A copy of a study on storage, beside the one that a search of it may be using.

    Raises:
        ConfigError: No study is there.
    """
    from tune_cmx.storage import Mirror
    from tune_cmx.storage.cache import reader_folder

    mirror = Mirror(reader_folder(uri), uri)
    if not mirror.exists("study.json"):
        raise ConfigError(f"{uri.partition('?')[0]}: no study is there; name its folder, as in s3://bucket/runs/demo")
    mirror.pull_all()
    return mirror.local, mirror


def earlier_session(folder: Path, *, resume: bool, resume_or_start: bool) -> dict[str, Any] | None:
    """The study's file from before; needed to resume, in the way of a new one, either with `resume_or_start`."""
    path = folder / "study.json"
    there = path.exists()
    if resume and not there:
        raise ConfigError(f"{folder}: no study to resume; leave --resume out, or name its --output-dir")
    if not there:
        return None
    study = _read_json(path)
    refuse_resume(folder, study)
    if not (resume or resume_or_start):
        raise ConfigError(f"{folder}: a study of that name is there; add --resume, or take another --output-dir")
    return study


def data_of_session(session: Mapping[str, Any]) -> dict[str, Any]:
    """The baseline's data as configuration paths, less the split, which the study's folder keeps, and augmentation."""
    kept = session["arms"][BASELINE]["config"]["data"]
    settings = {f"data.{key}": kept[key] for key in kept if kept[key] is not None}
    del settings["data.augment"]
    settings.pop("data.split", None)
    return settings


def earlier_trial(folder: Path, config: TrialConfig) -> bool:
    """Whether the trial was begun before; another one, or one that failed, is in the way."""
    if not (folder / "trial.json").exists():
        return False
    kept = read_trial(folder / "config.json")
    there = f"{folder}: holds another trial:"
    if kept.seed != config.seed:
        raise ConfigError(f"{there} its seed is {kept.seed}, not {config.seed}; take another --output-dir")
    if kept.placeless() != config.placeless():
        changed = differing(kept, config)
        more = f" (and {len(changed) - 1} more)" if changed[1:] else ""
        then, here = (flatten(dump(each)).get(changed[0]) for each in (kept, config))
        raise ConfigError(f"{there} its {changed[0]} is {then}, not {here}{more}; take another --output-dir")
    state = _read_json(folder / "trial.json")
    if state["status"] == "failed":
        raise ConfigError(f"{folder}: this trial failed: {state['reason']}; delete it, or take another --output-dir")
    return True


def _read_json(path: Path) -> dict[str, Any]:
    try:
        content: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise ConfigError(f"{path}: not valid JSON: {error}; restore it, or take another --output-dir") from error
    return content
