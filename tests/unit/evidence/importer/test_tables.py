"""Tables: a value that cannot be is an error with place, column, value, what is allowed and the fix."""

from pathlib import Path

import pytest
import yaml

from tune_cmx.errors import ConfigError, DataError
from tune_cmx.evidence.importer.collect import Collected, collect
from tune_cmx.evidence.importer.imported_claims import answered, imported_rows
from tune_cmx.evidence.importer.imported_study import write_import
from tune_cmx.evidence.importer.vocabulary import Names
from tune_cmx.evidence.report.imported import imported_page
from tune_cmx.evidence.report.page_parts import Table
from tune_cmx.evidence.results.reading import read_study
from tune_cmx.evidence.results.study_results import StudyResults

GOLDEN = Path(__file__).parents[3] / "golden"
SOUND = {"arm": "cssa", "seed": "0", "fusion": "cssa", "stages": "1", "mAP": "84.1"}


def table(folder: Path, *rows: dict[str, str], name: str = "table.csv") -> Path:
    """A table with a column for each key; a row without it has an empty cell."""
    columns = list(dict.fromkeys(key for row in rows for key in row))
    lines = [",".join(columns), *(",".join(f'"{row.get(column, "")}"' for column in columns) for row in rows)]
    path = folder / name
    path.write_text("\n".join(lines) + "\n")
    return path


def study(found: Collected, folder: Path, claims: list[dict[str, object]] | None = None) -> StudyResults:
    write_import(found, folder, claims or [])
    return read_study(folder)


def test_a_column_arm_names_the_configurations_that_a_claim_speaks_of(tmp_path: Path) -> None:
    claims = yaml.safe_load((GOLDEN / "import_arm_claim.yaml").read_text())["claims"]
    records = study(collect([GOLDEN / "import_arm_column.csv"]), tmp_path / "earlier", claims)
    assert list(records.arms) == ["cssa", "frm_ffm"]
    assert {trial.name for trial in records.trials} >= {"cssa-seed-0", "frm_ffm-seed-2"}
    ((_, answer),) = answered(records)
    assert answer["verdict"] == "SUPPORTED"
    assert answer["numbers"]["difference"] == pytest.approx(2.0667, abs=0.0001)
    assert answer["numbers"]["n_per_arm"] == 3


def test_arms_that_differ_in_more_than_their_fusion_do_not_compare(tmp_path: Path) -> None:
    rows = [{**SOUND, "seed": str(seed), "epochs": "15", "mAP": f"84.{seed}"} for seed in range(3)]
    rows += [{**row, "arm": "frm_ffm", "fusion": "frm_ffm", "stages": "", "epochs": "25"} for row in rows]
    claim = {"kind": "superiority", "metric": "mAP", "treatment": {"arm": "cssa"}, "control": {"arm": "frm_ffm"}}
    records = study(collect([table(tmp_path, *rows)]), tmp_path / "earlier", [claim])
    ((_, answer),) = answered(records)
    assert answer["verdict"] == "NOT_COMPARABLE"
    assert answer["numbers"]["mismatched_fields"] == ["epochs"]


@pytest.mark.parametrize(
    ("column", "value", "allowed", "fix"),
    [
        ("seed", "0.5", "a whole number from 0 to 2^63 - 1", "Correct it"),
        ("seed", "-1", "a whole number from 0 to 2^63 - 1", "Correct it"),
        ("seed", "1" + 30 * "0", "a whole number from 0 to 2^63 - 1", "Correct it"),
        ("seed", "1e30", "a whole number from 0 to 2^63 - 1", "Correct it"),
        ("seed", "first", "a whole number from 0 to 2^63 - 1", "Correct it"),
        ("stages", "9", "stages of 1 to 4", "Correct it"),
        ("stages", "1+5", "stages of 1 to 4", "Correct it"),
        ("stages", "0", "stages of 1 to 4", "Correct it"),
        ("stages", "01-Feb", "stages of 1 to 4", "format the column as text"),
        ("stages", "Feb-01", "stages of 1 to 4", "format the column as text"),
        ("stages", "2026-02-01", "stages of 1 to 4", "format the column as text"),
        ("stages", "early", "stages of 1 to 4", "Correct it"),
        ("epochs", "0", "a whole number from 1 up", "Correct it"),
        ("epochs", "1.5", "a whole number from 1 up", "Correct it"),
        ("epochs_logged", "07-Jan", "ranges such as 1-7,8-15", "format the column as text"),
        ("batch", "-1", "a whole number from 1 up", "Correct it"),
        ("lr", "0", "a number above 0", "Correct it"),
        ("lr", "0,02", "a number above 0", "Write a decimal point: 0.02"),
        ("lr", "5000", "at most 1000", "Correct it"),
        ("epochs", "1000000000", "at most 10000", "Correct it"),
        ("kernel_size", "-3", "an odd whole number from 1 up, or rule", "Correct it"),
        ("kernel_size", "0", "an odd whole number from 1 up, or rule", "Correct it"),
        ("kernel_size", "4", "an odd whole number from 1 up, or rule", "Correct it"),
        ("se_reduction", "1e9", "a whole number from 1 to 1024", "Correct it"),
        ("modalities", "rgb+radar", "known: rgb, thermal, event", "Correct it"),
        ("image_size", "-320", "whole pixels from 1 to 100000", "Correct it"),
        ("threshold", "1.5", "a fraction from 0 to 1", "Correct it"),
        ("threshold", "-0.1", "a fraction from 0 to 1", "Correct it"),
        ("threshold", "50 %", "a fraction from 0 to 1", "without the percent sign: 50"),
        ("mAP", "184.1", "a number from 0 to 100", "Correct it"),
        ("mAP", "-3", "a number from 0 to 100", "Correct it"),
        ("mAP", "84,1", "a number from 0 to 100", "Write a decimal point: 84.1"),
        ("mAP", "84.1%", "a number from 0 to 100", "without the percent sign: 84.1"),
        ("mAP", "NaN", "a number from 0 to 100", "Leave it empty"),
        ("mAP", "high", "a number from 0 to 100", "Correct it"),
        ("mAP", "1e400", "a number from 0 to 100", "Correct it"),
        ("mAP50", "101", "a number from 0 to 100", "Correct it"),
        ("hours", "0", "a number above 0, in h", "Correct it"),
        ("hours", "inf", "a number above 0, in h", "Leave it empty"),
        ("params_total", "60.01", "a whole number above 0", "Correct it"),
        ("resumed", "maybe", "true or false", "Correct it"),
        ("reported_on", "training", "val or test", "Correct it"),
    ],
)
def test_a_value_that_cannot_be_is_named_with_its_place_and_the_fix(
    column: str, value: str, allowed: str, fix: str, tmp_path: Path
) -> None:
    path = table(tmp_path, SOUND, {**SOUND, "seed": "1", column: value})
    with pytest.raises(DataError) as error:
        collect([path])
    message = str(error.value)
    assert message.startswith(f"{path}:3: column {column}: found {value!r}; allowed: ")
    assert allowed in message
    assert fix in message
    assert message.count("\n") == 0


def test_all_wrong_cells_are_named_at_once_and_many_are_counted(tmp_path: Path) -> None:
    path = table(tmp_path, SOUND, {**SOUND, "seed": "0.5", "stages": "9"}, {**SOUND, "mAP": "high"})
    with pytest.raises(DataError) as error:
        collect([path])
    assert [line.partition(": found")[0] for line in str(error.value).splitlines()] == [
        f"{path}:3: column seed",
        f"{path}:3: column stages",
        f"{path}:4: column mAP",
    ]
    with pytest.raises(DataError, match="and 10 more"):
        collect([table(tmp_path, *[{**SOUND, "seed": "x"}] * 30)])


def test_whole_numbers_may_be_written_as_a_spreadsheet_writes_them(tmp_path: Path) -> None:
    found = collect([table(tmp_path, {**SOUND, "seed": "3.0", "epochs": "15.0", "stages": "2,3"})])
    assert found.runs[0].says["seed"] == 3
    assert found.runs[0].fields["epochs"] == 15
    assert found.runs[0].fields["stages"] == "2+3"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("mAP,AP,seed\n84,84,0\n", ":1: columns mAP and AP both stand for mAP; keep one"),
        ("seed,mAP,seed\n0,84,0\n", ":1: columns seed and seed both stand for seed; keep one"),
        ("val/mAP,test/mAP\n84,83\n", ":1: columns val/mAP and test/mAP both stand for mAP; keep one"),
        ("seed,,mAP\n0,1,84\n", ":1: column 2 has no name"),
        ("seed;mAP\n0;84,1\n", ":1: has no column mAP; separate columns by commas"),
        ("seed,score\n0,84\n", ":1: has no column mAP; found seed, score. For a column of another name give"),
        ("", ":1: has no column mAP; found an empty line"),
        ("seed,mAP\n0,84,1\n", ":2: found 3 cells; the first line has 2"),
        ("seed,mAP\n0\n", ":2: found 1 cells; the first line has 2"),
        ('seed,mAP\n0,"84\n', "not a CSV file in UTF-8"),
    ],
)
def test_a_table_of_another_form_is_an_error(text: str, message: str, tmp_path: Path) -> None:
    path = tmp_path / "table.csv"
    path.write_text(text)
    with pytest.raises(DataError) as error:
        collect([path])
    assert message in str(error.value)


def test_a_column_of_a_split_says_where_the_run_reports(tmp_path: Path) -> None:
    found = collect([table(tmp_path, {"seed": "0", "test/mAP": "84.1", "test/mAP_50": "97.0"})])
    assert found.runs[0].figures == {"mAP": 84.1, "mAP_50": 97.0}
    assert found.runs[0].says["reported_on"] == "test"


def test_a_note_stands_in_the_table_and_a_resumed_segment_makes_its_hours_unusable(tmp_path: Path) -> None:
    rows = [{**SOUND, "seed": str(seed), "hours": f"3.{seed}"} for seed in range(3)]
    rows[1]["notes"] = "resumed segment, first log lost"
    rows[2]["notes"] = "never resumed"
    slow = [{**row, "arm": "frm_ffm", "fusion": "frm_ffm", "stages": "", "hours": f"5.{row['seed']}"} for row in rows]
    for row in slow:
        row.pop("notes", None)
    claims: list[dict[str, object]] = [
        {"kind": "superiority", "metric": metric, "treatment": {"arm": "cssa"}, "baseline": {"arm": "frm_ffm"}}
        for metric in ("hours", "mAP")
    ]
    records = study(collect([table(tmp_path, *rows, *slow)]), tmp_path / "earlier", claims)
    times, scores = (answer for _, answer in answered(records))
    assert times["verdict"] == "DATA_ERROR"
    assert "cssa-seed-1" in times["why"]
    assert "resumed" in times["why"]
    assert scores["verdict"] != "DATA_ERROR"
    page = imported_page(records)
    (whole,) = [part for part in page.parts if isinstance(part, Table) and part.header[-1] == "notes"]
    by_seed = {(row[1], row[2]): row for row in whole.rows}
    assert by_seed["cssa", "1"][-1] == "resumed segment, first log lost"
    assert by_seed["cssa", "1"][whole.header.index("training time (h)")] == "3.1 ‡"
    assert by_seed["cssa", "2"][whole.header.index("training time (h)")] == "3.2"
    assert "‡: a resumed run; its time may cover the last segment only" in page.text()


@pytest.mark.parametrize(
    ("column", "text"), [("Remarks", "continued from epoch 7"), ("comments", "part 2 of 2"), ("notes", "crashed at 7")]
)
def test_a_run_was_resumed_where_a_column_of_notes_says_it(tmp_path: Path, column: str, text: str) -> None:
    table = tmp_path / "runs.csv"
    table.write_text(f"arm,seed,mAP,hours,{column}\na,0,83.1,2.0,fine\na,1,83.2,1.0,{text}\n")
    runs = collect([table]).runs
    assert [run.partly_timed for run in runs] == [False, True]


def test_seconds_of_a_resumed_run_count_only_where_they_are_cumulative(tmp_path: Path) -> None:
    rows = [{**SOUND, "seconds": "900", "notes": "restarted"}, {**SOUND, "seed": "1", "seconds": "910"}]
    first, second = imported_rows(study(collect([table(tmp_path, *rows)]), tmp_path / "earlier"))
    assert (first["resumed"], first.get("seconds")) == (True, None)
    assert second["seconds"] == 910


def test_a_column_without_a_known_name_keeps_it_and_is_named(tmp_path: Path) -> None:
    rows = [{**SOUND, "seed": str(seed), "fps": str(30 + seed), "imgsz": "640"} for seed in range(2)]
    rows = [{**row, "date": f"2026-01-0{day}"} for day, row in enumerate(rows, 1)]
    rows += [{**row, "arm": "frm_ffm", "fusion": "frm_ffm", "imgsz": "800"} for row in rows]
    found = collect([table(tmp_path, *rows)])
    said = "\n".join(found.notes)
    assert (
        "column fps: has no known name and is taken as a result, because it varies between runs of one configuration"
        in said
    )
    assert "column imgsz: has no known name and is kept as a setting" in said
    assert "column date: has no known name and is kept beside the run" in said
    assert found.runs[0].says["date"] == "2026-01-01"
    assert found.runs[0].figures["fps"] == 30
    assert found.runs[0].fields["imgsz"] == 640
    page = imported_page(study(found, tmp_path / "earlier")).text()
    assert "column imgsz: has no known name" in page
    assert "fps" in page


def test_a_result_that_the_user_names_is_no_setting(tmp_path: Path) -> None:
    rows = [{key: value for key, value in SOUND.items() if key != "arm"} | {"LAMR": "20.1"}]
    found = collect([table(tmp_path, *rows)], Names.given({}, ["LAMR"]))
    assert found.runs[0].figures["LAMR"] == 20.1
    assert "LAMR" not in found.runs[0].fields
    with pytest.raises(DataError, match="column LAMR: found 'low'; allowed: a number"):
        collect([table(tmp_path, {**rows[0], "LAMR": "low"})], Names.given({}, ["LAMR"]))


def test_a_setting_that_the_user_names_is_no_result(tmp_path: Path) -> None:
    rows = [{**SOUND, "seed": str(seed), "mAP": f"84.{seed}", "crop": str(seed // 2)} for seed in range(4)]
    rows += [{**row, "arm": "frm_ffm", "fusion": "frm_ffm", "crop": "0"} for row in rows]
    claim: dict[str, object] = {
        "kind": "superiority",
        "metric": "mAP",
        "treatment": {"arm": "cssa"},
        "baseline": {"arm": "frm_ffm"},
    }
    names = Names.given({}, (), ["crop"])
    found = collect([table(tmp_path, *rows)], names)
    assert not found.notes
    write_import(found, tmp_path / "earlier", [claim], names)
    ((_, answer),) = answered(read_study(tmp_path / "earlier"))
    assert answer["verdict"] == "NOT_COMPARABLE"
    assert answer["numbers"]["mismatched_fields"] == ["crop"]


def test_columns_are_mapped_to_known_names(tmp_path: Path) -> None:
    row = {"run": "a", "score": "84.1", "switch": "0.5", "random seed": "3"}
    columns = {"run": "exp_id", "score": "mAP", "switch": "model.fusion.options.switching_threshold"}
    run = collect([table(tmp_path, row)], Names.given({**columns, "random seed": "seed"})).runs[0]
    assert (run.name, run.figures, run.fields, run.says) == ("a", {"mAP": 84.1}, {"threshold": 0.5}, {"seed": 3})
    with pytest.raises(ConfigError, match=r"columns: score: unknown name 'treshold'.*Did you mean 'threshold'"):
        Names.given({"score": "treshold"})
    with pytest.raises(DataError, match="column switch: found '7'; allowed: a fraction from 0 to 1"):
        collect([table(tmp_path, {**row, "switch": "7"})], Names.given(columns))
