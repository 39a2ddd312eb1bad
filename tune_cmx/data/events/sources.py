"""Raw events on the disk: DSEC's HDF5 files of a sequence, and .npy samples of one moment."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import h5py
import hdf5plugin  # noqa: F401  # registers Blosc, with which DSEC compresses, before a file is opened
import numpy as np
from numpy.typing import NDArray

from tune_cmx.config.data.events import EventWindow
from tune_cmx.data.events.frames import Events
from tune_cmx.errors import DataError

_PARTS = ("events/t", "events/x", "events/y", "events/p", "ms_to_idx", "t_offset")
_COLUMNS = ("t", "x", "y", "p")
_POLARITIES = ((0, 1), (-1, 1))


def read_hdf5(path: Path, end_us: int, window: EventWindow, height: int, width: int) -> Events:
    """The events of a window in a sequence; where the recording begins within the window, the window begins there.

    Args:
        path: An HDF5 file with `events/{t,x,y,p}`, `ms_to_idx` and `t_offset`. Times in `events/t` are in µs and
            ascending; `t_offset` added, they are on the clock of the images. `ms_to_idx[n]` is the first event at or
            after n ms.
        end_us: The time of the image, on its clock. Events before it are read.
        window: Which events.
        height: Rows of the sensor.
        width: Columns of the sensor.

    Raises:
        DataError: The file cannot be read or lacks a part, or an event is not on the sensor.

    Source: https://dsec.ifi.uzh.ch/data-format, Gehrig et al., RA-L 2021.
    """
    try:
        with h5py.File(path, "r") as file:
            _refuse_incomplete(path, file)
            offset = int(file["t_offset"][()])
            end = end_us - offset
            last = _first_at(file, end)
            if window.ms is None:
                assert window.events is not None
                first = max(last - window.events, 0)
                times = file["events/t"][first:last].astype(np.int64)
                start = int(times[0]) if len(times) else end
            else:
                start = min(max(end - round(window.ms * 1000), _first_time(file, end)), end)
                first = _first_at(file, start)
                times = file["events/t"][first:last].astype(np.int64)
            columns = {name: file[f"events/{name}"][first:last] for name in ("x", "y", "p")}
    except OSError as error:
        raise DataError(f"{path}: cannot be read as HDF5: {error}") from error
    if len(times) and not start <= int(times[0]) <= int(times[-1]) < end:
        raise DataError(
            f"{path}: ms_to_idx does not fit events/t: it gives events of {int(times[0])}..{int(times[-1])} µs for a "
            f"window of {start}..{end} µs. The file is damaged or was changed; download it again"
        )
    columns["t"] = times + offset
    return _events(columns, start + offset, end_us, height, width, str(path))


def recorded(path: Path) -> tuple[int, int] | None:
    """The times of the first and the last event of a sequence, in µs on the clock of the images; None: no event.

    Args:
        path: As for `read_hdf5`.

    Raises:
        DataError: The file cannot be read or lacks a part.
    """
    try:
        with h5py.File(path, "r") as file:
            _refuse_incomplete(path, file)
            times = file["events/t"]
            offset = int(file["t_offset"][()])
            return (int(times[0]) + offset, int(times[-1]) + offset) if len(times) else None
    except OSError as error:
        raise DataError(f"{path}: cannot be read as HDF5: {error}") from error


def read_sample(path: Path, window: EventWindow, height: int, width: int) -> Events:
    """The events of a sample that ends at the time of its image, such as one of PEDRo's with 40 ms.

    Args:
        path: A .npy file, N×4 whole numbers: time in µs, column, row, polarity.
        window: Which events, counted back from the last one; a window longer than the sample takes all of it.
        height: Rows of the sensor.
        width: Columns of the sensor.

    Raises:
        DataError: The file cannot be read or has another form, or an event is not on the sensor.

    Source: Boretti et al., "PEDRo: an Event-based Dataset for Person Detection in Robotics", CVPR Workshops 2023.
    """
    try:
        table = np.load(path, allow_pickle=False)
    except (OSError, ValueError, EOFError) as error:
        raise DataError(f"{path}: corrupt, or no numpy array: {error}") from error
    if table.ndim != 2 or table.shape[1] != len(_COLUMNS) or table.dtype.kind not in "iu":
        raise DataError(
            f"{path}: N×4 whole numbers are needed, {', '.join(_COLUMNS)}; got {table.dtype} of shape {table.shape}"
        )
    table = table.astype(np.int64)
    times = table[:, 0]
    end = int(times[-1]) + 1 if len(times) else 0
    if window.ms is None:
        assert window.events is not None
        first = max(len(times) - window.events, 0)
        start = int(times[first]) if len(times) else end
    else:
        start = max(end - round(window.ms * 1000), int(times[0])) if len(times) else end
        first = int(np.searchsorted(times, start))
    columns = {name: table[first:, index] for index, name in enumerate(_COLUMNS)}
    return _events(columns, start, end, height, width, str(path))


def _refuse_incomplete(path: Path, file: Any) -> None:
    missing = [part for part in _PARTS if part not in file]
    if missing:
        raise DataError(f"{path}: no {', '.join(missing)} in it; an event file has {', '.join(_PARTS)}")


def _first_at(file: Any, time_us: int) -> int:
    """The index of the first event at or after a time, in µs of the file's own clock."""
    index, count = file["ms_to_idx"], len(file["events/t"])
    ms = time_us // 1000
    if ms < 0:
        return 0
    low = int(index[ms]) if ms < len(index) else count
    high = int(index[ms + 1]) if ms + 1 < len(index) else count
    return low + int(np.searchsorted(file["events/t"][low:high], time_us)) if low < high else low


def _first_time(file: Any, otherwise: int) -> int:
    """The time of the recording's first event."""
    return int(file["events/t"][0]) if len(file["events/t"]) else otherwise


def _events(
    columns: Mapping[str, NDArray[Any]], start_us: int, end_us: int, height: int, width: int, place: str
) -> Events:
    """Checked events.

    Raises:
        DataError: Times fall, an event is outside of the sensor, or a polarity is no polarity.
    """
    t, x, y, p = (columns[name] for name in _COLUMNS)
    if len({len(column) for column in (t, x, y, p)}) > 1:
        lengths = ", ".join(f"{name} {len(columns[name])}" for name in _COLUMNS)
        raise DataError(f"{place}: t, x, y and p differ in length ({lengths}); the file is incomplete")
    if (t[1:] < t[:-1]).any():
        raise DataError(f"{place}: times of events are not ascending; sort the events by t")
    for name, values, size in (("x", x, width), ("y", y, height)):
        if len(values) and not 0 <= int(values.min()) <= int(values.max()) < size:
            raise DataError(
                f"{place}: {name} of events is {int(values.min())}..{int(values.max())}; "
                f"the sensor of {width}×{height} px has 0..{size - 1}"
            )
    low, high = (int(p.min()), int(p.max())) if len(p) else (0, 1)
    if not any(low >= pair[0] and high <= pair[1] for pair in _POLARITIES):
        raise DataError(f"{place}: polarities of events are {low}..{high}; 0 and 1, or -1 and 1, are needed")
    return Events(t, x.astype(np.int64), y.astype(np.int64), p > 0, start_us, end_us)
