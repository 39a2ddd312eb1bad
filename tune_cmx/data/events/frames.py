"""Events as images of fixed size. Axes: H rows, W columns, B bins or polarities."""

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tune_cmx.config.data.events import EventsConfig

FloatImage = NDArray[np.float32]


@dataclass(frozen=True)
class Events:
    """The events of one window, in the order of their times; four arrays of equal length."""

    t: NDArray[np.int64]
    """Times in µs."""
    x: NDArray[np.int64]
    """Columns, from 0 at the left."""
    y: NDArray[np.int64]
    """Rows, from 0 at the top."""
    p: NDArray[np.bool_]
    """Polarities: true where the brightness rose."""
    start_us: int
    """Begin of the window in µs."""
    end_us: int
    """End of the window in µs; every event is before it."""

    def __len__(self) -> int:
        return len(self.t)


def event_image(events: Events, height: int, width: int, config: EventsConfig) -> FloatImage:
    """The events as H×W×bands within 0..1.

    Args:
        events: Their rows are below `height`, their columns below `width`.
        height: Rows.
        width: Columns.
        config: Representation and scale.

    Returns:
        `count`: events / saturation, at most 1; a pixel without events is 0.
        `voxel_grid`: 0.5 + signed events / (2 × saturation), within 0..1; a pixel without events is 0.5.
        `time_surface`: exp(-age / tau) of the last event; a pixel without events is 0.
        Bands of `count` and `time_surface`: brightness rose, brightness fell.
    """
    if config.representation == "voxel_grid":
        signed = voxel_grid(events, height, width, config.bins)
        return np.clip(0.5 + signed / (2 * config.saturation), 0, 1).astype(np.float32)
    if config.representation == "time_surface":
        return time_surface(events, height, width, config.tau_ms)
    counts = polarity_counts(events, height, width)
    return np.minimum(counts / np.float32(config.saturation), 1).astype(np.float32)


def as_bytes(image: FloatImage) -> NDArray[np.uint8]:
    """An image within 0..1 in steps of 1/255, as it is stored and trained on; 0.5 becomes 128."""
    steps: NDArray[np.uint8] = np.rint(image * np.float32(255)).astype(np.uint8)
    return steps


def polarity_counts(events: Events, height: int, width: int) -> NDArray[np.int64]:
    """The number of events at each pixel, H×W×2: brightness rose, brightness fell.

    Source: the two-channel histogram of Maqueda et al., "Event-based Vision meets Deep Learning on Steering
        Prediction for Self-driving Cars", CVPR 2018.
    """
    counts = np.bincount(_cell(events, height, width), minlength=2 * height * width)
    return _bands_last(counts, 2, height, width)


def voxel_grid(events: Events, height: int, width: int, bins: int) -> NDArray[np.float64]:
    """The signed events at each pixel and time, H×W×B.

    The first bin lies at the begin of the window, the last one at its end. An event counts +1 or -1, shared between
    the two nearest bins by its distance in time. So the bins of a pixel sum to its signed count.

    Source: Zhu et al., "Unsupervised Event-based Learning of Optical Flow, Depth, and Egomotion", CVPR 2019, eq. 1
        to 3. Differs: there the first and last event are the ends of the time axis; here the window's ends are, so
        that a bin means the same time before each image.
    """
    pixels = height * width
    span = max(events.end_us - events.start_us, 1)
    position = (events.t - events.start_us) * ((bins - 1) / span)
    lower = np.minimum(position.astype(np.int64), bins - 2)
    later = position - lower
    sign = np.where(events.p, 1.0, -1.0)
    cell = lower * pixels + (events.y * width + events.x)
    grid = np.bincount(cell, weights=sign * (1 - later), minlength=bins * pixels)
    grid += np.bincount(cell + pixels, weights=sign * later, minlength=bins * pixels)
    return _bands_last(grid, bins, height, width)


def time_surface(events: Events, height: int, width: int, tau_ms: float) -> FloatImage:
    """The decay since the last event at each pixel, H×W×2: brightness rose, brightness fell.

    Source: Lagorce et al., "HOTS: A Hierarchy of Event-Based Time-Surfaces for Pattern Recognition", TPAMI 2017, eq. 2
        and 3. Differs: it is taken at the end of the window for the whole image, not at each event around it.
    """
    age_ms = np.full(2 * height * width, np.inf, dtype=np.float32)
    # Of equal cells the last assignment counts, and events are in the order of their times.
    age_ms[_cell(events, height, width)] = (events.end_us - events.t) / np.float32(1000)
    return _bands_last(np.exp(-age_ms / np.float32(tau_ms)), 2, height, width)


def _cell(events: Events, height: int, width: int) -> NDArray[np.int64]:
    """The place of each event in two maps of the pixels, one for each polarity."""
    cell = events.y * width + events.x
    cell[~events.p] += height * width
    return cell


def _bands_last(flat: NDArray[Any], bands: int, height: int, width: int) -> NDArray[Any]:
    return flat.reshape(bands, height, width).transpose(1, 2, 0)
