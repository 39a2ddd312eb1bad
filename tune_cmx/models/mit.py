"""One Mix Transformer stream, the encoder of SegFormer (arXiv:2105.15203).

Names of parameters are those of the authors' published files (`patch_embed1.proj.weight`, `block1.0.attn.q.weight`,
..., `norm4.bias`), so that these can be loaded; the classifier `head` is left out.

Axes: B batch, C channels, H W rows and columns, N tokens of a map (H * W), M tokens after reduction, G heads,
D channels of one head.
"""

from dataclasses import dataclass

import torch.nn.functional as F
from timm.layers.drop import DropPath
from torch import Tensor, nn

from tune_cmx.models.init import init_weights
from tune_cmx.models.precision import at_least_float32

STRIDES = (4, 8, 16, 32)
_MLP_RATIO = 4
_NORM_EPS = 1e-6
"""Of the norms in blocks and after stages; those in patch embedding and reduction have PyTorch's 1e-5, as in CMX."""


@dataclass(frozen=True)
class MitShape:
    """The size of a Mix Transformer, an entry for each of the stages 1..4."""

    widths: tuple[int, int, int, int]
    depths: tuple[int, int, int, int]
    heads: tuple[int, int, int, int] = (1, 2, 5, 8)
    reductions: tuple[int, int, int, int] = (8, 4, 2, 1)
    """Side of the square of tokens that becomes one key and one value."""


_WIDTHS = (64, 128, 320, 512)
MIT: dict[str, MitShape] = {
    "mit_nano": MitShape((16, 32, 48, 64), (1, 1, 1, 1), heads=(1, 2, 3, 4)),  # for tests and the quick start
    "mit_b0": MitShape((32, 64, 160, 256), (2, 2, 2, 2)),
    "mit_b1": MitShape(_WIDTHS, (2, 2, 2, 2)),
    "mit_b2": MitShape(_WIDTHS, (3, 4, 6, 3)),
    "mit_b3": MitShape(_WIDTHS, (3, 4, 18, 3)),
    "mit_b4": MitShape(_WIDTHS, (3, 8, 27, 3)),
    "mit_b5": MitShape(_WIDTHS, (3, 6, 40, 3)),
}


def _tokens(x_BCHW: Tensor) -> Tensor:
    return x_BCHW.flatten(2).transpose(1, 2)


def _map(x_BNC: Tensor, height: int, width: int) -> Tensor:
    return x_BNC.transpose(1, 2).reshape(len(x_BNC), -1, height, width)


class _PatchEmbed(nn.Module):
    """Overlapping patches: 7x7 at stride 4 before stage 1, 3x3 at stride 2 before the others."""

    def __init__(self, channels_in: int, channels: int, kernel: int, stride: int) -> None:
        super().__init__()
        self.proj = nn.Conv2d(channels_in, channels, kernel, stride=stride, padding=kernel // 2)
        self.norm = nn.LayerNorm(channels)

    def forward(self, x_BCHW: Tensor) -> tuple[Tensor, int, int]:
        y_BCHW: Tensor = self.proj(x_BCHW)
        height, width = y_BCHW.shape[2:]
        # What blocks add to is float32 also on a CPU, whose autocast leaves norms as they come; a GPU's does not.
        y_BCHW = y_BCHW.to(at_least_float32(y_BCHW.dtype))
        return self.norm(_tokens(y_BCHW)), height, width


class _Attention(nn.Module):
    """Self-attention whose keys and values come from a map made smaller by `reduction` on each side."""

    def __init__(self, channels: int, heads: int, reduction: int) -> None:
        super().__init__()
        self.heads = heads
        self.q = nn.Linear(channels, channels)
        self.kv = nn.Linear(channels, 2 * channels)
        self.proj = nn.Linear(channels, channels)
        self.reduction = reduction
        if reduction > 1:
            self.sr = nn.Conv2d(channels, channels, reduction, stride=reduction)
            self.norm = nn.LayerNorm(channels)

    def forward(self, x_BNC: Tensor, height: int, width: int) -> Tensor:
        source_BMC = x_BNC
        if self.reduction > 1:
            source_BMC = self.norm(_tokens(self.sr(_map(x_BNC, height, width))))
        k_BMC, v_BMC = self.kv(source_BMC).chunk(2, dim=-1)
        y_BGND = F.scaled_dot_product_attention(
            self._split_heads(self.q(x_BNC)), self._split_heads(k_BMC), self._split_heads(v_BMC)
        )
        y_BNC: Tensor = self.proj(y_BGND.transpose(1, 2).flatten(2))
        return y_BNC

    def _split_heads(self, x_BNC: Tensor) -> Tensor:
        batch, tokens, channels = x_BNC.shape
        return x_BNC.reshape(batch, tokens, self.heads, channels // self.heads).transpose(1, 2)


class _DepthwiseConv(nn.Module):
    """A 3x3 convolution of each channel, in place of a position encoding."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.dwconv = nn.Conv2d(channels, channels, 3, padding=1, groups=channels)

    def forward(self, x_BNC: Tensor, height: int, width: int) -> Tensor:
        return _tokens(self.dwconv(_map(x_BNC, height, width)))


class _Mlp(nn.Module):
    def __init__(self, channels: int) -> None:
        super().__init__()
        self.fc1 = nn.Linear(channels, _MLP_RATIO * channels)
        self.dwconv = _DepthwiseConv(_MLP_RATIO * channels)
        self.fc2 = nn.Linear(_MLP_RATIO * channels, channels)

    def forward(self, x_BNC: Tensor, height: int, width: int) -> Tensor:
        y_BNC: Tensor = self.fc2(F.gelu(self.dwconv(self.fc1(x_BNC), height, width)))
        return y_BNC


class _Block(nn.Module):
    def __init__(self, channels: int, heads: int, reduction: int, drop_path: float) -> None:
        super().__init__()
        self.norm1 = nn.LayerNorm(channels, eps=_NORM_EPS)
        self.attn = _Attention(channels, heads, reduction)
        self.norm2 = nn.LayerNorm(channels, eps=_NORM_EPS)
        self.mlp = _Mlp(channels)
        self.drop_path = DropPath(drop_path)

    def forward(self, x_BNC: Tensor, height: int, width: int) -> Tensor:
        y_BNC = x_BNC + self.drop_path(self.attn(self.norm1(x_BNC), height, width))
        out_BNC: Tensor = y_BNC + self.drop_path(self.mlp(self.norm2(y_BNC), height, width))
        return out_BNC


class MixTransformer(nn.Module):
    """A stream that is stepped stage by stage, so that a fusion can stand between two stages.

    Args:
        shape: An entry of `MIT`.
        bands: Input channels.
        drop_path: Probability of leaving a block's residual branch out for one image, at the last block; it rises
            linearly from 0 at the first.

    Attributes:
        channels: Of the maps that stages 1..4 give.
        strides: Pixels of the image for one step in those maps.
    """

    def __init__(self, shape: MitShape, bands: int, drop_path: float) -> None:
        super().__init__()
        self.channels = shape.widths
        self.strides = STRIDES
        last = max(sum(shape.depths) - 1, 1)
        rising = iter([drop_path * index / last for index in range(sum(shape.depths))])
        channels_in = bands
        stages = zip(shape.widths, shape.depths, shape.heads, shape.reductions, strict=True)
        for stage, (channels, depth, heads, reduction) in enumerate(stages, start=1):
            kernel, stride = (7, 4) if stage == 1 else (3, 2)
            blocks = [_Block(channels, heads, reduction, next(rising)) for _ in range(depth)]
            self.add_module(f"patch_embed{stage}", _PatchEmbed(channels_in, channels, kernel, stride))
            self.add_module(f"block{stage}", nn.ModuleList(blocks))
            self.add_module(f"norm{stage}", nn.LayerNorm(channels, eps=_NORM_EPS))
            channels_in = channels
        self.apply(init_weights)

    def forward_stage(self, stage: int, x_BCHW: Tensor) -> Tensor:
        """The map of one stage, of 1..4, from that of the stage before, or from the image."""
        x_BNC, height, width = self.get_submodule(f"patch_embed{stage}")(x_BCHW)
        for block in self.get_submodule(f"block{stage}").children():
            x_BNC = block(x_BNC, height, width)
        return _map(self.get_submodule(f"norm{stage}")(x_BNC), height, width)
