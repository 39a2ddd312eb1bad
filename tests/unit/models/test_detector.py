import csv
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from tune_cmx.config.trial import DetectorConfig, FusionConfig, ModelConfig
from tune_cmx.errors import ConfigError
from tune_cmx.models.describe import parameters_by_part
from tune_cmx.models.detector import Detector, build_detector

GOLDEN = Path(__file__).parents[2] / "golden" / "detector_parameters.csv"
SMALL = {
    "image_size": 96,
    "max_size": 128,
    "fpn_channels": 16,
    "anchor_sizes": (8, 16, 32, 64, 96),
    "proposals_train": 50,
    "proposals_eval": 20,
    "rois_per_image": 16,
    "head_width": 32,
    "detections_per_image": 7,
}


def _detector(bands: tuple[int, ...] = (3, 2), seed: int = 0, num_classes: int = 2, **config: Any) -> Detector:
    torch.manual_seed(seed)
    model = ModelConfig(**{"backbone": "mit_nano", "detector": DetectorConfig(**SMALL), **config})
    count = sum(bands)
    return build_detector(model, bands=bands, num_classes=num_classes, mean=[0.5] * count, std=[0.25] * count)


def _batch(bands: int = 5) -> tuple[list[Tensor], list[dict[str, Tensor]]]:
    """Two frames of differing sizes; the second has no object."""
    generator = torch.Generator().manual_seed(0)
    images = [torch.rand(bands, *size, generator=generator) for size in ((96, 120), (60, 64))]
    boxes = [torch.tensor([[10.0, 12.0, 40.0, 60.0], [50.0, 5.0, 90.0, 33.0]]), torch.zeros(0, 4)]
    labels = [torch.tensor([1, 2]), torch.zeros(0, dtype=torch.int64)]
    return images, [{"boxes": b, "labels": n} for b, n in zip(boxes, labels, strict=True)]


def _losses(detector: Detector, bands: int = 5) -> dict[str, Tensor]:
    torch.manual_seed(1)
    losses = detector(*_batch(bands))
    assert isinstance(losses, dict)
    return losses


@pytest.mark.parametrize(
    ("bands", "config"),
    [
        ((3, 2), {}),
        ((3, 2), {"carry": "fused", "fusion": FusionConfig(kind="cssa", stages=(2, 3), elsewhere="frm_ffm")}),
        ((3, 1), {"streams": "rgb | thermal", "fusion": FusionConfig(kind="se_gated")}),
        ((2,), {"streams": "thermal+event"}),
    ],
)
def test_a_training_step_gives_finite_losses_and_gradients(bands: tuple[int, ...], config: dict[str, Any]) -> None:
    detector = _detector(bands, **config)
    losses = _losses(detector, sum(bands))
    assert set(losses) == {"loss_classifier", "loss_box_reg", "loss_objectness", "loss_rpn_box_reg"}
    torch.stack(list(losses.values())).sum().backward()
    assert all(loss.isfinite() for loss in losses.values())
    assert all(p.grad.isfinite().all() for p in detector.parameters() if p.grad is not None)


def test_detections_lie_in_the_image_given() -> None:
    detector = _detector().eval()
    detector.roi_heads.score_thresh = 0.0  # so that untrained weights find something
    with torch.no_grad():
        found = detector(_batch()[0])
    assert isinstance(found, list)
    for image, detections in zip(_batch()[0], found, strict=True):
        height, width = image.shape[1:]
        assert 1 <= len(detections["boxes"]) <= 7
        assert detections["boxes"].amin() >= 0
        assert (detections["boxes"].amax(dim=0) <= torch.tensor([width, height, width, height]) + 1e-3).all()
        assert set(detections["labels"].tolist()) <= {1, 2}
        assert len(detections["scores"]) == len(detections["labels"]) == len(detections["boxes"])


def test_same_seed_gives_the_same_weights_losses_and_gradients() -> None:
    first, second = _detector(), _detector()
    assert all(torch.equal(a, b) for a, b in zip(first.parameters(), second.parameters(), strict=True))
    for detector in (first, second):
        torch.autograd.backward(list(_losses(detector).values()))
    for a, b in zip(first.parameters(), second.parameters(), strict=True):
        assert a.grad is not None
        assert b.grad is not None
        assert torch.equal(a.grad, b.grad)


def test_another_seed_gives_other_weights() -> None:
    assert not torch.equal(_detector().roi_heads.box_head.fc6.weight, _detector(seed=1).roi_heads.box_head.fc6.weight)


def test_state_dict_survives_a_round_trip() -> None:
    trained, fresh = _detector(), _detector(seed=1)
    _losses(trained)  # moves the buffers of batch normalisation
    fresh.load_state_dict(trained.state_dict())
    with torch.no_grad():
        first, second = (model.eval().backbone(torch.ones(1, 5, 64, 64))[0] for model in (trained, fresh))
    assert all(torch.equal(first[name], second[name]) for name in first)


def test_every_detector_setting_arrives() -> None:
    detector = _detector()
    assert detector.transform.min_size == (96,)
    assert detector.transform.max_size == 128
    assert detector.backbone.out_channels == 16
    assert detector.rpn.anchor_generator.sizes == ((8,), (16,), (32,), (64,), (96,))
    assert detector.rpn.anchor_generator.aspect_ratios == ((0.5, 1.0, 2.0),) * 5
    assert (detector.rpn.pre_nms_top_n(), detector.rpn.post_nms_top_n()) == (50, 50)
    detector.eval()
    assert (detector.rpn.pre_nms_top_n(), detector.rpn.post_nms_top_n()) == (20, 20)
    assert detector.roi_heads.fg_bg_sampler.batch_size_per_image == 16
    assert detector.roi_heads.box_head.fc7.out_features == 32
    assert detector.roi_heads.box_predictor.cls_score.out_features == 3
    assert detector.roi_heads.detections_per_img == 7


def test_two_anchor_ratios_give_two_anchors_a_place() -> None:
    detector = _detector(detector=DetectorConfig(**{**SMALL, "anchor_ratios": (1.0, 2.0)}))
    assert detector.rpn.head.cls_logits.out_channels == 2
    assert all(loss.isfinite() for loss in _losses(detector).values())


def test_each_band_is_normalised_by_its_own_numbers() -> None:
    config = ModelConfig(backbone="mit_nano", detector=DetectorConfig(**SMALL))
    mean, std = [0.1, 0.2, 0.3, 0.4, 0.5], [1.0, 2.0, 4.0, 0.5, 0.25]
    detector = build_detector(config, bands=(3, 2), num_classes=1, mean=mean, std=std)
    image = torch.tensor([1.1, 2.2, 4.3, 0.9, 0.75])[:, None, None].expand(5, 96, 96)
    batch, _ = detector.eval().transform([image])
    torch.testing.assert_close(batch.tensors, torch.ones(1, 5, 96, 96))


@pytest.mark.parametrize(("mean", "std"), [([0.5] * 3, [0.5] * 5), ([0.5] * 5, [0.5])])
def test_normalisation_of_other_bands_is_refused(mean: list[float], std: list[float]) -> None:
    with pytest.raises(ConfigError, match="5 bands need as many means and deviations; got"):
        build_detector(ModelConfig(backbone="mit_nano"), bands=(3, 2), num_classes=1, mean=mean, std=std)


def _golden() -> list[dict[str, str]]:
    return list(csv.DictReader(line for line in GOLDEN.read_text().splitlines() if not line.startswith("#")))


@pytest.mark.parametrize("row", _golden(), ids=lambda row: f"{row['backbone']} cssa {row['cssa_stages']}")
def test_parameters_by_part(row: dict[str, str]) -> None:
    stages = tuple(int(stage) for stage in row["cssa_stages"].split())
    fusion = FusionConfig(kind="cssa", stages=stages, elsewhere="frm_ffm") if stages else FusionConfig(kind="frm_ffm")
    config = ModelConfig(backbone=row["backbone"], fusion=fusion)
    with torch.device("meta"):
        detector = build_detector(config, bands=(3, 2), num_classes=1, mean=[0] * 5, std=[1] * 5)
    parts = parameters_by_part(detector)
    expected = {name: int(value) for name, value in row.items() if name not in ("backbone", "cssa_stages")}
    assert {name: parts[name] for name in expected} == expected
    assert sum(parts.values()) == 2 * parts["total"]  # the parts leave nothing out
