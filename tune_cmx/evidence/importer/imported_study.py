"""Write collected runs as a study folder, in the form that a search writes."""

import datetime
import json
import os
import re
import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from tune_cmx.config.names import MOST_LETTERS, field_text, free_name, fusion_title, stages_text
from tune_cmx.errors import ConfigError
from tune_cmx.evidence.importer.collect import Collected
from tune_cmx.evidence.importer.forms import Run
from tune_cmx.evidence.importer.imported_claims import answered
from tune_cmx.evidence.importer.vocabulary import IMPORTED, PATHS, Names, config_of, is_fusion
from tune_cmx.evidence.results.reading import read_study
from tune_cmx.metrics import scored
from tune_cmx.old_form import FORM
from tune_cmx.state.final_results import RESULTS_FILE, FinalResults
from tune_cmx.state.json_file import parsed, write_json
from tune_cmx.state.study_state import STUDY_FILE, ArmState, new_study_state, write_study_state
from tune_cmx.state.trial_state import TRIAL_FILE, TrialState, new_trial_state, write_trial_state

_UNKNOWN = ("code_version", "packages", "split_hash", "split_how", "data_fingerprint", "device", "protocol_hash")


def write_import(
    found: Collected, folder: Path, claims: Sequence[Mapping[str, Any]] = (), names: Names | None = None
) -> None:
    """Write the study's folder, whole or not at all.

    Args:
        found: The runs, at least one.
        folder: Must not exist.
        claims: What the earlier report claimed, as `imported_claims.answered` reads it.
        names: What the sources' columns stand for, so that claims can use the sources' names.

    Raises:
        ConfigError: The folder is there, or a claim cannot be read.
    """
    refuse_existing(folder)
    folder.parent.mkdir(parents=True, exist_ok=True)
    partial = folder.with_name(f".{folder.name}.{os.getpid()}.partial")
    try:
        _write(found, partial, folder.name, claims, names or Names())
        answered(read_study(partial))
        partial.rename(folder)
    finally:
        shutil.rmtree(partial, ignore_errors=True)


def refuse_existing(folder: Path) -> None:
    """Raise where something would be overwritten."""
    if folder.exists():
        raise ConfigError(
            f"{folder}: exists, and an import changes no earlier import; take another --name, or delete the folder"
        )


def _write(found: Collected, folder: Path, name: str, claims: Sequence[Mapping[str, Any]], columns: Names) -> None:
    varying = varying_fields(found.runs)
    arms = _arms(found.runs, varying)
    names = _folder_names(found.runs)
    for run in found.runs:
        place = folder / "trials" / names[id(run)]
        place.mkdir(parents=True)
        arm, about = arms[_likeness(run)]
        write_json(place / "config.json", config_of(run.fields) if not run.by_split else run.content)
        write_trial_state(place / TRIAL_FILE, _trial(run, names[id(run)], arm, about.label))
        write_json(place / RESULTS_FILE, _results(run).as_json())
    baselines = list(dict.fromkeys(arms[_likeness(run)][0] for run in found.baselines))
    about_import = {
        "at": datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
        "sources": found.sources,
        "baselines": baselines,
        "refused": found.refused,
        "repeated": [{"left_out": run.source, "same_as": other.source} for run, other in found.repeated],
        "notes": found.notes,
        "claims": json.loads(json.dumps([dict(claim) for claim in claims], default=str)),  # YAML has dates
        "columns": dict(columns.columns),
        "protocol": sorted(columns.protocol),
    }
    state = new_study_state(
        folder / STUDY_FILE,
        form=FORM,
        study=name,
        question=None,
        factors=[PATHS.get(field, field) for field in varying],
        baseline=baselines[0] if len(baselines) == 1 else None,
        arms={arm: about.as_json() for arm, about in arms.values()},
        claims=[],
        status=IMPORTED,
        imported=about_import,
    )
    write_study_state(folder / STUDY_FILE, state)


def varying_fields(runs: Sequence[Run]) -> list[str]:
    """Fields in which the runs differ, those of the fusion first; one that not all know varies too."""
    fields = dict.fromkeys(field for run in runs for field in run.fields)
    differ = [field for field in fields if len({str(run.fields.get(field)) for run in runs}) > 1]
    return sorted(differ, key=lambda field: not is_fusion(field))


def _arms(runs: Sequence[Run], varying: Sequence[str]) -> dict[str, tuple[str, ArmState]]:
    """By configuration: the arm's name, which is its id too, and what study.json says of it.

    A table's column `arm` names the arms. Without it, runs with equal fields are one arm, named by what varies.
    """
    arms: dict[str, tuple[str, ArmState]] = {}
    labels = {str(run.says["arm"]) for run in runs if "arm" in run.says}
    for run in runs:
        if _likeness(run) in arms:
            continue
        known = {field: run.fields[field] for field in varying if field in run.fields}
        own = run.says.get("arm")
        label = str(own) if own else free_name(_label(run.fields, known), labels)
        labels.add(label)
        about = ArmState(label=label, values=known, config=config_of(run.fields), differs=())
        arms[_likeness(run)] = label, about
    return arms


def _label(fields: Mapping[str, Any], varying: Mapping[str, Any]) -> str:
    """A name of at most 40 letters: the fusion, its stages, and what else varies, as far as it fits."""
    stages = varying.get("stages")
    placed = stages_text([int(stage) for stage in stages.split("+")]) if stages else ""
    fusion = fusion_title(str(fields["fusion"])) if "fusion" in fields else ""
    name = " at ".join(part for part in (fusion, placed) if part)
    for field, value in varying.items():
        if field not in ("fusion", "stages"):
            longer = ", ".join(part for part in (name, field_text(PATHS.get(field, field), value)) if part)
            name = longer if len(longer) <= MOST_LETTERS else name
    return name or "run"


def _likeness(run: Run) -> str:
    """Equal for runs of one arm."""
    if "arm" in run.says:
        return f"arm {run.says['arm']}"
    return json.dumps({field: run.fields[field] for field in sorted(run.fields)}, sort_keys=True, default=str)


def _folder_names(runs: Sequence[Run]) -> dict[int, str]:
    taken: set[str] = set()
    return {id(run): _free(_slug(run.name), taken) for run in runs}


def _trial(run: Run, name: str, arm: str, label: str | None) -> TrialState:
    """What is not known is null; the seconds are the source's hours.

    Raises:
        DataError: The source has a value that `trial.json` does not allow.
    """
    says = dict(run.says)
    hours = run.figures.get("hours")
    own = {key: says.pop(key, None) for key in ("seed", "seconds", "epochs_planned", *_UNKNOWN)}
    fields = {
        "id": name,
        **own,
        "seconds": own["seconds"] or (None if hours is None else 3600 * hours),
        "epochs_planned": own["epochs_planned"] or run.fields.get("epochs"),
        "epochs": None,
        "status": IMPORTED,
        "reason": None,
        "arm": arm,
        "label": label,
        "phase": IMPORTED,
        "lineage": [],
        "stopped": None,
        "parameters": None,
        "imported": {
            "source": run.source,
            "name": run.name,
            "fields": dict(run.fields),
            "figures": dict(run.figures),
            "printed": dict(run.printed),
            "says": says,
        },
    }
    return new_trial_state(Path(run.source), **fields)


def _results(run: Run) -> FinalResults:
    """The content of `final_results.json`; the split stays null where the source names none."""
    figures = run.figures
    millions = figures.get("params_M")
    content = {
        "experiment_id": run.name,
        "config": dict(run.content),
        "results": {metric: figures.get(metric) for metric in scored()},
        "split": run.says.get("reported_on"),
        "results_by_split": dict(run.by_split),
        "training": {"total_time_hours": figures.get("hours"), "final_train_loss": figures.get("train_loss")},
        "model": {"total_params_M": millions},
    }
    return parsed(FinalResults, content, run.source)


def _slug(text: str) -> str:
    return re.sub(r"[^A-Za-z0-9.+_]+", "-", text).strip("-.")[:80] or "run"


def _free(name: str, taken: set[str]) -> str:
    """The name, or the first of name-2, name-3, ... that is not taken, which then is."""
    number = 1
    while (found := name if number == 1 else f"{name}-{number}") in taken:
        number += 1
    taken.add(found)
    return found
