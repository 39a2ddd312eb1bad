"""Counts by score, by hand and against pycocotools' own precision."""

from typing import Any

import numpy as np
import pytest

from tune_cmx.evaluation import coco_truth, evaluate
from tune_cmx.training.tensorboard.pr_curves import THRESHOLDS, counts_by_score

CLASSES = ["person", "car", "bicycle"]


def _detection(image: int, label: int, box: list[float], score: float) -> dict[str, Any]:
    return {"image_id": image, "category_id": label, "bbox": box, "score": score}


def _truth(boxes: list[list[list[float]]], labels: list[list[int]]) -> dict[str, Any]:
    images = [(number, str(number), 100, 100) for number in range(len(boxes))]
    return coco_truth(images, boxes, labels, CLASSES)


def test_by_hand() -> None:
    """Two people, of whom one is found twice; a car that is not found; no bicycle to be found."""
    truth = _truth([[[0, 0, 10, 10], [50, 50, 70, 70]], [[0, 0, 10, 10]]], [[1, 1], [2]])
    detections = [
        _detection(0, 1, [0, 0, 10, 10], 0.9),
        _detection(0, 1, [1, 0, 10, 10], 0.5),
        _detection(0, 1, [50, 50, 20, 12], 0.3),
        _detection(1, 3, [0, 0, 10, 10], 0.8),
    ]
    counts = counts_by_score(detections, truth)
    assert list(counts) == ["person", "car"]
    people = counts["person"]
    at = [0, 30, 31, 50, 51, 90, 91, 100]
    assert people.right[at].tolist() == [2, 2, 1, 1, 1, 1, 0, 0]
    assert people.wrong[at].tolist() == [1, 1, 1, 1, 0, 0, 0, 0]
    assert people.recall[at].tolist() == [1, 1, 0.5, 0.5, 0.5, 0.5, 0, 0]
    assert people.precision[at].tolist() == pytest.approx([2 / 3, 2 / 3, 0.5, 0.5, 1, 1, 0, 0])
    assert counts["car"].objects == 1
    assert counts["car"].right.sum() == counts["car"].wrong.sum() == 0


def test_nothing_found_is_a_curve_too() -> None:
    counts = counts_by_score([], _truth([[[0, 0, 10, 10]]], [[1]]))
    assert counts["person"].right.shape == (THRESHOLDS,)
    assert counts["person"].right.sum() == 0


def test_the_area_under_it_is_pycocotools_ap_50() -> None:
    """With scores on the thresholds no point of the curve is lost; its envelope at 101 recalls is the AP."""
    random = np.random.default_rng(0)
    boxes, detections = [], []
    for image in range(12):
        corners = random.uniform(0, 70, (4, 2))
        boxes.append(np.hstack([corners, corners + random.uniform(10, 30, (4, 2))]).tolist())
        for x1, y1, x2, y2 in boxes[-1]:
            for _ in range(2):
                shift = float(random.normal(0, 3))
                score = round(float(random.uniform(0, 1)), 2)
                detections.append(_detection(image, 1, [x1 + shift, y1, x2 - x1, y2 - y1], score))
    for place, detection in enumerate(sorted(detections, key=lambda one: -one["score"])):
        detection["score"] = (len(detections) - place) / 100  # each its own
    truth = _truth(boxes, [[1] * 4] * 12)
    person = counts_by_score(detections, truth)["person"]
    envelope = [max(person.precision[person.recall >= recall], default=0) for recall in np.linspace(0, 1, 101)]
    assert 100 * np.mean(envelope) == pytest.approx(evaluate(detections, truth)["mAP_50"])
