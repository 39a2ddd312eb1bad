"""Model, optimizer, generators and history, saved and restored as one.

The order of the data and its augmentation are functions of seed, epoch and index, and the learning rate one of
the steps taken, so that the epoch stands for all of them.
"""

import json
import os
import shutil
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file, save_file
from torch import nn
from torch.optim import Optimizer

from tune_cmx.errors import TrialError
from tune_cmx.seeding import generator_state, restore_generators

_WEIGHTS, _STATE, _HISTORY = "model.safetensors", "state.pt", "history.json"


def save_checkpoint(
    folder: Path, model: nn.Module, optimizer: Optimizer, *, epoch: int, seconds: float, history: list[dict[str, float]]
) -> None:
    """Write `folder/epoch_NNNN` whole or not at all, then remove older ones.

    Args:
        folder: The record's `checkpoint/`.
        model: Its weights and buffers are written as safetensors.
        optimizer: Its state is written, with the global generators'.
        epoch: Epochs finished.
        seconds: Spent so far over all sessions of the trial.
        history: The metrics of each epoch so far.
    """
    folder.mkdir(parents=True, exist_ok=True)
    target = folder / f"epoch_{epoch:04d}"
    partial = folder / f"{target.name}.partial"
    shutil.rmtree(partial, ignore_errors=True)
    partial.mkdir()
    save_file({name: tensor.contiguous() for name, tensor in model.state_dict().items()}, partial / _WEIGHTS)
    torch.save({"optimizer": optimizer.state_dict(), "generators": generator_state()}, partial / _STATE)
    progress = {"epoch": epoch, "seconds": seconds, "history": history}
    (partial / _HISTORY).write_text(json.dumps(progress), encoding="utf-8")
    for file in partial.iterdir():
        _sync(file)
    shutil.rmtree(target, ignore_errors=True)
    partial.rename(target)
    _sync(folder)
    for older in checkpoints(folder)[:-1]:
        shutil.rmtree(older, ignore_errors=True)


def _sync(path: Path) -> None:
    """Wait until the disk has it."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def checkpoints(folder: Path) -> list[Path]:
    """The complete checkpoints, oldest first."""
    return sorted(path for path in folder.glob("epoch_*") if path.suffix != ".partial")


def read_history(checkpoint: Path) -> tuple[list[dict[str, float]], float]:
    """The metrics of each epoch up to this checkpoint, and the seconds spent."""
    progress = json.loads((checkpoint / _HISTORY).read_text(encoding="utf-8"))
    return progress["history"], progress["seconds"]


def load_weights(checkpoint: Path, model: nn.Module) -> None:
    """Set the model's weights and buffers as saved."""
    model.load_state_dict(load_file(checkpoint / _WEIGHTS))


def restore_checkpoint(checkpoint: Path, model: nn.Module, optimizer: Optimizer) -> None:
    """Set model, optimizer and global generators as they were.

    Raises:
        TrialError: The checkpoint lacks its optimizer, as that of a complete trial does.
    """
    if not (checkpoint / _STATE).exists():
        raise TrialError(f"{checkpoint}: weights only: the trial was complete, and there is nothing to go on with")
    load_weights(checkpoint, model)
    state: dict[str, Any] = torch.load(checkpoint / _STATE, map_location="cpu", weights_only=True)
    optimizer.load_state_dict(state["optimizer"])
    restore_generators(state["generators"])


def keep_weights_only(folder: Path) -> None:
    """Remove what only a resumption needs, about two thirds of the space."""
    for checkpoint in checkpoints(folder):
        (checkpoint / _STATE).unlink(missing_ok=True)
