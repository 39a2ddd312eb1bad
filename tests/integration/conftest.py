"""A study that runs in seconds: 24 images of 64 pixels, the smallest detector, three epochs."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import torch
import yaml

from tune_cmx.config.study import Study, read_study
from tune_cmx.data.prepare import Prepared, prepare
from tune_cmx.data.synthetic import synthesize
from tune_cmx.training.run_folder import RunFolder

if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:  # as a shell has it for what it starts in the background
    signal.signal(signal.SIGINT, signal.default_int_handler)  # else no child would end by Ctrl-C, and tests would wait
os.environ.setdefault("RAY_worker_niceness", "0")  # at Ray's 15, trials would hardly run on a busy machine

DETECTOR = {
    "image_size": 64,
    "max_size": 64,
    "fpn_channels": 16,
    "head_width": 32,
    "anchor_sizes": [8, 16, 24, 32, 48],
    "proposals_train": 50,
    "proposals_eval": 50,
    "rois_per_image": 16,
}
SCHEDULE = {"epochs": 3, "batch_size": 4, "optimizer": "adamw", "lr": 0.002, "curve": "cosine", "warmup_epochs": 0.5}
SPACE: dict[str, Any] = {
    "study": "tiny",
    "fixed": {
        "model": {"backbone": "mit_nano", "fusion": {"kind": "cssa", "elsewhere": "add"}, "detector": DETECTOR},
        "schedule": SCHEDULE,
        "compute": {"precision": "fp32"},  # bfloat16 is imitated on a CPU without it, and takes twice as long
    },
    "search": {"model.fusion.stages": {"choice": [[1], [2], [3], [4]]}},
    "baseline": {"model.fusion": {"kind": "frm_ffm"}},
    "early_stopping": {"reduction_factor": 2, "grace": 2, "smooth_epochs": 1, "last": 1},
    "confirm": {"finalists": 1, "seeds": 1},
}
COMMAND = (sys.executable, "-c", "from tune_cmx.cli import main; main()")
NOT_NUMBERS = ("seconds", "images_per_second", "memory_mib", "val/milliseconds")
"""Columns of `metrics.csv` that hang on the machine's mood."""


@dataclass(frozen=True)
class Tiny:
    """Data, and a place for studies."""

    data: Path
    folder: Path
    command = COMMAND
    fixed = SPACE["fixed"]

    def space(self, **changes: Any) -> Path:
        """A search-space file, with some keys changed."""
        path = self.folder / "space.yaml"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("# Which stage?\n" + yaml.safe_dump({**SPACE, **changes}))
        return path

    def study(self, **changes: Any) -> Study:
        """That file, parsed."""
        return read_study(self.space(**changes), overrides={"data.root": str(self.data)})

    def start(self, space: Path, *flags: str) -> "subprocess.Popen[bytes]":
        """`tune-cmx search`, its output in `search.log`, in a process group of its own."""
        command = [*COMMAND, "search", str(space), "--data", str(self.data), "--output-dir", str(self.folder)]
        with (self.folder / "search.log").open("ab") as log:
            return subprocess.Popen(
                [*command, "--device", "cpu", *flags],
                stdout=log,
                stderr=log,
                env={**os.environ, "OMP_NUM_THREADS": "1"},
                start_new_session=True,
            )

    def search(self, space: Path, *flags: str, timeout: float = 400) -> int:
        """The same, to its end."""
        process = self.start(space, *flags)
        try:
            return process.wait(timeout)
        finally:
            process.kill()

    def log(self) -> str:
        """What the searches printed."""
        return (self.folder / "search.log").read_text()

    def records(self) -> dict[str, RunFolder]:
        """All planned trials by name."""
        folders = sorted(file.parent for file in self.folder.glob("tiny/trials/*/trial.json"))
        return {folder.name: RunFolder(folder) for folder in folders}

    @staticmethod
    def numbers(record: RunFolder) -> list[dict[str, str]]:
        """`metrics.csv` to the last bit, as text, without the times."""
        header, *lines = [line.split(",") for line in (record.folder / "metrics.csv").read_text().splitlines()]
        rows = [dict(zip(header, line, strict=True)) for line in lines]
        return [{key: value for key, value in row.items() if key not in NOT_NUMBERS} for row in rows]

    @staticmethod
    def weights(record: RunFolder) -> bytes:
        """The last checkpoint's weights, and their running mean where there is one."""
        (checkpoint,) = record.checkpoints.iterdir()
        return b"".join(file.read_bytes() for file in sorted(checkpoint.glob("*.safetensors")))

    @staticmethod
    def wait_until(condition: Callable[[], bool], seconds: float = 240) -> None:
        """Poll a file's state, often enough to act in the middle of an epoch."""
        deadline = time.monotonic() + seconds
        while not condition():
            assert time.monotonic() < deadline, "it did not come about in time"
            time.sleep(0.01)


LONGEST = (
    *("test_search.py", "test_plugins.py", "test_streams.py", "test_scale.py", "test_model_in_use.py"),
    *("test_distributed.py", "test_promotion.py", "test_shared_cache.py", "test_group_checkpoint.py"),
    *("test_robustness.py", "test_memory.py", "test_trial.py", "test_out_of_memory.py", "test_board.py"),
)
"""They start first, so that no core waits for the last file at the end."""


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """The longest files first; pytest-xdist keeps this order with --no-loadscope-reorder."""
    place = {name: number for number, name in enumerate(LONGEST)}
    items.sort(key=lambda item: place.get(item.path.name, len(LONGEST)))


def pytest_addoption(parser: pytest.Parser) -> None:
    """`--accept` rewrites the golden numbers of training."""
    parser.addoption("--accept", action="store_true", help="write the golden training numbers instead of comparing")


@pytest.fixture(scope="module")
def one_thread() -> Iterator[None]:
    """Sums over threads differ in their last bits with the number of threads."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture(scope="session")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Images."""
    return synthesize(tmp_path_factory.mktemp("data") / "set", images=24, size=64, sequences=6, seed=0)


@pytest.fixture(scope="session")
def tiny_at() -> type[Tiny]:
    """To make one that outlives a test."""
    return Tiny


@pytest.fixture
def tiny(data: Path, tmp_path: Path) -> Tiny:
    """Data, and an empty place."""
    return Tiny(data, tmp_path)


@pytest.fixture
def prepared(tiny: Tiny) -> Prepared:
    """The data, audited and split."""
    return prepare(tiny.study().arms["baseline"].config.data, tiny.folder / "prepared")
