"""timm's hierarchies as streams: what they are made of, and which are refused."""

import re

import pytest
import timm
import torch

from tune_cmx.errors import ConfigError
from tune_cmx.models.streams import build_stream, stream_shape

TIMM = {
    "timm/pvt_v2_b1": ((64, 128, 320, 512), (1, 2, 5, 8), 14_009_000 - 513_000),
    "timm/convnext_tiny": ((96, 192, 384, 768), (1, 3, 6, 12), 28_589_128 - 769_000 - 2 * 768),
    "timm/resnet50": ((256, 512, 1024, 2048), (4, 8, 16, 32), 25_557_032 - 2_049_000),
    "timm/davit_tiny": ((96, 192, 384, 768), (1, 3, 6, 12), 28_360_168 - 769_000 - 2 * 768),
}
"""Widths, heads, and parameters: those that are published, without the classifier and the norm before it."""


@pytest.mark.parametrize("backbone", TIMM)
def test_widths_heads_and_parameters_are_known_without_weights(backbone: str) -> None:
    widths, heads, parameters = TIMM[backbone]
    state = torch.get_rng_state()
    shape = stream_shape(backbone)
    with torch.device("meta"):
        stream = build_stream(backbone, 3, 0.1)
        x, sizes = torch.empty(1, 3, 64, 96), []
        for stage in (1, 2, 3, 4):
            x = stream.forward_stage(stage, x)
            sizes.append((x.shape[1], 64 // x.shape[2], 96 // x.shape[3]))
    assert (shape.widths, shape.heads) == (widths, heads)
    assert sizes == [(width, stride, stride) for width, stride in zip(widths, (4, 8, 16, 32), strict=True)]
    assert sum(parameter.numel() for parameter in stream.parameters()) == parameters
    assert torch.equal(torch.get_rng_state(), state)


def test_widths_that_64_channels_a_head_do_not_divide() -> None:
    assert stream_shape("timm/regnety_004").widths == (48, 104, 208, 440)
    assert stream_shape("timm/regnety_004").heads == (1, 1, 2, 5)


@pytest.mark.parametrize("backbone", ["timm/pvt_v2_b0", "timm/resnet18", "timm/mambaout_femto"])
def test_stepping_gives_the_features_of_the_whole(backbone: str) -> None:
    """`mambaout` keeps its channels last within."""
    torch.manual_seed(0)
    stream = build_stream(backbone, 2, 0.0).eval()
    whole = timm.create_model(backbone[5:], features_only=True, in_chans=2).eval()
    levels = [index for index, stride in enumerate(whole.feature_info.reduction()) if stride >= 4]
    whole.load_state_dict({name.removeprefix("net."): value for name, value in stream.state_dict().items()})
    image = torch.rand(2, 2, 64, 96)
    with torch.no_grad():
        features, x = whole(image), image
        for stage, level in enumerate(levels, start=1):
            x = stream.forward_stage(stage, x)
            theirs = features[level]
            torch.testing.assert_close(x, theirs if theirs.shape[1] == x.shape[1] else theirs.permute(0, 3, 1, 2))


@pytest.mark.parametrize(
    ("backbone", "message"),
    [
        ("timm/vit_tiny_patch16_224", "timm/vit_tiny_patch16_224 cannot be stepped stage by stage"),
        ("timm/efficientnet_b0", "timm/efficientnet_b0 cannot be stepped stage by stage"),
        ("timm/swin_tiny_patch4_window7_224", "timm/swin_tiny_patch4_window7_224 does not take an image of 64 x 96"),
        ("timm/maxvit_pico_rw_256", "needs a fixed image size"),
        ("timm/mobileone_s9", "has no model 'mobileone_s9'. Did you mean 'mobileone_s"),
        ("timm/resnet18.nonesuch", "Invalid pretrained tag (nonesuch)"),
        ("timm/", "has no model ''"),
        ("mit_b11", "unknown backbone 'mit_b11'. Known: mit_b0, "),
        ("pvt_v2_b1", "timm/NAME for a hierarchy of timm, as in timm/pvt_v2_b1"),
    ],
)
def test_what_cannot_be_a_stream_is_refused_by_name(backbone: str, message: str) -> None:
    with pytest.raises(ConfigError, match=re.escape(message)):
        build_stream(backbone, 3, 0.0)


def test_a_drop_path_that_a_model_does_not_have_is_refused() -> None:
    assert build_stream("timm/dla34", 1, 0.0).channels == (64, 128, 256, 512)
    with pytest.raises(ConfigError, match=r"timm/dla34 has no drop path; set model\.drop_path: 0"):
        build_stream("timm/dla34", 1, 0.1)
