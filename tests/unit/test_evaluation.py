"""COCO's numbers, in points."""

import math

import numpy as np
import pytest
import torch

from tune_cmx import metrics
from tune_cmx.errors import DataError
from tune_cmx.evaluation import by_class, by_condition, coco_truth, evaluate, to_detections
from tune_cmx.metrics import Metric

COCO_SIX = ["mAP", "mAP_50", "mAP_75", "mAP_small", "mAP_medium", "mAP_large"]
BOXES = np.array([[0, 0, 50, 50], [100, 0, 150, 50], [200, 0, 250, 50]], dtype=float)


@pytest.fixture
def truth():
    """Three boxes of 50 × 50 pixels, so medium ones, over two images; the third image has none."""
    images = [(0, "a", 300, 300), (1, "b", 300, 300), (2, "c", 300, 300)]
    return coco_truth(images, [BOXES[:2], BOXES[2:], []], [[1, 1], [1], []], ["person"])


def test_by_hand(truth):
    """Three detections, best first: an exact one; a false one of 20 × 20; one of 50 × 36 within a box, IoU 0.72.

    The third counts at the five thresholds 0.50..0.70, and not at the five 0.75..0.95. Of 101 recall points, 34
    (0.00..0.33) lie up to recall 1/3, 33 more (0.34..0.66) up to 2/3.

    - Thresholds up to 0.70: precision 1 up to recall 1/3, then 2/3 up to recall 2/3: (34 + 33 · 2/3) / 101 = 56/101.
    - From 0.75 on: precision 1 up to recall 1/3 only: 34/101.
    - mAP = (5 · 56 + 5 · 34) / (10 · 101) = 45/101.
    - Medium alone: the false detection is small and so left out: (5 · 67 + 5 · 34) / (10 · 101) = 1/2.
    """
    detections = [
        *to_detections(0, BOXES[:1], [0.9], [1]),
        *to_detections(2, [[0, 0, 20, 20]], [0.8], [1]),
        *to_detections(1, [[200, 0, 250, 36]], [0.7], [1]),
    ]
    found = evaluate(detections, truth)
    assert list(found) == COCO_SIX
    assert found["mAP"] == pytest.approx(100 * 45 / 101)
    assert found["mAP_50"] == pytest.approx(100 * 56 / 101)
    assert found["mAP_75"] == pytest.approx(100 * 34 / 101)
    assert found["mAP_medium"] == pytest.approx(50)
    assert math.isnan(found["mAP_small"])
    assert math.isnan(found["mAP_large"])


def test_each_class_beside_the_mean():
    """The mean over classes that have boxes is the mAP."""
    truth = coco_truth([(0, "a", 300, 300)], [BOXES], [[1, 1, 2]], ["person", "car", "bicycle"])
    detections = to_detections(0, BOXES[:2], [0.9, 0.8], [1, 1]) + to_detections(0, [[200, 0, 250, 36]], [0.7], [2])
    found = by_class(detections, truth)
    assert list(found) == ["person", "car", "bicycle"]
    assert found["person"] == pytest.approx({"mAP": 100, "mAP_50": 100, "boxes": 2})
    assert found["car"] == pytest.approx({"mAP": 50, "mAP_50": 100, "boxes": 1})
    assert found["bicycle"] == pytest.approx({"mAP": math.nan, "mAP_50": math.nan, "boxes": 0}, nan_ok=True)
    assert evaluate(detections, truth)["mAP"] == pytest.approx((100 + 50) / 2)


def test_each_condition_that_the_images_name(truth):
    """The figures of a condition are those of its images alone; an image without one is in none."""
    exact = to_detections(0, BOXES[:2], [0.9, 0.8], [1, 1])
    assert by_condition(exact, truth) == {}
    truth["images"][0]["condition"] = "night"
    truth["images"][1]["condition"] = "day"
    assert by_condition(exact, truth) == {
        "day": {"mAP": 0, "mAP_50": 0, "images": 1, "boxes": 1},
        "night": pytest.approx({"mAP": 100, "mAP_50": 100, "images": 1, "boxes": 2}),
    }
    with pytest.raises(DataError, match="a detection is on image 7"):
        by_condition(to_detections(7, BOXES[:1], [0.9], [1]), truth)


def test_a_metric_that_is_added_to_the_table_is_scored(truth, monkeypatch):
    best = Metric("best", "highest precision", "points", "higher", score=lambda run: run.eval["precision"].max())
    monkeypatch.setitem(metrics.METRICS, "best_precision", best)
    exact = to_detections(0, BOXES[:1], [0.9], [1])
    assert list(evaluate(exact, truth)) == [*COCO_SIX, "best_precision"]
    assert evaluate(exact, truth)["best_precision"] == pytest.approx(100)


def test_all_found_is_a_hundred_and_nothing_found_is_zero(truth, capsys):
    exact = to_detections(0, BOXES[:2], [0.9, 0.8], [1, 1]) + to_detections(1, BOXES[2:], [0.7], [1])
    assert evaluate(exact, truth)["mAP"] == pytest.approx(100)
    assert {name: evaluate([], truth)[name] for name in ("mAP", "mAP_50", "mAP_75", "mAP_medium")} == {
        "mAP": 0, "mAP_50": 0, "mAP_75": 0, "mAP_medium": 0,
    }  # fmt: skip
    assert capsys.readouterr().out == ""


def test_without_any_box_nothing_is_defined():
    truth = coco_truth([(0, "a", 10, 10)], [[]], [[]], ["person"])
    assert all(math.isnan(value) for value in evaluate(to_detections(0, [[0, 0, 5, 5]], [0.9], [1]), truth).values())


def test_a_class_without_boxes_does_not_count():
    truth = coco_truth([(0, "a", 300, 300)], [BOXES], [[1, 1, 1]], ["person", "car"])
    detections = to_detections(0, BOXES, [0.9, 0.8, 0.7], [1, 1, 1]) + to_detections(0, BOXES[:1], [0.9], [2])
    assert evaluate(detections, truth)["mAP"] == pytest.approx(100)


def test_the_wrong_class_finds_nothing():
    truth = coco_truth([(0, "a", 300, 300)], [BOXES], [[1, 1, 2]], ["person", "car"])
    assert evaluate(to_detections(0, BOXES, [0.9, 0.8, 0.7], [2, 2, 1]), truth)["mAP"] == 0


def test_what_is_given_is_not_changed(truth):
    detections = to_detections(0, BOXES[:1], [0.9], [1])
    before = repr((detections, truth))
    first = evaluate(detections, truth)
    assert repr((detections, truth)) == before
    assert evaluate(detections, truth)["mAP"] == first["mAP"]


def test_detections_of_tensors_are_plain_numbers():
    found = to_detections(3, torch.tensor([[1.0, 2.0, 4.0, 8.0]]), torch.tensor([0.5]), torch.tensor([2]))
    assert found == [{"image_id": 3, "category_id": 2, "bbox": [1.0, 2.0, 3.0, 6.0], "score": 0.5}]
    assert to_detections(3, torch.zeros(0, 4), torch.zeros(0), torch.zeros(0, dtype=torch.int64)) == []


def test_a_detection_on_an_unknown_image(truth):
    with pytest.raises(DataError, match="a detection is on image 7, which is not among the 3"):
        evaluate(to_detections(7, BOXES, [0.9] * 3, [1] * 3), truth)
