"""The named hierarchies of timm, in full size: both streams learn, and the whole detector takes a step."""

import pytest
import torch
from torch import nn

from tune_cmx.config.trial import DetectorConfig, FusionConfig, ModelConfig
from tune_cmx.models.describe import inspected
from tune_cmx.models.detector import build_detector

FUSION = FusionConfig(kind="frm_ffm", stages=(1,), elsewhere="add")
SMALL = DetectorConfig(
    image_size=64, max_size=64, fpn_channels=16, head_width=16, proposals_train=20, proposals_eval=20, rois_per_image=8
)


@pytest.mark.parametrize("backbone", ["timm/pvt_v2_b1", "timm/convnext_tiny", "timm/resnet50", "timm/davit_tiny"])
def test_the_detector_takes_a_training_step(backbone: str) -> None:
    torch.manual_seed(0)
    config = ModelConfig(backbone=backbone, fusion=FUSION, detector=SMALL)
    detector = build_detector(config, bands=(3, 2), num_classes=1, mean=[0.5] * 5, std=[0.25] * 5)
    counts = inspected(detector).parameters
    assert counts["active"] == counts["total"]
    before = {name: next(stream.parameters()).clone() for name, stream in detector.backbone.encoder.streams.items()}
    optimizer = torch.optim.SGD(detector.parameters(), lr=0.01)
    box = {"boxes": torch.tensor([[8.0, 8.0, 40.0, 40.0]]), "labels": torch.ones(1, dtype=torch.int64)}
    losses = detector.train()([torch.rand(5, 64, 64) for _ in range(2)], [box, box])
    torch.stack(list(losses.values())).sum().backward()
    nn.utils.clip_grad_norm_(detector.parameters(), 1.0, error_if_nonfinite=True)
    optimizer.step()
    for name, stream in detector.backbone.encoder.streams.items():
        assert not torch.equal(next(stream.parameters()), before[name])
