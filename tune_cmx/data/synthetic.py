"""A small synthetic set of three modalities in which fusion matters.

A third of the objects is visible in RGB only, a third in thermal and event only, a third in all. One modality alone can
find two thirds at most.

An object is a filled ellipse or box, warm-coloured in RGB, hot in thermal, with moving edges in the event image. It
drifts within its own quarter of the image. Bars and rings are clutter: they have about half of an object's contrast and
do not move.
"""

import csv
import json
import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from tune_cmx.data.readers import READERS, Reader
from tune_cmx.errors import ConfigError, DataError
from tune_cmx.registry import lookup

Plane = NDArray[np.float64]
Mask = NDArray[np.bool_]
KINDS = ("rgb", "thermal", "both")
MARK = "synthetic.json"
"""Marks a folder as synthetic, with its settings."""
DEFAULT_FORM = next(iter(READERS))
_OWN = {MARK, "rgb", "thermal", "event", "images", "labels", "classes.txt", "sequences.csv"}


@dataclass(frozen=True)
class _Object:
    kind: str
    round: bool
    height: float
    width: float
    """Both in pixels."""
    start: tuple[float, float]
    """Row and column of the centre in its first frame."""
    speed: tuple[float, float]
    """Pixels a frame, down and right."""
    corner: tuple[float, float]
    """Top left of the quarter that it stays in."""
    colour: NDArray[np.float64]
    heat: float

    def centre(self, time: int, quarter: float) -> tuple[float, float]:
        """Row and column of its centre at a frame of the video; it bounces off the edges of its quarter."""
        half = (self.height / 2, self.width / 2)
        row, column = (
            corner + side + _bounce(start + speed * time - corner - side, quarter - 2 * side)
            for corner, side, start, speed in zip(self.corner, half, self.start, self.speed, strict=True)
        )
        return row, column


@dataclass(frozen=True)
class _Scene:
    """What stays the same through a sequence."""

    rgb: Plane
    thermal: Plane
    objects: tuple[_Object, ...]
    empty_from: int
    """The objects are gone from this frame on."""


def synthesize(
    out: Path,
    *,
    images: int = 240,
    size: int = 96,
    sequences: int = 24,
    seed: int = 0,
    form: str = DEFAULT_FORM,
) -> Path:
    """Write a set, unless the same one is already there.

    Args:
        out: Its folder, which must be absent, empty, or hold a synthetic set; this is then replaced.
        images: Their number in all; spread evenly over the sequences.
        size: Height and width in pixels; objects are an eighth to three eighths of it.
        sequences: Videos with a background, clutter and objects of their own.
        seed: Random seed; the same seed gives the same pixels.
        form: Name in `READERS` of the reader that writes the images.

    Returns:
        `out`.

    Raises:
        ConfigError: A number is too small, or the form unknown.
        DataError: The folder holds other files.
    """
    if not 1 <= sequences <= images or size < 32 or seed < 0:
        raise ConfigError(
            f"a synthetic set needs 1 <= sequences <= images, a size from 32 and a seed from 0; "
            f"got {sequences} sequences, {images} images, size {size}, seed {seed}"
        )
    reader = lookup(READERS, form, "form of a synthetic set: unknown reader")
    settings = {"version": 1, "images": images, "size": size, "sequences": sequences, "seed": seed, "form": form}
    if _is_made(out, settings):
        return out
    partial = out.with_name(f".{out.name}.partial")
    shutil.rmtree(partial, ignore_errors=True)
    partial.mkdir(parents=True)
    _write(partial, images=images, size=size, sequences=sequences, seed=seed, reader=reader)
    (partial / MARK).write_text(json.dumps(settings) + "\n", encoding="utf-8")
    shutil.rmtree(out, ignore_errors=True)
    partial.rename(out)
    return out


def _is_made(out: Path, settings: dict[str, Any]) -> bool:
    """Whether the same set is there. Raises DataError if the folder holds other files."""
    if not out.exists():
        return False
    if not out.is_dir():
        raise DataError(f"{out}: is a file; name a folder for the synthetic set")
    names = {path.name for path in out.iterdir()}
    if names and (MARK not in names or names - _OWN):
        other = sorted(names - _OWN or names)[0]
        raise DataError(f"{out}: holds {other}, which is not part of a synthetic set; name a new or empty folder")
    return bool(names) and json.loads((out / MARK).read_text(encoding="utf-8")) == settings


def _write(out: Path, *, images: int, size: int, sequences: int, seed: int, reader: Reader) -> None:
    (out / "labels").mkdir()
    (out / "classes.txt").write_text("object\n", encoding="utf-8")
    rows: list[tuple[str, str, int]] = []
    layout = np.random.default_rng((seed, 0))
    kinds = _kinds(layout)
    for number in range(sequences):
        length = images // sequences + (number < images % sequences)
        scene = _scene(layout, kinds, size, length, ends_empty=number % 6 == 5)
        for time in range(length):
            id = f"s{number:03d}_{time:04d}"
            sensors = np.random.default_rng((seed, 1, number, time))
            bands, boxes = _render(scene, time, size, sensors)
            reader.write(out, id, bands)
            lines = [" ".join(["0", *(f"{value:.6f}" for value in box)]) for box in boxes]
            (out / "labels" / f"{id}.txt").write_text("".join(f"{line}\n" for line in lines), encoding="utf-8")
            rows.append((id, f"s{number:03d}", time))
    with (out / "sequences.csv").open("w", newline="", encoding="utf-8") as file:
        csv.writer(file).writerows([("id", "sequence", "frame"), *rows])


def _kinds(draw: np.random.Generator) -> Any:
    """An endless sequence of kinds, each once in every three."""
    while True:
        yield from draw.permutation(KINDS).tolist()


def _scene(draw: np.random.Generator, kinds: Any, size: int, length: int, *, ends_empty: bool) -> _Scene:
    shade = draw.uniform(0.25, 0.5)
    rgb = shade + draw.uniform(-0.06, 0.06, size=3) + _cloud(draw, size, 0.08)[:, :, None] * np.ones(3)
    thermal = draw.uniform(0.2, 0.4) + _cloud(draw, size, 0.08)
    for _ in range(4):
        rgb[_clutter(draw, size)] += draw.uniform(0.1, 0.25) * np.array([0.4, 0.8, 1.0])
        thermal[_clutter(draw, size)] += draw.uniform(0.1, 0.25)
    quarters = draw.permutation(4)[: draw.integers(2, 5)]
    objects = tuple(_object(draw, next(kinds), int(quarter), size) for quarter in quarters)
    return _Scene(rgb, thermal, objects, empty_from=length // 2 if ends_empty else length)


def _object(draw: np.random.Generator, kind: str, quarter: int, size: int) -> _Object:
    height, width = draw.uniform(size / 8, size * 3 / 8, size=2)
    corner = (size / 2 * (quarter // 2), size / 2 * (quarter % 2))
    direction = draw.uniform(0, 2 * np.pi)
    pace = draw.uniform(0.01, 0.025) * size
    return _Object(
        kind=kind,
        round=bool(draw.random() < 0.5),
        height=height,
        width=width,
        start=(
            corner[0] + draw.uniform(height / 2, size / 2 - height / 2),
            corner[1] + draw.uniform(width / 2, size / 2 - width / 2),
        ),
        speed=(pace * np.sin(direction), pace * np.cos(direction)),
        corner=corner,
        colour=np.array([0.92, 0.7, 0.15]) + draw.uniform(-0.08, 0.08, size=3),
        heat=draw.uniform(0.8, 0.95),
    )


def _render(
    scene: _Scene, time: int, size: int, sensors: np.random.Generator
) -> tuple[NDArray[np.uint8], list[tuple[float, float, float, float]]]:
    """The five bands of one image, and its boxes: x and y of the centre, width, height, as fractions."""
    rgb, thermal, event = scene.rgb.copy(), scene.thermal.copy(), np.zeros((size, size))
    boxes = []
    for item in scene.objects if time < scene.empty_from else ():
        centre = item.centre(time, size / 2)
        mask = _mask(item, centre, size)
        if item.kind != "thermal":
            rgb[mask] = item.colour
        if item.kind != "rgb":
            thermal[mask] = item.heat
            event[mask ^ _mask(item, item.centre(time - 1, size / 2), size)] = 0.9
        boxes.append((centre[1] / size, centre[0] / size, item.width / size, item.height / size))
    rgb += sensors.normal(0, 0.03, rgb.shape)
    thermal += sensors.normal(0, 0.03, thermal.shape)
    event[sensors.random(event.shape) < 0.01] = 0.5
    event += np.abs(sensors.normal(0, 0.03, event.shape))
    bands = np.concatenate([rgb, thermal[:, :, None], event[:, :, None]], axis=2)
    return np.rint(np.clip(bands, 0, 1) * 255).astype(np.uint8), boxes


def _mask(item: _Object, centre: tuple[float, float], size: int) -> Mask:
    """Pixels whose centre lies in the object."""
    rows, columns = np.ogrid[:size, :size]
    down = (rows + 0.5 - centre[0]) / (item.height / 2)
    right = (columns + 0.5 - centre[1]) / (item.width / 2)
    inside: Mask = down**2 + right**2 <= 1 if item.round else np.maximum(np.abs(down), np.abs(right)) <= 1
    return inside


def _cloud(draw: np.random.Generator, size: int, strength: float) -> Plane:
    """Smooth light and shade: a coarse random grid, stretched."""
    coarse = Image.fromarray(draw.normal(0, strength, (5, 5)).astype(np.float32))
    return np.asarray(coarse.resize((size, size), Image.Resampling.BICUBIC), dtype=np.float64)


def _clutter(draw: np.random.Generator, size: int) -> Mask:
    """A bar across the image, or a ring."""
    rows, columns = np.ogrid[:size, :size]
    row, column = draw.uniform(0, size, size=2)
    thickness = draw.uniform(0.02, 0.04) * size
    if draw.random() < 0.5:
        angle = draw.uniform(0, np.pi)
        distance = np.abs((rows - row) * np.cos(angle) + (columns - column) * np.sin(angle))
    else:
        distance = np.abs(np.hypot(rows - row, columns - column) - draw.uniform(0.08, 0.2) * size)
    bar: Mask = distance < thickness / 2
    return bar


def _bounce(position: float, room: float) -> float:
    """The position on a line of this length that reflects at both ends."""
    if room <= 0:
        return 0.0
    folded = position % (2 * room)
    return min(folded, 2 * room - folded)
