"""A stream of timm's: any of its hierarchies with maps at strides 4, 8, 16 and 32, stepped stage by stage.

timm's own feature interface (`features_only`) gives most hierarchies as a list of modules in the order in which data
meet them, with the ends of the stages marked; a fusion can stand between two of those. Families that it gives as one
whole with hooks (EfficientNet, MobileNet) or through getters (ViT, MViT) cannot be stepped, and are refused.

Axes: B batch, C channels, H W rows and columns.
"""

from collections.abc import Mapping
from functools import cache
from typing import Any, NamedTuple

import timm
import torch
from timm.layers import Format
from timm.models import FeatureListNet
from torch import Tensor, nn

from tune_cmx.config.trial import TIMM
from tune_cmx.errors import ConfigError
from tune_cmx.models.mit import STRIDES
from tune_cmx.registry import suggestion

_SIZES = ((64, 96), (96, 160))
"""Heights and widths that a backbone must take: multiples of 32, as every image of a batch is padded to."""


class _Levels(NamedTuple):
    """Where in timm's list of features the four stages are."""

    indices: tuple[int, ...]
    widths: tuple[int, ...]


class Published(NamedTuple):
    """What `TimmStream.load_published` did."""

    source: str
    """The model with the tag of its weights, as in `timm/pvt_v2_b1.in1k`."""
    loaded: tuple[str, ...]
    adapted: tuple[str, ...]
    """The first convolution, fitted to another number of bands than 3."""


class TimmStream(nn.Module):
    """A stream that is stepped stage by stage, so that a fusion can stand between two stages.

    Args:
        name: As timm knows it, without `timm/`; a tag says which published weights, as in `convnext_tiny.fb_in22k`.
        bands: Input channels.
        drop_path: As timm's `drop_path_rate`.

    Attributes:
        channels: Of the maps that stages 1..4 give.
        strides: Pixels of the image for one step in those maps.

    Raises:
        ConfigError: timm has no such model; it cannot be stepped stage by stage, has no four levels at strides 4..32,
            or needs a fixed image size; or it has no drop path where one is asked for.
    """

    def __init__(self, name: str, bands: int, drop_path: float) -> None:
        super().__init__()
        self._name, self._options = name, {"in_chans": bands, **({"drop_path_rate": drop_path} if drop_path else {})}
        levels = _levels(name)
        try:
            self.net = _create(name, out_indices=levels.indices, **self._options)
        except TypeError as error:
            if "drop_path_rate" not in str(error):
                raise
            raise ConfigError(
                f"model.backbone: {TIMM}{name} has no drop path; set model.drop_path: 0 (for the baseline as well)"
            ) from error
        self.channels = levels.widths
        self.strides = STRIDES

    def forward_stage(self, stage: int, x_BCHW: Tensor) -> Tensor:
        """The map of one stage, of 1..4, from that of the stage before, or from the image."""
        return _forward_stage(self.net, stage, x_BCHW)

    def load_published(self) -> Published:
        """Replace the weights by those that timm's authors publish, fetched from its hub or found in its cache.

        Where there are not 3 bands, timm sums the first convolution's filters (1 band), or repeats them and scales them
        by 3 / bands. torch's default generator is left as it was.

        Raises:
            ConfigError: timm knows no weights for this model, or they cannot be fetched.
        """
        tag = published_tag(self._name)
        indices = _levels(self._name).indices
        with torch.random.fork_rng(devices=[]):
            try:
                found = _create(self._name, pretrained=True, out_indices=indices, **self._options)
            except Exception as error:  # what a hub, a proxy or a cache can raise is no one's to list
                raise ConfigError(
                    f"model.pretrained: the weights of {TIMM}{self._name} cannot be fetched; they need the network, or "
                    f"the cache of an earlier run (HF_HOME): {_first_line(error)}"
                ) from error
            with torch.device("meta"):
                plain = _create(self._name, out_indices=indices, **{**self._options, "in_chans": 3}).state_dict()
        state = found.state_dict()
        self.net.load_state_dict(state)
        adapted = tuple(name for name, value in state.items() if value.shape != plain[name].shape)
        source = f"{TIMM}{self._name.partition('.')[0]}.{tag}"
        return Published(source, tuple(name for name in state if name not in adapted), adapted)


@cache
def timm_widths(name: str) -> tuple[int, ...]:
    """Channels of the four stages.

    Raises:
        ConfigError: As `TimmStream`.
    """
    return _levels(name).widths


def published_tag(name: str) -> str:
    """Which of the weights that timm publishes a model has by its name. Nothing is fetched.

    Raises:
        ConfigError: timm publishes no weights for this model.
    """
    try:
        config = timm.get_pretrained_cfg(name)
    except RuntimeError as error:
        raise ConfigError(f"model.backbone: {TIMM}{name}: {_first_line(error)}") from error
    if config is None or not config.has_weights:
        raise ConfigError(
            f"model.pretrained: timm publishes no weights for {TIMM}{name}; leave model.pretrained out, or "
            "take another model or tag"
        )
    return config.tag or "default"


def _create(name: str, **options: Any) -> FeatureListNet:
    """A model that `_levels` has found fit."""
    net = timm.create_model(name, features_only=True, **options)
    assert isinstance(net, FeatureListNet)
    return net


@cache
def _levels(name: str) -> _Levels:
    """The four stages of a model that can be stepped; only shapes are computed."""
    if not timm.is_model(name):
        raise ConfigError(
            f"model.backbone: timm {timm.__version__} has no model '{name}'.{suggestion(name, timm.list_models())}"
        )
    with torch.device("meta"), torch.random.fork_rng(devices=[]), torch.no_grad():
        try:
            net = timm.create_model(name, features_only=True)
        except (RuntimeError, TypeError, ValueError, AttributeError, AssertionError) as error:
            raise ConfigError(
                f"model.backbone: timm gives no features of {TIMM}{name}: {_first_line(error)}"
            ) from error
        if not isinstance(net, FeatureListNet):
            raise ConfigError(
                f"model.backbone: {TIMM}{name} cannot be stepped stage by stage, as a fusion between stages needs "
                f"({type(net).__name__} of timm); take a hierarchy such as {TIMM}pvt_v2_b1, {TIMM}convnext_tiny, "
                f"{TIMM}resnet50 or {TIMM}davit_tiny"
            )
        strides, widths = net.feature_info.reduction(), net.feature_info.channels()
        if not set(STRIDES) <= set(strides):
            raise ConfigError(
                f"model.backbone: {TIMM}{name} has levels at strides {strides}; levels at {list(STRIDES)} are needed"
            )
        found = [strides.index(stride) for stride in STRIDES]
        levels = _Levels(tuple(net.feature_info.out_indices[i] for i in found), tuple(widths[i] for i in found))
        has_others = tuple(strides) != STRIDES
        net = _create(name, out_indices=levels.indices) if has_others else net
        _refuse_fixed_size(name, net.eval(), levels.widths)
    return levels


def _refuse_fixed_size(name: str, net: FeatureListNet, widths: tuple[int, ...]) -> None:
    for height, width in _SIZES:
        expected = [(1, c, height // stride, width // stride) for c, stride in zip(widths, STRIDES, strict=True)]
        x_BCHW, shapes = torch.empty(1, 3, height, width), []
        try:
            for stage in range(1, 5):
                x_BCHW = _forward_stage(net, stage, x_BCHW)
                shapes.append(tuple(x_BCHW.shape))
        except (RuntimeError, ValueError, AssertionError) as error:
            raise ConfigError(
                f"model.backbone: {TIMM}{name} does not take an image of {height} x {width}: it needs a fixed image "
                f"size, and frames come in several: {_first_line(error)}"
            ) from error
        if shapes != expected:
            raise ConfigError(
                f"model.backbone: {TIMM}{name}: maps of {height} x {width} pixels are {shapes}; expected {expected}"
            )


def _forward_stage(net: FeatureListNet, stage: int, x_BCHW: Tensor) -> Tensor:
    channels_last = net.output_fmt == Format.NHWC
    x = x_BCHW.permute(0, 2, 3, 1) if channels_last and stage > 1 else x_BCHW
    for name in _modules_of(net.return_layers, list(net), stage):
        x = net[name](x)
    return x.permute(0, 3, 1, 2).contiguous() if channels_last else x


def _modules_of(ends: Mapping[str, str], names: list[str], stage: int) -> list[str]:
    """The names of one stage's modules: after the end of the stage before, up to its own end."""
    marks = [index for index, name in enumerate(names) if name in ends]
    first = marks[stage - 2] + 1 if stage > 1 else 0
    return names[first : marks[stage - 1] + 1]


def _first_line(error: Exception) -> str:
    return (str(error).strip() or type(error).__name__).splitlines()[0]
