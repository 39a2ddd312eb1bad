"""What the test-set bootstrap interval costs: a paired bootstrap of two arms on simulated detections.

python scripts/benchmark_bootstrap.py --images 2000 --resamples 1000
"""

import argparse
import os
import time
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tune_cmx.evaluation import coco_truth, to_detections
from tune_cmx.evidence.statistics.bootstrap import BootstrapInterval, paired_bootstrap
from tune_cmx.evidence.statistics.coco_matches import Matched, match

WIDTH_PX, HEIGHT_PX = 640, 512
ARMS = {"treatment": 0.07, "baseline": 0.08}
"""How far off an arm's boxes are, in shares of their sides."""
HEADER = (
    "| images | classes | boxes | detections a run | runs an arm | resamples | matching a run, s | the rest, s "
    "| all, s | CPU, s | peak, MiB | load before | difference |\n|" + "---:|" * 13
)


class Scene:
    """Images with boxes of all sizes, and detectors that find them more or less well."""

    def __init__(self, images: int, classes: int, boxes_per_image: float, seed: int) -> None:
        self._draw = np.random.default_rng(seed)
        self._classes = classes
        counts = self._draw.poisson(boxes_per_image, images)
        self.boxes = [self._corners(count) for count in counts]
        self.labels = [self._draw.integers(1, classes + 1, count) for count in counts]
        described = [(number, f"image {number}", HEIGHT_PX, WIDTH_PX) for number in range(images)]
        self.truth = coco_truth(described, self.boxes, self.labels, [f"class {n}" for n in range(classes)])

    def detections(self, off: float, per_image: float) -> list[dict[str, Any]]:
        """One run: nine of ten boxes found, each off by some share of its sides, and false ones with lower scores."""
        found: list[dict[str, Any]] = []
        for number, (boxes, labels) in enumerate(zip(self.boxes, self.labels, strict=True)):
            seen = self._draw.random(len(boxes)) < 0.9
            sides = np.tile(boxes[seen, 2:] - boxes[seen, :2], 2)
            near = boxes[seen] + sides * self._draw.normal(0, off, sides.shape)
            false = self._corners(min(100, max(0, self._draw.poisson(per_image) - len(near))))
            scores = np.concatenate([self._draw.beta(5, 2, len(near)), self._draw.beta(1.2, 4, len(false))])
            guessed = self._draw.integers(1, self._classes + 1, len(false))
            found += to_detections(
                number, np.concatenate([near, false]), scores, np.concatenate([labels[seen], guessed])
            )
        return found

    def _corners(self, count: int) -> NDArray[np.float64]:
        sides = np.exp(self._draw.normal(3.7, 0.6, (count, 2)))
        start = self._draw.random((count, 2)) * [WIDTH_PX - 80, HEIGHT_PX - 80]
        return np.concatenate([start, start + sides], axis=1)


def main() -> None:
    """Time it once and print a row of a Markdown table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--images", type=int, default=2000)
    parser.add_argument("--classes", type=int, default=3)
    parser.add_argument("--boxes", type=float, default=5, help="an image, on average")
    parser.add_argument("--detections", type=float, default=10, help="an image, on average; 100 at most")
    parser.add_argument("--runs", type=int, default=1, help="an arm; there are two arms")
    parser.add_argument("--resamples", type=int, default=1000)
    parser.add_argument("--metric", default="mAP")
    arguments = parser.parse_args()
    load = os.getloadavg()[0]
    scene = Scene(arguments.images, arguments.classes, arguments.boxes, seed=0)
    runs = {
        arm: [scene.detections(off, arguments.detections) for _ in range(arguments.runs)] for arm, off in ARMS.items()
    }
    began, cpu_s = time.perf_counter(), time.process_time()
    matched: dict[str, list[Matched]] = {
        arm: [match(run, scene.truth, arguments.metric) for run in of_arm] for arm, of_arm in runs.items()
    }
    matched_s = time.perf_counter() - began
    found = paired_bootstrap(matched, "baseline", resamples=arguments.resamples)["treatment"]
    whole_s = time.perf_counter() - began
    cells = [
        f"{arguments.images:,}",
        str(arguments.classes),
        f"{len(scene.truth['annotations']):,}",
        f"{len(runs['baseline'][0]):,}",
        str(arguments.runs),
        f"{arguments.resamples:,}",
        f"{matched_s / (2 * arguments.runs):.2f}",
        f"{whole_s - matched_s:.2f}",
        f"{whole_s:.2f}",
        f"{time.process_time() - cpu_s:.2f}",
        f"{_peak_mib():.0f}",
        f"{load:.2f}",
        _shown(found),
    ]
    print(f"{HEADER}\n| {' | '.join(cells)} |")


def _shown(found: BootstrapInterval) -> str:
    ends = "no interval" if found.ci95 is None else f"{found.ci95[0]:.2f} to {found.ci95[1]:.2f}"
    return f"{found.difference:+.2f} ({ends})"


def _peak_mib() -> float:
    """The most memory that this process has had."""
    lines = Path("/proc/self/status").read_text(encoding="utf-8").splitlines()
    return next(int(line.split()[1]) / 1024 for line in lines if line.startswith("VmHWM"))


if __name__ == "__main__":
    main()
