"""Raw pixel values as numbers from 0 to 1, by a range that is given, found over images, or found in each image."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from tune_cmx.config.data.ranges import PLATEAU, PixelRange
from tune_cmx.data.pixels import Pixels, full_scale

FloatPixels = NDArray[np.float32]
_LEVELS = 2**14
"""Levels into which plateau equalisation divides the range of an int32 or float image; raw cameras have as many."""


@dataclass(frozen=True)
class PixelScale:
    """How raw pixels of one modality become numbers from 0 to 1; it has all numbers that this takes."""

    kind: Literal["type", "fixed", "percentile", "image", "plateau"]
    low: float | None = None
    """Raw value that becomes 0; for `image` a percentile; for `plateau` None."""
    high: float | None = None
    """Raw value that becomes 1; for `image` a percentile; for `plateau` None."""
    plateau: float | None = None
    """Only for `plateau`: the largest share of an image's pixels that counts for one level."""

    def to_json(self) -> dict[str, Any]:
        """The fields as JSON types."""
        return asdict(self)

    @property
    def per_image(self) -> bool:
        """Whether each image has its own range."""
        return self.kind in ("image", "plateau")

    def scaled(self, pixels: Pixels) -> FloatPixels:
        """The pixels from 0 to 1, same shape. All bands of the modality share one range.

        Args:
            pixels: H×W×bands of one image, in one of the four number types.
        """
        if self.kind == "type":
            return _linear(pixels, 0.0, full_scale(pixels.dtype))
        if self.kind == "plateau":
            return equalised(pixels, PLATEAU if self.plateau is None else self.plateau)
        assert self.low is not None
        assert self.high is not None
        if self.kind == "image":
            return _linear(pixels, *_percentiles(pixels, self.low, self.high))
        return _linear(pixels, self.low, self.high)

    def outside(self, levels: NDArray[Any]) -> NDArray[np.bool_]:
        """Which raw values become 0 or 1 because they lie outside the range; none where each image has its own."""
        if self.per_image or self.low is None or self.high is None:
            return np.zeros(levels.shape, dtype=np.bool_)
        return (levels < self.low) | (levels > self.high)


def equalised(pixels: Pixels, plateau: float) -> FloatPixels:
    """Plateau equalisation of one image: a level's rank by a histogram that is clipped, from 0 to 1.

    The lowest level that occurs becomes 0, and the highest 1. Levels between, that do not occur, take no contrast.

    Args:
        pixels: H×W×bands; all bands share one histogram. int32 and floats are divided into 16,384 levels.
        plateau: Largest share of the pixels that counts for one level.

    Source: V. E. Vickers, Plateau equalization algorithm for real-time display of high-quality infrared imagery,
        Optical Engineering 35(7), 1996. The default plateau is ours.
    """
    levels = pixels if pixels.dtype.kind == "u" else _levels(pixels)
    counts = np.bincount(levels.ravel())
    clipped = np.minimum(counts, plateau * levels.size)
    ranks = np.cumsum(clipped)
    lowest = clipped[int(levels.min())]
    spread = ranks[-1] - lowest
    curve = (ranks - lowest).clip(0) / (spread if spread > 0 else 1)
    found: FloatPixels = curve.astype(np.float32)[levels]
    return found


def scales_of(statistics: Mapping[str, Mapping[str, Any]]) -> dict[str, PixelScale]:
    """The scale of each modality, from the statistics of a training part.

    Statistics of earlier versions have none: they scaled by the number type.
    """
    return {modality: PixelScale(**found.get("scale", {"kind": "type"})) for modality, found in statistics.items()}


def means_of(statistics: Mapping[str, Mapping[str, Any]]) -> dict[str, list[float]]:
    """The training mean of each band, from 0 to 1, by modality."""
    return {modality: list(found["mean"]) for modality, found in statistics.items()}


def range_text(found: Mapping[str, Any]) -> str:
    """A modality's range with its source: `7213 to 10877, percentiles 0.1 and 99.9 of train (default for uint16)`.

    Args:
        found: The modality's statistics, as `pixel_statistics` gives them.
    """
    if "scale" not in found:  # of an earlier version
        return "full range of the number type"
    scale, number_type, asked = PixelScale(**found["scale"]), found["type"], found["asked"]
    source = f"default for {number_type}" if asked is None else "given"
    if scale.kind == "plateau":
        return f"plateau {scale.plateau:g} of each image ({source})"
    if scale.kind == "image":
        return f"percentiles {scale.low:g} and {scale.high:g} of each image ({source})"
    ends = f"{scale.low:.7g} to {scale.high:.7g}"
    if scale.kind == "type":
        return f"{ends} (full range; {source})"
    if scale.kind == "percentile":
        low, high = PixelRange(**(asked or {"kind": "percentile"})).percentiles
        source = f"percentiles {low:g} and {high:g} of train; {source}"
    share = found["outside"]
    return f"{ends} ({source}; {share:.1%} of the train pixels outside)"


def _percentiles(pixels: Pixels, low: float, high: float) -> tuple[float, float]:
    if pixels.dtype.kind == "u":  # counting levels is many times as fast as a partition of all pixels
        return quantiles(np.bincount(pixels.ravel()), (low, high))
    first, last = np.percentile(pixels, (low, high)).tolist()
    return first, last


def quantiles(counts: NDArray[np.int64], percentiles: tuple[float, float]) -> tuple[float, float]:
    """Percentiles from the number of pixels at each level, as numpy.percentile has them."""
    below = np.cumsum(counts)

    def one(percentile: float) -> float:
        place = percentile / 100 * (int(below[-1]) - 1)
        first, second = (int(np.searchsorted(below, rank, side="right")) for rank in (np.floor(place), np.ceil(place)))
        return first + (second - first) * (place - float(np.floor(place)))

    return one(percentiles[0]), one(percentiles[1])


def _linear(pixels: Pixels, low: float, high: float) -> FloatPixels:
    spread = high - low if high > low else 1.0
    exact: NDArray[Any] = pixels.astype(np.float64 if pixels.dtype == np.int32 else np.float32)  # float32 has 24 bits
    exact -= low
    exact /= spread
    return exact.clip(0, 1).astype(np.float32, copy=False)


def _levels(pixels: Pixels) -> NDArray[np.int64]:
    low, high = float(pixels.min()), float(pixels.max())
    spread = high - low if high > low else 1.0
    return np.rint((pixels.astype(np.float64) - low) / spread * (_LEVELS - 1)).astype(np.int64)
