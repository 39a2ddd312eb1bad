"""Checkpoints that are whole or absent, and that hold all that a resumption needs."""

import json
import math
import os
import pickle
import random
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from tune_cmx.errors import TrialError
from tune_cmx.training.checkpoint import (
    checkpoints,
    keep_weights_only,
    load_scored_weights,
    read_history,
    restore_checkpoint,
    save_checkpoint,
)
from tune_cmx.training.random_state import seed_all


class _Training:
    """A model and an optimizer that can be stepped on noise."""

    def __init__(self) -> None:
        self.model = nn.Sequential(nn.Linear(3, 4), nn.BatchNorm1d(4), nn.Dropout(0.5), nn.Linear(4, 1))
        self.optimizer = torch.optim.AdamW(self.model.parameters(), lr=0.1)

    def step(self) -> list[float]:
        """The loss, and a draw of each generator."""
        self.optimizer.zero_grad()
        loss = self.model(torch.randn(8, 3)).square().mean()
        loss.backward()
        self.optimizer.step()
        return [loss.item(), random.random(), np.random.rand()]  # noqa: NPY002

    def save(self, folder: Path, epoch: int, history: Any = ()) -> None:
        save_checkpoint(folder, self.model, self.optimizer, epoch=epoch, seconds=2.5, history=list(history))


def test_the_running_mean_is_kept_restored_and_what_was_scored(tmp_path: Path) -> None:
    first, mean, fresh = _Training(), _Training(), _Training()
    save_checkpoint(tmp_path, first.model, first.optimizer, mean.model, epoch=1, seconds=0.0, history=[])
    (kept,) = checkpoints(tmp_path)
    again = _Training()
    restore_checkpoint(kept, fresh.model, fresh.optimizer, again.model)
    for found, expected in ((fresh, first), (again, mean)):
        torch.testing.assert_close(found.model.state_dict(), expected.model.state_dict(), rtol=0, atol=0)
    keep_weights_only(tmp_path)
    load_scored_weights(kept, fresh.model)
    torch.testing.assert_close(fresh.model.state_dict(), mean.model.state_dict(), rtol=0, atol=0)


def test_going_on_from_a_checkpoint_is_going_on(tmp_path: Path) -> None:
    seed_all(0)
    first = _Training()
    for _ in range(3):
        first.step()
    first.save(tmp_path, 1)
    expected = [first.step() for _ in range(3)]
    seed_all(1)
    second = _Training()
    second.step()
    restore_checkpoint(checkpoints(tmp_path)[-1], second.model, second.optimizer)
    assert [second.step() for _ in range(3)] == expected


def test_the_newest_is_kept(tmp_path: Path) -> None:
    training = _Training()
    for epoch in range(1, 12):
        training.save(tmp_path, epoch)
    assert [path.name for path in tmp_path.iterdir()] == ["epoch_0011"]


def test_history_comes_back_with_its_undefined_metrics(tmp_path: Path) -> None:
    _Training().save(tmp_path, 1, [{"epoch": 1, "val/mAP": 1 / 3, "val/mAP_small": math.nan}])
    (row,), seconds = read_history(checkpoints(tmp_path)[-1])
    assert seconds == 2.5
    assert (row["epoch"], row["val/mAP"]) == (1, 1 / 3)
    assert math.isnan(row["val/mAP_small"])


def test_a_save_that_breaks_off_leaves_the_one_before(tmp_path: Path) -> None:
    training = _Training()
    training.save(tmp_path, 1)
    with pytest.raises(TypeError):
        training.save(tmp_path, 2, [{"epoch": object()}])
    assert [path.name for path in tmp_path.iterdir()] == ["epoch_0001"]


def test_what_a_killed_process_left_is_no_checkpoint_and_is_no_hindrance(tmp_path: Path) -> None:
    training = _Training()
    training.save(tmp_path, 1)
    (tmp_path / "epoch_0002.partial").mkdir()
    (tmp_path / "epoch_0002.partial" / "model.safetensors").write_bytes(b"half")
    assert [path.name for path in checkpoints(tmp_path)] == ["epoch_0001"]
    training.save(tmp_path, 2)
    assert [path.name for path in tmp_path.iterdir()] == ["epoch_0002"]


def test_a_complete_trial_keeps_its_weights_only(tmp_path: Path) -> None:
    first = _Training()
    first.step()
    first.save(tmp_path, 1)
    keep_weights_only(tmp_path)
    kept = checkpoints(tmp_path)[-1]
    second = _Training()
    with pytest.raises(TrialError, match="weights only"):
        restore_checkpoint(kept, second.model, second.optimizer)
    load_scored_weights(kept, second.model)
    first.model.eval(), second.model.eval()
    assert torch.equal(first.model(torch.ones(1, 3)), second.model(torch.ones(1, 3)))


class _Harm:
    """Unpickled, it would leave a mark."""

    def __init__(self, mark: Path) -> None:
        self.mark = mark

    def __reduce__(self) -> Any:
        return os.mkdir, (str(self.mark),)


def test_a_state_file_cannot_run_code(tmp_path: Path) -> None:
    training = _Training()
    training.save(tmp_path / "kept", 1)
    kept = checkpoints(tmp_path / "kept")[-1]
    torch.save({"optimizer": _Harm(tmp_path / "mark"), "generators": {}}, kept / "state.pt")
    with pytest.raises(pickle.UnpicklingError):
        restore_checkpoint(kept, training.model, training.optimizer)
    assert not (tmp_path / "mark").exists()


def test_history_is_readable_without_this_package(tmp_path: Path) -> None:
    _Training().save(tmp_path, 3, [{"epoch": epoch} for epoch in (1, 2, 3)])
    content = json.loads((tmp_path / "epoch_0003" / "history.json").read_text())
    assert content == {"epoch": 3, "seconds": 2.5, "history": [{"epoch": 1}, {"epoch": 2}, {"epoch": 3}]}
