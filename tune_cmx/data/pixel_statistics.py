"""Range, mean and deviation of each modality's pixels over the training part."""

from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from tune_cmx.config.data.ranges import PLATEAU, PixelRange, PixelRanges
from tune_cmx.config.parse import dump
from tune_cmx.data.audit import Audit, moments, statistics
from tune_cmx.data.pixel_range import PixelScale, quantiles
from tune_cmx.data.pixels import Pixels, full_scale
from tune_cmx.data.readers import PairedData, PairedImage, read_image
from tune_cmx.errors import DataError

SAMPLE = 2**22
"""Most pixels of int32 or float images from which percentiles are found. Those of 8 and 16 bits are all counted."""
_LEVELS = 2**16
_THREADS = 2
Progress = Callable[[int, int], None]
Ends = tuple[float, float]
Found = TypeVar("Found")


def pixel_statistics(
    data: PairedData, audit: Audit, ids: Sequence[str], ranges: PixelRanges, *, progress: Progress | None = None
) -> dict[str, dict[str, Any]]:
    """The statistics of every modality; see `modality_statistics`."""
    return {
        modality: modality_statistics(data, audit, ids, modality, ranges.of(modality), progress=progress)
        for modality in data.bands
    }


def modality_statistics(
    data: PairedData,
    audit: Audit,
    ids: Sequence[str],
    modality: str,
    asked: PixelRange | None,
    *,
    progress: Progress | None = None,
) -> dict[str, Any]:
    """Find a modality's range over the training part, and mean and deviation of its bands within the range.

    By the number type, the audit's sums are enough. Otherwise the images are read again: once if they have 8 or 16
    bits and share one range, else once for the percentiles and once for the sums.

    Args:
        data: The set.
        audit: Of the set.
        ids: Of the training images.
        modality: One of the set's.
        asked: The range that the configuration gives; None: the default for the number type.
        progress: Called with the number of images read and their total, from 1 again at each reading.

    Returns:
        `mean` and `std`, a number a band, from 0 to 1; `scale`, the fields of the `PixelScale`; `type`, the number
        type; `asked`, the range that the configuration gives, or None; `outside`, the share of the pixels outside.

    Raises:
        DataError: The range does not suit the number type, or no pixel lies in it.
    """
    paired = {image.id: image for image in data.images}
    images = [paired[id] for id in ids]
    number_type = audit.types.get(modality)
    if number_type is None:  # an earlier version stored none
        number_type = read_image(data, images[0], [modality])[modality].dtype.name
    ends = _ends(audit.extremes[modality][id] for id in ids) if modality in audit.extremes else None
    chosen = asked or default_range(number_type, ends)
    if chosen.kind == "type":
        _refuse_type(modality, number_type, ends)
        scale = PixelScale("type", 0.0, full_scale(np.dtype(number_type)))
        found, outside = statistics(audit, ids)[modality], 0.0
    else:
        reading = _Reading(data, images, modality, progress)
        integers = number_type in ("uint8", "uint16")
        if integers and chosen.kind in ("fixed", "percentile"):
            scale, totals, share = _by_counts(reading, chosen, np.dtype(number_type))
        else:
            scale = _scale(chosen, ends or (0.0, 255.0), partial(_sampled, reading))
            totals, share = _sums(reading, scale)
        if share == 1:
            raise DataError(
                f"data.range.{modality}: no pixel of the training part lies in {scale.low:g}..{scale.high:g}; give "
                "low and high in the units of the files, or use kind: percentile"
            )
        found, outside = moments(totals), share
    described = {"scale": scale.to_json(), "type": number_type, "asked": None if asked is None else dump(asked)}
    return {**found, **described, "outside": outside}


def default_range(number_type: str, ends: Ends | None) -> PixelRange:
    """The range of a modality for which the configuration gives none.

    Args:
        number_type: Of its files.
        ends: Lowest and highest value over the training part; None for uint8, and for an audit of an earlier version,
            which scaled by the number type.
    """
    within = number_type == "float32" and ends is not None and ends[0] >= 0 and ends[1] <= 1
    return PixelRange(kind="type" if number_type == "uint8" or within or ends is None else "percentile")


class _Reading:
    """One modality of some images, decoded image by image; nothing is kept."""

    def __init__(self, data: PairedData, images: list[PairedImage], modality: str, progress: Progress | None) -> None:
        self._data, self._images, self._modality, self._progress = data, images, modality, progress

    def each(self, found_in: Callable[[Pixels, int], Found]) -> Iterator[Found]:
        """What a function finds in each image, given its pixels and its index."""

        def one(index: int) -> Found:
            return found_in(read_image(self._data, self._images[index], [self._modality])[self._modality], index)

        with ThreadPoolExecutor(_THREADS) as pool:
            for done, found in enumerate(pool.map(one, range(len(self._images))), start=1):
                yield found
                if self._progress is not None:
                    self._progress(done, len(self._images))

    @property
    def count(self) -> int:
        return len(self._images)


def _by_counts(
    reading: _Reading, chosen: PixelRange, number_type: np.dtype[Any]
) -> tuple[PixelScale, NDArray[np.float64], float]:
    """Scale, sums of each band and share outside, from the number of pixels at each level: exact, in one reading."""
    counts: NDArray[np.int64] | None = None
    for found in reading.each(_levels_and_counts):
        counts = np.zeros((len(found), _LEVELS), dtype=np.int64) if counts is None else counts
        for band, (levels, numbers) in enumerate(found):
            counts[band, levels] += numbers
    assert counts is not None, "a part has an image"
    together = counts.sum(axis=0)
    occurring = np.flatnonzero(together)
    ends = float(occurring[0]), float(occurring[-1])
    scale = _scale(chosen, ends, partial(quantiles, together))
    levels = np.arange(min(_LEVELS, np.iinfo(number_type).max + 1), dtype=number_type)
    scaled, counts = scale.scaled(levels).astype(np.float64), counts[:, : len(levels)]
    totals = np.stack([counts @ scaled, counts @ scaled**2, counts.sum(axis=1)], axis=1)
    outside = float(together[: len(levels)][scale.outside(levels)].sum() / together.sum())
    return scale, totals, outside


def _sums(reading: _Reading, scale: PixelScale) -> tuple[NDArray[np.float64], float]:
    """Sums of each band within the scale, and the share of the pixels outside."""

    def one(pixels: Pixels, index: int) -> tuple[NDArray[np.float64], int]:  # noqa: ARG001  # other functions use it
        scaled = scale.scaled(pixels).astype(np.float64).reshape(-1, pixels.shape[2])
        sums = np.stack([scaled.sum(axis=0), (scaled**2).sum(axis=0), np.full(scaled.shape[1], len(scaled))], axis=1)
        return sums, int(scale.outside(pixels).sum())

    parts = list(reading.each(one))
    totals = np.sum([sums for sums, _ in parts], axis=0)
    return totals, float(sum(outside for _, outside in parts) / totals[:, 2].sum())


def _scale(chosen: PixelRange, ends: Ends, quantiles: Callable[[Ends], Ends]) -> PixelScale:
    match chosen.kind:
        case "plateau":
            return PixelScale("plateau", plateau=PLATEAU if chosen.plateau is None else chosen.plateau)
        case "image":
            return PixelScale("image", *chosen.percentiles)
        case "fixed":
            return PixelScale("fixed", chosen.low, chosen.high)
    low, high = quantiles(chosen.percentiles)
    if low == high:  # nearly all pixels are equal, as in images of few events
        low, high = ends
    return PixelScale("percentile", low, high if high > low else low + 1)


def _levels_and_counts(pixels: Pixels, index: int) -> list[tuple[NDArray[Any], NDArray[Any]]]:  # noqa: ARG001
    """By band the levels that occur, and their numbers of pixels."""
    found = []
    for band in range(pixels.shape[2]):
        counts = np.bincount(pixels[:, :, band].ravel())
        levels = np.flatnonzero(counts)
        found.append((levels, counts[levels]))
    return found


def _sampled(reading: _Reading, percentiles: Ends) -> Ends:
    """Percentiles of all pixels, or of an equal number from each image, drawn by the image's index."""
    most = max(1, SAMPLE // reading.count)

    def one(pixels: Pixels, index: int) -> NDArray[Any]:
        if pixels.size <= most:
            return pixels.ravel()
        return pixels.ravel()[np.random.default_rng((0, index)).integers(0, pixels.size, most)]

    low, high = np.percentile(np.concatenate(list(reading.each(one))), percentiles).tolist()
    return low, high


def _refuse_type(modality: str, number_type: str, ends: Ends | None) -> None:
    outside = number_type == "float32" and ends is not None and (ends[0] < 0 or ends[1] > 1)
    if number_type == "int32" or outside:
        assert ends is not None, "only uint8 has none"
        raise DataError(
            f"data.range.{modality}: kind type needs images of 8 or 16 bits or floats from 0 to 1; these are "
            f"{number_type} from {ends[0]:g} to {ends[1]:g}. Use kind: percentile, or fixed with low and high"
        )


def _ends(extremes: Iterable[Ends]) -> Ends:
    lows, highs = zip(*extremes, strict=True)
    return min(lows), max(highs)
