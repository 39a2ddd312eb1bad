"""`tune-cmx claims`: claims about any table of runs, answered one by one."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any

import typer

from tune_cmx.errors import ConfigError, TuneCmxError

FORM = "a list of cases, or an object with `cases`; each case with `claim` and `rows`"


def claims(
    file: Annotated[
        Path, typer.Argument(help=f"JSON: {FORM}, and `id` if it has one. `expected` and other keys are not read.")
    ],
) -> None:
    """Answer claims from the rows given with them: a JSON object a line, with `id`, `verdict`, `numbers` and `why`.

    A row is a run, a flat object of fields. Cases that cannot be read are named at the end, with exit code 2; the
    others are answered.

    Example: `tune-cmx claims claims.json`, with
    `[{"id": "a", "claim": {"kind": "value", "metric": "mAP", "treatment": {"arm": "x"}, "value": 83.4, "tolerance": 2},
    "rows": [{"arm": "x", "seed": 0, "mAP": 83.1}, {"arm": "x", "seed": 1, "mAP": 83.6}]}]`
    """
    problems = []
    for place, case in enumerate(read_cases(file), start=1):
        try:
            typer.echo(json.dumps(answer_case(case, place), allow_nan=False))
        except TuneCmxError as error:
            named = f" '{case['id']}'" if isinstance(case, Mapping) and case.get("id") is not None else ""
            problems.append(f"{file}: case {place}{named}: {error}")
    if problems:
        raise ConfigError("\n".join(problems))


def read_cases(path: Path) -> list[Any]:
    """The file's cases, each still to be checked.

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
    return cases


def answer_case(case: Any, place: int) -> dict[str, Any]:
    """The answer with the case's id, or its place in the file where it has none.

    Raises:
        TuneCmxError: The case, its claim or a row cannot be read.
    """
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
    return {"id": id, **evaluate_claim(claim, rows)}


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) < len(pairs):
        keys = [key for key, _ in pairs]
        twice = next(key for key in keys if keys.count(key) > 1)
        raise ValueError(f"key '{twice}' stands twice in one object, of keys {', '.join(found)}")
    return found


def _what(value: Any) -> str:
    """Of a JSON value: its kind, and its text where that is short."""
    if isinstance(value, dict):
        return f"an object with {', '.join(value) or 'nothing'}"[:120]
    if isinstance(value, list):
        return f"a list of {len(value)}"
    return "nothing" if value is None else json.dumps(value)[:120]
