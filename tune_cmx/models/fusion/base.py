"""What a fusion is: the contract that every entry of `FUSIONS` keeps.

Axes: B batch, C channels, H W rows and columns.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from pydantic import BaseModel, ConfigDict
from torch import Tensor, nn

from tune_cmx.errors import ShapeError


class FusionOptions(BaseModel):
    """What a fusion can be told: fields with defaults. An unknown key or a wrong type is an error."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)


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


class Fusion(nn.Module):
    """Joins two streams at one stage.

    A subclass takes `(stage, options)`, with `options` of its own model beside it in the table, draws its own weights,
    and defines `fuse`. It changes neither input in place, and in evaluation mode treats each image by itself.
    """

    def __init__(self, stage: StageShape, options: Any) -> None:  # noqa: ARG002  # the contract; a subclass uses them
        super().__init__()

    def forward(self, rgb_BCHW: Tensor, aux_BCHW: Tensor) -> FusionOutput:
        """Check that the two maps agree, then fuse them.

        Raises:
            ShapeError: The two maps differ in shape.
        """
        if rgb_BCHW.shape != aux_BCHW.shape:
            raise ShapeError(
                f"rgb is {tuple(rgb_BCHW.shape)}, aux is {tuple(aux_BCHW.shape)}; "
                "pair images must be resized to one size"
            )
        return self.fuse(rgb_BCHW, aux_BCHW)

    def fuse(self, rgb_BCHW: Tensor, aux_BCHW: Tensor) -> FusionOutput:
        """The fusion itself; both maps have one shape."""
        raise NotImplementedError

    def audit_notes(self, rgb_BCHW: Tensor, aux_BCHW: Tensor) -> list[str]:  # noqa: ARG002  # a subclass uses them
        """What an audit should tell a person of this fusion at these inputs; usually nothing."""
        return []
