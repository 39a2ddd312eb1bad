"""One trial without Ray: repeated, interrupted and resumed, killed and resumed."""

from __future__ import annotations

import json
import os
import subprocess
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
import torch

from tune_cmx.errors import TrialError
from tune_cmx.training.run import run_trial
from tune_cmx.training.run_folder import RunFolder

if TYPE_CHECKING:
    from conftest import Tiny

    from tune_cmx.config.trial import TrialConfig
    from tune_cmx.data.prepare import Prepared


pytestmark = pytest.mark.usefixtures("one_thread")


@pytest.fixture
def config(tiny: Tiny) -> TrialConfig:
    return tiny.study().arms["stages-2"].config


def _plan(folder: Path, config: TrialConfig) -> RunFolder:
    return RunFolder.plan(folder, config, arm="stages-2", phase="single")


def test_the_same_trial_twice_gives_the_same_numbers(tiny: Tiny, prepared: Prepared, config: TrialConfig) -> None:
    first, second = (_plan(tiny.folder / name, config) for name in ("first", "second"))
    for record in (first, second):
        torch.rand(7)
        assert len(list(run_trial(record, prepared))) == 3
        assert record.state().status == "complete"
    assert tiny.numbers(first) == tiny.numbers(second)
    assert tiny.weights(first) == tiny.weights(second)
    for name in ("detections.json.gz", "config.json"):
        assert (first.folder / name).read_bytes() == (second.folder / name).read_bytes()


def test_another_seed_gives_others(tiny: Tiny, prepared: Prepared, config: TrialConfig) -> None:
    first = _plan(tiny.folder / "first", config)
    second = _plan(tiny.folder / "second", config.model_copy(update={"seed": 1}))
    for record in (first, second):
        with closing(run_trial(record, prepared)) as reports:
            next(reports)
    assert tiny.numbers(first) != tiny.numbers(second)


@pytest.mark.parametrize(
    ("changes", "workers"),
    [({"optimizer": "adamw", "ema_decay": 0.9, "micro_batch": 2}, 2), ({"optimizer": "sgd", "clip_norm": 1.0}, 0)],
)
def test_a_trial_that_was_left_and_taken_up(
    tiny: Tiny, prepared: Prepared, config: TrialConfig, changes: dict[str, Any], workers: int
) -> None:
    """To the last bit, also with a running mean of the weights, batches in parts, and loaders of their own."""
    schedule = config.schedule.model_copy(update=changes)
    config = config.model_copy(update={"schedule": schedule})
    whole, parts = _plan(tiny.folder / "whole", config), _plan(tiny.folder / "parts", config)
    list(run_trial(whole, prepared, workers=workers))
    with closing(run_trial(parts, prepared, workers=workers)) as reports:
        assert next(reports).epoch == 1
    first_row = (parts.folder / "metrics.csv").read_bytes()
    torch.rand(7)
    again = list(run_trial(parts, prepared, workers=workers))
    assert [report.epoch for report in again] == [1, 2, 3]
    assert (parts.folder / "metrics.csv").read_bytes().startswith(first_row)
    assert tiny.numbers(parts) == tiny.numbers(whole)
    assert tiny.weights(parts) == tiny.weights(whole)
    assert [(s.first_epoch, s.last_epoch) for s in parts.state().lineage] == [(1, 1), (2, 3)]
    results = [json.loads((record.folder / "final_results.json").read_text()) for record in (whole, parts)]
    assert results[0]["results"] == results[1]["results"]


def test_a_trial_left_after_its_last_epoch_has_its_results_yet_to_come(
    tiny: Tiny, prepared: Prepared, config: TrialConfig
) -> None:
    record = _plan(tiny.folder / "trial", config)
    with closing(run_trial(record, prepared)) as reports:
        for _ in range(3):
            next(reports)
    record.update(seconds=0.0, epochs=2)  # as when the process died between checkpoint and record
    (record.folder / "metrics.csv").write_text("")
    list(run_trial(record, prepared))
    state = record.state()
    assert (state.status, state.epochs) == ("complete", 3)
    assert state.seconds == record.rows()[-1]["seconds"] > 0
    assert (record.folder / "final_results.json").exists()


def test_a_trial_that_is_over_is_reported_and_not_trained(tiny: Tiny, prepared: Prepared, config: TrialConfig) -> None:
    record = _plan(tiny.folder / "trial", config)
    before = [(report.epoch, dict(report.metrics)) for report in run_trial(record, prepared)]
    files = {path: path.stat().st_mtime_ns for path in record.folder.rglob("*") if path.name != ".lock"}
    after = [(report.epoch, dict(report.metrics)) for report in run_trial(record, prepared)]
    assert str(after) == str(before)  # nan is not equal to itself
    assert {path: path.stat().st_mtime_ns for path in files} == files


def test_a_loss_that_is_not_finite(tiny: Tiny, prepared: Prepared, config: TrialConfig) -> None:
    schedule = config.schedule.model_copy(update={"lr": 1000.0})
    record = _plan(tiny.folder / "trial", config.model_copy(update={"schedule": schedule}))
    with pytest.raises(TrialError, match=r"loss is (nan|inf) at epoch 1, step \d; last finite value"):
        list(run_trial(record, prepared))
    state = record.state()
    assert state.status == "failed"
    assert state.reason.startswith("loss is ")
    assert "TrialError" in (record.folder / "error.txt").read_text()


def test_a_trial_that_diverged_says_so(
    tiny: Tiny, prepared: Prepared, config: TrialConfig, caplog: pytest.LogCaptureFixture
) -> None:
    """At a rate of 100 its loss grows beyond 1e6 and stays finite for an epoch, so that the trial ends as complete."""
    schedule = config.schedule.model_copy(update={"lr": 100.0, "epochs": 1})
    record = _plan(tiny.folder / "trial", config.model_copy(update={"schedule": schedule}))
    list(run_trial(record, prepared))
    state, (row,) = record.state(), record.rows()
    assert state.status == "complete"
    assert state.divergence is not None
    assert (state.divergence.epoch, state.divergence.what) == (1, "loss")
    assert state.divergence.value == row["train/loss"] > 1e6
    assert caplog.text.count("trial: training diverged: loss ") == 1
    assert "lower schedule.lr" in caplog.text


def test_memory_that_is_not_there(tiny: Tiny, prepared: Prepared, config: TrialConfig) -> None:
    """One image alone would take 200 GB; the allocator refuses it at once."""
    detector = config.model.detector.model_copy(update={"image_size": 100_000, "max_size": 100_000})
    model = config.model.model_copy(update={"detector": detector})
    record = _plan(tiny.folder / "trial", config.model_copy(update={"model": model}))
    with pytest.raises(TrialError, match=r"out of memory: .*; lower image_size, or micro_batch"):
        list(run_trial(record, prepared))
    assert record.state().reason.startswith("out of memory: ")


def test_a_trial_resumes_after_its_process_was_killed(tiny: Tiny, prepared: Prepared, config: TrialConfig) -> None:
    whole, killed = _plan(tiny.folder / "whole", config), tiny.folder / "killed"
    list(run_trial(whole, prepared))
    command = [*tiny.command, "train", "--config", str(whole.folder / "config.json"), "--output-dir", str(killed)]
    options = {"env": {**os.environ, "OMP_NUM_THREADS": "1"}, "stdout": subprocess.PIPE, "text": True}
    record = RunFolder(killed)
    with subprocess.Popen([*command, "--threads", "1", "--device", "cpu"], **options) as process:
        try:
            tiny.wait_until(lambda: (killed / "trial.json").exists() and record.state().epochs == 1)
        finally:
            process.kill()
    assert record.state().status == "running"
    rows_before = (killed / "metrics.csv").read_bytes()
    list(run_trial(record, prepared))
    assert record.state().status == "complete"
    assert (killed / "metrics.csv").read_bytes().startswith(rows_before)
    assert len(record.state().lineage) == 2
    assert record.state().lineage[1].first_epoch > rows_before.count(b"\n") - 1
    assert tiny.numbers(record) == tiny.numbers(whole)
    assert tiny.weights(record) == tiny.weights(whole)
