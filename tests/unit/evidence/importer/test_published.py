"""The thirteen published runs: their report's tables to the printed digit, and a verdict on each of its claims."""

import csv
import re
from pathlib import Path

import pandas as pd
import pytest
import yaml

from tune_cmx.evidence.importer.collect import collect
from tune_cmx.evidence.importer.imported_claims import answered, imported_rows
from tune_cmx.evidence.importer.imported_study import write_import
from tune_cmx.evidence.report.imported import imported_page
from tune_cmx.evidence.report.page_parts import Table
from tune_cmx.evidence.results.reading import read_study
from tune_cmx.evidence.results.study_results import StudyResults

GOLDEN = Path(__file__).parents[3] / "golden"
RUNS = GOLDEN / "published_results.csv"
CLAIMS = yaml.safe_load((GOLDEN / "published_claims.yaml").read_text())["claims"]
COLUMNS = {
    "mAP": "mAP",
    "mAP50": "mAP@50",
    "mAP75": "mAP@75",
    "small": "mAP small",
    "medium": "mAP medium",
    "large": "mAP large",
    "hours": "training time (h)",
    "params_M": "parameters (M)",
}
STAGES_AT_05 = """
1 † 84.07 97.37 95.13 62.90 85.64 80.07 14.83
1 83.44 97.45 95.14 64.60 84.89 84.50 3.77
4 83.20 98.28 95.14 62.29 84.72 78.61 4.03
3 82.80 97.34 95.02 62.88 84.32 76.46 3.84
2 82.58 97.42 95.26 62.96 84.18 76.66 3.89
2+3 82.32 98.20 95.12 62.99 83.74 86.24 3.95
3+4 81.66 98.22 95.18 62.95 82.80 62.18 3.90
1+2+3+4 80.91 98.03 93.89 59.35 82.50 65.61 3.54
"""
THRESHOLDS_AT_1 = """
0.5 † 84.07 97.37 95.13 62.90 85.64 80.07 14.83
0.5 83.44 97.45 95.14 64.60 84.89 84.50 3.77
0.3 83.23 97.46 95.22 63.52 84.76 84.76 3.73
0.7 82.98 97.44 95.21 61.45 84.53 83.44 3.98
"""
OTHER_STAGES_AT_03 = """
1 83.23 97.46 95.22 63.52 84.76 84.76 3.73
4 83.09 - - - - - -
2+3 81.70 - - - - 74.61 -
3 79.83 - - - - - -
"""
"""As the published report of 2025-11-09 prints them; † ran on another schedule."""


@pytest.fixture(scope="module")
def published(tmp_path_factory: pytest.TempPathFactory) -> StudyResults:
    folder = tmp_path_factory.mktemp("runs") / "published"
    found = collect([RUNS])
    assert not found.refused
    write_import(found, folder, CLAIMS)
    return read_study(folder)


@pytest.fixture(scope="module")
def tables(published: StudyResults) -> list[Table]:
    return [part for part in imported_page(published).parts if isinstance(part, Table)]


def as_printed(table: Table) -> str:
    return "\n" + "\n".join(" ".join(row[1:-1]) for row in table.rows) + "\n"


def test_the_printed_tables_come_back(tables: list[Table]) -> None:
    printed = [as_printed(table) for table in tables]
    for expected in (STAGES_AT_05, THRESHOLDS_AT_1, OTHER_STAGES_AT_03):
        assert expected in printed


def test_every_published_figure_stands_in_the_table_of_all_runs_as_it_was_printed(tables: list[Table]) -> None:
    (whole,) = [table for table in tables if len(table.rows) == 13]
    shown = {re.findall(r"\[(.*?)\]", row[0])[0]: dict(zip(whole.header, row, strict=True)) for row in whole.rows}
    with RUNS.open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert len(rows) == 13
    for row in rows:
        ours = shown[row["exp_id"]]
        assert {field: ours[field] for field in ("stages", "threshold", "epochs", "batch", "lr")} == {
            field: row[field] for field in ("stages", "threshold", "epochs", "batch", "lr")
        }
        for column, heading in COLUMNS.items():
            assert ours[heading] == (row[column] or "-"), (row["exp_id"], column)


VERDICTS = {
    "Stage 1 is the best place for CSSA": ("INSUFFICIENT_REPLICATION", {"largest_gap": 2.53, "n_per_arm": 1}),
    "Threshold 0.5 is optimal in 0.3 to 0.7": ("INSUFFICIENT_REPLICATION", {"largest_gap": 0.46, "n_per_arm": 1}),
    "The best CSSA performance is 83.44": ("CONTRADICTED", {"overall_max": 84.07}),
    "15 epochs reach 99 % of the performance of 25": ("DESCRIPTIVE_ONLY", {"ratio": 0.9925}),
    "15 epochs take 26 % of the time of 25": ("DESCRIPTIVE_ONLY", {"ratio": 0.2542}),
    "CSSA improves mAP over the FRM+FFM baseline": ("BLOCKED", {}),
    "CSSA trains faster than the baseline": ("BLOCKED", {}),
    "CSSA adds about 2 K parameters a stage, 0.003 %": ("BLOCKED", {}),
}


def test_each_claim_of_the_published_report_has_its_verdict(published: StudyResults) -> None:
    found = dict(answered(published))
    assert list(found) == list(VERDICTS)
    for text, (verdict, numbers) in VERDICTS.items():
        assert found[text]["verdict"] == verdict, text
        for name, value in numbers.items():
            assert found[text]["numbers"][name] == pytest.approx(value, abs=0.005), (text, name)
    for text in ("15 epochs reach 99 % of the performance of 25", "15 epochs take 26 % of the time of 25"):
        assert found[text]["numbers"]["mismatched_fields"] == ["batch", "epochs", "lr"]


def test_what_would_unblock_is_a_command(published: StudyResults) -> None:
    why = dict(answered(published))["CSSA improves mAP over the FRM+FFM baseline"]["why"]
    command = "tune-cmx train --data IMAGES --labels LABELS --backbone mit_b1 --epochs 15 --batch-size 16 --lr 0.02"
    assert f"{command} --fusion-type frm_ffm --no-cssa" in why


def test_the_report_says_what_it_cannot_know(published: StudyResults) -> None:
    text = imported_page(published).text()
    assert "every run: seed; split of the figures, and whether test was used to select;" in text
    assert "exp_010_s4_t0.3, exp_011_s3_t0.3, exp_012_s23_t0.3: mAP@50;" in text
    assert "none can serve as baseline" in text
    assert "Every run reports 60.01 M, at 7 different placements" in text
    own_words = "\n".join(line for line in text.splitlines() if "“" not in line)
    assert not re.search(r"\b(best|better|identical|optimal)\b", own_words)


def test_imported_runs_are_no_replicates(published: StudyResults) -> None:
    assert len(published.of_phase("imported")) == 13
    assert published.confirmed == []
    assert published.baseline is None
    table = pd.DataFrame(imported_rows(published))
    assert table["seed"].isna().all()
    assert table["mAP"].max() == 84.07


def test_an_imported_baseline_is_compared_where_a_claim_names_the_baseline(tmp_path: Path) -> None:
    path = tmp_path / "more.csv"
    lines = RUNS.read_text().splitlines()
    baseline = lines[3].replace("exp_002_s2_t0.5,cssa,2,0.5", "exp_100,frm_ffm,,").replace(",82.58,", ",82.60,")
    other_inputs = (
        baseline.replace("exp_100", "exp_101").replace("rgb+thermal+event", "rgb+thermal").replace("82.60", "83.42")
    )
    path.write_text("\n".join([*lines, baseline, other_inputs]) + "\n")
    write_import(collect([path]), tmp_path / "more", CLAIMS)
    records = read_study(tmp_path / "more")
    assert len(records.imported.baselines) == 2
    answer = dict(answered(records))["CSSA improves mAP over the FRM+FFM baseline"]
    assert answer["verdict"] == "INSUFFICIENT_REPLICATION"  # against the baseline of the same three modalities
    assert answer["numbers"]["difference"] == pytest.approx(0.84)
    assert "exp_101: differs from other runs in modalities" in imported_page(records).text()
