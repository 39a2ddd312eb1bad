"""Steps of an epoch: of a batch at once, in parts, in fewer parts as memory runs out; and the running mean."""

import math
from collections.abc import Callable
from typing import Any

import pytest
import torch
from timm.scheduler import CosineLRScheduler, StepLRScheduler
from timm.utils import ModelEmaV3
from torch import Tensor, nn

from tune_cmx.errors import TrialError
from tune_cmx.training.trainer import Batch, Halved, Share, Trainer, out_of_memory_reason


class Losses(nn.Module):
    """Gives the losses that it was told, by step."""

    def __init__(self, *steps: tuple[float, float]) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.zeros(()))
        self.steps, self.taken = steps, 0

    def forward(self, *_: object) -> dict[str, Tensor]:
        first, second = self.steps[self.taken]
        self.taken += 1
        return {"loss_box_reg": first + 0 * self.weight, "fusion2_dice": second + 0 * self.weight}


def _trainer(model: Losses, share: Callable[[int], Share] | None = None) -> Trainer:
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    scheduler = CosineLRScheduler(optimizer, t_initial=10, t_in_epochs=False)
    return Trainer(model, optimizer, scheduler, len(model.steps), torch.device("cpu"), share=share)


def _batches(*counts: int) -> list[Batch]:
    return [([torch.zeros(1, 8, 8)] * count, [{}] * count) for count in counts]


def test_losses_are_summed_over_images_by_part() -> None:
    seen = _trainer(Losses((1.0, 0.5), (3.0, 0.25))).epoch(1, _batches(4, 2))
    assert seen.images == 6
    assert seen.losses == {"loss": 1.5 * 4 + 3.25 * 2, "loss_box_reg": 4.0 + 6.0, "fusion2_dice": 2.0 + 0.5}


def test_a_share_of_no_image_counts_for_nothing() -> None:
    shares = [Share(2, 1.0, 2), Share(0, 0.0, 1)]
    seen = _trainer(Losses((1.0, 0.0), (7.0, 0.0)), shares.__getitem__).epoch(1, _batches(2, 1))
    assert (seen.images, seen.losses["loss"]) == (2, 2.0)


@pytest.mark.parametrize("bad", [math.nan, math.inf])
@pytest.mark.parametrize(
    ("steps", "said"),
    [
        (lambda bad: [(bad, 0.0)], "at epoch 3, step 1; the first of this run"),
        (lambda bad: [(1.0, 0.5), (bad, 0.0), (2.0, 0.0)], "at epoch 3, step 2; last finite value 1.5"),
        (lambda bad: [(1.0, 0.5), (2.0, 0.5), (2.0, bad)], "at epoch 3, step 3; last finite value 2.5"),
    ],
)
def test_a_loss_that_is_not_finite_ends_the_trial(
    bad: float, steps: Callable[[float], list[tuple[float, float]]], said: str
) -> None:
    model = Losses(*steps(bad))
    with pytest.raises(TrialError, match=f"loss is {bad} {said}"):
        _trainer(model).epoch(3, _batches(*[1] * len(model.steps)))
    assert not math.isfinite(sum(model.steps[model.taken - 1])), "no step was taken after it"


def test_the_largest_gradient_norm_of_an_epoch_before_it_is_clipped() -> None:
    pixels = _pixels(6, 5)
    means = [torch.stack(list(images)).mean(0) for images, _ in pixels]
    expected = max(float(mean.norm()) for mean in means)
    for how in ({}, {"clip_norm": 1e-3}, {"micro_batch": 2}):
        assert _line(Line(), **how).epoch(1, pixels).gradient_norm == pytest.approx(expected)


def test_a_gradient_that_is_not_finite_under_a_loss_that_is() -> None:
    class Steep(Line):
        def forward(self, images: list[Tensor], _: object) -> dict[str, Tensor]:
            return {"loss_box_reg": (0 * self.weight).sum().sqrt() * len(images)}

    seen = _line(Steep()).epoch(1, _pixels(2))
    assert (seen.losses["loss"], seen.gradient_norm) == (0.0, math.inf)


class Line(nn.Module):
    """The mean over images of a weighted pixel; it takes memory for so many images, and no computer has it for more."""

    def __init__(self, fits: int = 100) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(3))
        self.norm = nn.BatchNorm1d(1)
        self.fits, self.at_once = fits, list[int]()

    def forward(self, images: list[Tensor], _: object) -> dict[str, Tensor]:
        self.at_once.append(len(images))
        torch.empty(1 if len(images) <= self.fits else 2**50)
        return {"loss_box_reg": torch.stack([(self.weight * image).sum() for image in images]).mean()}


def _line(model: Line, **how: Any) -> Trainer:
    optimizer = torch.optim.SGD(model.parameters(), lr=1.0)
    return Trainer(model, optimizer, StepLRScheduler(optimizer, 100), 1, torch.device("cpu"), **how)


def _pixels(*counts: int) -> list[Batch]:
    generator = torch.Generator().manual_seed(0)
    return [(list(torch.randn(count, 3, generator=generator)), [{}] * count) for count in counts]


@pytest.mark.parametrize("micro_batch", [1, 2, 3, 6, 8])
def test_a_batch_in_parts_is_the_same_step(micro_batch: int) -> None:
    whole, parts = Line(), Line()
    seen = [_line(whole).epoch(1, _pixels(6, 5)), _line(parts, micro_batch=micro_batch).epoch(1, _pixels(6, 5))]
    torch.testing.assert_close(parts.weight, whole.weight)
    assert seen[1].losses["loss"] == pytest.approx(seen[0].losses["loss"])
    assert whole.at_once == [6, 5]
    assert max(parts.at_once) <= micro_batch
    assert sum(parts.at_once) == 11


def test_as_memory_runs_out_a_batch_is_taken_in_more_parts_and_no_image_is_lost() -> None:
    whole, short = Line(), Line(fits=2)
    told: list[Halved] = []
    trainer = _line(short, on_halved=told.append)
    expected, seen = _line(whole).epoch(3, _pixels(8, 8)), trainer.epoch(3, _pixels(8, 8))
    torch.testing.assert_close(short.weight, whole.weight)
    assert seen.losses["loss"] == pytest.approx(expected.losses["loss"])
    assert short.at_once == [8, 4, *[2] * 8], "what failed is tried again, and what came after begins with less"
    assert [(at.epoch, at.step, at.micro_batch) for at in told] == [(3, 1, 4), (3, 1, 2)]
    assert told[0].reason.startswith("can't allocate memory: you tried to allocate")
    assert trainer.micro_batch == 2


def test_a_last_batch_that_is_smaller_is_not_what_is_halved() -> None:
    short = Line(fits=2)
    _line(short, on_halved=lambda _: None).epoch(1, _pixels(3, 1))
    assert short.at_once == [3, 1, 1, 1, 1]


@pytest.mark.parametrize(("fits", "how"), [(0, {"on_halved": lambda _: None}), (2, {})])
def test_memory_that_does_not_suffice_for_one_image_or_must_not_be_saved_is_an_error(
    fits: int, how: dict[str, Any]
) -> None:
    with pytest.raises(RuntimeError, match="can't allocate memory"):
        _line(Line(fits=fits), **how).epoch(1, _pixels(4))


def test_another_error_is_no_shortage() -> None:
    class Broken(Line):
        def forward(self, *_: object) -> dict[str, Tensor]:
            raise RuntimeError("shapes cannot be multiplied")

    told: list[Halved] = []
    with pytest.raises(RuntimeError, match="shapes"):
        _line(Broken(), on_halved=told.append).epoch(1, _pixels(4))
    assert not told


def test_the_running_mean_follows_and_is_what_is_scored() -> None:
    model = Line()
    ema = ModelEmaV3(model, decay=0.5, use_warmup=True)
    trainer = _line(model, ema=ema)
    assert trainer.scored is ema.module
    values = [model.weight.detach().clone()]
    trainer.epoch(1, _pixels(2))
    values.append(model.weight.detach().clone())
    torch.testing.assert_close(ema.module.weight, values[1])  # after the first step nothing is left of random weights
    trainer.epoch(2, _pixels(2))
    values.append(model.weight.detach().clone())
    kept = 1 - 2 ** (-2 / 3)  # timm's warm-up after one step, still below the decay
    torch.testing.assert_close(ema.module.weight, kept * values[1] + (1 - kept) * values[2])


def test_without_a_running_mean_the_weights_are_scored() -> None:
    model = Line()
    assert _line(model).scored is model


@pytest.mark.parametrize(("mine", "most", "forwards"), [(2, 3, [1, 1, 1]), (3, 3, [1, 1, 1]), (1, 3, [1, 1, 1])])
def test_a_process_with_fewer_images_takes_as_many_parts_as_that_with_most(
    mine: int, most: int, forwards: list[int]
) -> None:
    """Else it would not be there when the others wait for it in a forward; what it repeats counts for nothing."""
    model, alone = Line(), Line()
    _line(model, micro_batch=1, share=lambda _: Share(mine, 1.0, most)).epoch(1, _pixels(mine))
    _line(alone).epoch(1, _pixels(mine))
    assert model.at_once == forwards
    torch.testing.assert_close(model.weight, alone.weight)


@pytest.mark.parametrize(
    ("error", "said"),
    [
        (
            RuntimeError("[enforce fail] DefaultCPUAllocator: can't allocate memory: 9 bytes"),
            "can't allocate memory: 9",
        ),
        (RuntimeError("could not create a primitive"), "could not create"),
        (RuntimeError("CUDA error: out of memory\nmore of it"), "CUDA error: out"),
        (RuntimeError("CUDA error: CUBLAS_STATUS_ALLOC_FAILED when calling `cublasCreate`"), "CUDA error: CUBLAS"),
        (torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2 GiB"), "CUDA out of memory"),
        (MemoryError(), "none left"),
        (RuntimeError("could not create a primitive descriptor for a convolution"), None),
        (RuntimeError("CUDA error: an illegal memory access was encountered"), None),
        (ValueError("bad_alloc"), None),
    ],
)
def test_what_is_a_shortage_of_memory(error: Exception, said: str | None) -> None:
    found = out_of_memory_reason(error)
    assert found is None if said is None else found is not None and found.startswith(said)
