"""What torch.compile gives is what it was given, but for rounding; scoring is compiled once."""

import time

import pytest
import torch
from torch import Tensor

from tune_cmx.config.trial import ComputeConfig, DetectorConfig, ModelConfig
from tune_cmx.models.detector import Detector, build_detector, compute_as

pytestmark = pytest.mark.slow  # it compiles for minutes


def _detector(*, compiled: bool) -> Detector:
    torch.manual_seed(0)
    small = DetectorConfig(image_size=64, max_size=64, fpn_channels=16, head_width=32, rois_per_image=16)
    model = ModelConfig(backbone="mit_nano", detector=small, drop_path=0.0)
    plain = build_detector(model, bands=(3, 2), num_classes=1, mean=[0.5] * 5, std=[0.25] * 5)
    return compute_as(plain, ComputeConfig(precision="fp32", compile=compiled))


def _images(seed: int, count: int = 2) -> list[Tensor]:
    generator = torch.Generator().manual_seed(seed)
    return [torch.rand(5, 64, 64, generator=generator) for _ in range(count)]


@pytest.mark.filterwarnings("ignore")  # of the compiler's own
def test_a_compiled_detector_trains_and_scores_as_one_that_is_not() -> None:
    losses, gradients, found, statistics = [], [], [], []
    for compiled in (False, True):
        detector = _detector(compiled=compiled)
        box = {"boxes": torch.tensor([[10.0, 12.0, 40.0, 60.0]]), "labels": torch.tensor([1])}
        torch.manual_seed(1)
        losses.append(detector(_images(0), [dict(box) for _ in range(2)]))
        torch.stack(list(losses[-1].values())).sum().backward()
        gradients.append([weight.grad for weight in detector.parameters()])
        detector.eval()
        with torch.no_grad():
            found.append([detector(_images(seed)) for seed in (1, 2)])
            began = time.monotonic()
            detector(_images(3))
            seconds = time.monotonic() - began
        statistics.append(detector.backbone.encoder.take_statistics())
    torch.testing.assert_close(losses[1], losses[0], rtol=1e-4, atol=1e-6)
    for one, other in zip(*gradients, strict=True):
        torch.testing.assert_close(one, other, rtol=1e-3, atol=1e-4)
    assert statistics[1] == pytest.approx(statistics[0], rel=1e-4)
    assert [[len(own["boxes"]) for own in batch] for batch in found[1]] == [
        [len(own["boxes"]) for own in batch] for batch in found[0]
    ]
    assert seconds < 5, "it was compiled again for a batch like the ones before"
