"""faster-coco-eval and pycocotools give the same numbers.

pycocotools divides by true + false + 2.2e-16, so that 0 / 0 is 0. From two detections on, the addend is rounded away; a
single true one has the precision 1 - 2.2e-16 there, and 1 here. That is the whole difference, at most a few 1e-14
points: with a smaller addend in pycocotools every bit is the same.
"""

import contextlib
import io
import math
from unittest.mock import patch

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from tune_cmx import metrics
from tune_cmx.evaluation import coco_truth, counter, evaluate, to_detections

CLASSES = ("person", "car", "bicycle")


def references(detections, truth):
    """What `evaluate` returns, from pycocotools' own counting and printing: as it is, and with a smaller addend."""
    with contextlib.redirect_stdout(io.StringIO()):
        counted = counter(detections, truth)
        counted.evaluate()
        found = []
        for addend in (np.spacing(1), 1e-300):
            with patch.object(np, "spacing", return_value=addend):
                counted.accumulate()
            counted.summarize()
            found.append(list(metrics.points(counted).values()))
    return found


def agree(detections, truth):
    found = evaluate(detections, truth)
    assert list(found) == list(metrics.scored())
    values = list(found.values())
    as_it_is, smaller = references(detections, truth)
    np.testing.assert_allclose(values, as_it_is, rtol=0, atol=1e-13)  # nan equals nan here
    np.testing.assert_array_equal(values, smaller)
    return found


def scene(seed, *, images=30, classes=3, boxes=4.0, detections=20, side=60.0, whole=False, levels=None, ignored=0.0):
    """Frames with boxes from a few pixels to a few hundred, most of them found more or less well, and false alarms.

    Every seventh frame has no box and every eleventh no detection. `whole` rounds all corners to pixels, `levels`
    all scores to so many: both make ties. `ignored` is the fraction of boxes that are ignore regions.
    """
    draw = np.random.default_rng(seed)
    truth_boxes, labels, found = [], [], []
    for image in range(images):
        count = 0 if image % 7 == 3 else draw.poisson(boxes)
        start = draw.random((count, 2)) * 300
        real = np.concatenate([start, start + draw.lognormal(np.log(side), 0.9, (count, 2))], axis=1)
        label = draw.integers(1, classes + 1, count)
        near = real + draw.normal(0, 0.07, real.shape) * np.tile(real[:, 2:] - real[:, :2], 2)
        start = draw.random((max(0, detections - count), 2)) * 300
        false = np.concatenate([start, start + draw.lognormal(np.log(side), 0.9, start.shape)], axis=1)
        guessed = np.concatenate([near, false])
        kinds = np.concatenate([label, draw.integers(1, classes + 1, len(false))])
        scores = np.concatenate([draw.beta(5, 2, count), draw.beta(1.2, 4, len(false))])
        if whole:
            real, guessed = np.round(real), np.round(guessed)
        if levels is not None:
            scores = np.round(scores * levels) / levels
        truth_boxes.append(real)
        labels.append(label)
        if image % 11 != 5:
            found += to_detections(image, guessed, scores, kinds)
    described = [(image, f"frame {image}", 512, 640) for image in range(images)]
    flags = [draw.random(len(own)) < ignored for own in labels]
    return found, coco_truth(described, truth_boxes, labels, [f"class {number}" for number in range(classes)], flags)


@pytest.mark.parametrize("seed", range(2))
@pytest.mark.parametrize(
    "shape",
    [
        {},
        {"classes": 1, "detections": 150},  # more than the hundred that count
        {"classes": 8, "boxes": 12.0},
        {"side": 12.0, "whole": True, "levels": 5},
        {"side": 200.0, "whole": True, "levels": 1},
        {"ignored": 0.4},
        {"side": 200.0, "whole": True, "levels": 5, "ignored": 0.4},
    ],
    ids=str,
)
def test_seeded_scenes(seed, shape):
    found = agree(*scene(seed, images=15, **shape))
    assert 0 < found["mAP"] < 100


def test_a_realistic_set():
    """Images with the hundred detections that a detector gives for each."""
    found = agree(*scene(0, images=50, detections=100))
    assert all(0 < value < 100 for value in found.values())


def test_detections_by_the_hundred_give_the_same_bits():
    """No metric of such a set hangs on one detection alone."""
    detections, truth = scene(0, images=60, boxes=8.0, detections=100)
    assert list(evaluate(detections, truth).values()) == references(detections, truth)[0]


def test_no_detections_at_all():
    _, truth = scene(0)
    assert set(agree([], truth).values()) == {0.0}


def test_no_boxes_at_all():
    found, _ = scene(0, images=2)
    bare = coco_truth([(0, "a", 300, 300), (1, "b", 300, 300)], [[], []], [[], []], CLASSES)
    assert all(math.isnan(value) for value in agree(found, bare).values())
    assert all(math.isnan(value) for value in agree([], bare).values())


def test_a_class_of_detections_that_the_truth_does_not_know():
    _, truth = scene(1, classes=2)
    found, _ = scene(1, classes=4)
    agree(found, truth)


CORNER = st.integers(0, 120)
SIDE = st.sampled_from([0, 1, 5, 31, 32, 33, 95, 96, 97, 150])
BOX = st.tuples(CORNER, CORNER, SIDE, SIDE).map(lambda box: [box[0], box[1], box[0] + box[2], box[1] + box[3]])
LABEL = st.integers(1, len(CLASSES))
SCORE = st.one_of(st.sampled_from([0.0, 0.5, 1.0]), st.floats(0, 1))
FRAME = st.tuples(
    st.lists(st.tuples(BOX, LABEL), max_size=5),
    st.lists(st.tuples(BOX, LABEL, SCORE), max_size=7),
)


@settings(max_examples=40, deadline=None)
@given(st.lists(FRAME, min_size=1, max_size=5))
@example([([([0, 0, 32, 32], 1)], [([0, 0, 32, 32], 1, 0.5), ([0, 0, 32, 32], 1, 0.5)])])
def test_whatever_the_boxes(frames):
    """Small grids of corners, so that boxes coincide, touch, lie in one another, have no area or the limiting ones."""
    found = []
    for image, (_, detections) in enumerate(frames):
        boxes, labels, scores = ([item[place] for item in detections] for place in (0, 1, 2))
        found += to_detections(image, boxes, scores, labels)
    described = [(image, f"frame {image}", 300, 300) for image in range(len(frames))]
    boxes = [[box for box, _ in real] for real, _ in frames]
    labels = [[label for _, label in real] for real, _ in frames]
    agree(found, coco_truth(described, boxes, labels, CLASSES))
