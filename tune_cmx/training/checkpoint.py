"""Model, optimizer, random state and history, saved and restored as one.

The order of the data and its augmentation are functions of seed, epoch and index, and the learning rate one of
the steps taken, so that the epoch stands for all of them.
"""

import hashlib
import json
import os
import re
import shutil
from functools import partial
from pathlib import Path
from typing import IO, Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import nn
from torch.optim import Optimizer

from tune_cmx.errors import TrialError
from tune_cmx.retry import on_disk
from tune_cmx.training.random_state import random_state, restore_random_state

_WEIGHTS, _EMA, _STATE, _HISTORY = "model.safetensors", "ema.safetensors", "state.pt", "history.json"
_OS_ERROR = re.compile(r"\(os error (\d+)\)")


def save_checkpoint(
    folder: Path,
    model: nn.Module,
    optimizer: Optimizer,
    ema: nn.Module | None = None,
    *,
    epoch: int,
    seconds: float,
    history: list[dict[str, float]],
) -> None:
    """Write `folder/epoch_NNNN` whole or not at all, then remove older ones.

    A disk that is full or away is waited for; until the new one is whole, the one before stays.

    Args:
        folder: The run folder's `checkpoint/`.
        model: Its weights and buffers are written as safetensors.
        optimizer: Its state is written, with the random state.
        ema: The model with the running mean of the weights; its weights and buffers are written beside.
        epoch: Epochs finished.
        seconds: Spent so far over all sessions of the trial.
        history: The metrics of each epoch so far.

    Raises:
        TrialError: The disk did not come back in time.
    """
    target = folder / f"epoch_{epoch:04d}"
    unfinished = folder / f"{target.name}.partial"
    weights = {_WEIGHTS: _weights(model), **({} if ema is None else {_EMA: _weights(ema)})}
    state = {"optimizer": optimizer.state_dict(), "generators": random_state()}
    progress = {"epoch": epoch, "seconds": seconds, "history": history}

    def attempt() -> None:
        shutil.rmtree(unfinished, ignore_errors=True)
        try:
            unfinished.mkdir(parents=True)
            for name, tensors in weights.items():
                _save_weights(tensors, unfinished / name)
            _save_state(state, unfinished / _STATE)
            (unfinished / _HISTORY).write_text(json.dumps(progress), encoding="utf-8")
            for file in unfinished.iterdir():
                _sync(file)
            shutil.rmtree(target, ignore_errors=True)
            unfinished.rename(target)
            _sync(folder)
        except Exception:
            shutil.rmtree(unfinished, ignore_errors=True)  # on a full disk it takes room from others
            raise

    on_disk(target, attempt)
    for older in checkpoints(folder)[:-1]:
        shutil.rmtree(older, ignore_errors=True)


def _weights(model: nn.Module) -> dict[str, torch.Tensor]:
    return {name: tensor.contiguous() for name, tensor in model.state_dict().items()}


def _save_weights(weights: dict[str, torch.Tensor], path: Path) -> None:
    try:
        save_file(weights, path)
    except SafetensorError as error:
        number = _OS_ERROR.search(str(error))
        if number is None:
            raise
        raise OSError(int(number[1]), os.strerror(int(number[1])), str(path)) from error


class _Output:
    """A file that keeps the error of a failed write, which torch.save reports as an `unexpected pos` without it."""

    def __init__(self, file: IO[bytes]) -> None:
        self._file = file
        self.error: OSError | None = None

    def write(self, content: bytes) -> int:
        """As a file's."""
        try:
            return self._file.write(content)
        except OSError as error:
            self.error = error
            raise

    def flush(self) -> None:
        """As a file's."""
        self._file.flush()


def _save_state(state: dict[str, Any], path: Path) -> None:
    with path.open("wb") as file:
        output = _Output(file)
        try:
            torch.save(state, output)  # type: ignore[arg-type]  # it needs no more of a file than this
        except RuntimeError as error:
            raise (output.error or error) from error


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


def load_scored_weights(checkpoint: Path, model: nn.Module) -> None:
    """Set the weights and buffers that were scored: their running mean, where the trial has one."""
    model.load_state_dict(load_file(scored_weights(checkpoint)))


def scored_weights(checkpoint: Path) -> Path:
    """The file of the weights that were scored."""
    mean = checkpoint / _EMA
    return mean if mean.exists() else checkpoint / _WEIGHTS


def scored_weights_hash(checkpoint: Path) -> str:
    """Twelve hexadecimal digits over the file of the weights that were scored.

    Raises:
        OSError: There is none that can be read.
    """
    with scored_weights(checkpoint).open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()[:12]


def restore_checkpoint(checkpoint: Path, model: nn.Module, optimizer: Optimizer, ema: nn.Module | None = None) -> None:
    """Set model, optimizer, running mean of the weights, and random state as they were.

    Raises:
        TrialError: The checkpoint lacks its optimizer, as that of a complete trial does.
    """
    if not (checkpoint / _STATE).exists():
        raise TrialError(f"{checkpoint}: it has weights only, as the trial is complete; train it again in a new folder")
    model.load_state_dict(load_file(checkpoint / _WEIGHTS))
    if ema is not None:
        ema.load_state_dict(load_file(checkpoint / _EMA))
    state: dict[str, Any] = torch.load(checkpoint / _STATE, map_location="cpu", weights_only=True)
    optimizer.load_state_dict(state["optimizer"])
    restore_random_state(state["generators"])


def keep_weights_only(folder: Path) -> None:
    """Remove what only resuming needs, about two thirds of the space."""
    for checkpoint in checkpoints(folder):
        state = checkpoint / _STATE
        on_disk(state, partial(state.unlink, missing_ok=True))
