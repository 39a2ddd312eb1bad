"""Writes raw events, and tiny sets in the true form of DSEC-Det and PEDRo; pixels and events are made up."""

from collections.abc import Sequence
from pathlib import Path

import h5py
import hdf5plugin
import numpy as np
from numpy.typing import NDArray

DSEC_OFFSET = 49_599_300_523
"""`t_offset` of a true file: µs on the clock of the images at which the events' own clock is 0."""


def write_hdf5(path: Path, table: NDArray[np.int64], offset: int = DSEC_OFFSET, spare_ms: int = 2) -> None:
    """Events in DSEC's form, compressed with Blosc.

    Args:
        path: The new file.
        table: N×4: t, x, y, p; t in µs from `offset`, ascending.
        offset: Of the clock.
        spare_ms: Entries of the index after the last event.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    t = table[:, 0]
    kinds = {"t": np.uint32, "x": np.uint16, "y": np.uint16, "p": np.uint8}
    last_ms = int(t[-1]) // 1000 + spare_ms if len(t) else 0
    with h5py.File(path, "w") as file:
        for column, (name, kind) in enumerate(kinds.items()):
            values = table[:, column].astype(kind)
            if len(values):
                blosc = hdf5plugin.Blosc(cname="zstd", clevel=5, shuffle=hdf5plugin.Blosc.SHUFFLE)
                file.create_dataset(f"events/{name}", data=values, chunks=True, **blosc)
            else:
                file[f"events/{name}"] = values
        file["ms_to_idx"] = np.searchsorted(t, np.arange(last_ms) * 1000).astype(np.uint64)
        file["t_offset"] = np.int64(offset)


def rows(*events: Sequence[int]) -> NDArray[np.int64]:
    """A table of events, N×4: t, x, y, p."""
    return np.array(events, dtype=np.int64).reshape(-1, 4)
