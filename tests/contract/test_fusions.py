"""What every fusion of the table keeps to. A new entry is checked with no edit here."""

import pytest
import torch
from torch import Tensor

from tune_cmx.errors import ShapeError
from tune_cmx.models.fusion import FUSIONS, Fusion, FusionOutput, Truth, build_fusion

SHAPES = [(8, 1, 6, 6), (30, 5, 7, 5), (64, 2, 1, 9)]
"""Channels, heads, rows, columns."""

pytestmark = pytest.mark.parametrize("kind", sorted(FUSIONS))


def _fusion(kind: str, channels: int = 16, heads: int = 2, seed: int = 0) -> Fusion:
    torch.manual_seed(seed)
    return build_fusion(kind, channels, {}, heads=heads)


def _maps(*shape: int) -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(1)
    return torch.randn(*shape, generator=generator), torch.randn(*shape, generator=generator)


@pytest.mark.parametrize(("channels", "heads", "height", "width"), SHAPES)
def test_keeps_shapes(kind: str, channels: int, heads: int, height: int, width: int) -> None:
    rgb, aux = _maps(2, channels, height, width)
    output = _fusion(kind, channels, heads)(rgb, aux)
    assert output.rgb_BCHW.shape == output.aux_BCHW.shape == output.fused_BCHW.shape == rgb.shape
    assert all(loss.shape == () and loss.isfinite() for loss in output.losses.values())
    assert output.fused_BCHW.isfinite().all()


def test_gradient_reaches_both_inputs(kind: str) -> None:
    rgb, aux = (x.requires_grad_() for x in _maps(2, 16, 6, 6))
    fused = _fusion(kind)(rgb, aux).fused_BCHW
    (fused * torch.linspace(-1, 1, fused.numel()).view_as(fused)).sum().backward()
    assert rgb.grad is not None
    assert aux.grad is not None
    assert rgb.grad.abs().max() > 0
    assert aux.grad.abs().max() > 0


def test_inputs_are_not_changed_in_place(kind: str) -> None:
    rgb, aux = _maps(2, 16, 6, 6)
    before = rgb.clone(), aux.clone()
    _fusion(kind)(rgb, aux)
    assert torch.equal(rgb, before[0])
    assert torch.equal(aux, before[1])


def test_images_of_a_batch_are_independent_in_eval_mode(kind: str) -> None:
    rgb, aux = (x.double() for x in _maps(3, 16, 6, 6))
    fusion = _fusion(kind).double().eval()
    together, alone = fusion(rgb, aux), fusion(rgb[1:2], aux[1:2])
    for name in ("rgb_BCHW", "aux_BCHW", "fused_BCHW"):
        torch.testing.assert_close(getattr(together, name)[1:2], getattr(alone, name))


def test_same_seed_gives_the_same_weights(kind: str) -> None:
    first, second = _fusion(kind).state_dict(), _fusion(kind).state_dict()
    assert all(torch.equal(first[name], second[name]) for name in first)


def test_state_dict_survives_a_round_trip(kind: str) -> None:
    rgb, aux = _maps(2, 16, 6, 6)
    trained, fresh = _fusion(kind), _fusion(kind, seed=1)
    trained(rgb, aux)  # moves the buffers, where there are any
    fresh.load_state_dict(trained.state_dict())
    expected, found = trained.eval()(rgb, aux), fresh.eval()(rgb, aux)
    assert torch.equal(expected.fused_BCHW, found.fused_BCHW)
    assert torch.equal(expected.rgb_BCHW, found.rgb_BCHW)


def test_runs_in_mixed_precision(kind: str) -> None:
    rgb, aux = _maps(2, 16, 6, 6)
    truth = Truth.of([torch.tensor([[4.0, 4.0, 12.0, 20.0]]), torch.zeros(0, 4)], 24, 24)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        output = _fusion(kind)(rgb, aux, truth)
    assert output.fused_BCHW.isfinite().all()
    assert all(loss.isfinite() for loss in output.losses.values())


def test_maps_of_two_shapes_are_refused(kind: str) -> None:
    rgb, _ = _maps(2, 16, 6, 6)
    _, aux = _maps(2, 16, 6, 5)
    with pytest.raises(ShapeError, match=r"rgb is \(2, 16, 6, 6\), aux is \(2, 16, 6, 5\)"):
        _fusion(kind)(rgb, aux)


def test_statistics_are_fractions_of_each_image_and_cost_training_nothing(kind: str) -> None:
    rgb, aux = _maps(3, 16, 6, 6)
    fusion = _fusion(kind)
    assert fusion(rgb, aux).statistics == {}
    together, alone = (fusion.eval()(rgb[part], aux[part]).statistics for part in (slice(None), slice(1, 2)))
    for name, values_B in together.items():
        assert values_B.shape == (3,)
        assert not values_B.requires_grad
        assert ((values_B >= 0) & (values_B <= 1)).all()
        torch.testing.assert_close(values_B[1:2], alone[name])


def test_what_is_learnt_from_the_objects_changes_no_map(kind: str) -> None:
    """Else training would show the detector where the objects are."""
    rgb, aux = _maps(2, 16, 6, 6)
    some = Truth.of([torch.tensor([[4.0, 4.0, 12.0, 20.0]]), torch.zeros(0, 4)], 24, 24)
    none = Truth.of([torch.zeros(0, 4)] * 2, 24, 24)
    plain, guided, empty = (_trained(kind, rgb, aux, truth) for truth in (None, some, none))
    for output in (guided, empty):
        assert torch.equal(output.fused_BCHW, plain.fused_BCHW)
        assert torch.equal(output.rgb_BCHW, plain.rgb_BCHW)
        assert torch.equal(output.aux_BCHW, plain.aux_BCHW)
        assert all(loss.shape == () and loss.isfinite() and loss >= 0 for loss in output.losses.values())
    assert list(guided.losses) == list(empty.losses)  # the same parts of the loss at every step


def _trained(kind: str, rgb: Tensor, aux: Tensor, truth: Truth | None) -> FusionOutput:
    fusion = _fusion(kind).train()
    torch.manual_seed(1)
    output: FusionOutput = fusion(rgb, aux, truth)
    return output


def test_audit_notes_are_lines_for_a_person(kind: str) -> None:
    lines = map(str, _fusion(kind).audit_notes(*_maps(2, 16, 6, 6)))
    assert all(line and "\n" not in line for line in lines)
