"""What the scoring of an epoch costs, beside pycocotools and beside the training of the epoch.

python scripts/benchmark_scoring.py --date 2026-11-26
"""

import argparse
import contextlib
import io
import os
import statistics
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from benchmark_bootstrap import Scene
from benchmark_setting import setting

from tune_cmx import metrics
from tune_cmx.evaluation import counter, evaluate, to_detections
from tune_cmx.evidence.report.page import Page

PUBLISHED_S = 0.116
"""Of training, an image: the published runs at 800 pixels on one A100."""
DETECTIONS = 100
"""An image: as many as the detector gives, and the metric counts."""
OFF = 0.08
"""How far off the boxes are that the made-up detector finds, in shares of their sides."""


def pycocotools_scores(detections: list[dict[str, Any]], truth: dict[str, Any]) -> dict[str, float]:
    """The same metrics, by pycocotools."""
    with contextlib.redirect_stdout(io.StringIO()):
        counted = counter(detections, truth)
        counted.evaluate()
        counted.accumulate()
        counted.summarize()
    return metrics.points(counted)


def seconds(work: Callable[[], Any]) -> tuple[float, Any]:
    """How long it takes, and what it gives."""
    began = time.perf_counter()
    result = work()
    return time.perf_counter() - began, result


def gathered(outputs: list[tuple[Any, Any, Any]]) -> list[dict[str, Any]]:
    """The detections of all images: what an evaluation does beside forward passes and scoring."""
    detections: list[dict[str, Any]] = []
    for number, (boxes, scores, labels) in enumerate(outputs):
        detections += to_detections(number, boxes, scores, labels)
    return detections


def as_model_gives(detections: list[dict[str, Any]], images: int) -> list[tuple[Any, Any, Any]]:
    """Boxes, scores and labels of each image, as arrays of the number types that the detector has."""
    by_image: list[list[dict[str, Any]]] = [[] for _ in range(images)]
    for item in sorted(detections, key=lambda item: float(item["score"]), reverse=True):
        by_image[item["image_id"]].append(item)
    outputs = []
    for every in by_image:
        items = every[:DETECTIONS]
        corners = np.array([item["bbox"] for item in items], dtype=np.float32).reshape(-1, 4)
        corners[:, 2:] += corners[:, :2]
        scores = np.array([item["score"] for item in items], dtype=np.float32)
        outputs.append((corners, scores, np.array([item["category_id"] for item in items], dtype=np.int64)))
    return outputs


def main() -> None:
    """Score the same detections in turns, and write `benchmarks/scoring.md`."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--images", type=int, default=2000)
    parser.add_argument("--classes", type=int, default=3)
    parser.add_argument("--boxes", type=float, default=5, help="an image, on average")
    parser.add_argument("--rounds", type=int, default=3, help="turns, of which the median is told")
    parser.add_argument("--epoch-images", type=int, default=7800)
    parser.add_argument(
        "--images-per-second",
        type=float,
        nargs="+",
        default=[1 / PUBLISHED_S, 5 / PUBLISHED_S],
        help="of training; the published figure and five times it, if not given",
    )
    parser.add_argument("--date", required=True)
    parser.add_argument("--output", type=Path, default=Path(__file__).parents[1] / "benchmarks" / "scoring.md")
    arguments = parser.parse_args()
    load = os.getloadavg()[0]
    scene = Scene(arguments.images, arguments.classes, arguments.boxes, seed=0)
    outputs = as_model_gives(scene.detections(OFF, 2 * DETECTIONS), arguments.images)
    turns = []
    for _ in range(arguments.rounds):
        gather_s, detections = seconds(partial(gathered, outputs))
        ours_s, ours = seconds(partial(evaluate, detections, scene.truth))
        reference_s, reference = seconds(partial(pycocotools_scores, detections, scene.truth))
        if ours != reference:
            raise SystemExit(f"the numbers differ: {ours} and {reference}")
        turns.append((gather_s, ours_s, reference_s))
        print(f"gathered in {gather_s:.2f} s, scored in {ours_s:.2f}, by pycocotools in {reference_s:.2f}", flush=True)
    gather_s, ours_s, reference_s = (statistics.median(turn) for turn in zip(*turns, strict=True))
    ratio = statistics.median(reference_s / ours_s for _, ours_s, reference_s in turns)
    page = Page()
    page.heading(f"Scoring {arguments.images:,} images", level=1)
    how = setting(("faster-coco-eval", "pycocotools", "numpy"), "one thread", f"load {load:.1f} before")
    page.paragraph(
        f"{how} {len(detections):,} made-up detections of {arguments.classes} classes, "
        f"{len(scene.truth['annotations']):,} boxes. Medians of {arguments.rounds} turns in one process; in each the "
        "six numbers were the same to the bit."
    )
    page.table(
        ["step", "seconds"],
        [
            ["the model's outputs as detections", f"{gather_s:.2f}"],
            ["`evaluate`, by faster-coco-eval", f"{ours_s:.2f}"],
            ["the same by pycocotools", f"{reference_s:.2f}"],
            ["pycocotools / `evaluate`, times", f"{ratio:.1f}"],
        ],
    )
    page.paragraph(f"The first two steps beside the training of {arguments.epoch_images:,} images:")
    speeds = [(speed, arguments.epoch_images / speed) for speed in arguments.images_per_second]
    page.table(
        ["training, images a second", "an epoch, s", "share"],
        [[f"{speed:.1f}", f"{epoch_s:.0f}", f"{(gather_s + ours_s) / epoch_s:.2%}"] for speed, epoch_s in speeds],
        left=0,
    )
    arguments.output.write_text(page.text(), encoding="utf-8")
    print(page.text())


if __name__ == "__main__":
    main()
