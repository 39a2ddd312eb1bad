"""What a real trial writes for TensorBoard; and `tune-cmx board`, started, asked over HTTP, and ended."""

from __future__ import annotations

import json
import math
import os
import re
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from contextlib import closing, contextmanager
from typing import TYPE_CHECKING, Any

import pytest
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from tune_cmx.config.trial import TrialConfig
from tune_cmx.training.run import run_trial
from tune_cmx.training.run_folder import RunFolder
from tune_cmx.training.tensorboard.events import TrialBoard

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from conftest import Tiny

    from tune_cmx.data.prepare import Prepared

COMMAND = (sys.executable, "-c", "from tune_cmx.cli import main; main()")
RETRY_S = 240


def test_a_trial_that_was_left_and_taken_up_has_each_epoch_once(tiny: Tiny, prepared: Prepared) -> None:
    arm = tiny.study().arms["stages-2"]
    record = RunFolder.plan(tiny.folder / "trial", arm.config, arm=arm.id, values=dict(arm.values))
    with closing(run_trial(record, prepared)) as reports:
        next(reports)
    (file,) = record.folder.glob("events.*")
    file.rename(file.with_name(re.sub(r"tfevents\.\d+", "tfevents.1000000000", file.name)))
    list(run_trial(record, prepared))
    events = EventAccumulator(str(record.folder))
    events.Reload()
    rows = record.rows()
    for tag in ("train/loss_objectness", "train/loss_rpn_box_reg", "train/loss_classifier", "train/loss_box_reg"):
        assert [point.step for point in events.Scalars(tag)] == [1, 2, 3]
    for tag in ("train/loss", "lr", "seconds", "memory_mib", "gates/stage2_exactly_one"):
        assert [point.value for point in events.Scalars(tag)] == pytest.approx([row[tag] for row in rows])
    assert all(0 <= row["gates/stage2_exactly_one"] <= 1 for row in rows)
    tags = events.Tags()
    assert all([image.step for image in events.Images(tag)] == [1, 2, 3] for tag in tags["images"])
    assert {tag.split("/")[0] for tag in tags["images"]} == {"detections"}
    curves = [tag for tag in tags["tensors"] if tag.startswith("val_iou_50/")]
    assert curves
    assert all([point.step for point in events.Tensors(tag)] == [1, 2, 3] for tag in curves)


def test_a_trial_that_another_version_began_keeps_its_columns(tiny: Tiny, prepared: Prepared) -> None:
    record = RunFolder.plan(tiny.folder / "trial", tiny.study().arms["stages-2"].config, arm="stages-2")
    with closing(run_trial(record, prepared)) as reports:
        next(reports)
    (kept,) = record.checkpoints.glob("epoch_*/history.json")
    progress = json.loads(kept.read_text())
    (row,) = progress["history"]
    del row["memory_mib"]
    row["val/of_before"] = 1.0
    kept.write_text(json.dumps(progress))
    (record.folder / "metrics.csv").unlink()
    list(run_trial(record, prepared))
    rows = record.rows()
    assert [list(found) for found in rows] == [list(row)] * 3
    assert [found["epoch"] for found in rows] == [1, 2, 3]
    assert all(math.isfinite(found["val/milliseconds"]) for found in rows)
    assert [math.isnan(found["val/of_before"]) for found in rows] == [False, True, True]


def _study(folder: Path) -> Path:
    for name, end in (("baseline-s0", 30.0), ("stages-1-s0", 35.0)):
        board = TrialBoard(folder / "trials" / name, TrialConfig(), [])
        for epoch in (1, 2):
            board.add({"epoch": epoch, "val/mAP": end * epoch / 2})
        board.close()
    (folder / "study.json").write_text("{}")
    return folder


@contextmanager
def _board(study: str, home: Path) -> Iterator[str]:
    """Its address; at the end Ctrl-C, which must be enough."""
    command = [*COMMAND, "board", study, "--port", "0"]
    environment = {**os.environ, "HOME": str(home)}
    with subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True, env=environment
    ) as process:
        try:
            assert process.stdout is not None
            line = next(line for line in process.stdout if "http://" in line)
            assert "Ctrl-C ends it" in line
            found = re.search(r"http://127\.0\.0\.1:\d+/", line)
            assert found is not None, line
            yield found[0]
            process.send_signal(signal.SIGINT)
            assert process.stdout.read().endswith("ended\n")
            assert process.wait(RETRY_S) == 0
        finally:
            process.kill()


def _asked(address: str) -> Any:
    with urllib.request.urlopen(address, timeout=RETRY_S) as answer:
        return json.load(answer)


def _runs(address: str, count: int) -> list[str]:
    """The runs, once TensorBoard has read so many."""
    deadline = time.monotonic() + RETRY_S
    while len(runs := _asked(f"{address}data/runs")) < count and time.monotonic() < deadline:
        time.sleep(0.2)
    return sorted(runs)


def test_runs_and_scalars_of_a_study(tmp_path: Path) -> None:
    study = _study(tmp_path / "demo")
    with _board(str(study), tmp_path) as address:
        assert _runs(address, 2) == ["baseline-s0", "stages-1-s0"]
        deadline = time.monotonic() + RETRY_S
        while "val/mAP" not in _asked(f"{address}data/plugin/scalars/tags").get("stages-1-s0", {}):
            assert time.monotonic() < deadline
            time.sleep(0.2)
        points = _asked(f"{address}data/plugin/scalars/scalars?run=stages-1-s0&tag=val/mAP")
        assert [(step, value) for _, step, value in points] == [(1, 17.5), (2, 35.0)]


def test_a_folder_of_studies_and_a_study_on_storage(tmp_path: Path) -> None:
    for name in ("first", "second"):
        _study(tmp_path / "runs" / name)
    with _board(str(tmp_path / "runs"), tmp_path) as address:
        assert _runs(address, 4)[0] == "first/trials/baseline-s0"
    for file in (tmp_path / "runs/first/trials").iterdir():
        (file / "trial.json").write_text("{}")
        (file / "config.json").write_text("{}")
    with _board(f"file://{tmp_path}/runs/first", tmp_path) as address:
        assert _runs(address, 2) == ["baseline-s0", "stages-1-s0"]


def _refused(study: Path, *flags: str) -> str:
    done = subprocess.run([*COMMAND, "board", str(study), *flags], capture_output=True, text=True)
    assert done.returncode == 2
    assert "Traceback" not in done.stderr
    return done.stderr


def test_an_address_that_cannot_be_had_is_named(tmp_path: Path) -> None:
    study = _study(tmp_path / "demo")
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = str(taken.getsockname()[1])
        said = _refused(study, "--port", port)
    assert f"error: --port {port}, --host 127.0.0.1: TensorBoard cannot listen there: " in said
    assert "error: --host 192.0.2.7: TensorBoard cannot listen there: " in _refused(study, "--host", "192.0.2.7")
