"""The view by factor: values, where trials may be compared, confirmed arms, and factors of every kind."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from tune_cmx.evidence.report.page import Page
from tune_cmx.evidence.report.sections.by_factor import factors_section
from tune_cmx.evidence.results.comparison import compare_arms
from tune_cmx.evidence.results.reading import read_study
from tune_cmx.evidence.results.searched_factors import common_point, factors, groups, setting_text

if TYPE_CHECKING:
    from conftest import StudyWriter

STAGES, THRESHOLD, LR = "model.fusion.stages", "model.fusion.options.switching_threshold", "schedule.lr"
PNG = b"\x89PNG\r\n\x1a\n"


def section(writer: StudyWriter, *, drawn: bool = False) -> str:
    records = read_study(writer.write())
    place = writer.folder / "report" if drawn else None
    (writer.folder / "report").mkdir(exist_ok=True)
    page = Page()
    factors_section(page, records, compare_arms(records), place)
    return page.text()


def rows(text: str, heading: str) -> list[list[str]]:
    """Cells of the table under a heading, without header and ruler."""
    lines = [line for line in text.split(heading)[1].split("\n### ")[0].splitlines() if line.startswith("|")]
    return [[cell.strip() for cell in line.strip("|").split("|")] for line in lines[2:]]


def space(writer: StudyWriter, **domains: dict[str, Any]) -> None:
    paths = {"stages": STAGES, "threshold": THRESHOLD, "lr": LR}
    writer.study["space"] = {"search": {paths.get(name, name): domain for name, domain in domains.items()}}


def add(writer: StudyWriter, arm: str, values: dict[str, Any], val: float, **how: Any) -> None:
    writer.study["arms"][arm] = {"label": arm, "values": values, "config": {}, "differs": []}
    writer.trial(f"s-{arm}", arm, "search", val=val, **how)


def test_a_stopped_trial_is_compared_at_the_last_point_that_all_reached(undecided: StudyWriter) -> None:
    """Values grow by a sixth an epoch: at epoch 2 of 6, 31 is 10.33 and 29 is 9.67; no mean of two epochs yet."""
    text = section(undecided)
    baseline, first, fourth = rows(text, "### stages")
    assert baseline[:4] == ["baseline", "1", "0", "10.00"]
    assert first[:4] == ["1", "1", "0", "10.33"]
    assert fourth[:6] == ["4", "1", "1", "9.67", "9.67", "-"]
    assert "All trials are compared at epoch 2" in text
    assert "no claim rests on them" in text


def test_a_picture_for_each_factor(decided: StudyWriter) -> None:
    text = section(decided, drawn=True)
    assert "](factor-1-stages.png)" in text
    assert (decided.folder / "report" / "factor-1-stages.png").read_bytes().startswith(PNG)


def test_lists_are_text_in_the_order_of_the_file(writer: StudyWriter) -> None:
    space(writer, stages={"when": {}, "choice": [[3, 4], [1], [2, 3]]})
    for arm, stages in (("a", [1]), ("b", [2, 3]), ("c", [3, 4])):
        add(writer, arm, {STAGES: stages}, 30.0)
    assert [row[0] for row in rows(section(writer), "### stages")] == ["3, 4", "1", "2, 3"]


def test_a_factor_that_depends_on_another_has_a_row_for_not_used(writer: StudyWriter) -> None:
    kind = "model.fusion.kind"
    space(
        writer,
        **{kind: {"when": {}, "choice": ["cssa", "add"]}},
        threshold={"when": {kind: "cssa"}, "choice": [0.3, 0.5]},
    )
    add(writer, "a", {kind: "cssa", THRESHOLD: 0.5}, 30.0)
    add(writer, "b", {kind: "cssa", THRESHOLD: 0.3}, 31.0)
    add(writer, "c", {kind: "add"}, 29.0)
    text = section(writer)
    assert [row[:2] for row in rows(text, "### switching_threshold")] == [["0.3", "1"], ["0.5", "1"], ["not used", "1"]]
    assert "A row's mean is over all values of the other factors" in text


def test_a_range_with_many_values_is_cut_on_its_own_scale(writer: StudyWriter) -> None:
    space(writer, lr={"when": {}, "loguniform": [0.0001, 1.0]})
    for n in range(12):
        add(writer, f"a{n:02d}", {LR: 10 ** (-4 + n / 3)}, 30.0 + n)
    found = rows(section(writer, drawn=True), "### lr")
    assert [row[0] for row in found] == ["0.0001 to 0.001", "0.001 to 0.01", "0.01 to 0.1", "0.1 to 1"]
    assert sum(int(row[1]) for row in found) == 12
    assert (writer.folder / "report" / "factor-1-lr.png").is_file()


def test_a_range_with_few_values_shows_them_in_their_order(writer: StudyWriter) -> None:
    space(writer, lr={"when": {}, "uniform": [0.0, 1.0]})
    for arm, lr in (("a", 0.5), ("b", 0.125), ("c", 0.25)):
        add(writer, arm, {LR: lr}, 30.0)
    assert [row[0] for row in rows(section(writer), "### lr")] == ["0.125", "0.25", "0.5"]


def test_arms_listed_one_by_one_are_one_factor(writer: StudyWriter) -> None:
    space(writer, arms={"when": {}, "choice": [{"model.fusion": {"kind": "add"}}, {"model.streams": "rgb"}]})
    add(writer, "fusion add", {"model.fusion": {"kind": "add"}}, 30.0)
    add(writer, "streams rgb", {"model.streams": "rgb"}, 29.0)
    text = section(writer)
    assert [row[0] for row in rows(text, "### Configurations listed one by one")] == ["fusion add", "streams rgb"]


def test_trials_that_failed_do_not_hold_the_comparison_back(undecided: StudyWriter) -> None:
    undecided.trial("s-f", "stages-1", "search", epochs=1, status="failed", reason="nan")
    text = section(undecided)
    assert "All trials are compared at epoch 2" in text
    assert "1 trial did not end" in text
    assert rows(text, "### stages")[1][1] == "2"


def test_trials_of_unequal_length_are_compared_at_equal_fractions(writer: StudyWriter) -> None:
    writer.study["early_stopping"].update(compare_at="fraction", smooth_epochs=1)
    space(writer, stages={"when": {}, "choice": [[1], [4]]})
    add(writer, "a", {STAGES: [1]}, 30.0)
    add(writer, "b", {STAGES: [4]}, 24.0, epochs=3, status="stopped")
    point = common_point(read_study(writer.write()))
    assert point is not None
    assert str(point) == "50 % of the schedule"
    assert point.values == pytest.approx({"s-a": 15.0, "s-b": 12.0})


def test_several_phases_are_read_as_one_list_of_choices(writer: StudyWriter) -> None:
    writer.study["space"] = {
        "first": {THRESHOLD: {"when": {}, "choice": [0.5]}},
        "second": {THRESHOLD: {"when": {}, "choice": [0.3, 0.5]}},
    }
    (factor,) = factors(read_study(writer.write()))
    assert factor.domain == (0.5, 0.3)


def test_nothing_varied(writer: StudyWriter) -> None:
    assert section(writer) == "\n"


def test_groups_keep_true_and_one_apart(writer: StudyWriter) -> None:
    path = "model.fusion.options.eca"
    writer.study["space"] = {"search": {path: {"when": {}, "choice": [True, False]}}}
    add(writer, "a", {path: False}, 1.0)
    add(writer, "b", {path: True}, 1.0)
    records = read_study(writer.write())
    assert groups(records, factors(records)[0], ["a", "b"]) == {"yes": ["b"], "no": ["a"]}


@pytest.mark.parametrize(
    ("value", "text"),
    [
        ((1, 2), "1, 2"),
        (None, "not used"),
        (0.5, "0.5"),
        ({"kind": "cssa", "stages": [1], "options": {"eca": False}}, "CSSA, stages 1, without ECA"),
        ((("kind", "cssa"), ("stages", (1, 2))), "CSSA, stages 1, 2"),
    ],
)
def test_settings_as_text(value: Any, text: str) -> None:
    assert setting_text(value) == text


def test_three_factors_have_three_tables_and_pictures(writer: StudyWriter) -> None:
    names = [f"schedule.f{n}" for n in range(3)]
    writer.study["space"] = {"search": {name: {"when": {}, "choice": [1, 2]} for name in names}}
    for arm in range(4):
        add(writer, f"a{arm}", {name: 1 + (arm >> n % 2 & 1) for n, name in enumerate(names)}, 30.0 + arm)
    text = section(writer, drawn=True)
    assert text.count("\n### ") == 3
    assert len(list(Path(writer.folder / "report").glob("factor-*.png"))) == 3
