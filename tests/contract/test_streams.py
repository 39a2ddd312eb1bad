"""What every backbone keeps to as a stream. A new one is checked with a line here."""

from typing import Literal

import pytest
import torch
from torch import Tensor, nn

from tune_cmx.config.trial import DetectorConfig, FusionConfig, ModelConfig
from tune_cmx.models.describe import inspected
from tune_cmx.models.detector import build_detector
from tune_cmx.models.encoder import Encoder
from tune_cmx.models.streams import Stream, build_stream, stream_shape

BACKBONES = ["mit_nano", "timm/convnext_atto", "timm/pvt_v2_b0", "timm/resnet10t"]
"""Small ones of their families; larger ones are trained in tests/integration."""
pytestmark = pytest.mark.parametrize("backbone", BACKBONES)
ADD = FusionConfig(kind="add")
SMALL = DetectorConfig(
    image_size=64, max_size=64, fpn_channels=16, head_width=16, proposals_train=20, proposals_eval=20, rois_per_image=8
)


@pytest.fixture(scope="module")
def built() -> dict[str, Stream]:
    """Streams of two bands by backbone, each built once."""
    return {}


@pytest.fixture
def stream(backbone: str, built: dict[str, Stream]) -> Stream:
    if backbone not in built:
        torch.manual_seed(0)
        built[backbone] = build_stream(backbone, 2, 0.0).eval()
    return built[backbone]


def _maps(stream: Stream, image: Tensor) -> list[Tensor]:
    maps = [image]
    with torch.no_grad():
        for stage in (1, 2, 3, 4):
            maps.append(stream.forward_stage(stage, maps[-1]))
    return maps[1:]


def test_maps_have_the_widths_and_strides_promised(backbone: str, stream: Stream) -> None:
    found = [(x.shape[1], 64 // x.shape[2], 96 // x.shape[3]) for x in _maps(stream, torch.rand(1, 2, 64, 96))]
    assert found == [(width, stride, stride) for width, stride in zip(stream.channels, stream.strides, strict=True)]
    assert stream.strides == (4, 8, 16, 32)
    assert stream.channels == stream_shape(backbone).widths


def test_heads_divide_the_widths(backbone: str) -> None:
    shape = stream_shape(backbone)
    assert [width % heads for width, heads in zip(shape.widths, shape.heads, strict=True)] == [0, 0, 0, 0]


@pytest.mark.usefixtures("backbone")
def test_odd_image_sizes_run(stream: Stream) -> None:
    sizes = [tuple(x.shape[2:]) for x in _maps(stream, torch.rand(1, 2, 75, 50))]
    for (height, width), stride in zip(sizes, stream.strides, strict=True):
        assert abs(height - 75 / stride) < 1
        assert abs(width - 50 / stride) < 1


@pytest.mark.usefixtures("backbone")
def test_a_stage_does_not_change_what_it_is_given(stream: Stream) -> None:
    x = torch.rand(1, 2, 32, 32)
    with torch.no_grad():
        for stage in (1, 2, 3, 4):
            before = x.clone()
            after = stream.forward_stage(stage, x)
            assert torch.equal(x, before)
            x = after


@pytest.mark.parametrize("carry", ["separate", "fused"])
def test_gradient_reaches_every_weight_of_both_streams(backbone: str, carry: Literal["separate", "fused"]) -> None:
    torch.manual_seed(0)
    encoder = Encoder(ModelConfig(backbone=backbone, carry=carry, fusion=ADD, drop_path=0.0), (3, 2))
    maps, _ = encoder(torch.rand(2, 5, 64, 64))
    torch.stack([(x * torch.linspace(-1, 1, x.numel()).view_as(x)).sum() for x in maps.values()]).sum().backward()
    for name, module in encoder.streams.items():
        assert [key for key, value in module.named_parameters() if value.grad is None] == [], name
        assert max(value.grad.abs().max().item() for value in module.parameters() if value.grad is not None) > 0


def test_the_detector_takes_a_training_step(backbone: str) -> None:
    torch.manual_seed(0)
    config = ModelConfig(backbone=backbone, fusion=ADD, detector=SMALL)
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


def test_the_same_seed_gives_the_same_weights(backbone: str) -> None:
    states = []
    for _ in range(2):
        torch.manual_seed(3)
        states.append(build_stream(backbone, 2, 0.1).state_dict())
    assert all(torch.equal(value, states[1][name]) for name, value in states[0].items())
