"""`tune-cmx claims`: claims about any table of runs, answered one by one."""

import json
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any

import typer

from tune_cmx.cli.objects.answered import AnsweredClaim, AnsweredClaims
from tune_cmx.cli.options.json_output import Json, print_object, prints
from tune_cmx.errors import ConfigError, TuneCmxError

FORM = "a list of cases, or an object with `cases`; each case with `claim` and `rows`"
COLUMNS = ("results", "protocol")
"""Keys of a case, or of the whole file beside `cases`, that say what a column is."""


@prints(AnsweredClaims)
def claims(
    file: Annotated[
        Path,
        typer.Argument(
            help=f"JSON: {FORM}, and `id` if it has one. `expected` and other keys are not read. Or the folder of a "
            "study or an import, for the claims of its own file."
        ),
    ],
    as_json: Json = False,
) -> None:
    """Answer claims from the rows given with them: a JSON object a line, with `id`, `verdict`, `numbers` and `why`.

    With `--json` all answers are in one object.

    A row is a run, a flat object of columns. A claim on a metric that no table knows says `"direction": "lower"` or
    `"higher"`. `"results": ["FPS"]` in a case, or beside `cases`, names columns that are results; `"protocol"` names
    columns in which compared runs must agree. Cases that cannot be read are named at the end, with exit code 2; the
    others are answered.

    Example: `tune-cmx claims claims.json`, with
    `[{"id": "a", "claim": {"kind": "value", "metric": "mAP", "treatment": {"arm": "x"}, "value": 83.4, "tolerance": 2},
    "rows": [{"arm": "x", "seed": 0, "mAP": 83.1}, {"arm": "x", "seed": 1, "mAP": 83.6}]}]`;
    or `tune-cmx claims runs/demo`
    """
    problems: list[str] = []
    found: list[dict[str, Any]] = []
    for answer in study_answers(file) if file.is_dir() else _case_answers(file, problems):
        if as_json:
            found.append(answer)
        else:
            typer.echo(json.dumps(answer, allow_nan=False))
    if as_json:
        print_object(AnsweredClaims(answers=tuple(AnsweredClaim(**one) for one in found), problems=tuple(problems)))
    if problems:
        raise ConfigError("\n".join(problems))


def _case_answers(file: Path, problems: list[str]) -> Iterator[dict[str, Any]]:
    """The answer of each case; `problems` receives a sentence for each that cannot be read."""
    cases, columns = read_cases(file)
    for place, case in enumerate(cases, start=1):
        try:
            yield answer_case(case, place, columns)
        except TuneCmxError as error:
            named = f" '{case['id']}'" if isinstance(case, Mapping) and case.get("id") is not None else ""
            problems.append(f"{file}: case {place}{named}: {error}")


def study_answers(folder: Path) -> list[dict[str, Any]]:
    """The claims of a study or an import, each with its place, its sentence and its answer.

    Raises:
        TuneCmxError: The folder holds no study, or a claim cannot be read.
    """
    from tune_cmx.evidence.importer.imported_claims import answered
    from tune_cmx.evidence.results.reading import read_study
    from tune_cmx.evidence.results.study_claims import evaluate_study_claims

    study = read_study(folder)
    found = answered(study) if study.state.imported is not None else evaluate_study_claims(study)
    if not found:
        raise ConfigError(
            f"{folder}: study.json has no claims; write `claims:` in the search-space file, or give --claims "
            "to `tune-cmx import`"
        )
    return [{"id": place, "text": text, **answer} for place, (text, answer) in enumerate(found, start=1)]


def read_cases(path: Path) -> tuple[list[Any], dict[str, tuple[str, ...]]]:
    """The file's cases, each still to be checked, and the columns that the file names for all of them.

    Every metric that a claim of the file names is a result in all cases.

    Raises:
        ConfigError: The file is not JSON, names a key twice in one object, or holds no list of cases.
    """
    try:
        content = json.loads(path.read_text(encoding="utf-8"), object_pairs_hook=_object)
    except OSError as error:
        raise ConfigError(f"{path}: cannot be read: {error.strerror}") from error
    except (ValueError, RecursionError) as error:
        raise ConfigError(f"{path}: not valid JSON: {error}") from error
    cases = content.get("cases") if isinstance(content, dict) else content
    if not isinstance(cases, list):
        raise ConfigError(f"{path}: needs {FORM}; got {_what(content)}")
    from tune_cmx.evidence.claims.columns import named_columns

    named = {key: named_columns(content, key, f"{path}: ") if isinstance(content, dict) else () for key in COLUMNS}
    claims = [case["claim"] for case in cases if isinstance(case, dict) and isinstance(case.get("claim"), dict)]
    judged = [claim["metric"] for claim in claims if isinstance(claim.get("metric"), str)]
    return cases, {**named, "results": (*named["results"], *judged)}


def answer_case(case: Any, place: int, columns: Mapping[str, Sequence[str]]) -> dict[str, Any]:
    """The answer with the case's id, or its place in the file where it has none.

    Args:
        case: With `claim` and `rows`.
        place: Of the case in its file.
        columns: Those that the file names for all cases.

    Raises:
        TuneCmxError: The case, its claim or a row cannot be read.
    """
    from tune_cmx.evidence.claims.columns import named_columns
    from tune_cmx.evidence.claims.evaluate import evaluate_claim

    if not isinstance(case, dict):
        raise ConfigError(f"needs an object with `claim` and `rows`; got {_what(case)}")
    claim, rows = case.get("claim"), case.get("rows")
    if not isinstance(claim, dict):
        raise ConfigError(f'claim: needs an object such as {{"kind": "value", …}}; got {_what(claim)}')
    if not isinstance(rows, list):
        raise ConfigError(f"rows: needs a list of objects, one a run; got {_what(rows)}")
    for number, row in enumerate(rows, start=1):
        if not isinstance(row, dict):
            raise ConfigError(f"rows: row {number} needs an object of fields; got {_what(row)}")
    id = place if case.get("id") is None else case["id"]
    own = {key: named_columns(case, key, "") for key in COLUMNS}
    of_file = {
        key: set(columns[key]) - set(other)
        for key, other in zip(COLUMNS, (own["protocol"], own["results"]), strict=True)
    }
    named = {key: {*own[key], *of_file[key]} for key in COLUMNS}
    return {"id": id, **evaluate_claim(claim, rows, results=named["results"], protocol=named["protocol"])}


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) < len(pairs):
        keys = [key for key, _ in pairs]
        twice = next(key for key in keys if keys.count(key) > 1)
        raise ValueError(f"key '{twice}' appears twice in one object with the keys {', '.join(found)}")
    return found


def _what(value: Any) -> str:
    """Of a JSON value: its kind, and its text where that is short."""
    if isinstance(value, dict):
        return f"an object with {', '.join(value) or 'nothing'}"[:120]
    if isinstance(value, list):
        return f"a list of {len(value)}"
    return "nothing" if value is None else json.dumps(value)[:120]
