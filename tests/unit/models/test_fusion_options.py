import re
from typing import Any

import pytest
import torch
from torch import Tensor

from tune_cmx.errors import ConfigError
from tune_cmx.models.fusion import FUSIONS, FusionOptions, build_fusion, check_options


def _maps() -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(0)
    return torch.randn(2, 32, 5, 4, generator=generator), torch.randn(2, 32, 5, 4, generator=generator)


def _cssa(**options: Any) -> Tensor:
    torch.manual_seed(0)
    return build_fusion("cssa", 32, options)(*_maps()).fused_BCHW


def test_defaults_stand_for_what_is_left_out() -> None:
    options = check_options("cssa", {"switching_threshold": 0.3})
    assert options.model_dump() == {
        "switching_threshold": 0.3,
        "gate": "hard",
        "eca_kernel": 3,
        "eca": True,
        "switching": True,
        "spatial_attention": True,
    }
    assert all(isinstance(check_options(kind, {}), FusionOptions) for kind in FUSIONS)


@pytest.mark.parametrize(
    ("kind", "options", "message"),
    [
        ("csssa", {}, "model.fusion.kind: unknown fusion 'csssa'. Known: add, concat, cssa,"),
        ("csssa", {}, "Did you mean 'cssa'?"),
        ("cssa", {"swiching_threshold": 0.5}, "Did you mean 'switching_threshold'?"),
        ("cssa", {"switching_threshold": 1.5}, "model.fusion.options.switching_threshold: "),
        ("cssa", {"switching_threshold": 1.5}, "must be from 0 to 1; got 1.5"),
        ("cssa", {"switching_threshold": "0.5"}, "got '0.5'"),
        ("cssa", {"eca_kernel": 4}, "must be odd"),
        ("cssa", {"eca_kernel": "ecas"}, "model.fusion.options.eca_kernel: must be odd"),
        ("cssa", {"eca_kernel": True}, "or 'rule'; got True"),
        ("cssa", {"gate": "soft"}, "'hard', 'straight_through' or 'weighted'; got 'soft'"),
        ("se_gated", {"se_reduction": 0}, "must be from 1 to 1024; got 0"),
        ("add", {"eca": True}, "'add' has no options; got 'eca'"),
    ],
)
def test_wrong_options_are_named(kind: str, options: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError, match=re.escape(message)):
        check_options(kind, options)


def test_cssa_that_switches_every_channel_is_cssa_that_switches_none() -> None:
    never, always = _cssa(switching_threshold=0.0), _cssa(switching_threshold=1.0)
    torch.testing.assert_close(never, always)  # but for the order of a sum
    assert torch.equal(never, _cssa(switching=False))
    assert not torch.equal(never, _cssa(switching_threshold=0.5))


def test_cssa_without_switching_and_attention_is_the_mean() -> None:
    rgb, aux = _maps()
    assert torch.equal(_cssa(switching=False, spatial_attention=False), (rgb + aux) / 2)


def test_cssa_without_attention_still_switches() -> None:
    """By hand: with threshold 0.5 and no ECA, a channel is replaced where its mean is below 0."""
    rgb, aux = _maps()
    fused = _cssa(eca=False, spatial_attention=False)
    for image in range(2):
        for channel in range(32):
            a, b = rgb[image, channel], aux[image, channel]
            first = b if a.mean() < 0 else a
            second = a if b.mean() < 0 else b
            torch.testing.assert_close(fused[image, channel], (first + second) / 2)


def test_cssa_that_does_not_switch_builds_no_eca() -> None:
    assert list(build_fusion("cssa", 32, {"switching": False}).parameters()) == []


def test_cssa_tells_the_share_of_channels_that_matter() -> None:
    torch.manual_seed(0)
    maps = torch.full((1, 2, 3, 3), 1.0), torch.full((1, 2, 3, 3), -1.0)
    maps[1][:, 1] = 1.0
    fusion = build_fusion("cssa", 2, {"eca": False})
    (note,) = fusion.audit_notes(*maps)
    assert note.share == 0.5
    assert str(note).startswith("50 % of the channels are switched in exactly one stream")
    statistics = {name: values.tolist() for name, values in fusion.eval()(*maps).statistics.items()}
    assert statistics == {"exactly_one": [0.5], "from_aux": [0.0], "from_rgb": [0.5]}


def _eca_gradient(gate: str) -> list[Tensor | None]:
    torch.manual_seed(0)
    fusion = build_fusion("cssa", 32, {"gate": gate, "spatial_attention": False}).double()
    rgb, aux = (x.double().requires_grad_() for x in _maps())
    fusion(rgb, aux).fused_BCHW.square().sum().backward()
    return [parameter.grad for parameter in fusion.parameters()]


def test_a_hard_gate_gives_eca_no_gradient_and_the_others_do() -> None:
    assert _eca_gradient("hard") == [None, None]
    for gate in ("straight_through", "weighted"):
        assert all(grad is not None and grad.abs().min() > 0 for grad in _eca_gradient(gate))


def test_the_straight_through_gradient_is_that_of_a_weighted_mean() -> None:
    """With d the own channel less the other's, g the gradient at a stream's output: w's is the sum of g · d."""
    torch.manual_seed(0)
    fusion = build_fusion("cssa", 32, {"gate": "straight_through", "eca": False, "spatial_attention": False})
    rgb, aux = (x.requires_grad_() for x in _maps())
    fused = fusion(rgb, aux).fused_BCHW
    upward = torch.linspace(-1, 1, fused.numel()).view_as(fused)
    (rgb_grad,) = torch.autograd.grad(fused, rgb, upward)
    mean = rgb.detach().mean(dim=(2, 3)).sigmoid()
    through = (upward / 2 * (rgb - aux)).sum(dim=(2, 3)) * mean * (1 - mean) / 20  # sigmoid's slope, over 5 x 4 places
    kept_rgb, kept_aux = ((x.detach().mean(dim=(2, 3)) >= 0).float()[:, :, None, None] for x in (rgb, aux))
    plain = upward / 2 * (kept_rgb + 1 - kept_aux)
    torch.testing.assert_close(rgb_grad, plain + through[:, :, None, None].expand_as(plain))


@pytest.mark.parametrize(("channels", "kernel"), [(32, 3), (64, 3), (128, 5), (160, 5), (320, 5), (512, 5), (1024, 5)])
def test_ecas_own_rule_gives_the_kernel(channels: int, kernel: int) -> None:
    fusion = build_fusion("cssa", channels, {"eca_kernel": "rule"})
    assert [parameter.numel() for parameter in fusion.parameters()] == [kernel, kernel]


def test_se_gated_keeps_a_channel_in_the_middle() -> None:
    fusion = build_fusion("se_gated", 8, {"se_reduction": 16})
    assert fusion(torch.rand(2, 8, 3, 3), torch.rand(2, 8, 3, 3)).fused_BCHW.shape == (2, 8, 3, 3)


def test_add_is_the_mean() -> None:
    rgb, aux = _maps()
    assert torch.equal(build_fusion("add", 32, {})(rgb, aux).fused_BCHW, (rgb + aux) / 2)
