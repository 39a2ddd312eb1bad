"""Optimizer and learning-rate schedule, through timm's factories."""

from timm.optim import create_optimizer_v2
from timm.scheduler import create_scheduler_v2
from timm.scheduler.scheduler import Scheduler
from torch import nn
from torch.optim import Optimizer

from tune_cmx.config.trial import ScheduleConfig

_TIMM_NAME = {"sgd": "momentum", "adamw": "adamw"}  # timm's "sgd" is Nesterov's; "momentum" is the plain one
WARMUP_START = 1e-3
"""The rate at the first step of a warm-up, as a fraction of `lr`."""


def build_optimizer(model: nn.Module, schedule: ScheduleConfig) -> Optimizer:
    """The optimizer; biases and normalisation weights are not decayed."""
    return create_optimizer_v2(
        model,
        opt=_TIMM_NAME[schedule.optimizer],
        lr=schedule.lr,
        weight_decay=schedule.weight_decay,
        momentum=schedule.momentum,
        fused=True,  # one call for all weights: hundreds of small ones take most of a step of a small model otherwise
    )


def build_scheduler(optimizer: Optimizer, schedule: ScheduleConfig, steps_per_epoch: int) -> Scheduler:
    """The learning rate as a function of the steps taken; it keeps no state that a checkpoint would need.

    Args:
        optimizer: Its groups' rates are set at each `step_update`.
        schedule: The curve, its warm-up and its length.
        steps_per_epoch: Optimizer steps in one epoch.
    """
    constant = schedule.curve == "constant"
    scheduler, _ = create_scheduler_v2(
        optimizer,
        sched="cosine" if schedule.curve == "cosine" else "step",
        num_epochs=schedule.epochs,
        decay_epochs=schedule.epochs if constant else schedule.step_epochs,
        decay_rate=1.0 if constant else schedule.step_factor,
        min_lr=0.0,
        warmup_lr=schedule.lr * WARMUP_START,
        warmup_epochs=schedule.warmup_epochs,  # type: ignore[arg-type]  # whole or broken: it is multiplied by the steps
        step_on_epochs=False,
        updates_per_epoch=steps_per_epoch,
    )
    assert isinstance(scheduler, Scheduler)
    return scheduler
