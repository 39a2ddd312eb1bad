"""What timm's factories really give."""

import math
from typing import Any

import pytest
import torch
from torch import nn

from tune_cmx.config.trial import ScheduleConfig
from tune_cmx.training.optim import build_optimizer, build_scheduler


def _model() -> nn.Module:
    return nn.Sequential(nn.Conv2d(3, 4, 1), nn.BatchNorm2d(4), nn.LayerNorm(4), nn.Linear(4, 2))


def _rates(steps_per_epoch: int, **schedule: Any) -> list[float]:
    """The learning rate at each step of the whole schedule."""
    parsed = ScheduleConfig(lr=0.1, **schedule)
    optimizer = build_optimizer(_model(), parsed)
    scheduler = build_scheduler(optimizer, parsed, steps_per_epoch)
    rates = []
    for step in range(parsed.epochs * steps_per_epoch):
        scheduler.step_update(step)
        assert len({group["lr"] for group in optimizer.param_groups}) == 1
        rates.append(optimizer.param_groups[0]["lr"])
    return rates


def test_sgd_is_plain_momentum() -> None:
    """With a gradient of 1 the steps are lr, 1.9 lr, 2.71 lr; Nesterov's would be 1.9, 2.71, 3.439."""
    model = nn.Linear(1, 1, bias=False)
    nn.init.zeros_(model.weight)
    optimizer = build_optimizer(model, ScheduleConfig(optimizer="sgd", lr=0.1, momentum=0.9, weight_decay=0.0))
    places = []
    for _ in range(3):
        model.weight.grad = torch.ones(1, 1)
        optimizer.step()
        places.append(model.weight.item())
    assert places == pytest.approx([-0.1, -0.1 * (1 + 1.9), -0.1 * (1 + 1.9 + 2.71)])


@pytest.mark.parametrize("optimizer", ["sgd", "adamw"])
def test_biases_and_normalisation_are_not_decayed(optimizer: Any) -> None:
    model = _model()
    groups = build_optimizer(model, ScheduleConfig(optimizer=optimizer, weight_decay=0.01)).param_groups
    decay = {id(parameter): group["weight_decay"] for group in groups for parameter in group["params"]}
    assert {name: decay[id(parameter)] for name, parameter in model.named_parameters()} == {
        name: 0.01 if name in ("0.weight", "3.weight") else 0.0 for name, _ in model.named_parameters()
    }


def test_adamw_decays_apart_from_the_gradient() -> None:
    """Without a gradient a weight shrinks by lr · decay a step, which Adam with L2 would not do."""
    model = nn.Linear(1, 1, bias=False)
    nn.init.ones_(model.weight)
    optimizer = build_optimizer(model, ScheduleConfig(optimizer="adamw", lr=0.1, weight_decay=0.5))
    model.weight.grad = torch.zeros(1, 1)
    optimizer.step()
    assert model.weight.item() == pytest.approx(1 - 0.1 * 0.5)


def test_constant() -> None:
    assert _rates(4, epochs=5, curve="constant") == [0.1] * 20


def test_step_drops_after_each_span_of_epochs() -> None:
    rates = _rates(4, epochs=6, curve="step", step_epochs=2, step_factor=0.5)
    assert rates == pytest.approx([0.1] * 8 + [0.05] * 8 + [0.025] * 8)


def test_cosine_falls_at_every_step() -> None:
    rates = _rates(4, epochs=5, curve="cosine")
    assert rates == pytest.approx([0.05 * (1 + math.cos(math.pi * step / 20)) for step in range(20)])


@pytest.mark.parametrize("curve", ["constant", "cosine", "step"])
def test_warm_up_is_linear_and_lies_within_the_schedule(curve: Any) -> None:
    warm, plain = _rates(4, epochs=5, curve=curve, warmup_epochs=1.5), _rates(4, epochs=5, curve=curve)
    assert warm[:6] == pytest.approx([0.1 * (0.001 + 0.999 * step / 6) for step in range(6)])
    assert warm[6:] == pytest.approx(plain[6:])


def test_a_rate_hangs_on_the_step_alone() -> None:
    schedule = ScheduleConfig(lr=0.1, epochs=5, curve="cosine", warmup_epochs=0.5)
    optimizer = build_optimizer(_model(), schedule)
    build_scheduler(optimizer, schedule, 4).step_update(13)
    assert optimizer.param_groups[0]["lr"] == _rates(4, epochs=5, curve="cosine", warmup_epochs=0.5)[13]
