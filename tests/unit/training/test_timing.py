"""Steps that a probe times."""

import itertools
import math
from collections.abc import Iterable

import pytest
import torch
from timm.scheduler import CosineLRScheduler
from torch import nn

from tune_cmx.training import timing
from tune_cmx.training.timing import STEPS, seconds_a_step
from tune_cmx.training.trainer import Batch, Trainer


@pytest.mark.parametrize(("budget_s", "steps"), [(math.inf, STEPS), (0.0, 2)])
def test_steps_are_timed_in_one_epoch_within_the_budget(
    budget_s: float, steps: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A GPU is waited for at the end of an epoch, and no more often in a trial."""
    monkeypatch.setattr(timing, "BUDGET_S", budget_s)
    model = nn.Linear(1, 1)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    scheduler = CosineLRScheduler(optimizer, t_initial=10, t_in_epochs=False)
    trainer = Trainer(model, optimizer, scheduler, 10, torch.device("cpu"))
    epochs: list[int] = []
    monkeypatch.setattr(trainer, "epoch", lambda _, batches: epochs.append(sum(1 for _ in batches)))
    batches: Iterable[Batch] = itertools.repeat(([], []))
    assert 0 < seconds_a_step(trainer, batches) < 1
    assert epochs == [steps]
