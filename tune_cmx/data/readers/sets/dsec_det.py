"""DSEC-Det: RGB images in the view of the event camera, raw events of each sequence, and tracks of boxes.

Source: Gehrig and Scaramuzza, "Low-latency automotive vision with event cameras", Nature 2024;
    https://github.com/uzh-rpg/dsec-det.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from tune_cmx.config.data.events import EventsConfig
from tune_cmx.data.events.raw import RawEvents
from tune_cmx.data.events.sources import recorded
from tune_cmx.data.labels.base import Labels, LabelSource, ListedLabels
from tune_cmx.data.readers.base import Certainty, DataSettings, PairedData, Sign
from tune_cmx.data.readers.finding_labels import FoundLabels
from tune_cmx.data.readers.joining import FoundImages, join
from tune_cmx.data.readers.names import Key
from tune_cmx.data.readers.order import listed
from tune_cmx.data.readers.raw_events import RawEventReader
from tune_cmx.data.readers.sequences import VideoPosition
from tune_cmx.errors import DataError

CLASSES = ("pedestrian", "rider", "car", "bus", "truck", "bicycle", "motorcycle", "train")
"""By `class_id` of the tracks."""
VALIDATION = tuple(f"zurich_city_{number}_a" for number in range(16, 22))
"""Sequences of train/ that are the validation part of the official split: 41, 6 and 13 sequences in all."""
PARTS = ("train", "val", "test")
IMAGES, RECTIFIED = "images/left/distorted", "images/left/rectified"
EVENTS, TRACKS, TIMES = "events/left/events.h5", "object_detections/left/tracks.npy", "images/timestamps.txt"
SENSOR = 480, 640
"""Height and width of the event camera, where no image says them."""
REACH_US = 50_000
"""An image that is later than this after the last event shows none."""
_FIELDS = ("t", "x", "y", "w", "h", "class_id")


@dataclass(frozen=True)
class _Sequence:
    """The images of a sequence by the number in their name; each number counts the lines of the file of times."""

    name: str
    part: str
    folder: Path
    times: Mapping[int, int]
    """Time in µs by number."""
    images: Mapping[int, Path]
    """Empty where the set has events alone."""

    def id(self, number: int) -> str:
        return f"{self.name}_{number:06d}"


class DsecDetReader(RawEventReader):
    """`train/` and `test/`, in each a folder for each sequence."""

    title: ClassVar[str] = "DSEC-Det"
    published: ClassVar[bool] = True
    holds: ClassVar[str] = f"DSEC-Det's train/ and test/ with sequences of {IMAGES}/, {EVENTS} and {TRACKS}"

    def sign(self, root: Path) -> Sign | None:
        found = next((path for part in PARTS for path in (root / part).glob(f"*/{TRACKS}")), None)
        return None if found is None else Sign(str(found.relative_to(root)), Certainty.CERTAIN)

    def open(self, root: Path, settings: DataSettings) -> PairedData:
        folders, unread = _folders(root)
        shown = _modalities(root, folders)
        sequences = [_sequence(folder, "rgb" in shown) for folder in folders]
        size = _sensor(sequences)
        labels, notes = _labels(root, sequences, *size)
        remarks = [f"not read, as they have no {TRACKS}: {listed(unread)}"] if unread else []
        images, times = _images(root, sequences, shown, (*remarks, *notes))
        if "event" not in shown:
            return join(self, root, images, settings, labels)
        for sequence in sequences:
            _refuse_other_times(sequence)
        data = join(self, root, images, settings, labels)
        timed = tuple(replace(image, time_us=times[image.id]) for image in data.images)
        return replace(data, images=timed, raw_events=RawEvents(EventsConfig(), *size)).with_events(None)


def _folders(root: Path) -> tuple[list[Path], list[str]]:
    """The folders of sequences with tracks, and the names of the others."""
    every = sorted(path for part in PARTS for path in (root / part).glob("*") if path.is_dir())
    with_tracks = [path for path in every if (path / TRACKS).is_file()]
    return with_tracks, [str(path.relative_to(root)) for path in every if path not in with_tracks]


def _modalities(root: Path, folders: list[Path]) -> list[str]:
    """What every sequence has.

    Raises:
        DataError: Some sequences lack what others have, or the images are not in the view of the event camera.
    """
    found = {}
    for modality, place in (("rgb", IMAGES), ("event", EVENTS)):
        lacking = [str(path.relative_to(root)) for path in folders if not (path / place).exists()]
        rectified = [name for name in lacking if (root / name / RECTIFIED).is_dir()]
        if modality == "rgb" and rectified:
            raise DataError(
                f"{root / rectified[0] / RECTIFIED}: these images are in the view of the RGB camera, and boxes are in "
                f"that of the event camera. Download the remapped images into {IMAGES}/ of {len(rectified)} sequences "
                "by scripts/download_remapped_images.sh of https://github.com/uzh-rpg/dsec-det"
            )
        if lacking and len(lacking) < len(folders):
            raise DataError(f"{root}: no {place} in {listed(lacking)}; add it, or move these sequences away")
        found[modality] = not lacking
    shown = [modality for modality, there in found.items() if there]
    if not shown:
        raise DataError(f"{root}: neither {IMAGES}/ nor {EVENTS} in its sequences; download one of them or both")
    return shown


def _sequence(folder: Path, with_images: bool) -> _Sequence:
    """Raises DataError where times are missing or an image has none."""
    path = folder / TIMES
    try:
        stamps = dict(enumerate(int(line) for line in path.read_text(encoding="ascii").split()))
    except OSError as error:
        raise DataError(f"{path}: cannot be read: {error}; each image needs its time") from error
    except ValueError as error:
        raise DataError(f"{path}: times in µs are needed, one a line: {error}") from error
    images = {}
    for image in sorted((folder / IMAGES).glob("*.png")) if with_images else ():
        if not image.stem.isdigit() or int(image.stem) not in stamps:
            raise DataError(f"{image}: no time in {path}, which has {len(stamps)} lines; image 000000 has the first")
        images[int(image.stem)] = image
    if with_images and not images:
        raise DataError(f"{folder / IMAGES}: no .png image; fill the folder, or move the sequence away")
    times = {number: stamps[number] for number in images} if with_images else stamps
    part = "val" if folder.name in VALIDATION else folder.parent.name
    return _Sequence(folder.name, part, folder, times, images)


def _refuse_other_times(sequence: _Sequence) -> None:
    """Raises DataError where the events and the images of a sequence were not recorded at one time."""
    path = sequence.folder / EVENTS
    found = recorded(path)
    if found is None:
        raise DataError(f"{path}: has no event; download the file again, or move the sequence away")
    first, last = found
    if last < first:
        raise DataError(f"{path}: times of events are not ascending, {first}..{last} µs; sort the events by t")
    begin, end = min(sequence.times.values()), max(sequence.times.values())
    if end <= first or begin > last + REACH_US:
        raise DataError(
            f"{path}: events are of {first}..{last} µs and the images of {sequence.folder / TIMES} of {begin}..{end} "
            "µs, so no image has an event; t_offset in the file, or the file of times, is wrong"
        )


def _sensor(sequences: list[_Sequence]) -> tuple[int, int]:
    """Height and width of the event camera, whose view the images have."""
    for sequence in sequences:
        for path in sequence.images.values():
            try:
                with Image.open(path) as image:
                    return image.height, image.width
            except OSError as error:
                raise DataError(f"{path}: corrupt, or no image of a known form: {error}") from error
    return SENSOR


def _images(
    root: Path, sequences: list[_Sequence], shown: list[str], remarks: tuple[str, ...]
) -> tuple[FoundImages, dict[str, int]]:
    """The images, and the time of each by id."""
    files: dict[str, dict[str, Path]] = {}
    times: dict[str, int] = {}
    parts: dict[str, str] = {}
    positions: dict[str, VideoPosition] = {}
    keys: dict[Key, str] = {}
    for sequence in sequences:
        events = {"event": sequence.folder / EVENTS} if "event" in shown else {}
        for number, time_us in sequence.times.items():
            id = sequence.id(number)
            files[id] = {**({"rgb": sequence.images[number]} if "rgb" in shown else {}), **events}
            times[id], parts[id] = time_us, sequence.part
            keys[sequence.name, f"{number:06d}"] = id
            positions[id] = VideoPosition(sequence.name, number)
    bands = {"rgb": (0, 1, 2)} if "rgb" in shown else {}
    return FoundImages(root, files, bands, keys=keys, parts=parts, positions=positions, remarks=remarks), times


def _labels(root: Path, sequences: list[_Sequence], height: int, width: int) -> tuple[FoundLabels, list[str]]:
    """The boxes of each image: the tracks at its time, clipped to the image. The notes say what was left out."""
    sources: dict[str, LabelSource] = {}
    untimed = outside = 0
    for sequence in sequences:
        path = sequence.folder / TRACKS
        tracks = _tracks(path)
        times = np.fromiter(sequence.times.values(), dtype=np.int64)
        timed = tracks[np.isin(tracks["t"].astype(np.int64), times)]
        if len(tracks) and not len(timed):
            raise DataError(
                f"{path}: no box at the time of an image in {sequence.folder / TIMES}; one of them is wrong"
            )
        corners, classes, stamps = _boxes(timed, height, width)
        untimed, outside = untimed + len(tracks) - len(timed), outside + len(timed) - len(stamps)
        ignore = np.zeros(len(stamps), dtype=np.bool_)
        bounds = zip(np.searchsorted(stamps, times), np.searchsorted(stamps, times, side="right"), strict=True)
        for number, (first, last) in zip(sequence.times, bounds, strict=True):
            if first < last:
                labels = Labels(corners[first:last], classes[first:last], ignore[first:last], pixels=True)
                sources[sequence.id(number)] = ListedLabels(path, labels)
    notes = [
        f"boxes of the tracks that were left out, as {why}: {count}"
        for count, why in ((untimed, "no image has their time"), (outside, "they lie outside of the image"))
        if count
    ]
    return FoundLabels(sources, CLASSES, root), notes


def _tracks(path: Path) -> NDArray[Any]:
    """Raises DataError where the file is not of DSEC-Det's form."""
    try:
        tracks: NDArray[Any] = np.load(path, allow_pickle=False)
    except (OSError, ValueError, EOFError) as error:
        raise DataError(f"{path}: corrupt, or no numpy array: {error}") from error
    missing = [name for name in _FIELDS if name not in (tracks.dtype.names or ())]
    if missing:
        raise DataError(f"{path}: no field {', '.join(missing)}; tracks have {', '.join(_FIELDS)}")
    numbers = np.stack([tracks[name] for name in ("x", "y", "w", "h")], axis=1)
    wrong = np.flatnonzero(~(np.isfinite(numbers).all(axis=1) & (numbers[:, 2:] > 0).all(axis=1)))
    if len(wrong):
        x, y, width, height = numbers[wrong[0]]
        raise DataError(
            f"{path}: row {wrong[0]}: x {x:g}, y {y:g}, width {width:g}, height {height:g}; finite numbers are needed, "
            "width and height above 0"
        )
    unknown = np.flatnonzero(~np.isin(tracks["class_id"], np.arange(len(CLASSES))))
    if len(unknown):
        allowed = f"0..{len(CLASSES) - 1} ({', '.join(CLASSES)})"
        raise DataError(f"{path}: row {unknown[0]}: class_id is {tracks['class_id'][unknown[0]]}; allowed: {allowed}")
    untimed = np.flatnonzero(~np.isfinite(tracks["t"]))
    if len(untimed):
        raise DataError(f"{path}: row {untimed[0]}: t is {tracks['t'][untimed[0]]}; a time in µs is needed")
    return tracks


def _boxes(
    tracks: NDArray[Any], height: int, width: int
) -> tuple[NDArray[np.float64], NDArray[np.int64], NDArray[np.int64]]:
    """The boxes in the order of their times, clipped to the image: x1, y1, x2, y2 in pixels; class ids; times.

    A tracker follows objects beyond the edge; boxes that lie outside are left out.
    """
    tracks = tracks[np.argsort(tracks["t"], kind="stable")]
    x, y = tracks["x"].astype(np.float64), tracks["y"].astype(np.float64)
    corners = np.stack([x, y, x + tracks["w"], y + tracks["h"]], axis=1)
    corners = np.clip(corners, 0, np.array([width, height] * 2))
    kept = (corners[:, 2] > corners[:, 0]) & (corners[:, 3] > corners[:, 1])
    return corners[kept], tracks["class_id"][kept].astype(np.int64), tracks["t"][kept].astype(np.int64)
