"""The object that `describe --json` prints."""

from tune_cmx.cli.options.json_output import Printed


class DescribedModel(Printed):
    """A model in numbers."""

    backbone: str
    """The backbone."""
    streams: str
    """The streams, such as `rgb | thermal`."""
    fusions: tuple[str, ...]
    """The fusion of each stage, from 1 to 4. Empty: the model has one stream."""
    carry: str | None
    """What the next stage receives: separate or fused. null: the model has one stream."""
    classes: int
    """Classes, without the background."""
    parameters: dict[str, int]
    """By part, `total` and `active`."""
    gflops: float
    """GFLOPs of one forward of one image."""
    input_size: tuple[int, int]
    """Height and width of that image in pixels."""
    warnings: tuple[str, ...]
    """What one training step showed."""
