"""The forms of earlier results: `final_results.json`, and tables with a run a row."""

import csv
import json
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from decimal import Decimal, InvalidOperation
from pathlib import Path
from typing import Any

from tune_cmx.errors import DataError
from tune_cmx.evidence.claims.rows import BOOKKEEPING
from tune_cmx.evidence.importer.vocabulary import FIGURES, as_number, fields_of, is_field, name_of
from tune_cmx.evidence.results.study_results import METRICS
from tune_cmx.metrics import SPLITS

RESULTS_FILE = "final_results.json"
_RESULTS_KEYS = ("results", "final_test_results", "test_results", "metrics")
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
    """mAP* in points, hours, params_M, train_loss; what is not known is not there."""
    printed: Mapping[str, str]
    """The figures as the source prints them, in points; of a table only."""
    says: Mapping[str, Any] = field(default_factory=dict)
    """Bookkeeping: seed, study, notes, status, and what else the source says of the run."""
    content: Mapping[str, Any] = field(default_factory=dict)
    """The configuration as it stood."""
    by_split: Mapping[str, Any] = field(default_factory=dict)
    """Results by split, where the source names splits."""
    fractions: bool = False
    """Whether mAP stood there from 0 to 1."""


def read_results(path: Path) -> Run:
    """The run of one `final_results.json`.

    Raises:
        DataError: Names the file and what is wrong with it.
    """
    try:
        content = json.loads(path.read_bytes())
    except OSError as error:
        raise DataError(f"{path}: cannot be read: {error.strerror}") from error
    except ValueError as error:
        raise DataError(f"{path}: not JSON: {error}") from error
    if not isinstance(content, dict):
        raise DataError(f"{path}: needs an object; got {type(content).__name__}")
    results = _results(content, path)
    stated = content.get("config")
    config: dict[str, Any] = stated if isinstance(stated, dict) else {}
    above = {key: content[key] for key in ("architecture", "backbone") if isinstance(content.get(key), str)}
    own = "results_by_split" in content or isinstance(config.get("model"), dict)
    values = {name_of(key): value for key, value in results.items() if name_of(key) in METRICS}
    figures = _points(values, str(path), fractions=not own and _are_fractions([values]))
    for section in ("training", "model"):
        part = content.get(section)
        found = {name_of(key): as_number(value) for key, value in part.items()} if isinstance(part, dict) else {}
        figures |= {name: value for name, value in found.items() if value is not None and name in FIGURES}
    _refuse_impossible(figures, str(path))
    known = {"seed": config.get("seed"), **_beside(path, content), "reported_on": content.get("split")}
    by_split = content.get("results_by_split")
    return Run(
        source=str(path),
        name=str(content.get("experiment_id") or path.parent.name),
        fields=fields_of({**above, **config}),
        figures=figures,
        printed={},
        says={key: value for key, value in known.items() if value is not None},
        content={**above, **config},
        by_split={split: by_split[split] for split in SPLITS if split in by_split}
        if isinstance(by_split, dict)
        else {},
        fractions=not own and _are_fractions([values]),
    )


def read_table(path: Path) -> Iterator[Run | DataError]:
    """The runs of a CSV file, row by row; in place of a row that cannot be used, what is wrong with it.

    Raises:
        DataError: The file itself cannot be read as a table of runs.
    """
    try:
        rows = list(csv.reader(path.read_text(encoding="utf-8-sig").splitlines()))
    except OSError as error:
        raise DataError(f"{path}: cannot be read: {error.strerror}") from error
    except (UnicodeDecodeError, csv.Error) as error:
        raise DataError(f"{path}: not a CSV file in UTF-8: {error}") from error
    header = [name.strip() for name in rows[0]] if rows else []
    names = [name_of(column) for column in header]
    if "mAP" not in names:
        raise DataError(f"{path}: has no column mAP; its first line is {', '.join(header)[:200] or 'empty'}")
    double = next((name for name in names if names.count(name) > 1), None)
    if double is not None:
        raise DataError(f"{path}: two columns stand for {double}; keep one")
    rows[1:] = [_joined(row, names) for row in rows[1:]]
    full = {n: dict(zip(header, row, strict=True)) for n, row in enumerate(rows[1:], 2) if len(row) == len(header)}
    fractions = _are_fractions([_figures(row) for row in full.values()])
    for number, row in enumerate(rows[1:], 2):
        if not any(cell.strip() for cell in row):
            continue
        place = f"{path}:{number}"
        if number not in full:
            yield DataError(f"{place}: has {len(row)} cells, the first line {len(header)}")
            continue
        try:
            yield _table_run(full[number], place, f"{path.stem}-{number}", fractions)
        except DataError as error:
            yield error


def _table_run(row: Mapping[str, str], place: str, unnamed: str, fractions: bool) -> Run:
    texts = {name: text.strip().rstrip("%").strip() for name, text in _figures(row).items() if text.strip()}
    for name, text in texts.items():
        if as_number(text) is None:
            raise DataError(f"{place}: its {name} is no number: '{text}'")
    figures = _points({name: texts.get(name) for name in METRICS}, place, fractions=fractions)
    figures |= {name: float(text) for name, text in texts.items() if name not in METRICS}
    _refuse_impossible(figures, place)
    printed = {
        name: _shifted(text) if fractions and name in METRICS else text
        for name, text in texts.items()
        if name in figures
    }
    cells = {key: _cell(text) for key, text in row.items()}
    says = {name_of(key): value for key, value in cells.items() if name_of(key) in BOOKKEEPING and value is not None}
    identity = says.pop("exp_id", None) or says.pop("run_id", None)
    fields = {key: value for key, value in cells.items() if is_field(key)}
    return Run(
        source=place,
        name=str(identity if identity is not None else unnamed),
        fields=fields_of(fields),
        figures=figures,
        printed=printed,
        says=says,
        content={key: value for key, value in fields.items() if value is not None},
        fractions=fractions,
    )


def _joined(row: list[str], names: Sequence[str]) -> list[str]:
    """The row with commas in a last column of remarks put back, where they stand without quotation marks."""
    last = len(names) - 1
    return [*row[:last], ",".join(row[last:])] if len(row) > len(names) and names[last] == "notes" else row


def _results(content: Mapping[str, Any], path: Path) -> Mapping[str, Any]:
    evaluation = content.get("evaluation")
    places = [
        *(content.get(key) for key in _RESULTS_KEYS),
        evaluation.get("metrics") if isinstance(evaluation, dict) else None,
    ]
    found = next((place for place in places if isinstance(place, dict)), None)
    if found is None:
        raise DataError(f"{path}: has no results; needs results with mAP, as final_results.json has them")
    return found


def _beside(path: Path, content: Mapping[str, Any]) -> dict[str, Any]:
    """What our own `trial.json` beside the file says of the same run."""
    try:
        trial = json.loads((path.parent / "trial.json").read_bytes())
    except (OSError, ValueError):
        return {}
    if not isinstance(trial, dict) or trial.get("id") != content.get("experiment_id"):
        return {}
    lineage = trial.get("lineage")
    sessions = {"resumed": len(lineage) > 1, "seconds": trial.get("seconds")} if isinstance(lineage, list) else {}
    return {**{key: trial[key] for key in _KNOWN_BESIDE if key in trial}, **sessions}


def _figures(row: Mapping[str, str]) -> dict[str, str]:
    return {name_of(key): text for key, text in row.items() if name_of(key) in FIGURES}


def _are_fractions(rows: Sequence[Mapping[str, Any]]) -> bool:
    """Whether mAP* stand there from 0 to 1: no two of them would lie below one point in a run that learned anything."""
    values = [as_number(row.get(name)) for row in rows for name in METRICS]
    known = [value for value in values if value is not None and value >= 0]
    return len(known) > 1 and max(known) <= 1 and max(known) > 0


def _points(values: Mapping[str, Any], place: str, *, fractions: bool) -> dict[str, float]:
    """mAP* in points; a negative one is how evaluators write that a size has no boxes."""
    if as_number(values.get("mAP")) is None:
        raise DataError(f"{place}: has no mAP that is a finite number; got {values.get('mAP')!r}")
    known = {
        name: number for name, value in values.items() if (number := as_number(value)) is not None and number != -1
    }
    scaled = {name: 100 * value if fractions else value for name, value in known.items()}
    for name, value in scaled.items():
        if not 0 <= value <= 100:
            raise DataError(f"{place}: its {name} is {value:g}, not within 0..100 points")
    if "mAP" not in scaled:
        raise DataError(f"{place}: has no mAP: it is -1, undefined")
    return scaled


def _refuse_impossible(figures: Mapping[str, float], place: str) -> None:
    for name in ("hours", "params_M"):
        if figures.get(name) is not None and figures[name] <= 0:
            raise DataError(f"{place}: its {name} is {figures[name]:g}, not above 0")


def _shifted(text: str) -> str:
    """A printed fraction in points, with all its digits and no others."""
    try:
        return format(Decimal(text).scaleb(2), "f")
    except InvalidOperation:
        return text


def _cell(text: str) -> Any:
    """A cell as a value: whole number, number, yes or no, text; None where it is empty."""
    text = text.strip()
    if text.lower() in ("", "nan", "n/a", "none", "null", "-"):
        return None
    if text.lower() in ("true", "false"):
        return text.lower() == "true"
    number = as_number(text) if not text.endswith("%") else None
    if number is None or math.isinf(number):
        return text
    return int(number) if number.is_integer() and text.lstrip("+-").isdigit() else number
