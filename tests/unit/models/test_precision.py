"""What bfloat16 changes, and what it must not."""

from typing import Any

import pytest
import torch
from torch import Tensor

from tune_cmx.config.trial import ComputeConfig, DetectorConfig, FusionConfig, ModelConfig
from tune_cmx.models.detector import Detector, build_detector, compute_as
from tune_cmx.models.fusion import build_fusion
from tune_cmx.models.fusion.frm_ffm import FeatureFusion
from tune_cmx.models.precision import lacks_bfloat16

SMALL = DetectorConfig(
    image_size=64,
    max_size=64,
    fpn_channels=16,
    anchor_sizes=(8, 16, 24, 32, 48),
    proposals_train=50,
    proposals_eval=20,
    rois_per_image=16,
    head_width=32,
)


def _detector(compute: ComputeConfig, kind: str = "frm_ffm") -> Detector:
    torch.manual_seed(0)
    model = ModelConfig(backbone="mit_nano", fusion=FusionConfig(kind=kind), detector=SMALL, drop_path=0.0)
    return compute_as(build_detector(model, bands=(3, 2), num_classes=1, mean=[0.5] * 5, std=[0.25] * 5), compute)


def _losses(detector: Detector) -> dict[str, Tensor]:
    generator = torch.Generator().manual_seed(0)
    images = [torch.rand(5, 64, 64, generator=generator) for _ in range(2)]
    box = {"boxes": torch.tensor([[10.0, 12.0, 40.0, 60.0]]), "labels": torch.tensor([1])}
    torch.manual_seed(1)
    losses = detector(images, [dict(box) for _ in images])
    assert isinstance(losses, dict)
    return losses


def _maps(channels: int) -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(0)
    rgb, aux = torch.randn(2, 2, channels, 16, 16, generator=generator)
    return rgb, aux


@pytest.mark.parametrize("kind", ["frm_ffm", "cssa", "gaff", "se_gated"])
def test_losses_in_bfloat16_are_those_in_float32_to_two_digits(kind: str) -> None:
    exact, rounded = (_losses(_detector(ComputeConfig(precision=name), kind)) for name in ("fp32", "bf16"))
    assert {name: loss.dtype for name, loss in rounded.items()} == dict.fromkeys(exact, torch.float32)
    for name, loss in exact.items():
        assert rounded[name].item() != loss.item(), "nothing was rounded"
        if name not in ("loss_classifier", "loss_box_reg"):  # of other proposals, where scores swap their ranks
            assert rounded[name].item() == pytest.approx(loss.item(), rel=0.02, abs=0.01), name


def test_weights_and_gradients_stay_in_float32() -> None:
    detector = _detector(ComputeConfig(precision="bf16"))
    torch.stack(list(_losses(detector).values())).sum().backward()
    assert {weight.dtype for weight in detector.parameters()} == {torch.float32}
    assert {weight.grad.dtype for weight in detector.parameters() if weight.grad is not None} == {torch.float32}


def test_a_detector_computes_in_float32_until_told() -> None:
    plain = _detector(ComputeConfig(precision="fp32", channels_last=False))
    assert not plain.bf16
    assert all(weight.is_contiguous() for weight in plain.parameters())


def test_channels_last_changes_where_weights_lie_and_no_loss_by_more_than_rounding() -> None:
    near, far = (_detector(ComputeConfig(precision="fp32", channels_last=last)) for last in (True, False))
    conv = near.backbone.fpn.layer_blocks[0][0].weight
    assert conv.is_contiguous(memory_format=torch.channels_last)
    expected = _losses(far)
    for name, loss in _losses(near).items():
        assert loss.item() == pytest.approx(expected[name].item(), rel=1e-4), name


def test_cssa_switches_the_same_channels_in_bfloat16() -> None:
    """Untrained weights crowd about 0.5, closer than bfloat16 can tell them apart."""
    torch.manual_seed(0)
    fusion = build_fusion("cssa", 320, {"switching_threshold": 0.5}).eval()
    exact = fusion(*_maps(320)).statistics
    with torch.autocast("cpu", torch.bfloat16):
        rounded = fusion(*_maps(320)).statistics
    assert exact["exactly_one"].min() > 0
    for name, share in exact.items():
        assert torch.equal(rounded[name], share), name


def test_what_the_blocks_of_a_mix_transformer_add_to_is_float32() -> None:
    stream = _detector(ComputeConfig(precision="bf16")).backbone.encoder.streams["rgb"]
    with torch.autocast("cpu", torch.bfloat16):
        assert stream.forward_stage(1, torch.rand(1, 3, 64, 64)).dtype == torch.float32


def test_the_context_of_ffm_is_in_float32() -> None:
    torch.manual_seed(0)
    attention = FeatureFusion(64, 1).cross.attention
    keys_and_values = 20 * torch.randn(1, 256, 128)
    exact = attention._context(keys_and_values)
    with torch.autocast("cpu", torch.bfloat16):
        assert torch.equal(attention._context(keys_and_values), exact)


def test_the_box_head_places_boxes_in_float32() -> None:
    predictor = _detector(ComputeConfig(precision="bf16")).roi_heads.box_predictor
    pooled = torch.randn(8, 32)
    exact = predictor(pooled)
    with torch.autocast("cpu", torch.bfloat16):
        rounded = predictor(pooled)
    assert all(torch.equal(one, other) for one, other in zip(rounded, exact, strict=True))


@pytest.mark.parametrize(
    ("machine", "found", "lacks"),
    [
        ("Xeon of 2017", {"architecture": "x86_64", "avx512_bf16": False, "amx_bf16": False}, True),
        ("Xeon with AMX", {"architecture": "x86_64", "avx512_bf16": False, "amx_bf16": True}, False),
        ("EPYC of 2022", {"architecture": "x86_64", "avx512_bf16": True, "amx_bf16": False}, False),
        ("ARM", {"architecture": "aarch64"}, False),
    ],
)
def test_an_x86_cpu_without_bfloat16_is_told_of(
    machine: str, found: dict[str, Any], lacks: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: found)
    assert lacks_bfloat16(torch.device("cpu")) is lacks, machine


@pytest.mark.parametrize(
    ("device", "hip", "lacks"), [("cuda:0", None, True), ("cuda:1", None, False), ("cuda:0", "7.0", False)]
)
def test_a_gpu_is_asked_by_its_index(
    device: str, hip: str | None, lacks: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A V100 beside an A100; AMD's GPUs count their capabilities otherwise."""
    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda place: [(7, 0), (8, 0)][place.index])
    monkeypatch.setattr(torch.version, "hip", hip)
    assert lacks_bfloat16(torch.device(device)) is lacks


def test_a_device_without_numbers_lacks_nothing() -> None:
    assert not lacks_bfloat16(torch.device("meta"))
