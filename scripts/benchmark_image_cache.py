"""Time to read an epoch of images, from the files and from the memory that the trials of a machine share.

python scripts/benchmark_image_cache.py --date 2026-11-26
"""

import argparse
import os
import statistics
import tempfile
import time
from pathlib import Path

import numpy as np
import torch
from benchmark_setting import setting
from numpy.typing import NDArray
from PIL import Image

from tune_cmx.config.trial import AugmentConfig
from tune_cmx.data.audit import audit
from tune_cmx.data.dataset import PairedDataset, build_loader
from tune_cmx.data.readers import PairedData, open_data
from tune_cmx.data.shared.image_cache import SharedImages, shared_images
from tune_cmx.evidence.report.page import Page

HEIGHT_PX, WIDTH_PX, BANDS = 512, 640, 5
FORMS = ("png", "jpg", "npy")
MODALITIES = {"rgb": slice(0, 3), "thermal": slice(3, 4), "event": slice(4, 5)}


def write_set(root: Path, form: str, images: int) -> PairedData:
    """Frames of smooth shapes under sensor noise, which a file compresses about as well as a camera's."""
    draw = np.random.default_rng(0)
    (root / "labels").mkdir(parents=True)
    (root / "classes.txt").write_text("person\n")
    for number in range(images):
        coarse = draw.integers(40, 200, (HEIGHT_PX // 64, WIDTH_PX // 64, BANDS), dtype=np.uint8)
        smooth = [
            np.asarray(Image.fromarray(coarse[:, :, band]).resize((WIDTH_PX, HEIGHT_PX), Image.Resampling.BICUBIC))
            for band in range(BANDS)
        ]
        noise = draw.normal(0, 4, (HEIGHT_PX, WIDTH_PX, BANDS))
        pixels = np.clip(np.stack(smooth, axis=2) + noise, 0, 255).astype(np.uint8)
        _write_image(root, form, f"f{number:05d}", pixels)
        (root / "labels" / f"f{number:05d}.txt").write_text("0 0.5 0.5 0.2 0.2\n")
    return open_data(root)


def _write_image(root: Path, form: str, id: str, pixels_HWC: NDArray[np.uint8]) -> None:
    if form == "npy":
        (root / "images").mkdir(exist_ok=True)
        np.save(root / "images" / f"{id}.npy", pixels_HWC)
        return
    for modality, bands in MODALITIES.items():
        (root / modality).mkdir(exist_ok=True)
        image = pixels_HWC[:, :, bands]
        Image.fromarray(image if image.shape[2] == 3 else image[:, :, 0]).save(root / modality / f"{id}.{form}")


def epoch_s(data: PairedData, shared: SharedImages | None, *, workers: int, augment: bool) -> float:
    """Seconds for an epoch of batches, with a cache of the process's own left out: it holds a first part of a set."""
    dataset = PairedDataset(
        data,
        [image.id for image in data.images],
        list(data.bands),
        augment=AugmentConfig() if augment else None,
        seed=0,
        cache_mib=0,
        shared=shared,
    )
    began = time.perf_counter()
    for _ in build_loader(dataset, batch_size=16, shuffle=True, seed=0, epoch=0, workers=workers):
        pass
    return time.perf_counter() - began


def measured(form: str, arguments: argparse.Namespace) -> list[list[str]]:
    """The table's rows of one form of files: without augmentation, and with."""
    rows = []
    with tempfile.TemporaryDirectory() as folder:
        data = write_set(Path(folder), form, arguments.images)
        found = audit(data)
        began = time.perf_counter()
        with shared_images(data, found) as shared:
            if shared is None:
                raise SystemExit("the images do not fit into shared memory; use fewer with --images")
            built_s = time.perf_counter() - began
            for augment in (False, True):
                turns = [
                    [epoch_s(data, source, workers=arguments.workers, augment=augment) for source in (None, shared)]
                    for _ in range(arguments.rounds)
                ]
                files_ms, shared_ms = (
                    1000 * statistics.median(turn) / arguments.images for turn in zip(*turns, strict=True)
                )
                ratio = statistics.median(files_s / shared_s for files_s, shared_s in turns)
                cells = [f"{built_s:.1f}", f"{files_ms:.1f}", f"{shared_ms:.1f}", f"{ratio:.1f}"]
                rows.append([form, "yes" if augment else "no", f"{shared.nbytes / 2**20:.0f}", *cells])
                print(*rows[-1], flush=True)
    return rows


def main() -> None:
    """Read in turns, and write `benchmarks/image_cache.md`."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--images", type=int, default=200)
    parser.add_argument("--rounds", type=int, default=3, help="turns, of which the median is told")
    parser.add_argument("--workers", type=int, default=0, help="loader processes")
    parser.add_argument("--date", required=True)
    parser.add_argument("--output", type=Path, default=Path(__file__).parents[1] / "benchmarks" / "image_cache.md")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    load = os.getloadavg()[0]
    rows = [row for form in FORMS for row in measured(form, arguments)]
    page = Page()
    page.heading("Reading an epoch of images", level=1)
    how = setting(("torch", "numpy", "pillow"), f"load {load:.1f} before", f"{arguments.workers} loader processes")
    page.paragraph(
        f"{how} {arguments.images} synthetic images of {WIDTH_PX}×{HEIGHT_PX} pixels "
        f"and {BANDS} bands as batches of samples; files in the system's cache, none decoded before. Medians of "
        f"{arguments.rounds} turns in one process."
    )
    page.table(
        ["files", "augmented", "MiB", "decoded once, s", "from files, ms an image", "from memory, ms", "times"],
        rows,
        left=2,
    )
    arguments.output.write_text(page.text(), encoding="utf-8")
    print(page.text())


if __name__ == "__main__":
    main()
