"""A detection in an ignore region changes no figure; one outside of it does. For all that reads a ground truth."""

import contextlib
import io
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from tune_cmx import metrics
from tune_cmx.evaluation import by_class, by_condition, coco_truth, counter, evaluate, objects_of, to_detections
from tune_cmx.evidence.results.floor import constant_detections, floor
from tune_cmx.evidence.results.image_scores import Images, image_f1
from tune_cmx.evidence.statistics.bootstrap import resampled
from tune_cmx.evidence.statistics.coco_matches import match
from tune_cmx.training.tensorboard.pr_curves import counts_by_score

Detections = list[dict[str, Any]]
SIDE = 400
SIZES = (20.0, 50.0, 100.0)
"""Of objects and false alarms: small, medium and large ones."""
OBJECTS = [[10.0, 10.0, 10 + side, 10 + side] for side in SIZES]
REGION = [200.0, 0.0, 400.0, 200.0]
INSIDE = [[210.0, 10.0, 210 + side, 10 + side] for side in SIZES] * 3
"""Each size three times: a region takes any number of detections."""
OUTSIDE = [[200.0, 250.0, 200 + side, 250 + side] for side in SIZES]


def scene() -> tuple[Detections, dict[str, Any]]:
    """Three images with an object each, of another size; all have the region, and a fourth has it alone."""
    images = [(number, f"i{number}", SIDE, SIDE) for number in range(4)]
    boxes = [[REGION, *OBJECTS[number : number + 1]] for number in range(4)]
    labels, flags = [[1] * len(own) for own in boxes], [[True, False][: len(own)] for own in boxes]
    truth = coco_truth(images, boxes, labels, ["person", "car"], flags)
    for image in truth["images"]:
        image["condition"] = "day" if image["id"] % 2 else "night"
    found = [one for number in range(3) for one in to_detections(number, OBJECTS[number : number + 1], [0.6], [1])]
    return found, truth


def more(boxes: list[list[float]], label: int = 1) -> Detections:
    """On every image, with a higher score than what is right."""
    return [
        one for number in range(4) for one in to_detections(number, boxes, [0.9] * len(boxes), [label] * len(boxes))
    ]


def by_pycocotools(found: Detections, truth: dict[str, Any]) -> dict[str, float]:
    with contextlib.redirect_stdout(io.StringIO()):
        counted = counter(found, truth)
        counted.evaluate()
        counted.accumulate()
        counted.summarize()
    return metrics.points(counted)


def by_bootstrap(found: Detections, truth: dict[str, Any]) -> dict[str, Any]:
    """The data, and two resamples."""
    counts = np.array([[1] * 4, [2, 1, 0, 1], [0, 1, 2, 1]], dtype=np.int32)
    scored = [name for name, metric in metrics.METRICS.items() if metric.matches is not None]
    return {name: resampled(match(found, truth, name), counts).tolist() for name in scored}


def curves(found: Detections, truth: dict[str, Any]) -> dict[str, Any]:
    counted = counts_by_score(found, truth)
    return {name: (own.right.tolist(), own.wrong.tolist(), own.objects) for name, own in counted.items()}


CONSUMERS: dict[str, Callable[[Detections, dict[str, Any]], Any]] = {
    "metrics": evaluate,
    "pycocotools": by_pycocotools,
    "by class": by_class,
    "by condition": by_condition,
    "bootstrap": by_bootstrap,
    "precision-recall curves": curves,
    "F1 of images": lambda found, truth: image_f1(found, truth)[:3].tolist(),
}


@pytest.mark.parametrize("consumer", CONSUMERS.values(), ids=CONSUMERS)
def test_a_detection_inside_changes_nothing_and_one_outside_does(consumer: Callable[..., Any]) -> None:
    found, truth = scene()
    alone = repr(consumer(found, truth))
    assert repr(consumer(found + more(INSIDE), truth)) == alone
    assert repr(consumer(found + more(OUTSIDE), truth)) != alone


@pytest.mark.parametrize("name", metrics.scored())
def test_each_metric_loses_by_a_detection_outside_alone(name: str) -> None:
    found, truth = scene()
    assert evaluate(found, truth)[name] == pytest.approx(100)
    assert evaluate(found + more(INSIDE), truth)[name] == pytest.approx(100)
    assert evaluate(found + more(OUTSIDE), truth)[name] < 90


@pytest.mark.parametrize("consumer", CONSUMERS.values(), ids=CONSUMERS)
def test_a_region_without_detections_changes_nothing(consumer: Callable[..., Any]) -> None:
    found, truth = scene()
    objects = {**truth, "annotations": objects_of(truth)}
    assert len(objects["annotations"]) == 3
    found = found + more(OUTSIDE)
    assert repr(consumer(found, truth)) == repr(consumer(found, objects))


def test_the_intersection_is_taken_over_the_detection() -> None:
    """0.7 of the detection lies in the region: ignored at IoU 0.50, a false alarm at 0.75."""
    found, truth = scene()
    values = evaluate(found + more([[160.0, 10.0, 293 + 1 / 3, 60.0]]), truth)
    assert values["mAP_50"] == pytest.approx(100)
    assert values["mAP_75"] < 90


def test_an_object_in_a_region_is_still_found() -> None:
    images = [(0, "a", SIDE, SIDE)]
    boxes = [REGION, *INSIDE[:1]]
    truth = coco_truth(images, [boxes], [[1, 1]], ["person"], [[True, False]])
    assert evaluate([], truth)["mAP"] == 0
    twice = to_detections(0, INSIDE[:1] * 2, [0.9, 0.8], [1, 1])
    assert evaluate(twice, truth)["mAP"] == pytest.approx(100)  # the second one is ignored
    assert curves(twice, truth)["person"][2] == 1


def test_a_detection_of_another_class_in_the_region_counts() -> None:
    found, truth = scene()
    cars = coco_truth([(9, "car", SIDE, SIDE)], [OBJECTS[:1]], [[2]], ["person", "car"])
    both = {**truth, "images": truth["images"] + cars["images"]}
    both["annotations"] = truth["annotations"] + [{**box, "id": 99} for box in cars["annotations"]]
    found = found + to_detections(9, OBJECTS[:1], [0.6], [2])
    assert by_class(found, both)["car"]["mAP"] == pytest.approx(100)
    assert by_class(found + more(INSIDE, label=2), both)["car"]["mAP"] < 50


def test_regions_are_no_boxes_of_counts() -> None:
    found, truth = scene()
    assert {name: part["boxes"] for name, part in by_class(found, truth).items()} == {"person": 3, "car": 0}
    assert {name: part["boxes"] for name, part in by_condition(found, truth).items()} == {"day": 1, "night": 2}
    assert curves(found, truth)["person"][2] == 3
    images = Images.of(truth)
    assert [len(own) for own in images.boxes] == [1, 1, 1, 0]
    assert [len(own) for own in images.ignored] == [1, 1, 1, 1]
    assert np.isnan(image_f1(found, truth)[3])


def test_the_commonest_box_is_that_of_objects() -> None:
    _, truth = scene()
    objects = {**truth, "annotations": objects_of(truth)}
    assert constant_detections(truth) == constant_detections(objects)
    assert constant_detections(truth)[0]["bbox"] == [10.0, 10.0, 50.0, 50.0]
    assert floor(truth, "mAP_50") == floor(objects, "mAP_50") > 0


def test_regions_alone_define_no_metric() -> None:
    _, truth = scene()
    regions = {**truth, "annotations": [box for box in truth["annotations"] if box["iscrowd"]]}
    assert all(np.isnan(value) for value in evaluate(more(INSIDE + OUTSIDE), regions).values())
    assert constant_detections(regions) == []
    assert floor(regions, "mAP") == 0
    assert curves(more(INSIDE), regions) == {}
