"""By which range the pixels of a modality become numbers from 0 to 1."""

from typing import Annotated, Literal

from pydantic import Field, model_validator

from tune_cmx.config.section import Section

LARGEST = 1e9
PERCENTILES = (0.1, 99.9)
"""Default percentiles. A distant person is some hundred of 300,000 pixels of a thermal image, and the hottest ones:
percentiles 1 and 99 would cut it off."""
PLATEAU = 0.01
"""Default plateau. An image of raw thermal has about a thousand levels, so this is ten times a level's mean share."""


class PixelRange(Section):
    """The range of raw values that becomes 0 to 1; values outside become 0 or 1. Give `kind` and what it needs, or
    null. Default: `type` for images of 8 bits and for floats from 0 to 1, otherwise `percentile`. A raw thermal image
    uses some percent of 16 bits; by `type`, bfloat16 and changes of brightness would lose its contrast."""

    kind: Literal["type", "fixed", "percentile", "image", "plateau"]
    """`type`: the full range of the number type (0 to 255, 0 to 65535, or floats from 0 to 1). `fixed`: from `low` to
    `high`. `percentile`: between two percentiles of all pixels of the training part. `image`: between two percentiles
    of each image. `plateau`: plateau equalisation of each image."""
    low: Annotated[float, Field(ge=-LARGEST, le=LARGEST)] | None = None
    """Lower end: a raw value for `fixed`, a percentile for `percentile` and `image` (default 0.1)."""
    high: Annotated[float, Field(ge=-LARGEST, le=LARGEST)] | None = None
    """Upper end: a raw value for `fixed`, a percentile for `percentile` and `image` (default 99.9)."""
    plateau: Annotated[float, Field(gt=0, le=1)] | None = None
    """Only for `plateau`: the largest share of an image's pixels that counts for one level (default 0.01). 1 is plain
    histogram equalisation; a small value nears a linear range."""

    @model_validator(mode="after")
    def _fields_of_the_kind(self) -> "PixelRange":
        ends = self.low, self.high
        if self.kind in ("type", "plateau") and ends != (None, None):
            raise ValueError(f"low and high can only be given with kind fixed, percentile or image; got {self.kind}")
        if self.kind != "plateau" and self.plateau is not None:
            raise ValueError(f"plateau can only be given with kind plateau; got {self.kind}")
        if self.kind == "fixed":
            if self.low is None or self.high is None:
                raise ValueError("kind fixed needs low and high, as in {kind: fixed, low: 7200, high: 11000}")
            if not self.low < self.high:
                raise ValueError(f"low must be below high; got {self.low:g} and {self.high:g}")
        if self.kind in ("percentile", "image") and not 0 <= self.percentiles[0] < self.percentiles[1] <= 100:
            low, high = self.percentiles
            raise ValueError(f"low and high must be percentiles from 0 to 100, low first; got {low:g} and {high:g}")
        return self

    @property
    def percentiles(self) -> tuple[float, float]:
        """Of `percentile` and `image`."""
        low, high = PERCENTILES
        return low if self.low is None else self.low, high if self.high is None else self.high


class PixelRanges(Section):
    """The range of each modality's pixels, found over the training part. It is part of the protocol."""

    rgb: PixelRange | None = None
    """Range of the RGB images."""
    thermal: PixelRange | None = None
    """Range of the thermal images, as in {kind: fixed, low: 7200, high: 11000}."""
    event: PixelRange | None = None
    """Range of the event images."""

    def of(self, modality: str) -> PixelRange | None:
        """The range that is given for a modality; None: the default."""
        found: PixelRange | None = getattr(self, modality)
        return found
