import copy
from typing import Any

import pytest
import torch

from tune_cmx.config.trial import DetectorConfig, FusionConfig, ModelConfig
from tune_cmx.models.describe import flops, inspected
from tune_cmx.models.detector import Detector, build_detector

SMALL = DetectorConfig(image_size=640, fpn_channels=16, proposals_train=50, rois_per_image=16, head_width=32)


def _detector(bands: tuple[int, ...] = (3, 2), **config: Any) -> Detector:
    torch.manual_seed(0)
    model = ModelConfig(**{"backbone": "mit_nano", "detector": SMALL, **config})
    count = sum(bands)
    return build_detector(model, bands=bands, num_classes=1, mean=[0.5] * count, std=[0.25] * count)


def test_parts_of_two_streams() -> None:
    counts = inspected(_detector()).parameters
    assert list(counts) == [
        "stream.rgb", "stream.aux", "fusion.1", "fusion.2", "fusion.3", "fusion.4",
        "fpn", "rpn", "box_head", "predictor", "total", "active",
    ]  # fmt: skip
    assert counts["active"] == counts["total"]


def test_parts_of_one_stream() -> None:
    counts = inspected(_detector((3,), streams="rgb")).parameters
    assert list(counts) == ["stream.single", "fpn", "rpn", "box_head", "predictor", "total", "active"]
    assert counts["active"] == counts["total"]


def test_weights_that_a_hard_gate_cuts_off_are_not_active() -> None:
    counts = inspected(_detector(fusion=FusionConfig(kind="cssa", stages=(2, 3), elsewhere="frm_ffm"))).parameters
    assert counts["total"] - counts["active"] == 2 * 6


def test_audit_has_nothing_to_say_of_the_baseline() -> None:
    assert inspected(_detector()).warnings == []


def test_audit_warns_of_a_gate_without_gradient_and_tells_its_share() -> None:
    found = inspected(_detector(fusion=FusionConfig(kind="cssa", stages=(2,), elsewhere="add"))).warnings
    lines = list(map(str, found))
    assert lines[0] == (
        "fusion stage 2 (CssaFusion): gate 'hard' gives eca_rgb.conv.weight, eca_aux.conv.weight no gradient: they "
        "stay as drawn, and the threshold acts through a random filter; `gate: straight_through` trains them"
    )
    assert lines[1].endswith(" % of the channels are switched in exactly one stream at the start; only these matter")
    assert len(lines) == 2


@pytest.mark.parametrize("gate", ["straight_through", "weighted"])
def test_audit_has_only_the_share_to_tell_of_a_gate_that_learns(gate: str) -> None:
    cssa = FusionConfig(kind="cssa", stages=(1, 4), elsewhere="frm_ffm", options={"gate": gate})
    detector = _detector(fusion=cssa)
    lines = list(map(str, inspected(detector).warnings))
    assert [line.split(" (CssaFusion): ")[0] for line in lines] == ["fusion stage 1", "fusion stage 4"]
    assert all("in exactly one stream" in line for line in lines)
    counts = inspected(detector).parameters
    assert counts["active"] == counts["total"]


def test_audit_names_what_was_frozen_without_listing_it_all() -> None:
    detector = _detector()
    detector.backbone.encoder.streams["aux"].requires_grad_(False)
    (warning,) = inspected(detector).warnings
    line = str(warning)
    assert warning.kind == "no_gradient"
    assert line.startswith("stream aux: no gradient in one training step, cannot learn: patch_embed1.proj.weight, ")
    assert line.endswith(" more")


@pytest.mark.parametrize("training", [True, False])
def test_audit_leaves_no_trace(training: bool) -> None:
    detector = _detector(fusion=FusionConfig(kind="se_gated")).train(training)
    before, generator = copy.deepcopy(detector.state_dict()), torch.get_rng_state()
    inspected(detector)
    assert torch.equal(torch.get_rng_state(), generator)
    assert all(torch.equal(before[name], value) for name, value in detector.state_dict().items())
    assert all(parameter.grad is None for parameter in detector.parameters())
    assert detector.training is training
    assert detector.transform.min_size == (640,)


def test_audit_says_the_same_twice() -> None:
    detector = _detector(fusion=FusionConfig(kind="cssa"), drop_path=0.5)
    first = inspected(detector).warnings
    torch.rand(7)
    assert inspected(detector).warnings == first


@pytest.mark.parametrize(("height", "width", "gflop"), [(320, 416, 66.5), (800, 1088, 433.6)])
def test_flops_of_the_baseline(height: int, width: int, gflop: float) -> None:
    with torch.device("meta"):
        detector = build_detector(ModelConfig(), bands=(3, 2), num_classes=1, mean=[0] * 5, std=[1] * 5)
    assert flops(detector, height, width) == pytest.approx(gflop, abs=0.05)
