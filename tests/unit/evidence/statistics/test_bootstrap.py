"""mAP on images drawn again: pycocotools' own numbers, whatever the draw, and intervals of the right width."""

import copy
import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tune_cmx import metrics
from tune_cmx.errors import DataError
from tune_cmx.evaluation import coco_truth, evaluate, to_detections
from tune_cmx.evidence.statistics.bootstrap import draw_images, paired_bootstrap, resampled, value_interval
from tune_cmx.evidence.statistics.coco_matches import match

Detections = list[dict[str, Any]]
Truth = dict[str, Any]

CLASSES = ("person", "car")
SIDES = (20, 50, 120)
"""Of a small, a medium and a large box."""
BOX = [0.0, 0.0, 50.0, 50.0]


@st.composite
def scenes(draw: st.DrawFn, *, ties_within_images: bool) -> tuple[Truth, Detections]:
    """Up to five images, numbered with gaps, with boxes, crowds and detections that miss by a little or wholly."""
    ids = draw(st.lists(st.integers(0, 9), min_size=1, max_size=5, unique=True).map(sorted))
    boxes: list[list[list[float]]] = []
    labels: list[list[int]] = []
    detections: Detections = []
    for id in ids:
        places = draw(st.lists(st.tuples(st.integers(0, 2), st.sampled_from(SIDES)), max_size=4))
        boxes.append([[200.0 * x, 0.0, 200.0 * x + side, float(side)] for x, side in places])
        labels.append([draw(st.integers(1, 2)) for _ in places])
        found = draw(st.lists(st.tuples(st.integers(0, 2), st.sampled_from(SIDES), st.integers(0, 12)), max_size=6))
        scores = draw(
            st.lists(
                st.sampled_from([0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8]),
                min_size=len(found),
                max_size=len(found),
                unique=not ties_within_images,
            )
        )
        corners = [[200.0 * x + shift, 0.0, 200.0 * x + side + shift, float(side)] for x, side, shift in found]
        detections += to_detections(id, corners, scores, [draw(st.integers(1, 2)) for _ in found])
    truth = coco_truth([(id, str(id), 200, 600) for id in ids], boxes, labels, CLASSES)
    for box in truth["annotations"]:
        box["iscrowd"] = int(draw(st.integers(0, 5)) == 0)
    return truth, detections


def written_out(truth: Truth, detections: Detections, counts: Sequence[int]) -> tuple[Truth, Detections]:
    """The data with every image as often as it was drawn, copies side by side, each a new image."""
    copies: dict[int, list[int]] = {}
    images, boxes = [], []
    for image, times in zip(truth["images"], counts, strict=True):
        copies[image["id"]] = list(range(len(images), len(images) + times))
        images += [{**image, "id": number} for number in copies[image["id"]]]
    for box in truth["annotations"]:
        boxes += [{**box, "image_id": number} for number in copies[box["image_id"]]]
    boxes = [{**box, "id": number} for number, box in enumerate(boxes, start=1)]
    found = [{**one, "image_id": number} for one in detections for number in copies[one["image_id"]]]
    return {**truth, "images": images, "annotations": boxes}, found


def on(counts: Sequence[int], detections: Detections, truth: Truth) -> dict[str, float]:
    """Every metric on one draw."""
    drawn = np.array([counts], dtype=np.int32)
    return {name: float(resampled(match(detections, truth, name), drawn)[0]) for name in metrics.scored()}


def single_boxes(found: Sequence[bool]) -> tuple[Truth, Detections]:
    """Images with one box each, which is found exactly or not at all; the metric is the share found."""
    images = [(number, str(number), 100, 100) for number in range(len(found))]
    truth = coco_truth(images, [[BOX]] * len(found), [[1]] * len(found), CLASSES[:1])
    return truth, [one for number, is_found in enumerate(found) if is_found for one in exact(number)]


def exact(image: int) -> Detections:
    return to_detections(image, [BOX], [0.9], [1])


@settings(max_examples=20, deadline=None, derandomize=True)
@given(scenes(ties_within_images=True))
def test_the_data_themselves_have_the_metrics_of_pycocotools(scene: tuple[Truth, Detections]) -> None:
    truth, detections = scene
    expected = evaluate(detections, truth)
    assert on([1] * len(truth["images"]), detections, truth) == pytest.approx(expected, abs=1e-9, nan_ok=True)


@settings(max_examples=20, deadline=None, derandomize=True)
@given(scenes(ties_within_images=False), st.lists(st.integers(0, 3), min_size=5, max_size=5))
def test_an_image_drawn_twice_counts_as_two_images(scene: tuple[Truth, Detections], drawn: list[int]) -> None:
    truth, detections = scene
    counts = drawn[: len(truth["images"])]
    copied, found = written_out(truth, detections, counts)
    expected = evaluate(found, copied) if copied["images"] else dict.fromkeys(metrics.scored(), math.nan)
    assert on(counts, detections, truth) == pytest.approx(expected, abs=1e-9, nan_ok=True)


def test_equal_scores_within_an_image_drawn_twice_stand_copy_by_copy() -> None:
    """The one case in which the written-out data differ: true, false, true, false there; true, true, false, false here.

    Recall up to 1/2 is reached with precision 1 in both; beyond it 2/3 there, which is 51 and 50 of 101 recalls.
    """
    truth, _ = single_boxes([True])
    detections = to_detections(0, [BOX, [60, 60, 90, 90]], [0.5, 0.5], [1, 1])
    assert on([2], detections, truth)["mAP"] == pytest.approx(100)
    copied, found = written_out(truth, detections, [2])
    order = sorted(found, key=lambda one: one["image_id"])
    assert evaluate(order, copied)["mAP"] == pytest.approx(100 * (51 + 50 * 2 / 3) / 101)


@pytest.mark.parametrize(("found", "boxes"), [(7, 25), (19, 20), (28, 100), (35, 50)])
def test_a_recall_is_reached_where_floats_say_so(found: int, boxes: int) -> None:
    """0.28 · 25 is a little above 7 and 0.95 · 20 is 19, yet 7/25 reaches that recall of pycocotools and 19/20 not."""
    truth, detections = single_boxes([True] * found + [False] * (boxes - found))
    expected = evaluate(detections, truth)["mAP"]
    assert on([1] * boxes, detections, truth)["mAP"] == pytest.approx(expected, abs=1e-9)


def test_a_detection_may_count_at_some_thresholds_alone() -> None:
    """34 pixels a side on a box of 31: on a small box, so out of mAP_medium, up to an IoU of 0.83; then a false one."""
    truth = coco_truth([(0, "a", 200, 200)], [[[0, 0, 31, 31], [100, 0, 150, 50]]], [[1, 1]], CLASSES)
    detections = to_detections(0, [[0, 0, 34, 34], [100, 0, 150, 50]], [0.9, 0.5], [1, 1])
    expected = evaluate(detections, truth)
    assert expected["mAP_medium"] == pytest.approx(100 * (7 + 3 / 2) / 10)
    assert on([1], detections, truth) == pytest.approx(expected, abs=1e-9, nan_ok=True)
    copied, found = written_out(truth, detections, [3])
    assert on([3], detections, truth) == pytest.approx(evaluate(found, copied), abs=1e-9, nan_ok=True)


def test_no_more_than_a_hundred_detections_of_an_image_count() -> None:
    truth, _ = single_boxes([True, True])
    false = to_detections(0, [[60, 60, 90, 90]] * 120, np.linspace(0.9, 0.3, 120), [1] * 120)
    detections = [*false, *to_detections(0, [BOX], [0.2], [1]), *to_detections(1, [BOX], [0.1], [1])]
    expected = evaluate(detections, truth)["mAP"]
    assert expected == pytest.approx(100 * 51 / 101 / 101)  # of the two boxes only the second, after 100 false ones
    assert on([1, 1], detections, truth)["mAP"] == pytest.approx(expected, abs=1e-9)


def test_without_a_box_drawn_nothing_is_defined() -> None:
    truth = coco_truth([(0, "a", 100, 100), (1, "b", 100, 100)], [[BOX], []], [[1], []], CLASSES)
    matched = match(exact(0), truth)
    values = resampled(matched, np.array([[1, 1], [0, 2], [2, 0]], dtype=np.int32))
    assert values == pytest.approx([100, math.nan, 100], nan_ok=True)


def test_draws_are_with_replacement_and_the_same_for_the_same_seed() -> None:
    counts = draw_images(30, resamples=200, seed=1)
    assert counts.shape == (200, 30)
    assert set(counts.sum(axis=1)) == {30}
    assert counts.mean() == 1
    assert (counts == 0).mean() == pytest.approx((1 - 1 / 30) ** 30, abs=0.02)
    assert np.array_equal(counts, draw_images(30, resamples=200, seed=1))
    assert not np.array_equal(counts, draw_images(30, resamples=200, seed=2))


def test_sequences_are_drawn_whole() -> None:
    sequences = ["b", "a", "b", "c", "a", "b"]
    counts = draw_images(6, sequences, resamples=100)
    assert (counts[:, 0] == counts[:, 2]).all()
    assert (counts[:, 0] == counts[:, 5]).all()
    assert (counts[:, 1] == counts[:, 4]).all()
    assert set(counts[:, [0, 1, 3]].sum(axis=1)) == {3}


def test_the_interval_is_that_of_means_over_runs_on_written_out_data() -> None:
    """Forty resamples, each evaluated by pycocotools for every run of both arms."""
    rng = np.random.default_rng(3)
    truth, _ = single_boxes([True] * 12)
    runs = {arm: [_with_misses(rng, share) for _ in range(2)] for arm, share in (("new", 0.8), ("baseline", 0.5))}
    matched = {arm: [match(run, truth) for run in of_arm] for arm, of_arm in runs.items()}
    found = paired_bootstrap(matched, "baseline", resamples=40, seed=5)["new"]
    differences = []
    for counts in [[1] * 12, *draw_images(12, resamples=40, seed=5).tolist()]:
        means = {
            arm: np.mean([_map(*written_out(truth, run, counts)) for run in of_arm]) for arm, of_arm in runs.items()
        }
        differences.append(means["new"] - means["baseline"])
    assert found.difference == pytest.approx(differences[0], abs=1e-9)
    assert found.ci95 == pytest.approx(tuple(np.percentile(differences[1:], [2.5, 97.5])), abs=1e-9)
    assert (found.unit, found.units, found.resamples, found.undefined) == ("images", 12, 40, 0)


def _with_misses(rng: np.random.Generator, share: float) -> Detections:
    """Of twelve images some are found, each at a score of its own, and some have a false detection."""
    found: Detections = []
    for image in range(12):
        for corners, chance in ((BOX, share), ([60, 60, 90, 90], 0.4)):
            if rng.random() < chance:
                found += to_detections(image, [corners], [float(rng.random())], [1])
    return found


def _map(truth: Truth, detections: Detections) -> float:
    return evaluate(detections, truth)["mAP"]


@pytest.mark.parametrize("in_sequences", [1, 10])
def test_the_interval_is_as_wide_as_the_share_of_found_boxes_varies(in_sequences: int) -> None:
    """A share p of n units has the standard deviation √(p(1 - p)/n); the frames of a sequence share its fate."""
    fate = np.random.default_rng(0).random(40 * 10 // in_sequences) < 0.7
    truth, detections = single_boxes(np.repeat(fate, in_sequences).tolist())
    sequences = np.repeat(np.arange(len(fate)), in_sequences).astype(str).tolist() if in_sequences > 1 else None
    arms = {"new": [match(detections, truth)], "baseline": [match([], truth)]}
    found = paired_bootstrap(arms, "baseline", sequences, resamples=2000)["new"]
    share = fate.mean()
    expected = 2 * 1.96 * 100 * math.sqrt(share * (1 - share) / len(fate))
    assert found.difference == pytest.approx(100 * share, abs=1)
    assert found.ci95 is not None
    assert found.ci95[1] - found.ci95[0] == pytest.approx(expected, rel=0.1)
    assert found.units == len(fate)


def test_arms_that_find_the_same_differ_by_nothing_on_any_draw() -> None:
    truth, detections = single_boxes([True, False] * 10)
    run = match(detections, truth)
    found = paired_bootstrap({"same": [run, run], "baseline": [run]}, "baseline", resamples=50)["same"]
    assert (found.difference, found.ci95) == (0, (0, 0))


def test_fewer_than_ten_sequences_give_no_interval() -> None:
    truth, detections = single_boxes([True, False] * 20)
    arms = {"new": [match(detections, truth)], "baseline": [match([], truth)]}
    nine = [str(number % 9) for number in range(40)]
    found = paired_bootstrap(arms, "baseline", nine)["new"]
    assert (found.ci95, found.unit, found.units, found.resamples) == (None, "sequences", 9, 0)
    assert found.difference == pytest.approx(evaluate(detections, truth)["mAP"])
    assert paired_bootstrap(arms, "baseline", [*nine[:39], "9"], resamples=20)["new"].ci95 is not None


def test_resamples_without_a_box_are_counted_and_left_out() -> None:
    images = [(number, str(number), 100, 100) for number in range(12)]
    truth = coco_truth(images, [[BOX], *[[]] * 11], [[1], *[[]] * 11], CLASSES)
    arms = {"new": [match(exact(0), truth)], "baseline": [match([], truth)]}
    found = paired_bootstrap(arms, "baseline", resamples=400)["new"]
    assert found.undefined / 400 == pytest.approx((11 / 12) ** 12, abs=0.07)
    assert found.ci95 == pytest.approx((100, 100))


def test_what_does_not_fit_together_is_an_error() -> None:
    truth, detections = single_boxes([True] * 12)
    other, _ = single_boxes([True] * 11)
    run = match(detections, truth)
    with pytest.raises(DataError, match="need the same images"):
        paired_bootstrap({"new": [match([], other)], "baseline": [run]}, "baseline")
    with pytest.raises(DataError, match="3 sequences for 12 images"):
        paired_bootstrap({"new": [run], "baseline": [run]}, "baseline", ["a", "b", "c"])
    with pytest.raises(DataError, match="a detection is on image 11, which is not among the 11"):
        match(detections, other)
    with pytest.raises(DataError, match="mAP_55 has no test-set bootstrap interval"):
        match(detections, truth, "mAP_55")


def test_what_is_matched_is_not_changed() -> None:
    truth, detections = single_boxes([True, False])
    before: tuple[Mapping[str, Any], Detections] = copy.deepcopy((truth, detections))
    match(detections, truth)
    assert (truth, detections) == before


def test_the_interval_of_one_value_is_that_of_its_resamples() -> None:
    boxes = [[BOX]] * 12
    truth = coco_truth([(id, str(id), 100, 100) for id in range(12)], boxes, [[1]] * 12, CLASSES[:1])
    found = [one for id in range(9) for one in to_detections(id, [BOX], [0.9 - 0.01 * id], [1])]
    matched = match(found, truth)
    one = value_interval(matched)
    assert one.value == pytest.approx(evaluate(found, truth)["mAP"])
    assert (one.unit, one.units) == ("images", 12)
    assert one.ci95 is not None
    assert one.ci95 == tuple(np.percentile(resampled(matched, draw_images(12)), [2.5, 97.5]))
    assert one.ci95[0] < one.value < one.ci95[1]
    few = value_interval(matched, [str(id // 6) for id in range(12)])
    assert (few.ci95, few.unit, few.units) == (None, "sequences", 2)
