"""`tune-cmx claims`."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from conftest import Refusal, Run

GOLDEN = Path(__file__).parents[2] / "golden" / "claims.json"
CLAIM = {"kind": "value", "metric": "mAP", "treatment": {"arm": "x"}, "value": 83.4, "tolerance": 1}
ROWS = [{"arm": "x", "seed": 0, "mAP": 83.1}, {"arm": "x", "seed": 1, "mAP": 83.6}]
CASE = {"id": "a", "claim": CLAIM, "rows": ROWS}


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "cases.json"


def test_the_worked_cases(run: Run) -> None:
    """Numbers within 0.02, p within 0.01; only the case itself is read, never what it expects."""
    cases = {case["id"]: case["expected"] for case in json.loads(GOLDEN.read_text())}
    code, output, error = run("claims", GOLDEN)
    assert (code, error) == (0, "")
    answers = [json.loads(line) for line in output.splitlines()]
    assert [answer["id"] for answer in answers] == list(cases)
    for answer in answers:
        assert set(answer) == {"id", "verdict", "numbers", "why"}
        assert answer["verdict"] == cases[answer["id"]]["verdict"]
        for name, wanted in cases[answer["id"]]["numbers"].items():
            got = answer["numbers"][name]
            tolerance = 0.01 if name == "p" or name.endswith("_p") else 0.02
            assert got == (wanted if _named(wanted) else pytest.approx(wanted, abs=tolerance))


def _named(wanted: Any) -> bool:
    return isinstance(wanted, str) or (isinstance(wanted, list) and any(isinstance(entry, str) for entry in wanted))


@pytest.mark.parametrize("content", [[CASE], {"cases": [CASE], "made": "by hand"}])
def test_a_list_or_an_object_with_cases(content: Any, file: Path, run: Run) -> None:
    file.write_text(json.dumps(content))
    code, output, _ = run("claims", file)
    assert code == 0
    assert output.count("\n") == 1
    assert json.loads(output)["id"] == "a"


def test_what_is_expected_changes_nothing(file: Path, run: Run) -> None:
    file.write_text(json.dumps([CASE, {**CASE, "expected": {"verdict": "BLOCKED"}, "why": "a trap"}]))
    first, second = run("claims", file)[1].splitlines()
    assert first == second


def test_a_case_without_an_id_is_named_by_its_place(file: Path, run: Run) -> None:
    file.write_text(json.dumps([CASE, {"claim": CLAIM, "rows": ROWS}]))
    assert json.loads(run("claims", file)[1].splitlines()[1])["id"] == 2


def test_text_that_looks_like_markup_or_is_long_stays_one_line(file: Path, run: Run) -> None:
    name = "[red]" + "very long " * 40
    rows = [{**row, "arm": name} for row in ROWS]
    file.write_text(json.dumps([{"id": name, "claim": {**CLAIM, "treatment": name}, "rows": rows}]))
    assert json.loads(run("claims", file)[1])["id"] == name


def test_the_other_cases_are_answered(file: Path, run: Run) -> None:
    file.write_text(json.dumps([{**CASE, "rows": 5}, CASE, {"id": "c", "claim": {"kind": "worst"}, "rows": []}]))
    code, output, error = run("claims", file)
    assert code == 2
    assert [json.loads(line)["verdict"] for line in output.splitlines()] == ["INCONCLUSIVE"]
    assert "case 1 'a': rows: needs a list of objects" in error
    assert "case 3 'c': claim: unknown kind 'worst'. Known: superiority, equivalence" in error


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("{", "cases.json: not valid JSON"),
        ("[" * 100_000, "cases.json: not valid JSON"),
        ('[{"claim": 1, "claim": 2}]', "key 'claim' appears twice in one object"),
        ('{"claim": {}, "rows": []}', "needs a list of cases, or an object with `cases`"),
        ("5", "each case with `claim` and `rows`; got 5"),
        ("[5]", "case 1: needs an object with `claim` and `rows`; got 5"),
        ('[{"id": 7, "rows": []}]', "case 1 '7': claim: needs an object"),
        ('[{"claim": {}}]', "case 1: rows: needs a list of objects, one a run; got nothing"),
        (json.dumps([{**CASE, "rows": [*ROWS, "x"]}]), "case 1 'a': rows: row 3 needs an object of fields; got \"x\""),
        (json.dumps([{**CASE, "claim": {**CLAIM, "tolerence": 1}}]), "Did you mean 'tolerance'"),
        (json.dumps([{**CASE, "claim": {**CLAIM, "value": "83"}}]), "value must be a number; got '83'"),
        (json.dumps([{**CASE, "rows": [{**ROWS[0], "epochs": "many"}]}]), "row 1: epochs must be a number; got 'many'"),
    ],
)
def test_what_cannot_be_read(text: str, said: str, file: Path, refusal: Refusal) -> None:
    file.write_text(text)
    assert said in refusal("claims", file)


def test_a_file_that_is_not_there(refusal: Refusal) -> None:
    assert "gone.json: cannot be read: No such file" in refusal("claims", "gone.json")


def test_numbers_that_json_does_not_have_are_damage_or_unknown(file: Path, run: Run) -> None:
    file.write_text(
        json.dumps([{**CASE, "rows": [ROWS[0], {**ROWS[1], "mAP": value}]} for value in (float("nan"), 1e999)])
    )
    answers = [json.loads(line) for line in run("claims", file)[1].splitlines()]
    assert [answer["verdict"] for answer in answers] == ["DATA_ERROR", "DATA_ERROR"]


def test_the_help_shows_an_example_that_works(file: Path, run: Run) -> None:
    _, output, _ = run("claims", "--help")
    example = output.split("with [")[1].split("}]}]")[0]
    text = " ".join(line.strip() for line in f"[{example}}}]}}]".splitlines())
    file.write_text(text)
    code, answered, _ = run("claims", file)
    assert code == 0
    assert json.loads(answered)["verdict"] == "SUPPORTED"


JUDGED = {"kind": "superiority", "metric": "mAP", "treatment": {"arm": "x"}, "baseline": {"arm": "y"}}
SIZED = [
    {"arm": arm, "seed": seed, "mAP": first + step, "cost": cost}
    for arm, first, cost in (("x", 84.0, 1.0), ("y", 82.0, 2.0))
    for seed, step in enumerate((0.1, 0.3, 0.0) if arm == "x" else (0.0, 0.3, -0.1))
]


@pytest.mark.parametrize(
    ("of_file", "of_case", "verdict"),
    [
        ({}, {}, "NOT_COMPARABLE"),
        ({}, {"results": ["cost"]}, "SUPPORTED"),
        ({"results": ["cost"]}, {}, "SUPPORTED"),
        ({"results": ["cost"]}, {"protocol": ["cost"]}, "NOT_COMPARABLE"),
        ({"protocol": ["cost"]}, {"results": ["cost"]}, "SUPPORTED"),
    ],
)
def test_a_file_or_a_case_says_what_a_column_is(
    of_file: dict[str, Any], of_case: dict[str, Any], verdict: str, file: Path, run: Run
) -> None:
    file.write_text(json.dumps({"cases": [{"claim": JUDGED, "rows": SIZED, **of_case}], **of_file}))
    code, output, error = run("claims", file)
    assert (code, json.loads(output)["verdict"]) == (0, verdict), error


def test_a_metric_of_another_claim_of_the_file_is_a_result(file: Path, run: Run) -> None:
    other = {"claim": {**JUDGED, "metric": "cost", "direction": "lower"}, "rows": SIZED}
    file.write_text(json.dumps([{"claim": JUDGED, "rows": SIZED}, other]))
    assert json.loads(run("claims", file)[1].splitlines()[0])["verdict"] == "SUPPORTED"


def test_columns_that_are_no_list_of_names(file: Path, refusal: Refusal) -> None:
    file.write_text(json.dumps([{**CASE, "results": "FPS"}]))
    assert 'case 1 \'a\': results: needs a list of column names, such as ["FPS", "recall"]' in refusal("claims", file)


def test_an_unknown_direction_is_a_question(file: Path, run: Run) -> None:
    rows = [{"arm": "x", "seed": 0, "LAMR": 8.1}, {"arm": "y", "seed": 0, "LAMR": 12.0}]
    file.write_text(json.dumps([{"id": "q", "claim": {**JUDGED, "metric": "LAMR"}, "rows": rows}]))
    code, output, error = run("claims", file)
    assert (code, output) == (2, "")
    assert "metric 'LAMR' is unknown, so the claim must say which way is better." in error
    assert '"direction": "lower"' in error
