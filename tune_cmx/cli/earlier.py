"""What --output-dir holds from before, and whether a command may resume it."""

import shutil
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tune_cmx.config.arms import BASELINE, differing
from tune_cmx.config.parse import dump, flatten, read_trial
from tune_cmx.config.paths import get
from tune_cmx.config.study_rules import OPEN_DATA, STREAMS
from tune_cmx.config.trial import TrialConfig
from tune_cmx.errors import ConfigError
from tune_cmx.old_form import refuse_resume
from tune_cmx.state.json_file import json_object, parsed
from tune_cmx.state.study_state import STUDY_FILE, StudyState
from tune_cmx.state.trial_state import TRIAL_FILE, read_trial_state

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
    if mirror.exists(STUDY_FILE):
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
    if not mirror.exists(STUDY_FILE):
        raise ConfigError(f"{uri.partition('?')[0]}: no study is there; name its folder, as in s3://bucket/runs/demo")
    mirror.pull_all()
    return mirror.local, mirror


def earlier_session(folder: Path, *, resume: bool, resume_or_start: bool) -> StudyState | None:
    """The `study.json` of an earlier session; None if there is none.

    Raises:
        ConfigError: There is no study to resume, or a study in the way of a new one.
    """
    path = folder / STUDY_FILE
    there = path.exists()
    if resume and not there:
        raise ConfigError(f"{folder}: no study to resume; leave --resume out, or give its --output-dir")
    if not there:
        return None
    study = json_object(path, path.read_bytes())
    refuse_resume(folder, study)
    if not (resume or resume_or_start):
        raise ConfigError(f"{folder}: a study of that name exists; add --resume, or choose another --output-dir")
    return parsed(StudyState, study, path)


def data_of_session(session: StudyState) -> dict[str, Any]:
    """The baseline's data as configuration paths, without the split, which the study's folder keeps, and without what
    a study can search.

    Raises:
        ConfigError: The session's `study.json` does not have them.
    """
    kept = session.arms[BASELINE].config.get("data") if BASELINE in session.arms else None
    if not isinstance(kept, dict):
        raise ConfigError(
            f"{STUDY_FILE}: arms.{BASELINE}.config.data is missing; restore {STUDY_FILE} from a copy, or give --data"
        )
    settings = {f"data.{key}": kept[key] for key in kept if kept[key] is not None}
    for without in (*OPEN_DATA, "data.split"):
        settings.pop(without, None)
    return settings


def streams_of_session(session: StudyState) -> str | None:
    """The streams of a configuration that the search did not name streams for; None if there is no such one."""
    kept = (get(arm.config, STREAMS) for arm in session.arms.values() if STREAMS not in arm.values)
    return next((streams for streams in kept if isinstance(streams, str)), None)


def earlier_trial(folder: Path, config: TrialConfig) -> bool:
    """Whether the trial was begun before.

    Raises:
        ConfigError: The folder holds another trial, or this one failed.
    """
    if not (folder / TRIAL_FILE).exists():
        return False
    kept = read_trial(folder / "config.json")
    there = f"{folder}: this folder holds another trial:"
    if kept.seed != config.seed:
        raise ConfigError(f"{there} its seed is {kept.seed}, not {config.seed}; choose another --output-dir")
    if kept.placeless() != config.placeless():
        changed = differing(kept, config)
        more = f" (and {len(changed) - 1} more)" if changed[1:] else ""
        then, here = (flatten(dump(each)).get(changed[0]) for each in (kept, config))
        raise ConfigError(f"{there} its {changed[0]} is {then}, not {here}{more}; choose another --output-dir")
    state = read_trial_state(folder / TRIAL_FILE)
    if state.status == "failed":
        raise ConfigError(f"{folder}: this trial failed: {state.reason}; delete it, or choose another --output-dir")
    return True
