"""What a fusion is: the contract that every entry of `FUSIONS` keeps.

Axes: B batch, C channels, H W rows and columns.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from pydantic import BaseModel, ConfigDict
from torch import Tensor, nn

from tune_cmx.errors import ShapeError

_NAMED = 4
"""Parameters named in one warning."""


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
    statistics: Mapping[str, Tensor] = field(default_factory=dict)
    """What the gates do, a fraction 0..1 for each image (B) by name, without gradient; in evaluation mode alone.
    `from_aux` and `from_rgb`: how much of the other stream is taken into the RGB and into the auxiliary stream."""


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

    def without_gradient(self, names: Sequence[str]) -> str:
        """What an audit says of parameters that got no gradient: which they are, why, and the fix where one is known.

        Args:
            names: Of those parameters, at least one.
        """
        return cannot_learn(names)
