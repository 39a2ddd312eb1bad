"""Writes raw events, and tiny sets in the true form of DSEC-Det and PEDRo; pixels and events are made up."""

from collections.abc import Sequence
from pathlib import Path

import h5py
import hdf5plugin
import numpy as np
from numpy.typing import NDArray
from PIL import Image

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


TRACK = np.dtype(
    [
        *(("t", "<u8"), ("x", "<f8"), ("y", "<f8"), ("w", "<f8"), ("h", "<f8")),
        *(("class_id", "u1"), ("class_confidence", "<f8"), ("track_id", "<u4")),
    ]
)
HEIGHT, WIDTH = 48, 64
STEP_US = 50_000
"""Between two images."""


def dsec_det(
    root: Path,
    sequences: Sequence[str] = ("train/zurich_city_00_a", "train/zurich_city_01_a", "test/zurich_city_12_a"),
    images: int = 4,
    *,
    rgb: bool = True,
    events: bool = True,
) -> Path:
    """A set in the form of DSEC-Det, the images small.

    The events of a sequence are the edges of one object that moves to the right; its box is the only one, and every
    second sequence has a car in place of a pedestrian.
    """
    for index, name in enumerate(sequences):
        home = root / name
        stamps = [DSEC_OFFSET + STEP_US * (number + 1) for number in range(images)]
        (home / "images").mkdir(parents=True)
        (home / "images" / "timestamps.txt").write_text("".join(f"{stamp}\n" for stamp in stamps))
        tracks = [(stamp, _left(number), 12, 16, 20, 2 * (index % 2), 1, index) for number, stamp in enumerate(stamps)]
        (home / "object_detections" / "left").mkdir(parents=True)
        np.save(home / "object_detections" / "left" / "tracks.npy", np.array(tracks, dtype=TRACK))
        draw = np.random.default_rng(index)
        for number in range(images if rgb else 0):
            pixels = draw.integers(60, 90, (HEIGHT, WIDTH, 3), dtype=np.uint8)
            pixels[12:32, _left(number) : _left(number) + 16] = 40 + 160 * (index % 2)
            (home / "images" / "left" / "distorted").mkdir(parents=True, exist_ok=True)
            Image.fromarray(pixels).save(home / "images" / "left" / "distorted" / f"{number:06d}.png")
        if events:
            table = np.concatenate([_edges(draw, number) for number in range(images)])
            write_hdf5(home / "events" / "left" / "events.h5", table)
    return root


def pedro(root: Path, images: int = 6) -> Path:
    """A set in the form of PEDRo: samples of 40 ms; in each a person, and in every third a second one."""
    for index, part in enumerate(("train", "val", "test")):
        for folder in ("numpy", "yolo", "xml"):
            (root / folder / part).mkdir(parents=True)
        for number in range(images):
            name = f"frame{index * 1000 + number * 7:07d}"
            draw = np.random.default_rng((index, number))
            boxes = [(60 + 20 * number, 40, 60, 120), *([(250, 100, 50, 100)] if number % 3 == 0 else [])]
            tables = [_box_edges(draw, *box, 900) for box in boxes]
            table = np.concatenate(tables)
            table = table[np.argsort(table[:, 0], kind="stable")]
            table[:, 0] += 1_672_932_172_785_744 + number * 100_000
            np.save(root / "numpy" / part / f"{name}.npy", table)
            lines = [f"0 {(x + w / 2) / 346} {(y + h / 2) / 260} {w / 346} {h / 260}\n" for x, y, w, h in boxes]
            (root / "yolo" / part / f"{name}.txt").write_text("".join(lines))
            objects = "".join(
                f"<object><name>person</name><bndbox><xmin>{x}</xmin><ymin>{y}</ymin><xmax>{x + w}</xmax>"
                f"<ymax>{y + h}</ymax></bndbox></object>"
                for x, y, w, h in boxes
            )
            size = "<size><width>346</width><height>260</height><depth>1</depth></size>"
            (root / "xml" / part / f"{name}.xml").write_text(f"<annotation>{size}{objects}</annotation>")
    return root


def _left(number: int) -> int:
    """The left edge of the object of a DSEC-Det set, in px."""
    return 8 + 5 * number


def _edges(draw: np.random.Generator, number: int) -> NDArray[np.int64]:
    """Events of the step before an image: rising at the object's right edge, falling at its left one."""
    table = _box_edges(draw, _left(number), 12, 16, 20, 120)
    table[:, 0] = np.sort(draw.integers(0, STEP_US, len(table))) + STEP_US * number
    return table


def _box_edges(draw: np.random.Generator, x: int, y: int, width: int, height: int, count: int) -> NDArray[np.int64]:
    """Events within 40 ms on the upright edges of a box."""
    t = np.sort(draw.integers(0, 40_001, count))
    right = draw.integers(0, 2, count)
    return np.stack([t, x + right * (width - 1), y + draw.integers(0, height, count), right], axis=1)
