"""A trial's folder: what is written when, and what survives."""

import gzip
import io
import json
import math
import signal
import subprocess
import sys
from contextlib import redirect_stdout
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tune_cmx import metrics
from tune_cmx.config.trial import TrialConfig
from tune_cmx.errors import TrialError
from tune_cmx.evaluation import coco_truth, counter, evaluate, to_detections
from tune_cmx.training.run_folder import RunFolder

HISTORY = [
    {"epoch": epoch, "fraction": epoch / 3, "seconds": 1.5 * epoch, "val/mAP": epoch / 7, "val/mAP_small": math.nan}
    for epoch in (1, 2, 3)
]


@pytest.fixture
def record(tmp_path: Path, config: TrialConfig) -> RunFolder:
    return RunFolder.plan(tmp_path / "a-trial", config, arm="stages-2-3", phase="search")


def test_a_planned_trial(record: RunFolder, config: TrialConfig) -> None:
    state = record.state()
    assert (state.id, state.arm, state.phase, state.seed) == ("a-trial", "stages-2-3", "search", 0)
    assert (state.status, state.epochs, state.epochs_planned) == ("planned", 0, 3)
    assert record.config() == config
    assert record.rows() == []
    assert not record.over


def test_planning_again_changes_nothing(record: RunFolder, config: TrialConfig) -> None:
    record.update(status="complete")
    before = {path.name: path.read_bytes() for path in record.folder.iterdir()}
    RunFolder.plan(record.folder, config, arm="stages-2-3", phase="search")
    assert {path.name: path.read_bytes() for path in record.folder.iterdir()} == before


def test_another_configuration_is_refused(record: RunFolder, config: TrialConfig) -> None:
    with pytest.raises(TrialError, match="holds a trial of another configuration; give another folder"):
        RunFolder.plan(record.folder, config.model_copy(update={"seed": 1}))


def test_data_that_moved_are_the_same_trial(record: RunFolder, config: TrialConfig) -> None:
    moved = config.model_copy(update={"data": config.data.model_copy(update={"root": "/elsewhere"})})
    again = RunFolder.plan(record.folder, moved, arm="stages-2-3", phase="search")
    assert again.config().data.root == "/elsewhere"


def test_metrics_only_grow(record: RunFolder) -> None:
    record.begin_session(1)
    sizes = []
    for row in HISTORY:
        before = (record.folder / "metrics.csv").read_bytes() if sizes else b""
        record.add_epoch(row, session_seconds=row["seconds"])
        content = (record.folder / "metrics.csv").read_bytes()
        assert content.startswith(before)
        sizes.append(len(content))
    assert len(set(sizes)) == 3


def test_rows_come_back_to_the_last_bit(record: RunFolder) -> None:
    record.begin_session(1)
    for row in HISTORY:
        record.add_epoch(row, session_seconds=1.0)
    rows = record.rows()
    assert [row["val/mAP"] for row in rows] == [row["val/mAP"] for row in HISTORY]
    assert all(math.isnan(row["val/mAP_small"]) for row in rows)
    lines = (record.folder / "metrics.csv").read_text().splitlines()
    assert lines[0] == "epoch,fraction,seconds,val/mAP,val/mAP_small"
    assert lines[1] == f"1,{1 / 3},1.5,{1 / 7},"


def test_a_record_counts_its_sessions(record: RunFolder) -> None:
    record.begin_session(1, device="cpu")
    record.add_epoch(HISTORY[0], session_seconds=1.5)
    record.update(status="interrupted", reason="interrupted by the user")
    record.begin_session(2)
    record.add_epoch(HISTORY[1], session_seconds=1.4)
    state = record.state()
    assert (state.status, state.reason, state.device) == ("running", None, "cpu")
    assert (state.epochs, state.seconds) == (2, 3.0)
    sessions = [(s.first_epoch, s.last_epoch, s.seconds) for s in state.lineage]
    assert sessions == [(1, 1, 1.5), (2, 2, 1.4)]


@pytest.mark.parametrize("status", ["planned", "running", "interrupted", "complete", "stopped", "failed"])
def test_what_is_over(record: RunFolder, status: str) -> None:
    record.update(status=status)
    assert record.over == (status in ("complete", "stopped", "failed"))


@pytest.mark.parametrize("cut", range(1, 40, 3))
def test_a_row_that_was_cut_short_is_written_again(record: RunFolder, cut: int) -> None:
    record.begin_session(1)
    for row in HISTORY[:2]:
        record.add_epoch(row, session_seconds=1.0)
    path = record.folder / "metrics.csv"
    whole = path.read_bytes()
    path.write_bytes(whole[:-cut])
    record.complete_rows(HISTORY[:2])
    assert path.read_bytes() == whole


def test_a_header_that_was_cut_short_is_written_again(record: RunFolder) -> None:
    record.begin_session(1)
    record.add_epoch(HISTORY[0], session_seconds=1.0)
    path = record.folder / "metrics.csv"
    whole = path.read_bytes()
    path.write_bytes(whole[:10])
    record.complete_rows(HISTORY[:1])
    assert path.read_bytes() == whole


def test_rows_that_the_checkpoint_knows_are_added(record: RunFolder) -> None:
    record.complete_rows(HISTORY)
    assert [row["epoch"] for row in record.rows()] == [1, 2, 3]
    record.complete_rows(HISTORY)
    assert len(record.rows()) == 3


def test_rows_that_no_checkpoint_knows_are_not_trained_twice(record: RunFolder) -> None:
    record.complete_rows(HISTORY)
    with pytest.raises(TrialError, match=r"metrics\.csv: has 3 epochs, the checkpoint beside it 1; put the checkpoint"):
        record.complete_rows(HISTORY[:1])


def test_one_holder_at_a_time(record: RunFolder) -> None:
    another = RunFolder(record.folder)
    with record.held(), pytest.raises(TrialError, match="another process is training"), another.held(0):
        pass
    with RunFolder(record.folder).held(0):
        pass


def test_a_dead_process_lets_go(record: RunFolder) -> None:
    code = (
        "import sys, time; from pathlib import Path; from tune_cmx.training.run_folder import RunFolder\n"
        "with RunFolder(Path(sys.argv[1])).held(): print('held', flush=True); time.sleep(60)"
    )
    with subprocess.Popen([sys.executable, "-c", code, record.folder], stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "held\n"
        with pytest.raises(TrialError), record.held(0):
            pass
        process.send_signal(signal.SIGKILL)
        process.wait()
        with record.held(5):
            pass


def test_final_results(record: RunFolder, config: TrialConfig) -> None:
    """The keys that the group's scripts read, and the split's name, which their files do not have."""
    record.begin_session(1)
    record.add_epoch({**HISTORY[0], "seconds": 1800.0}, session_seconds=1800.0)
    val = {name: 10.0 + number for number, name in enumerate(metrics.scored())}
    test = {**val, "mAP": 9.0, "mAP_small": math.nan}
    reported = config.model_copy(update={"report_split": "test"})
    record.write_results(reported, {"val": val, "test": test}, parameters=1_234_567)
    text = (record.folder / "final_results.json").read_text()
    content = json.loads(text, parse_constant=lambda name: pytest.fail(f"{name} is not JSON"))
    assert content["experiment_id"] == "a-trial"
    assert content["results"] == {**test, "mAP_small": None}
    assert content["results"] == content["results_by_split"]["test"]
    assert content["results_by_split"]["val"] == val
    assert content["split"] == "test"
    assert content["config"]["model"]["fusion"]["stages"] == [2, 3]
    assert content["training"] == {"total_time_hours": 0.5}
    assert content["model"] == {"total_params": 1_234_567, "total_params_M": 1.23}


def test_detections_are_kept_to_the_last_bit(record: RunFolder) -> None:
    found = [{"image_id": 0, "category_id": 1, "bbox": [1.2345678901234567, 2, 1e-30, 4.0], "score": 0.1 + 0.2}]
    record.write_detections(found)
    content = (record.folder / "detections.json.gz").read_bytes()
    assert json.loads(gzip.decompress(content)) == found
    record.write_detections(found)
    assert (record.folder / "detections.json.gz").read_bytes() == content


@settings(max_examples=30, deadline=None)
@given(st.integers(0, 2**32 - 1), st.integers(1, 4), st.integers(0, 6))
def test_stored_detections_give_the_recorded_metrics(seed: int, images: int, boxes: int) -> None:
    """Scored by both packages; as the detector gives them, in float32."""
    draw = np.random.default_rng(seed)
    found, real = [], []
    for image in range(images):
        start = draw.random((boxes, 2)) * 60
        corners = np.concatenate([start, start + 1 + draw.random((boxes, 2)) * 40], axis=1)
        off = (corners + draw.normal(0, 2, corners.shape)).astype(np.float32)
        off[:, 2:] = np.maximum(off[:, 2:], off[:, :2])
        real.append(corners)
        found += to_detections(image, off, draw.random(boxes).astype(np.float32), np.ones(boxes, dtype=int))
    described = [(image, str(image), 100, 100) for image in range(images)]
    truth = coco_truth(described, real, [[1] * boxes] * images, ["person"])
    with TemporaryDirectory() as folder:
        RunFolder(Path(folder)).write_detections(found)
        stored = json.loads(gzip.decompress((Path(folder) / "detections.json.gz").read_bytes()))
    recorded = evaluate(found, truth)
    assert evaluate(stored, truth) == pytest.approx(recorded, rel=0, abs=0, nan_ok=True)
    with redirect_stdout(io.StringIO()):
        counted = counter(stored, truth)
        counted.evaluate()
        counted.accumulate()
        counted.summarize()
    assert metrics.points(counted) == pytest.approx(recorded, rel=0, abs=1e-6, nan_ok=True)


def test_no_partial_file_is_left(record: RunFolder) -> None:
    record.begin_session(1)
    record.add_epoch(HISTORY[0], session_seconds=1.0)
    assert sorted(path.name for path in record.folder.iterdir()) == ["config.json", "metrics.csv", "trial.json"]
