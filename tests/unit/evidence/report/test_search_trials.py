"""What the report says of the kinds of search: variants of ASHA, searchers, phases, several objectives, unfair arms."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

import pytest

from tune_cmx.evidence.report.page import Page
from tune_cmx.evidence.report.sections.pareto import front, pareto_section, points
from tune_cmx.evidence.report.write import study_page, write_report
from tune_cmx.evidence.results.comparison import compare_arms
from tune_cmx.evidence.results.reading import read_study

if TYPE_CHECKING:
    from conftest import StudyWriter

THRESHOLD = "model.fusion.options.switching_threshold"
SEARCH = "Search and learning curves"
PNG = b"\x89PNG\r\n\x1a\n"


def report_of(writer: StudyWriter) -> str:
    records = read_study(writer.write())
    return study_page(records, compare_arms(records), None).text()


def front_of(writer: StudyWriter) -> str:
    page = Page()
    pareto_section(page, read_study(writer.write()), writer.folder)
    return page.text()


def section(text: str, heading: str) -> str:
    return text.split(f"\n## {heading}\n")[1].split("\n## ")[0]


def cells(text: str) -> list[list[list[str]]]:
    """Tables as rows of cells, without the ruler."""
    blocks = [block.splitlines() for block in text.split("\n\n") if block.startswith("|")]
    return [[[cell.strip() for cell in line.strip("|").split("|")] for line in (b[0], *b[2:])] for b in blocks]


@pytest.fixture
def promoting(writer: StudyWriter) -> StudyWriter:
    """Four trials paused at rung 2; one was promoted, two stopped at the end, one waits."""
    writer.study["early_stopping"].update(variant="promote", rungs=[2, 6])
    values = {"s-a": 9.0, "s-b": 12.0, "s-c": 10.0, "s-d": 8.0}
    for name in values:
        writer.trial(name, "stages-4", "search")
    lines = [{"trial": name, "value": value, "decision": "pause"} for name, value in values.items()]
    ends = [("s-b", "continue"), ("s-a", "stop"), ("s-d", "stop")]
    writer.rungs(*lines, *({"trial": name, "value": values[name], "decision": end} for name, end in ends))
    return writer


@pytest.fixture
def phased(writer: StudyWriter) -> StudyWriter:
    """Placement, of two stages, then a threshold for the one that was kept."""
    writer.extra_arm("t3", "stages 4, threshold 0.3", {THRESHOLD: 0.3})
    writer.extra_arm("t7", "stages 4, threshold 0.7", {THRESHOLD: 0.7})
    writer.trial("s-1", "stages-1", "search", val=30.0, epochs=2, status="stopped")
    writer.trial("s-4", "stages-4", "search", val=31.0)
    writer.trial("s-t3", "t3", "search", val=32.0)
    writer.trial("s-t7", "t7", "search", val=29.0)
    writer.rungs(
        {"trial": "s-1", "value": 9.0, "decision": "stop", "phase": "placement"},
        {"trial": "s-4", "value": 9.5, "decision": "continue", "phase": "placement"},
        {"trial": "s-t3", "value": 9.9, "decision": "continue", "phase": "threshold"},
    )
    writer.study["space"] = {
        "placement": {"model.fusion.stages": {"when": {}, "choice": [[1], [4]]}},
        "threshold": {THRESHOLD: {"when": {}, "choice": [0.3, 0.5, 0.7]}},
    }
    writer.study["phases"] = [
        {"name": "placement", "arms": ["stages-1", "stages-4"], "kept": ["stages-4"]},
        {"name": "threshold", "arms": ["t3", "stages-4", "t7"], "kept": ["t3", "stages-4"]},
    ]
    return writer


@pytest.fixture
def several(writer: StudyWriter) -> StudyWriter:
    """Four complete trials and a stopped one; b surpasses d."""
    writer.study["searcher"] = {
        "kind": "tpe",
        "trials": 6,
        "startup_trials": 3,
        "objectives": ["val/mAP", "parameters"],
        "priors": [{"values": {THRESHOLD: 0.5}, "value": 31.25}],
        "continues": None,
    }
    figures = {"s-a": (33.0, 64), "s-b": (31.0, 60), "s-c": (29.0, 58), "s-d": (30.0, 61)}
    for name, (value, millions) in figures.items():
        counts = {"total": millions * 1_000_000, "active": 1}
        writer.trial(name, "stages-4", "search", val=value, milliseconds=70.0 - millions, parameters=counts)
    writer.trial("s-e", "stages-1", "search", val=60.0, epochs=2, status="stopped")
    return writer


def test_the_promoting_variant_is_named(promoting: StudyWriter) -> None:
    text = section(report_of(promoting), SEARCH)
    assert "Searcher: grid." in text
    assert "The promoting variant pauses a trial at each rung" in text
    assert "bracket" not in text


def test_a_paused_trial_of_an_unfinished_study(promoting: StudyWriter) -> None:
    promoting.trial("s-p", "stages-1", "search", epochs=2, status="paused")
    promoting.study["status"] = "interrupted"
    text = report_of(promoting)
    assert "5 trials, 0 stopped early, 1 paused" in section(text, SEARCH)
    assert "waits at a rung" in section(text, "Failed and unfinished trials")


def test_the_stopping_variant_is_named(undecided: StudyWriter) -> None:
    undecided.study["early_stopping"]["variant"] = "stop"
    assert "The stopping variant ends a trial that is not in the upper 1/3" in section(report_of(undecided), SEARCH)


def test_the_stopping_variant_is_named_in_studies_older_than_the_key(undecided: StudyWriter) -> None:
    del undecided.study["form"]
    undecided.study["early_stopping"].pop("variant", None)
    assert "The stopping variant ends a trial that is not in the upper 1/3" in section(report_of(undecided), SEARCH)


def test_settings_that_no_file_has_are_unknown_and_defaults_are_named(undecided: StudyWriter) -> None:
    for key in ("variant", "compare_at", "smooth_epochs"):
        undecided.study["early_stopping"].pop(key, None)
    text = report_of(undecided)
    assert "at equal unknown" in section(text, SEARCH)
    assert "Variant: unknown." in section(text, SEARCH)
    assert "lacks early_stopping.compare_at; the report takes epoch" in text
    assert "lacks early_stopping.smooth_epochs; the report takes 1" in text


def test_brackets_are_named(promoting: StudyWriter) -> None:
    promoting.study["early_stopping"]["brackets"] = 2
    lines = [
        {"trial": name, "rung": rung, "value": 9.0, "decision": "continue", "bracket": bracket}
        for name, rung, bracket in (("s-a", 2, 0), ("s-a", 6, 0), ("s-b", 6, 1))
    ]
    (promoting.folder / "search" / "rungs.jsonl").unlink()
    (promoting.folder / "search").rmdir()
    promoting.rungs(*lines)
    text = section(report_of(promoting), SEARCH)
    assert "rungs 2, 6, 2 brackets, the later ones from rung 6 on. The promoting" in text


def test_a_stop_without_a_cutoff_shows_its_value(writer: StudyWriter) -> None:
    stop = {"epoch": 2, "rung": 2, "value": 9.5, "cutoff": None}
    writer.trial("s-4", "stages-4", "search", epochs=2, status="stopped", stopped=stop)
    assert cells(section(report_of(writer), SEARCH))[0][1][2] == "rung 2: 9.50"


def test_search_tables_are_by_phase(phased: StudyWriter) -> None:
    text = section(report_of(phased), SEARCH)
    first, second = text.split("### Phase placement")[1].split("### Phase threshold")
    assert [row[0] for row in cells(first)[0]][1:] == ["[stages 4](../trials/s-4/)", "[stages 1](../trials/s-1/)"]
    assert {row[0].partition("]")[0] for row in cells(second)[0]} == {
        "configuration",
        "[stages 4, threshold 0.3",
        "[stages 4, threshold 0.7",
    }


def test_phases_say_what_they_varied_kept_and_cost(phased: StudyWriter) -> None:
    text = section(report_of(phased), "Phases")
    (table,) = cells(text)
    assert table[1:] == [
        ["placement", "model.fusion.stages (2 values)", "stages 4", "2", "2", "8", "80 s"],
        ["threshold", f"{THRESHOLD} (3 values)", "stages 4, threshold 0.3; stages 4", "3", "2", "12", "2.0 min"],
        ["all", "-", "-", "4", "4", "20", "3.3 min"],
    ]


def test_the_phase_that_is_not_over_holds_the_trials_of_none(phased: StudyWriter) -> None:
    del phased.study["phases"][1]
    text = report_of(phased)
    assert "### Phase threshold" in section(text, SEARCH)
    assert cells(section(text, "Phases"))[0][2][:3] == ["threshold", f"{THRESHOLD} (3 values)", "none yet"]


def test_phases_without_the_space_on_record_name_the_fields_that_differ(phased: StudyWriter) -> None:
    del phased.study["space"]
    text = section(report_of(phased), "Phases")
    assert "model.fusion.stages (2 values)" in text


def test_one_search_has_no_section_of_phases(undecided: StudyWriter) -> None:
    undecided.study.update(phases=[], space={"search": {"model.fusion.stages": {"choice": [[1], [4]]}}})
    text = report_of(undecided)
    assert "## Phases" not in text
    assert "### Phase" not in text


def test_tpe_says_what_it_drew_and_began_with(several: StudyWriter) -> None:
    text = section(report_of(several), SEARCH)
    assert "Searcher: TPE, 5 of 6 trials drawn. It has several objectives: val/mAP, parameters." in text
    assert f"It began with 1 prior observation: {THRESHOLD} 0.5 gave 31.25." in text
    several.study["searcher"].update(priors=[], continues="runs/earlier")
    assert "began with the finished trials of runs/earlier." in section(report_of(several), SEARCH)


def test_front_of_two_objectives(several: StudyWriter) -> None:
    text = section(front_of(several), "Pareto front of the objectives")
    assert cells(text)[0] == [
        ["no.", "configuration", "val/mAP", "parameters"],
        ["1", "[stages 4](../trials/s-a/)", "33.00", "64,000,000"],
        ["2", "[stages 4](../trials/s-b/)", "31.00", "60,000,000"],
        ["3", "[stages 4](../trials/s-c/)", "29.00", "58,000,000"],
    ]
    assert "3 of 4 complete search trials" in text
    assert "one run on one seed" in text
    assert "Milliseconds" not in text


def test_front_of_three_objectives_may_keep_what_two_would_not(several: StudyWriter) -> None:
    """d has more parameters and less mAP than b, but is faster: 9 ms against 10."""
    several.study["searcher"]["objectives"].append("milliseconds")
    text = section(front_of(several), "Pareto front of the objectives")
    assert [row[1][-4:-2] for row in cells(text)[0][1:]] == ["-a", "-b", "-d", "-c"]
    assert "Milliseconds include the machine's other load" in text


def test_equal_trials_are_on_the_pareto_front_together(several: StudyWriter) -> None:
    several.trial("s-f", "stages-1", "search", val=31.0, parameters={"total": 60_000_000, "active": 1})
    names = ("val/mAP", "parameters")
    assert len(front(points(read_study(several.write())), names)) == 4


def test_a_trial_without_an_objective_is_no_point_of_the_front(several: StudyWriter) -> None:
    several.study["searcher"]["objectives"] = ["val/mAP", "val/mAP_75"]
    assert "No complete search trial has all of val/mAP, val/mAP_75" in front_of(several)


@pytest.mark.parametrize("objectives", [["val/mAP", "parameters"], ["val/mAP", "parameters", "milliseconds"]])
def test_the_front_is_drawn(several: StudyWriter, objectives: list[str]) -> None:
    several.study["searcher"]["objectives"] = objectives
    (picture,) = re.findall(r"the Pareto front has the numbers of the table\]\((.+)\)", front_of(several))
    assert (several.folder / picture).read_bytes().startswith(PNG)


def test_one_objective_has_no_front(undecided: StudyWriter) -> None:
    assert "Pareto front of the objectives" not in front_of(undecided)


def test_allowed_differences_are_named_with_the_arms_that_have_them(undecided: StudyWriter) -> None:
    undecided.study["allow_differences"] = ["schedule", "model.drop_path", "code_version"]
    undecided.study["arms"]["stages-4"]["config"]["schedule"]["batch_size"] = 4
    undecided.trial("confirm-late", "stages-1", seed=103, test=31.0, code_version="0.2.0")
    text = report_of(undecided)
    protocol = section(text, "Protocol")
    assert "- schedule.batch_size: 2 in the baseline; 4 in stages 4\n" in protocol
    assert "- model.drop_path: no configuration differs from the baseline in it\n" in protocol
    assert "- code_version: 0.1.0+abc in the baseline; 0.1.0+abc / 0.2.0 in stages 1" in protocol
    assert "may differ outside the factors in schedule, model.drop_path, code_version" in section(text, "All warnings")


def test_equivalent_are_warned_of_with_the_factor_that_does_nothing(undecided: StudyWriter) -> None:
    undecided.extra_arm("t3", "stages 4, threshold 0.3", {THRESHOLD: 0.3})
    undecided.extra_arm("t7", "stages 4, threshold 0.7", {THRESHOLD: 0.7})
    undecided.study["equivalent"] = [["stages-4", "t3"], ["stages-4", "t7"], ["baseline", "stages-1"]]
    text = section(report_of(undecided), "All warnings")
    assert (
        f"{THRESHOLD} has no effect between 'stages 4' and 'stages 4, threshold 0.3'; "
        "'stages 4' and 'stages 4, threshold 0.7': the built models are equivalent (the same function and "
        "parameters), so differences in their results are noise"
    ) in text
    assert re.search(r"model\.fusion\.kind.* has no effect between 'baseline' and 'stages 1'", text)


def test_keys_that_nobody_knows_break_nothing(promoting: StudyWriter) -> None:
    promoting.study.update(future={"a": 1}, two_stage=None, phases=None, equivalent=None, space=None)
    promoting.study["searcher"]["future"] = 1
    promoting.trial("s-x", "gone", "search", future=[1], imported_from="elsewhere")
    path = promoting.write() / "search" / "rungs.jsonl"
    path.write_text(path.read_text() + '{"trial": "s-x", "rung": 2, "value": 1.0, "decision": "later", "future": 1}\n')
    assert "[gone](../trials/s-x/)" in section(write_report(promoting.folder).read_text(encoding="utf-8"), SEARCH)
