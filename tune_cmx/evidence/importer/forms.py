"""The forms of earlier results: `final_results.json`, and tables with a run a row."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from decimal import Decimal
from pathlib import Path
from typing import Any

from tune_cmx.errors import DataError
from tune_cmx.evidence.claims.columns import read_columns
from tune_cmx.evidence.claims.notes import is_note, was_resumed
from tune_cmx.evidence.claims.rows import plain
from tune_cmx.evidence.importer.run_values import RunValues, typed
from tune_cmx.evidence.importer.vocabulary import Names, fields_of, is_partly_timed
from tune_cmx.metrics import METRICS, SPLITS, scored
from tune_cmx.state.final_results import FinalResults
from tune_cmx.state.json_file import json_object, parsed
from tune_cmx.state.trial_state import TRIAL_FILE, TrialState

_KNOWN_BESIDE = (
    *("seed", "status", "code_version", "packages", "split_hash", "split_how"),
    *("data_fingerprint", "device", "epochs_planned"),
)


@dataclass(frozen=True)
class Run:
    """One run as its source has it."""

    source: str
    """The file, and of a table the line."""
    name: str
    fields: Mapping[str, Any]
    """What its configuration says, under a row's names; what it does not say is not there."""
    figures: Mapping[str, float]
    """Results by name, scored metrics in points; what is not known is not there."""
    printed: Mapping[str, str]
    """The results as the source prints them, in points; of a table only."""
    says: Mapping[str, Any] = field(default_factory=dict)
    """Which run it is: arm, seed, study, notes, status, and what else the source says of it."""
    content: Mapping[str, Any] = field(default_factory=dict)
    """The configuration as it stood."""
    by_split: Mapping[str, Mapping[str, float | None]] = field(default_factory=dict)
    """Results by split, where the source names splits."""
    fractions: bool = False
    """Whether the source has its average precisions from 0 to 1."""

    @property
    def partly_timed(self) -> bool:
        """Whether the run was resumed and its source does not say that the time covers all segments."""
        return is_partly_timed(self.says)


def read_results(path: Path, names: Names) -> Run:
    """Read the run of one `final_results.json`.

    Raises:
        DataError: The file cannot be read, has no results, or a value is not allowed.
    """
    try:
        content = json_object(path, path.read_bytes())
    except OSError as error:
        raise DataError(f"{path}: cannot be read: {error.strerror}") from error
    results = content.get("results")
    if not isinstance(results, dict):
        raise DataError(f"{path}: has no results; needs an object `results` with mAP")
    stated = content.get("config")
    config: dict[str, Any] = stated if isinstance(stated, dict) else {}
    own = "results_by_split" in content or isinstance(config.get("model"), dict)
    figures = _results_of(names, results, content.get("training"), content.get("model"))
    fractions = not own and _are_fractions([figures])
    beside = {} if own else _run_fields(config, names)
    settings = {key: value for key, value in config.items() if key not in beside}
    says = {
        **{names.of(key): value for key, value in beside.items()},
        **{key: value for key, value in content.items() if key == "notes" or (is_note(key) and isinstance(value, str))},
        "seed": config.get("seed"),
        **_beside(path, content),
        "reported_on": content.get("split"),
    }
    known = {key: value for key, value in says.items() if value is not None}
    found, wrong = typed({**figures, **fields_of(settings, names), **known})
    if wrong:
        raise DataError("\n".join(f"{path}: {what}" for what in wrong))
    by_split = parsed(FinalResults, {"results_by_split": content.get("results_by_split") or {}}, path).results_by_split
    return Run(
        source=str(path),
        name=str(content.get("experiment_id") or path.parent.name),
        fields={name: value for name, value in found.items() if name not in figures and name not in says},
        figures=_points({name: found[name] for name in figures if name in found}, str(path), fractions),
        printed={},
        says=_with_resumed({name: found[name] for name in says if name in found}),
        content=settings,
        by_split={split: by_split[split] for split in SPLITS if split in by_split},
        fractions=fractions,
    )


def _run_fields(config: Mapping[str, Any], names: Names) -> dict[str, Any]:
    """What a flat configuration says of which run it is: its seed, notes, dates, hosts and paths."""
    unknown = {key: plain(value) for key, value in config.items() if names.is_unknown(key)}
    beside = read_columns([unknown]).bookkeeping
    return {key: value for key, value in config.items() if key in beside or names.is_beside(key)}


def _with_resumed(says: dict[str, Any]) -> dict[str, Any]:
    """The same; a run whose note speaks of a resumed segment was resumed."""
    return {**says, "resumed": True} if was_resumed(says) else says


def _results_of(names: Names, *sections: Any) -> dict[str, Any]:
    """The metrics that the sections of a file hold, by name, as they stand there."""
    found: dict[str, Any] = {}
    for section in sections:
        for key, value in section.items() if isinstance(section, dict) else ():
            if names.of(key) in METRICS and value is not None:
                found.setdefault(names.of(key), value)
    total, millions = found.get("params_total"), found.get("params_M")
    if isinstance(total, int) and isinstance(millions, float) and round(total / 1e6, 2) == millions:
        found["params_M"] = total / 1e6  # two digits would make configurations equal that are not
    return found


def _beside(path: Path, content: Mapping[str, Any]) -> dict[str, Any]:
    """What our own `trial.json` beside the file says of the same run.

    Raises:
        DataError: It is not a JSON object, or has a value that its field does not allow.
    """
    file = path.parent / TRIAL_FILE
    try:
        trial = json_object(file, file.read_bytes())
    except FileNotFoundError:
        return {}
    if trial.get("id") != content.get("experiment_id"):
        return {}
    least = {"id": trial["id"], "arm": "", "phase": "single", "status": "unknown"}
    stated = {key: trial[key] for key in (*_KNOWN_BESIDE, "seconds") if key in trial}
    state = parsed(TrialState, {**least, **stated}, file)
    known = {key: value for key, value in state.as_json().items() if key in trial and key in _KNOWN_BESIDE}
    if not isinstance(trial.get("lineage"), list):
        return known
    seconds = state.seconds or None
    return {**known, "resumed": len(trial["lineage"]) > 1, "seconds": seconds, "cumulative_seconds": seconds}


def table_run(cells: Mapping[str, str], place: str, unnamed: str, names: Names, fractions: bool) -> tuple[Run, bool]:
    """The run of a table's row, and whether it has a result.

    Args:
        cells: Texts by column; an empty one is not there.
        place: The file and the line.
        unnamed: The run's name where the row has none.
        names: What the columns stand for.
        fractions: Whether the table has its average precisions from 0 to 1.

    Raises:
        DataError: Values are not allowed; a line each, with the place, the column, what is allowed, and the fix.
    """
    column_of = {names.of(column): column for column in cells}
    results = {names.of(column) for column in cells if names.is_metric(column)}
    run_fields = {name: cells[column] for name, column in column_of.items() if names.is_beside(column)}
    settings = {column: cells[column] for name, column in column_of.items() if name not in {*results, *run_fields}}
    fields = fields_of(settings, names)
    found, wrong = typed({**{name: cells[column_of[name]] for name in results}, **run_fields, **fields})
    for name in results - METRICS.keys():
        found[name] = as_value(found[name])
        if not isinstance(found[name], int | float):
            wrong.append(f"{name}: found {cells[column_of[name]]!r}; allowed: a number, as it is a result")
    if wrong:
        lines = (entry.partition(": ") for entry in wrong)
        raise DataError("\n".join(f"{place}: column {column_of.get(name, name)}: {what}" for name, _, what in lines))
    says = _with_resumed({name: found[name] for name in run_fields if name in found})
    identity = says.pop("exp_id", None) or says.pop("run_id", None)
    if identity is None and "arm" in says:
        identity = f"{says['arm']}-seed-{says['seed']}" if "seed" in says else f"{says['arm']}-{unnamed}"
    known = {name: found[name] for name in METRICS if name in found} | {
        name: found[name] for name in results - METRICS.keys()
    }
    run = Run(
        source=place,
        name=str(identity if identity is not None else unnamed),
        fields={
            name: found[name] if name in RunValues.model_fields else as_value(found[name])
            for name in fields
            if name in found
        },
        figures=_points(known, place, fractions) if "mAP" in known else known,
        printed={name: _as_printed(name, cells[column_of[name]], fractions) for name in known},
        says={**says, **_split_of(cells, names)},
        content={column: as_value(text) for column, text in settings.items()},
        fractions=fractions,
    )
    return run, "mAP" in known


def _split_of(cells: Mapping[str, str], names: Names) -> dict[str, str]:
    """The split that the columns name, as `test/mAP` does."""
    splits = {column.partition("/")[0] for column in cells if names.is_metric(column)} & {*SPLITS}
    return {"reported_on": splits.pop()} if len(splits) == 1 else {}


def are_fractions(rows: Sequence[Mapping[str, str]], names: Names) -> bool:
    """Whether a table's rows have their average precisions from 0 to 1."""
    return _are_fractions([{names.of(column): text for column, text in row.items()} for row in rows])


def _are_fractions(rows: Sequence[Mapping[str, Any]]) -> bool:
    """Whether the values lie within 0..1: no two of them would be below one point in a run that learned anything."""
    values = [as_value(row[name]) for row in rows for name in scored() if name in row]
    known = [value for value in values if isinstance(value, int | float) and not isinstance(value, bool) and value >= 0]
    return len(known) > 1 and 0 < max(known) <= 1


def _points(figures: Mapping[str, float], place: str, fractions: bool) -> dict[str, float]:
    """Results with the scored ones in points."""
    if "mAP" not in figures:
        raise DataError(f"{place}: has no mAP, or it is undefined (-1)")
    return {name: 100 * value if fractions and name in scored() else value for name, value in figures.items()}


def _as_printed(name: str, text: str, fractions: bool) -> str:
    """The text of a cell; a fraction in points, with all its digits and no others."""
    return format(Decimal(text).scaleb(2), "f") if fractions and name in scored() else text


def as_value(text: Any) -> Any:
    """A text as a whole number, a number, true or false, where it is one; anything else as it is."""
    if not isinstance(text, str):
        return text
    if text.lower() in ("true", "false"):
        return text.lower() == "true"
    if not re.fullmatch(r"[-+]?(\d+\.?\d*|\.\d+)([eE][-+]?\d{1,2})?", text):
        return text
    if text.lstrip("+-").isdigit():
        return int(text) if str(int(text)) == text else text  # 007 is a name
    return float(text)
