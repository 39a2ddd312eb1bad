"""Outputs and parameter counts of the fusions against values worked out apart from this code."""

import csv
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from tune_cmx.models.fusion import FUSIONS, Truth, build_fusion
from tune_cmx.models.fusion.frm_ffm import FeatureFusion, FeatureRectification

GOLDEN = Path(__file__).parents[2] / "golden"
SHAPE = (2, 64, 16, 16)


def _rows(name: str) -> list[dict[str, str]]:
    lines = [line for line in (GOLDEN / name).read_text().splitlines() if not line.startswith("#")]
    return list(csv.DictReader(lines))


def _wave(function: np.ufunc, step: float) -> Tensor:
    return torch.from_numpy(function(step * np.arange(np.prod(SHAPE))).astype(np.float32).reshape(SHAPE)).double()


def _filled(module: nn.Module) -> nn.Module:
    """The k-th parameter, flat index i: 0.05 sin(0.37 i + k), rounded to float32."""
    for k, parameter in enumerate(module.parameters()):
        values = (0.05 * np.sin(0.37 * np.arange(parameter.numel()) + k)).astype(np.float32)
        parameter.data = torch.from_numpy(values).view_as(parameter)
    return module.double().eval()


def _cases() -> dict[str, Tensor]:
    x1, x2 = _wave(np.sin, 0.01), _wave(np.cos, 0.013)
    with torch.no_grad():
        rgb, aux, _ = _filled(FeatureRectification(64))(x1, x2)
        found = {"frm rgb": rgb, "frm aux": aux, "ffm": _filled(FeatureFusion(64, heads=1))(x1, x2)}
        for threshold in (0.3, 0.5, 0.7):
            found[f"cssa {threshold}"] = _cssa(x1, x2, switching_threshold=threshold)
        found["cssa 0.5 weighted"] = _cssa(x1, x2, gate="weighted")
        found["cssa weighted unswitched"] = _cssa(x1, x2, gate="weighted", switching=False)
        found["cssa 0.5 kernel 5"] = _cssa(x1, x2, eca_kernel=5)
        for threshold in (0.3, 0.5):
            case = f"cssa {threshold} straight_through"
            found[case] = _cssa(x1, x2, switching_threshold=threshold, gate="straight_through")
        for kind in ("add", "concat", "frm_ffm", "gaff", "se_gated"):
            found[kind] = _fused(kind, x1, x2)
        found["se_gated reduction 8"] = _fused("se_gated", x1, x2, se_reduction=8)
        found["se_gated merge_bottleneck"] = _fused("se_gated", x1, x2, merge_bottleneck=True)
    return found


def _cssa(x1: Tensor, x2: Tensor, **options: Any) -> Tensor:
    return _fused("cssa", x1, x2, **options)


def _fused(kind: str, x1: Tensor, x2: Tensor, **options: Any) -> Tensor:
    fused: Tensor = _filled(build_fusion(kind, 64, options))(x1, x2).fused_BCHW
    return fused


@pytest.mark.parametrize("kind", FUSIONS)
def test_every_fusion_has_a_value_worked_out(kind: str) -> None:
    """A new one takes a line in tests/golden/fusion_values.csv, from its definition and not from its code."""
    assert kind in {row["case"].split()[0] for row in _rows("fusion_values.csv")}


def test_outputs_are_the_published_mechanisms() -> None:
    found = _cases()
    for row in _rows("fusion_values.csv"):
        y = found.pop(row["case"])
        numbers = [y.norm(), y.sum(), y[0, 0, 0, 0], y[1, 63, 15, 15]]
        expected = [float(row[name]) for name in ("norm", "sum", "first", "last")]
        assert [float(number) for number in numbers] == pytest.approx(expected, rel=1e-8, abs=1e-8), row["case"]
    assert not found


@pytest.mark.parametrize("row", _rows("fusion_losses.csv"), ids=lambda row: f"margin {row['margin']}")
def test_losses_are_those_worked_out(row: dict[str, str]) -> None:
    """At stride 4: one box of some places, one of half a place's width, and an image without."""
    boxes = [torch.tensor([[10.0, 6.0, 30.0, 45.0], [50.0, 50.0, 52.0, 63.0]]), torch.zeros(0, 4)]
    options = {"intra_weight": 1.0, "inter_weight": 1.0, "margin": float(row["margin"])}
    gaff = _filled(build_fusion("gaff", 64, options)).train()
    losses = gaff(_wave(np.sin, 0.01), _wave(np.cos, 0.013), Truth.of(boxes, 64, 64)).losses
    found = {name: loss.item() for name, loss in losses.items()}
    assert found == {name: pytest.approx(float(row[name]), abs=1e-9) for name in ("intra", "inter")}


@pytest.mark.parametrize("row", _rows("fusion_parameters.csv"), ids=lambda row: f"{row['kind']} {row['options']}")
def test_parameters_of_a_stage(row: dict[str, str]) -> None:
    for channels in (64, 128, 320, 512):
        with torch.device("meta"):
            fusion = build_fusion(row["kind"], channels, json.loads(row["options"]), heads=1)
        assert sum(p.numel() for p in fusion.parameters()) == int(row[str(channels)])


@pytest.mark.parametrize("threshold", [0.3, 0.5, 0.7])
def test_straight_through_is_hard_on_the_way_forward(threshold: float) -> None:
    x1, x2 = _wave(np.sin, 0.01), _wave(np.cos, 0.013)
    hard, through = (_cssa(x1, x2, switching_threshold=threshold, gate=gate) for gate in ("hard", "straight_through"))
    assert torch.equal(hard, through)


def test_ffm_with_several_heads_differs_from_one() -> None:
    x1, x2 = _wave(np.sin, 0.01), _wave(np.cos, 0.013)
    with torch.no_grad():
        one, two = (_filled(FeatureFusion(64, heads))(x1, x2) for heads in (1, 2))
    assert (one - two).abs().max() > 1e-9


@pytest.mark.parametrize("heads", [1, 5])
def test_fusions_hand_their_stages_heads_on(heads: int) -> None:
    fusion = build_fusion("frm_ffm", 320, {}, heads=heads)
    rgb, aux = torch.rand(1, 320, 2, 2), torch.rand(1, 320, 2, 2)
    corrected = fusion.eval()(rgb, aux)
    reference = FeatureFusion(320, heads)
    reference.load_state_dict(fusion.get_submodule("ffm").state_dict())
    expected = reference.eval()(corrected.rgb_BCHW, corrected.aux_BCHW)
    assert torch.equal(corrected.fused_BCHW, expected)
