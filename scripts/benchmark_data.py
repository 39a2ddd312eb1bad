"""Time to check the images and labels of a large set: first, again, with one changed label, and in a trial.

python scripts/benchmark_data.py --date 2026-11-29
"""

import argparse
import json
import os
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
from benchmark_setting import setting
from PIL import Image

from tune_cmx.evidence.report.page import Page

SIDE_PX, BOXES = 8, 5
LINKS = 20_000
"""Names of one file; file systems allow 32,000 or more."""
MODALITIES = {"rgb": (SIDE_PX, SIDE_PX, 3), "thermal": (SIDE_PX, SIDE_PX)}
STEPS = ("import", "open", "audit, split, statistics, ground truth", "summary")
STUDY = """
import json, sys, time
from pathlib import Path
times = [time.process_time()]
from tune_cmx.config.trial import DataConfig
from tune_cmx.data.prepare import load_prepared, open_configured, prepare
from tune_cmx.storage import cache
times.append(time.process_time())
root, folder, kept, trial = sys.argv[1:]
cache.audit_folder = lambda: Path(kept)
config = DataConfig(root=root)
if trial == "trial":
    prepared = load_prepared(config, Path(folder))
else:
    data = open_configured(config)
    times.append(time.process_time())
    prepared = prepare(config, Path(folder), opened=data)
    times.append(time.process_time())
    prepared.summary()
times.append(time.process_time())
print(json.dumps([[b - a for a, b in zip(times, times[1:])], prepared.audit.fingerprint]))
"""


def write_set(root: Path, images: int) -> None:
    """Pairs of tiny PNG files, most of them links to others, and YOLO labels of their own."""
    draw = np.random.default_rng(0)
    for folder in (*MODALITIES, "labels"):
        (root / folder).mkdir(parents=True)
    (root / "classes.txt").write_text("person\ncar\n")
    for number in range(images):
        for modality, shape in MODALITIES.items():
            path = root / modality / f"f{number:06d}.png"
            if number % LINKS:
                path.hardlink_to(root / modality / f"f{number - number % LINKS:06d}.png")
            else:
                Image.fromarray(draw.integers(0, 256, shape, dtype=np.uint8)).save(path)
        sizes = draw.uniform(0.05, 0.3, (BOXES, 2))
        centres = draw.uniform(sizes / 2, 1 - sizes / 2)
        rows = zip(draw.integers(0, 2, BOXES), np.hstack([centres, sizes]), strict=True)
        lines = [f"{label} {' '.join(f'{value:.6f}' for value in box)}\n" for label, box in rows]
        (root / "labels" / f"f{number:06d}.txt").write_text("".join(lines))


@contextmanager
def folder_for(kept: Path | None) -> Iterator[Path]:
    """The folder that the user names, or one that is removed at the end."""
    if kept is not None:
        kept.mkdir(parents=True, exist_ok=True)
        yield kept
        return
    with tempfile.TemporaryDirectory() as folder:
        yield Path(folder)


def measured(base: Path, study: str, *, trial: bool = False) -> tuple[list[float], float, str]:
    """CPU seconds of each step of a process of its own, its wall seconds, and the data's fingerprint."""
    arguments = [str(base / "set"), str(base / study), str(base / "audits"), "trial" if trial else "study"]
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    run = subprocess.run([sys.executable, "-c", STUDY, *arguments], stdout=subprocess.PIPE, check=True)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    steps, fingerprint = json.loads(run.stdout)
    whole = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    return steps, whole, fingerprint


def main() -> None:
    """Measure in processes of their own, and write `benchmarks/data.md`."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--images", type=int, default=50_000)
    parser.add_argument("--keep", type=Path, help="folder for the set, which stays and is used again")
    parser.add_argument("--date", required=True)
    parser.add_argument("--output", type=Path, default=Path(__file__).parents[1] / "benchmarks" / "data.md")
    arguments = parser.parse_args()
    load = os.getloadavg()[0]
    rows = []
    with folder_for(arguments.keep) as base, tempfile.TemporaryDirectory(dir=base) as now:
        if not (base / "set").is_dir():
            write_set(base / "set", arguments.images)
            time.sleep(3)  # what changed less than 2 s ago is not kept
        (Path(now) / "set").symlink_to(base / "set")
        changed = base / "set" / "labels" / "f000001.txt"
        for name, study in (("first time", "a"), ("new study, nothing changed", "b"), ("one label changed", "c")):
            if study == "c":
                lines = changed.read_text().splitlines(keepends=True)
                changed.write_text("".join([*lines[1:], lines[0]]))
            steps, whole, fingerprint = measured(Path(now), study)
            rows.append([name, *(f"{seconds:.1f}" for seconds in steps), f"{whole:.1f}", fingerprint])
            print(*rows[-1], flush=True)
        steps, whole, fingerprint = measured(Path(now), "b", trial=True)
        rows.append(["data of a trial", f"{steps[0]:.1f}", f"{steps[1]:.1f}", "", "", f"{whole:.1f}", fingerprint])
        (size,) = [path.stat().st_size for path in (Path(now) / "audits").glob("*.npz")]
    page = Page()
    page.heading("Checking a large set", level=1)
    how = setting(("numpy", "pillow"), f"load {load:.1f} before", "two threads that decode")
    page.paragraph(
        f"{how} {arguments.images} pairs of RGB and thermal PNG files of {SIDE_PX}×{SIDE_PX} pixels with {BOXES} YOLO "
        "boxes each; files in the system's cache. Seconds of CPU in a process of its own. The last column shows that "
        f"an audit from the cache has the same fingerprint. The kept audit takes {size / 2**20:.0f} MiB. Images of "
        "usual size take longer the first time, as they are decoded, and no longer after that."
    )
    page.table(["what", *STEPS, "whole process", "fingerprint"], rows, left=1)
    arguments.output.write_text(page.text(), encoding="utf-8")
    print(page.text())


if __name__ == "__main__":
    main()
