"""The score without learning, worked out by hand, and which configurations exceed it."""

from __future__ import annotations

import gzip
import json
from typing import TYPE_CHECKING, Any

import pytest

from tune_cmx.evaluation import coco_truth
from tune_cmx.evidence.report.warnings.every import warnings
from tune_cmx.evidence.results.floor import LEAST, constant_detections, floor, learning
from tune_cmx.evidence.results.reading import read_study

if TYPE_CHECKING:
    from conftest import StudyWriter

BOX = [0.0, 0.0, 20.0, 10.0]


def truth(*boxes: list[list[float]], labels: list[list[int]] | None = None) -> dict[str, Any]:
    images = [(number, f"i{number}", 100, 100) for number in range(len(boxes))]
    return coco_truth(images, boxes, labels or [[1] * len(own) for own in boxes], ["person", "car"])


def test_the_commonest_box_is_the_median_of_the_commonest_class() -> None:
    content = truth([BOX, [2.0, 0.0, 24.0, 10.0]], [[0.0, 4.0, 30.0, 10.0], BOX], labels=[[2, 2], [2, 1]])
    found = constant_detections(content)
    assert [one["image_id"] for one in found] == [0, 1]
    assert {one["category_id"] for one in found} == {2}
    assert found[0]["bbox"] == [0.0, 0.0, 22.0, 10.0]
    assert found[0]["score"] == 1.0


def test_the_floor_of_a_box_that_is_right_on_two_of_four_images() -> None:
    """All scores are 1, in the order of the images: 2 right, then 2 wrong. Recall reaches 0.5 of 4 boxes: 51 of 101."""
    content = truth([BOX], [BOX], [[0.0, 90.0, 20.0, 100.0]], [[80.0, 0.0, 100.0, 10.0]])
    assert constant_detections(content)[0]["bbox"] == [0.0, 0.0, 20.0, 10.0]
    assert floor(content, "mAP") == pytest.approx(100 * 51 / 101)


def test_without_boxes_the_floor_is_that_of_a_detector_that_returns_nothing() -> None:
    assert constant_detections(truth([], [])) == []
    assert floor(truth([], []), "mAP") == 0.0


def write_truth(writer: StudyWriter, content: dict[str, Any]) -> None:
    (writer.folder / "data").mkdir(parents=True)
    (writer.folder / "data" / "ground_truth_test.json.gz").write_bytes(gzip.compress(json.dumps(content).encode()))


def test_a_study_whose_intervals_all_reach_the_floor_has_learnt_nothing(writer: StudyWriter) -> None:
    write_truth(writer, {"info": {}, **truth([BOX], [BOX])})
    writer.arm("baseline", [0.01, 0.02])
    writer.arm("stages-1", [0.03, 0.0])
    found = learning(read_study(writer.write()))
    assert found.floor == pytest.approx(100.0)
    assert found.nothing


def test_one_configuration_above_the_floor_is_enough(writer: StudyWriter) -> None:
    writer.arm("baseline", [0.0, 0.0, 0.0])
    writer.arm("stages-1", [30.0, 31.0, 32.0])
    found = learning(read_study(writer.write()))
    assert (found.floor, found.commonest) == (LEAST, None)
    assert not found.nothing
    assert not found.has_learnt("baseline")
    low, high = found.intervals["stages-1"]
    assert (low + high) / 2 == pytest.approx(31.0)
    assert (high - low) / 2 == pytest.approx(2.776 * (2 / 4) ** 0.5 / 3**0.5, rel=1e-3)


def test_a_study_at_one_hundredth_of_a_point_has_learnt_nothing_though_the_commonest_box_finds_nothing(
    writer: StudyWriter,
) -> None:
    """Four boxes in four corners: their median meets none of them."""
    corners = [[0.0, 0.0], [0.0, 80.0], [80.0, 0.0], [80.0, 80.0]]
    write_truth(writer, {"info": {}, **truth(*([[x, y, x + 20, y + 10]] for x, y in corners))})
    writer.arm("baseline", [0.010, 0.011, 0.010])
    writer.arm("stages-1", [0.012, 0.011, 0.011])
    found = learning(read_study(writer.write()))
    assert found.commonest == 0.0
    assert found.nothing


def test_single_runs_count_as_they_are(writer: StudyWriter) -> None:
    writer.arm("baseline", [12.0])
    assert not learning(read_study(writer.write())).nothing


def test_a_study_without_confirmed_runs_has_no_such_verdict(writer: StudyWriter) -> None:
    writer.search()
    assert not learning(read_study(writer.write())).nothing


def test_a_damaged_ground_truth_is_named_and_not_taken_for_a_floor_of_nothing(writer: StudyWriter) -> None:
    (writer.folder / "data").mkdir(parents=True)
    (writer.folder / "data" / "ground_truth_test.json.gz").write_bytes(b"cut")
    writer.arm("baseline", [30.0, 31.0])
    records = read_study(writer.write())
    found = learning(records)
    assert (found.floor, found.commonest) == (LEAST, None)
    assert found.problem is not None
    assert found.problem.startswith("data/ground_truth_test.json.gz cannot be read")
    assert f"Floor is 0.5 points only: {found.problem}" in [one.fact for one in warnings(records, found)]


def test_means_far_above_the_floor_are_learnt_though_the_seeds_disagree(writer: StudyWriter) -> None:
    """The pooled standard deviation is near 31, so that both intervals reach far below the floor."""
    writer.arm("baseline", [5.0, 60.0, 40.0])
    writer.arm("stages-1", [70.0, 2.0, 30.0])
    study = read_study(writer.write())
    found = learning(study)
    assert not any(map(found.has_learnt, found.intervals))
    assert not found.nothing
    facts = [one.fact for one in warnings(study, found) if one.kind == "floor"]
    assert [fact for fact in facts if fact.startswith("The seeds disagree: the 95 % interval of baseline, stages 1 ")]
    assert not [fact for fact in facts if "may have learnt nothing" in fact]


def test_means_a_little_above_the_floor_are_not_learnt_where_the_intervals_reach_it(writer: StudyWriter) -> None:
    writer.arm("baseline", [0.0, 9.0, 6.0])
    writer.arm("stages-1", [1.0, 8.0, 6.0])
    assert learning(read_study(writer.write())).nothing
