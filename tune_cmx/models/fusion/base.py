"""What a fusion is: the contract that every entry of `FUSIONS` keeps.

Axes: B batch, C channels, H W rows and columns, N objects and R ignore regions of an image; 4 stands for x1, y1, x2,
y2.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
from pydantic import BaseModel, ConfigDict
from torch import Tensor, nn
from torch.nn.utils.rnn import pad_sequence

from tune_cmx.errors import ShapeError
from tune_cmx.model_audit import AuditWarning

_NAMED = 4
"""Parameters named in one warning."""


class FusionOptions(BaseModel):
    """The options of a fusion: fields with defaults. An unknown key or a wrong type is an error. The text below a field
    is its meaning in docs/reference."""

    model_config = ConfigDict(
        frozen=True, extra="forbid", strict=True, allow_inf_nan=False, use_attribute_docstrings=True
    )


@dataclass(frozen=True)
class StageShape:
    """What a fusion learns of the stage where it stands."""

    channels: int
    """Of each stream's map."""
    heads: int
    """Attention heads of the encoder's blocks there; they divide `channels`."""


@dataclass(frozen=True)
class FusionOutput:
    """What one fusion gives; the three maps have the shape of each input."""

    rgb_BCHW: Tensor
    """What the RGB stream's next stage receives where streams are carried on separately."""
    aux_BCHW: Tensor
    fused_BCHW: Tensor
    """What the feature pyramid receives."""
    losses: Mapping[str, Tensor] = field(default_factory=dict)
    """Further training losses, scalars by name; usually none."""
    statistics: Mapping[str, Tensor] = field(default_factory=dict)
    """What the gates do, a fraction 0..1 for each image (B) by name, without gradient; in evaluation mode alone.
    `from_aux` and `from_rgb`: how much of the other stream is taken into the RGB and into the auxiliary stream."""


@dataclass(frozen=True)
class Truth:
    """Where the objects of a batch are, for fusions that learn from it; known in training alone."""

    boxes_BN4: Tensor
    """In pixels of the batch, resized and padded. Images with fewer boxes than others have rows of nan."""
    height: int
    """Of the batch, in pixels."""
    width: int
    regions_BR4: Tensor | None = None
    """Ignore regions, as `boxes_BN4`; None: no image of the batch has one."""

    @classmethod
    def of(cls, boxes: Sequence[Tensor], height: int, width: int, regions: Sequence[Tensor] | None = None) -> "Truth":
        """From each image's own boxes (N x 4) and ignore regions (R x 4), none or more."""
        return cls(_padded(boxes), height, width, None if regions is None else _padded(regions))

    def foreground(self, map_BCHW: Tensor) -> Tensor:
        """Which places of a stage's map lie on an object.

        A place does if its centre lies in a box. A box narrower or lower than a place counts as one place wide or
        high about its own centre, so that no object is lost at the deeper stages.

        Returns:
            B1HW, bool.
        """
        return self._within(self.boxes_BN4, map_BCHW)

    def considered(self, map_BCHW: Tensor) -> Tensor | None:
        """Which places of a stage's map count: those on an object, and those outside of every ignore region.

        Returns:
            B1HW, bool; None: all of them.
        """
        if self.regions_BR4 is None:
            return None
        return self.foreground(map_BCHW) | ~self._within(self.regions_BR4, map_BCHW)

    def _within(self, boxes_BN4: Tensor, map_BCHW: Tensor) -> Tensor:
        rows, columns = map_BCHW.shape[-2:]
        x1_BN1, y1_BN1, x2_BN1, y2_BN1 = boxes_BN4.chunk(4, dim=2)
        across_BNW = _covered(x1_BN1, x2_BN1, columns, self.width / columns)
        down_BNH = _covered(y1_BN1, y2_BN1, rows, self.height / rows)
        return (down_BNH.mT @ across_BNW > 0)[:, None]


def _padded(boxes: Sequence[Tensor]) -> Tensor:
    return pad_sequence(list(boxes), batch_first=True, padding_value=math.nan)


def _covered(low_BN1: Tensor, high_BN1: Tensor, places: int, pixels: float) -> Tensor:
    """1 where the centre of a place lies between the two ends, else 0; places are so many pixels long."""
    middle_BN1 = (low_BN1 + high_BN1) / 2
    half_BN1 = ((high_BN1 - low_BN1) / 2).clamp(min=pixels / 2)
    centres_P = (torch.arange(places, device=low_BN1.device, dtype=low_BN1.dtype) + 0.5) * pixels
    inside_BNP = (centres_P >= middle_BN1 - half_BN1) & (centres_P < middle_BN1 + half_BN1)
    return inside_BNP.to(low_BN1.dtype)


def by_image(gate: Tensor) -> Tensor:
    """The mean of each image's values, as `FusionOutput.statistics` takes it: from B and any further axes to B."""
    return gate.detach().flatten(1).float().mean(dim=1)


def cannot_learn(names: Sequence[str]) -> str:
    """What an audit says of parameters that got no gradient, where no more is known of them."""
    further = f" and {len(names) - _NAMED} more" if len(names) > _NAMED else ""
    return f"no gradient in one training step, cannot learn: {', '.join(names[:_NAMED])}{further}"


class Fusion(nn.Module):
    """Joins two streams at one stage.

    A subclass takes `(stage, options)`, with `options` of its own model beside it in the table, draws its own weights,
    and defines `fuse`; one with losses from the boxes also `fuse_guided`, which gives the same maps. It changes neither
    input in place, and in evaluation mode treats each image by itself.
    """

    def __init__(self, stage: StageShape, options: Any) -> None:  # noqa: ARG002  # the contract; a subclass uses them
        super().__init__()

    def forward(self, rgb_BCHW: Tensor, aux_BCHW: Tensor, truth: Truth | None = None) -> FusionOutput:
        """Check that the two maps agree, then fuse them.

        Args:
            rgb_BCHW: One stream's map.
            aux_BCHW: The other's; same shape.
            truth: Where the objects are; given in training alone.

        Raises:
            ShapeError: The two maps differ in shape.
        """
        if rgb_BCHW.shape != aux_BCHW.shape:
            raise ShapeError(
                f"rgb is {tuple(rgb_BCHW.shape)}, aux is {tuple(aux_BCHW.shape)}; "
                "pair images must be resized to one size"
            )
        return self.fuse(rgb_BCHW, aux_BCHW) if truth is None else self.fuse_guided(rgb_BCHW, aux_BCHW, truth)

    def fuse(self, rgb_BCHW: Tensor, aux_BCHW: Tensor) -> FusionOutput:
        """The fusion itself; both maps have one shape."""
        raise NotImplementedError

    def fuse_guided(self, rgb_BCHW: Tensor, aux_BCHW: Tensor, truth: Truth) -> FusionOutput:  # noqa: ARG002
        """The fusion in training, where the objects are known; one that learns from them defines this as well."""
        return self.fuse(rgb_BCHW, aux_BCHW)

    def audit_notes(self, rgb_BCHW: Tensor, aux_BCHW: Tensor) -> list[AuditWarning]:  # noqa: ARG002  # a subclass uses them
        """What an audit should tell a person of this fusion at these inputs, without its place; usually nothing."""
        return []

    def without_gradient(self, names: Sequence[str]) -> str:
        """What an audit says of parameters that got no gradient: which they are, why, and the fix where one is known.

        Args:
            names: Of those parameters, at least one.
        """
        return cannot_learn(names)
