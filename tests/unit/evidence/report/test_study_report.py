"""The report as a reader meets it: words, stamps, tables, pictures."""

from __future__ import annotations

import gzip
import json
import re
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import pandas as pd
import pytest

from tune_cmx import metrics
from tune_cmx.evaluation import coco_truth
from tune_cmx.evidence.report.write import study_page, write_report
from tune_cmx.evidence.results.comparison import compare_arms
from tune_cmx.evidence.results.reading import read_study

if TYPE_CHECKING:
    from conftest import StudyWriter

STRONG_WORDS = re.compile(
    r"\b(best|better|worse|identical|same|equal|(?<!No )significant(ly)?|improves?|beats?|wins?)\b", re.I
)
PNG = b"\x89PNG\r\n\x1a\n"

AnswerOf = Callable[[str], str]


def report_of(writer: StudyWriter) -> str:
    records = read_study(writer.write())
    return study_page(records, compare_arms(records), None).text()


def section(text: str, heading: str) -> str:
    return text.split(f"## {heading}\n")[1].split("\n## ")[0]


def tables(text: str) -> list[list[str]]:
    """Runs of lines that start with a bar."""
    return [block.splitlines() for block in text.split("\n\n") if block.startswith("|")]


def test_an_undecided_study_claims_nothing(undecided: StudyWriter, answer_of: AnswerOf) -> None:
    answer = answer_of(report_of(undecided))
    assert answer.startswith("No significant difference between stages 1 and the baseline in test mAP (+0.67 points")
    assert answer.endswith("n = 3 each): INCONCLUSIVE.")
    assert not STRONG_WORDS.search(answer)
    assert len(re.findall(r"[.] |[.]$", answer.strip())) == 1


def test_a_decided_study_says_above_with_its_interval(decided: StudyWriter, answer_of: AnswerOf) -> None:
    answer = answer_of(report_of(decided))
    assert "stages 1 is above the baseline in test mAP (+3.02 points, 95 % interval 2.87 to 3.18" in answer
    assert "SUPPORTED" in answer
    assert not STRONG_WORDS.search(answer)


def test_an_arm_below_is_called_below(writer: StudyWriter, answer_of: AnswerOf) -> None:
    writer.arm("baseline", [33.0, 34.1, 34.9, 33.6])
    writer.arm("stages-1", [30.0, 31.0, 32.0, 30.5])
    answer = answer_of(report_of(writer))
    assert "stages 1 is below the baseline in test mAP (-3.02 points" in answer
    assert "CONTRADICTED" in answer


def test_a_single_run_makes_no_claim(writer: StudyWriter, answer_of: AnswerOf) -> None:
    writer.arm("baseline", [30.0, 31.0])
    writer.arm("stages-1", [34.0])
    text = report_of(writer)
    assert answer_of(text) == (
        "No claim about stages 1 against the baseline in test mAP is possible (n = 1, baseline 2): "
        "INSUFFICIENT_REPLICATION."
    )
    assert "n = 1 for stages 1" in section(text, "All warnings")


def test_baseline_and_selected_configuration_side_by_side(decided: StudyWriter) -> None:
    text = section(report_of(decided), "Selected configuration and baseline")
    on_test, on_val = tables(text)
    assert [cell.strip() for cell in on_test[0].strip("|").split("|")] == [
        *("metric", "baseline", "stages 1", "difference"),
    ]
    rows = {line.split("|")[1].strip(): [cell.strip() for cell in line.split("|")[2:5]] for line in on_test[2:]}
    assert rows["mAP"] == ["30.88 ± 0.85", "33.90 ± 0.80", "+3.02"]
    assert rows["mAP@50"][2] == rows["mAP@75"][2] == rows["mAP medium"][2] == rows["mAP large"][2] == "+3.02"
    assert rows["mAP small"] == ["undefined", "undefined", "-"]
    assert rows["training time"] == ["60 s", "60 s", "not compared"]
    assert rows["active parameters"] == ["59,992,000", "59,992,000", "0"]
    assert "n = 4 and 4" in text
    assert "29.88 ± 0.85" in on_val[2]


def test_table_of_all_confirmed_configurations(decided: StudyWriter) -> None:
    (table,) = tables(section(report_of(decided), "Confirmed configurations"))
    cells = [[cell.strip() for cell in line.strip("|").split("|")] for line in table]
    assert cells[0] == ["configuration", "mean ± sd", "n", "difference", "95 % interval", "adjusted p", "verdict"]
    assert cells[2] == ["baseline", "30.88 ± 0.85", "4", "-", "-", "-", "-"]
    assert cells[3][:5] == ["stages 1", "33.90 ± 0.80", "4", "+3.02", "2.87 to 3.18"]
    assert cells[3][6] == "SUPPORTED"


def test_where_nothing_was_learnt_there_is_no_ranking_no_advice_and_no_example(
    writer: StudyWriter, answer_of: AnswerOf
) -> None:
    """Real images at the floor: both configurations at 0.01."""
    truth = coco_truth([(0, "a", 100, 100)], [[[0.0, 0.0, 20.0, 10.0]]], [[1]], ["person"])
    (writer.folder / "data").mkdir(parents=True)
    content = gzip.compress(json.dumps({"info": {}, **truth}).encode())
    (writer.folder / "data" / "ground_truth_test.json.gz").write_bytes(content)
    writer.search()
    writer.arm("baseline", [0.01, 0.01, 0.02])
    writer.arm("stages-1", [0.02, 0.01, 0.03])
    text = write_report(writer.write()).read_text(encoding="utf-8")
    assert answer_of(text) == (
        "Nothing was learnt: no configuration has a 95 % interval above the floor of 100.00 points of test mAP, or a "
        "mean 5 points above it. A detector that returns the commonest box on each image reaches 100.00."
    )
    assert "The training loss fell" in section(text, "Likely causes")
    assert "Raise `schedule.epochs`" in section(text, "Likely causes")
    assert "tune-cmx board" in section(text, "Next command")
    assert not re.search("INCONCLUSIVE|seeds an arm|Finalists, in order|selected configuration beside|F1", text)
    headings = [line[3:] for line in text.splitlines() if line.startswith("## ")]
    assert not {"Selected configuration and baseline", "Example detections", "By factor"} & {*headings}


def test_a_configuration_that_learnt_nothing_beside_one_that_did_is_the_gravest_warning(writer: StudyWriter) -> None:
    writer.arm("baseline", [0.0, 0.0, 0.0])
    writer.arm("stages-1", [33.0, 34.1, 34.9])
    text = section(report_of(writer), "Gravest warnings")
    assert "No interval above the floor of 0.50 points of test mAP: baseline may have learnt nothing." in text


def test_a_metric_that_only_the_table_of_metrics_knows_is_shown(
    decided: StudyWriter, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(metrics.METRICS, "toy", metrics.Metric("Toy score", "a toy", "points", "higher", digits=1))
    for path in decided.folder.glob("trials/confirm-*/final_results.json"):
        content = json.loads(path.read_text())
        content["results_by_split"]["test"]["toy"] = 12.34
        path.write_text(json.dumps(content))
    assert re.search(r"\| Toy score +\| +12\.3 \|", section(report_of(decided), "Selected configuration and baseline"))


def test_the_first_screen_comes_in_the_order_of_reading(decided: StudyWriter) -> None:
    text = report_of(decided)
    first = text.split("Contents: ")[0]
    assert [line for line in first.splitlines() if line.startswith("## ")] == [
        *("## Answer", "## Confirmed configurations", "## What you may write"),
        *("## What these seeds can detect", "## Gravest warnings", "## Next command"),
    ]
    assert "complete · test: 15 images, 133 boxes, 10 sequences · " in first
    assert "[Protocol](#protocol)" in text.split("Contents: ")[1]


def test_search_shows_what_was_stopped_when(undecided: StudyWriter) -> None:
    text = section(report_of(undecided), "Search and learning curves")
    (trials,) = tables(text)
    assert "[stages 1](../trials/s-1/)" in trials[2]
    (stopped,) = [line for line in trials if "s-4" in line]
    assert "rung 2: 9.50 < 10.25" in stopped
    assert "2 of 6" in stopped


def test_links_lead_to_records(undecided: StudyWriter) -> None:
    links = re.findall(r"\]\((\.\./trials/[^)]+)\)", report_of(undecided))
    assert len(set(links)) == 12
    assert all((undecided.folder / "report" / link).resolve().is_dir() for link in links)


def test_failed_trials_are_listed_with_their_reasons(undecided: StudyWriter) -> None:
    undecided.trial("s-9", "stages-4", "search", epochs=1, status="failed", reason="loss is nan at epoch 1, step 4")
    undecided.trial("confirm-x", "stages-1", seed=103, epochs=2, status="failed", reason="out of | memory")
    text = report_of(undecided)
    failed = section(text, "Failed and unfinished trials")
    assert "loss is nan at epoch 1, step 4" in failed
    assert "out of \\| memory" in failed
    assert "1 confirmation run did not finish (confirm-x)" in section(text, "All warnings")


def test_a_split_over_images_is_stamped_above_every_table(decided: StudyWriter) -> None:
    assert "neighbouring images leak" not in report_of(decided)
    decided.study["split"]["how"] = "frame"
    text = report_of(decided)
    blocks = text.split("\n\n")
    places = [place for place, block in enumerate(blocks) if block.startswith("|")]
    assert len(places) >= 7
    stamp = "> **split over single images: neighbouring images leak**"
    assert all(blocks[place - 1] == stamp for place in places)
    assert "neighbouring images leak" in section(text, "All warnings")


def test_a_split_over_images_that_only_runs_know_is_stamped_too(decided: StudyWriter) -> None:
    decided.trial("s-late", "stages-1", "search", split_how="frame")
    assert "> **split over single images: neighbouring images leak**" in report_of(decided)


def test_choosing_on_test_is_said_above_every_table(decided: StudyWriter, answer_of: AnswerOf) -> None:
    decided.study["selection"] = {"split": "test", "metric": "test/mAP", "finalists": ["stages-1"]}
    text = report_of(decided)
    blocks = text.split("\n\n")
    places = [place for place, block in enumerate(blocks) if block.startswith("|")]
    assert all("test was used for choosing" in blocks[place - 1] for place in places)
    assert answer_of(text) == "stages 1 cannot be compared with the baseline in test mAP: SELECTION_BIASED."


def test_a_search_cut_off_before_confirmation(writer: StudyWriter, answer_of: AnswerOf) -> None:
    writer.search()
    writer.study.update(status="searching", selection=None)
    text = write_report(writer.write()).read_text(encoding="utf-8")
    assert "The study is not complete (status: searching)" in text
    assert "no configuration has a complete confirmation run (3 of 3 search trials ended)" in answer_of(text)
    assert "tune-cmx search SPACE --data frames --resume" in section(text, "Next command")
    assert "## Confirmed configurations" not in text
    assert (writer.folder / "report" / "curves.png").is_file()
    assert not (writer.folder / "report" / "configurations.png").exists()


def test_a_study_without_any_trial(writer: StudyWriter, answer_of: AnswerOf) -> None:
    writer.study["status"] = "running"
    text = write_report(writer.write()).read_text(encoding="utf-8")
    assert "(0 of 0 search trials ended)" in answer_of(text)
    assert [line for line in text.splitlines() if line.startswith("## ")][1:] == [
        *("## What you may write", "## Warnings", "## Next command", "## Protocol"),
    ]
    assert (writer.folder / "report" / "trials.csv").is_file()


def test_a_missing_baseline_is_said(writer: StudyWriter, answer_of: AnswerOf) -> None:
    writer.arm("stages-1", [31.0, 32.0])
    text = report_of(writer)
    assert "BLOCKED" in answer_of(text)
    assert "The baseline has no complete confirmation run" in section(text, "All warnings")


@pytest.mark.parametrize(
    ("info", "warning"),
    [
        ({"protocol_hash": "ffffffffffff"}, "2 different protocol hashes"),
        ({"protocol_hash": "ffffffffffff"}, "1 run not under the study's protocol 0123456789ab"),
        ({"code_version": "0.2.0"}, "2 different code versions: 0.1.0+abc, 0.2.0"),
        ({"device": "gpu"}, "2 different devices"),
        ({"split_hash": "ffff"}, "2 different splits"),
    ],
)
def test_mixed_records_are_warned_of(decided: StudyWriter, info: dict[str, str], warning: str) -> None:
    decided.trial("confirm-odd", "stages-4", seed=200, test=31.0, **info)
    assert warning in section(report_of(decided), "All warnings")


def test_data_too_small_to_judge_is_warned_of(decided: StudyWriter) -> None:
    decided.study["split"]["counts"]["test"]["boxes"] = 12
    decided.study["split"]["sequences"]["test"] = ["set03"]
    decided.study["split"]["warnings"] = ["sequence set03 holds 40 % of all boxes"]
    text = section(report_of(decided), "All warnings")
    assert "Only 12 boxes in test" in text
    assert "Test has 1 sequence" in text
    assert "mAP small undefined on test" in text
    assert "set03 holds 40 %" in text


def test_protocol_with_its_hash(undecided: StudyWriter) -> None:
    text = section(report_of(undecided), "Protocol")
    assert "Hash 0123456789ab" in text
    assert re.search(r"schedule\.epochs +\| 6 ", text)
    assert "rgb \\| thermal+event" in text
    assert "test 15 images with 133 boxes" in text
    assert "da7ada7ada7a" in text
    assert "range of" not in text


def test_protocol_names_the_range_of_the_pixels(undecided: StudyWriter) -> None:
    undecided.study["data"]["ranges"] = {"thermal": "7200 to 11000 (given; 0.1% of the train pixels outside)"}
    assert re.search(r"range of thermal pixels +\| 7200 to 11000 \(given", section(report_of(undecided), "Protocol"))


def test_ignore_regions_are_counted_beside_boxes(undecided: StudyWriter) -> None:
    for part, ignored in (("train", 0), ("test", 1), ("val", 2)):
        undecided.study["split"]["counts"][part]["ignored"] = ignored
    text = report_of(undecided)
    assert "test: 15 images, 133 boxes, 1 ignore region, 10 sequences" in text
    counts = "train 70 images with 410 boxes; val 15 images with 140 boxes and 2 ignore regions; test 15 images with "
    assert counts + "133 boxes and 1 ignore region" in text


def test_tables_are_aligned_and_hold_no_negative_zero(undecided: StudyWriter) -> None:
    text = report_of(undecided)
    for table in tables(text):
        assert len({len(line) for line in table}) == 1
    assert not re.search(r"[-+]0\.00\b", text)


def test_the_files_of_a_report(undecided: StudyWriter) -> None:
    folder = undecided.write()
    before = _contents(folder)
    place = write_report(folder).parent
    first = _contents(place)
    assert {"report.md", "report.html", "tables.tex", "trials.csv", "configurations.png", "curves.png"} <= {
        path.as_posix() for path in first
    }
    assert all(content.startswith(PNG) for path, content in first.items() if path.suffix == ".png")
    table = pd.read_csv(place / "trials.csv")
    assert len(table) == 12
    assert {"trial", "arm", "phase", "seed", "status", "test/mAP", "stopped_rung", "split_how"} <= set(table.columns)
    write_report(folder)
    assert _contents(place) == first, "the same records gave another report"
    assert {path: content for path, content in _contents(folder).items() if "report" not in path.parts} == before


def _contents(folder: Path) -> dict[Path, bytes]:
    return {path.relative_to(folder): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def next_command(writer: StudyWriter) -> str:
    return section(report_of(writer), "Next command")


def test_runs_that_failed_are_retried_before_anything_else(undecided: StudyWriter) -> None:
    undecided.trial("confirm-stages-4-s9", "stages-4", seed=9, status="failed")
    assert "tune-cmx search SPACE --data frames --resume --retry-failed" in next_command(undecided)


def test_more_seeds_after_single_runs_have_one_advice(writer: StudyWriter) -> None:
    """Resuming with more seeds is allowed; after a test it would be a look too many, so it is not advised there."""
    writer.arm("baseline", [30.0])
    writer.arm("stages-1", [34.0])
    text = next_command(writer)
    assert "Set `confirm: {seeds: 3}` in the search-space file" in text
    assert "--resume" in text
    assert "new study" not in text


@pytest.mark.parametrize("finals", [[34.0], [31.0, 30.5, 33.5]])
def test_the_next_command_of_an_old_study_says_what_to_rename(writer: StudyWriter, finals: list[float]) -> None:
    writer.arm("baseline", [30.0, 31.0, 32.0][: len(finals)])
    writer.arm("stages-1", finals)
    folder = writer.write()
    (folder / "space.yaml").write_text("study: s\ncontrol:\n  data: {}\n", encoding="utf-8")
    study = read_study(folder)
    old = replace(study, state=study.state.model_copy(update={"form": None}))
    text = section(study_page(old, compare_arms(old), None).text(), "Next command")
    assert "rename `control:` to `baseline:` in space.yaml" in text
    assert "new study" in text
    assert "--resume" not in text


def test_whole_names_need_no_table_of_their_values(writer: StudyWriter) -> None:
    writer.arm("baseline", [30.0, 31.0])
    writer.arm("stages-1", [34.0, 33.0])
    assert "## Names of configurations" not in report_of(writer)


def test_a_name_with_a_number_has_its_values_with_all_digits(writer: StudyWriter) -> None:
    about = writer.study["arms"]["stages-1"]
    about["label"] = "FRM+FFM, lr 0.02, weight decay 0.0... #7"
    about["values"] = {"schedule.lr": 0.0200012345, "model.fusion.stages": [1]}
    writer.arm("baseline", [30.0, 31.0])
    writer.arm("stages-1", [34.0, 33.0])
    text = section(report_of(writer), "Names of configurations")
    assert "schedule.lr: 0.0200012345, model.fusion.stages: [1]" in text
    assert "stages 4" not in text
