"""RoIAlign as an embedding bag, against torchvision's."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor
from torchvision.ops import MultiScaleRoIAlign, roi_align

from tune_cmx.models.heads.pooling import align_on_cpu

HEIGHT, WIDTH = 64, 96
SCALES = (0.25, 0.125, 0.0625, 0.03125)


def _maps(images: int, channels: int = 5) -> list[Tensor]:
    generator = torch.Generator().manual_seed(0)
    return [
        torch.randn(images, channels, round(HEIGHT * scale), round(WIDTH * scale), generator=generator)
        for scale in SCALES
    ]


def _boxes(count: int) -> Tensor:
    """Of all sizes; some reach out of the image, some have no area."""
    generator = torch.Generator().manual_seed(1)
    corner = torch.rand(count, 2, generator=generator) * torch.tensor([WIDTH, HEIGHT]) * 1.2 - 8
    side = torch.rand(count, 2, generator=generator) ** 3 * torch.tensor([WIDTH, HEIGHT])
    side[::7] = 0
    return torch.cat([corner, corner + side], dim=1)


def _both(maps: list[Tensor], boxes: list[Tensor]) -> tuple[Tensor, Tensor]:
    names = [str(level) for level in range(len(maps))]
    pool = MultiScaleRoIAlign(names, output_size=7, sampling_ratio=2)
    wanted = pool(dict(zip(names, maps, strict=True)), boxes, [(HEIGHT, WIDTH)] * len(boxes))
    images = torch.arange(len(boxes)).repeat_interleave(torch.tensor([len(own) for own in boxes]))
    return wanted, align_on_cpu(maps, torch.cat(boxes), images, pool.map_levels(boxes), pool.scales, 7)


@pytest.mark.parametrize("channels_last", [True, False])
def test_maps_and_gradients_are_torchvisions(channels_last: bool) -> None:
    form = torch.channels_last if channels_last else torch.contiguous_format
    maps = [own.contiguous(memory_format=form).requires_grad_() for own in _maps(3)]
    wanted, found = _both(maps, [_boxes(40), torch.zeros(0, 4), 0.5 * _boxes(90)])
    torch.testing.assert_close(found, wanted, rtol=1e-5, atol=1e-5)
    weights = torch.randn(wanted.shape, generator=torch.Generator().manual_seed(2))
    ours, theirs = (torch.autograd.grad((own * weights).sum(), maps) for own in (found, wanted))
    for one, other in zip(ours, theirs, strict=True):
        torch.testing.assert_close(one, other, rtol=1e-5, atol=1e-5)


@settings(deadline=None)
@given(corner=st.tuples(*[st.floats(-40, 140)] * 2), side=st.tuples(*[st.floats(0, 120)] * 2))
def test_any_box_on_any_level(corner: tuple[float, float], side: tuple[float, float]) -> None:
    box = torch.tensor([[*corner, corner[0] + side[0], corner[1] + side[1]]])
    maps = _maps(1, channels=2)
    for level, scale in enumerate(SCALES):
        wanted = roi_align(maps[level], [box], 7, scale, 2)
        found = align_on_cpu(maps, box, torch.tensor([0]), torch.tensor([level]), SCALES, 7)
        torch.testing.assert_close(found, wanted, rtol=1e-4, atol=1e-4)


def test_no_box_at_all() -> None:
    wanted, found = _both(_maps(2), [torch.zeros(0, 4)] * 2)
    assert found.shape == wanted.shape == (0, 5, 7, 7)


def test_maps_in_bfloat16_are_summed_in_float32() -> None:
    maps = [own.bfloat16() for own in _maps(1)]
    found = align_on_cpu(
        maps, _boxes(9), torch.zeros(9, dtype=torch.int64), torch.zeros(9, dtype=torch.int64), SCALES, 7
    )
    assert found.dtype == torch.float32
    wanted = roi_align(maps[0].float(), [_boxes(9)], 7, SCALES[0], 2)
    torch.testing.assert_close(found, wanted, rtol=1e-5, atol=1e-5)
