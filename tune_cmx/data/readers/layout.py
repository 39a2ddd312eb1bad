"""Find the frames of a data set: which files belong together, their labels, bands, classes and sequences."""

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import numpy as np
from pydantic import BeforeValidator

from tune_cmx.config.parse import load_mapping, validate
from tune_cmx.config.section import Section, as_tuple
from tune_cmx.config.trial import MODALITIES
from tune_cmx.data.readers.sequences import read_sequences
from tune_cmx.errors import ConfigError, DataError
from tune_cmx.registry import lookup

IMAGE_SUFFIXES = (".bmp", ".jpeg", ".jpg", ".png", ".tif", ".tiff")
FOLDER_BANDS: Mapping[str, tuple[int, ...]] = {"rgb": (0, 1, 2), "thermal": (0,), "event": (0,)}
PACKED_BANDS: Mapping[str, tuple[int, ...]] = {"rgb": (0, 1, 2), "thermal": (3,), "event": (4,)}
"""Channels of a five-band .npy file, as the group writes them."""
FORMS = "folders rgb/, thermal/, event/ of images, or .npy files (H×W×bands) in it or in images/"


@dataclass(frozen=True)
class PairedImage:
    """One moment, seen by every modality of the set."""

    id: str
    """The file name without its suffix, the same in every folder."""
    files: Mapping[str, Path]
    """Image by modality; of a packed set, the same .npy file under each."""
    label: Path | None
    """YOLO text file; None: a frame without objects."""
    sequence: str | None = None
    number: int | None = None
    """Place in the sequence's video, where known."""


@dataclass(frozen=True)
class PairedData:
    """A data set as it lies on the disk; no pixel is read yet."""

    root: Path
    images: tuple[PairedImage, ...]
    """By name, numbers in names by value, so that neighbours are neighbours in time."""
    bands: Mapping[str, tuple[int, ...]]
    """Modality -> its channels: those of the .npy file, or 0..n-1 of its image."""
    classes: tuple[str, ...]
    sequences_known: bool
    packed: bool
    """Whether the frames are .npy files that hold all modalities."""
    channels: int | None = None
    """Channels of each .npy file."""

    def place(self, path: Path) -> str:
        """How an error names a file: from the set's folder where it lies in there."""
        return str(path.relative_to(self.root)) if path.is_relative_to(self.root) else str(path)


Channels = Annotated[tuple[int, ...], BeforeValidator(as_tuple)]


class DataFile(Section):
    """What `data.yaml` may say; paths are from its folder."""

    bands: dict[str, Channels] | None = None
    classes: Annotated[tuple[str, ...] | None, BeforeValidator(as_tuple)] = None
    sequences: str | None = None
    labels: str | None = None


@dataclass(frozen=True)
class _Images:
    """The images of a set, before labels and sequences join."""

    folder: Path
    files: dict[str, dict[str, Path]]
    bands: dict[str, tuple[int, ...]]
    channels: int | None


def open_data(
    root: Path,
    *,
    labels: Path | None = None,
    bands: Mapping[str, Sequence[int]] | None = None,
    classes: Sequence[str] | None = None,
    sequences: str | None = None,
) -> PairedData:
    """Find a data set's frames, labels, classes and sequences.

    Each argument goes before the key of that name in `root/data.yaml`.

    Args:
        root: Folder that holds `rgb/`, `thermal/`, `event/` (any absent), or .npy files, directly or in `images/`.
        labels: Folder of YOLO text files; None: `labels/` in `root`, for .npy files also beside it.
        bands: Modality -> channels, for .npy files; None: rgb 0..2, thermal 3, event 4 of five.
        classes: Names by class id; None: the lines of `classes.txt`.
        sequences: A CSV file (columns id, sequence and, if known, frame), or a regular expression with a group
            named `sequence` (and, if wanted, `frame`) that is searched in each frame's id; None: `sequences.csv`.

    Raises:
        ConfigError: `data.yaml` or an argument is not understood.
        DataError: The folder is empty, an image lacks its partner, a label its image; labels or classes are missing.
    """
    root = Path(root)
    if not root.is_dir():
        raise DataError(f"{root}: no such folder; it should hold {FORMS}")
    settings = _settings(root)
    wanted_bands = settings.bands if bands is None else {name: tuple(channels) for name, channels in bands.items()}
    images = _find_images(root, wanted_bands)
    label_folder = _label_folder(root, images, labels, settings.labels)
    homes = [root, images.folder]
    if images.channels is not None and label_folder.parent == root.parent:
        homes.append(root.parent)
    known_classes = _classes(homes, label_folder, classes if classes is not None else settings.classes)
    ids = sorted(images.files, key=_natural)
    source = _sequence_source(root, homes, sequences, settings.sequences)
    sequence_of = {} if source is None else read_sequences(source, ids)
    label_of = _labels(label_folder, ids, root)
    unknown = (None, None)
    frames = tuple(PairedImage(id, images.files[id], label_of.get(id), *sequence_of.get(id, unknown)) for id in ids)
    return PairedData(
        root=root,
        images=frames,
        bands=images.bands,
        classes=known_classes,
        sequences_known=source is not None,
        packed=images.channels is not None,
        channels=images.channels,
    )


def listed(names: Iterable[str], most: int = 5) -> str:
    """The first few names, and how many more there are."""
    names = list(names)
    more = f" and {len(names) - most} more" if len(names) > most else ""
    return ", ".join(names[:most]) + more


def _natural(name: str) -> tuple[tuple[str | int, ...], str]:
    """Sorts frame_9 before frame_10: order of names is taken for order in time where sequences are unknown."""
    parts = re.split(r"([0-9]+)", name)
    return tuple(int(part) if index % 2 else part for index, part in enumerate(parts)), name


def _settings(root: Path) -> DataFile:
    path = root / "data.yaml"
    if not path.is_file():
        return DataFile()
    content, lines = load_mapping(path)
    return validate(DataFile, content, source=str(path), lines=lines)


def _find_images(root: Path, bands: Mapping[str, tuple[int, ...]] | None) -> _Images:
    folders = [name for name in MODALITIES if (root / name).is_dir()]
    packed_in = next((place for place in (root, root / "images") if any(place.glob("*.npy"))), None)
    if folders and packed_in is not None:
        raise DataError(f"{root}: has both {folders[0]}/ and .npy files; keep one form or name a folder of one")
    if packed_in is not None:
        return _packed_images(packed_in, bands)
    if not folders:
        raise DataError(f"{root}: no images; it should hold {FORMS}")
    if bands is not None:
        raise ConfigError(f"{root}: bands is for .npy files; here are folders of images, {', '.join(folders)}")
    return _folder_images(root, folders)


def _folder_images(root: Path, folders: Sequence[str]) -> _Images:
    by_modality: dict[str, dict[str, Path]] = {}
    for modality in folders:
        found = by_modality.setdefault(modality, {})
        for path in sorted((root / modality).iterdir()):
            if path.suffix.lower() not in IMAGE_SUFFIXES or path.name.startswith("."):
                continue
            if path.stem in found:
                raise DataError(f"{root / modality}: {found[path.stem].name} and {path.name} are one frame; keep one")
            found[path.stem] = path
        if not found:
            raise DataError(f"{root / modality}: no image ({', '.join(IMAGE_SUFFIXES)}); fill or remove the folder")
    ids = sorted(set().union(*by_modality.values()), key=_natural)
    missing = [
        f"{modality}/{id}{next(iter(by_modality[modality].values())).suffix}"
        for id in ids
        for modality in folders
        if id not in by_modality[modality]
    ]
    if missing:
        raise DataError(
            f"{root}: a frame needs an image in each of {', '.join(folders)}; missing: {listed(missing)}. "
            "Add them, or remove their partners"
        )
    files = {id: {modality: by_modality[modality][id] for modality in folders} for id in ids}
    return _Images(root, files, {modality: FOLDER_BANDS[modality] for modality in folders}, None)


def _packed_images(folder: Path, bands: Mapping[str, tuple[int, ...]] | None) -> _Images:
    paths = sorted(path for path in folder.glob("*.npy") if not path.name.startswith("."))
    try:
        shape = np.load(paths[0], mmap_mode="r", allow_pickle=False).shape
    except (OSError, ValueError, EOFError) as error:
        raise DataError(f"{paths[0]}: cannot be read as a numpy array: {error}") from error
    if len(shape) != 3:
        raise DataError(f"{paths[0]}: shape is {shape}; H×W×bands is needed")
    channels = int(shape[2])
    if bands is None:
        if channels != 5:
            raise DataError(
                f"{paths[0]}: {channels} bands (shape {shape}, as H×W×bands), 5 are rgb, thermal and event by default; "
                "say which is what with bands in data.yaml, as in bands: {rgb: [0, 1, 2], thermal: [3]}"
            )
        bands = PACKED_BANDS
    ordered = _checked_bands(bands, channels, paths[0])
    return _Images(folder, {path.stem: dict.fromkeys(ordered, path) for path in paths}, ordered, channels)


def _checked_bands(bands: Mapping[str, tuple[int, ...]], channels: int, path: Path) -> dict[str, tuple[int, ...]]:
    """The bands in the order of MODALITIES, each channel of the file in at most one."""
    used: list[int] = []
    for name, indices in bands.items():
        lookup(dict.fromkeys(MODALITIES), name, "bands: unknown modality")
        if not indices:
            raise ConfigError(f"bands.{name}: no channel; name at least one of 0..{channels - 1}, or leave it out")
        for index in indices:
            if not 0 <= index < channels:
                raise ConfigError(f"bands.{name}: channel {index}; {path.name} has 0..{channels - 1}")
            if index in used:
                raise ConfigError(f"bands.{name}: channel {index} stands twice; each belongs to one modality")
            used.append(index)
    if not used:
        raise ConfigError("bands: empty; name the channels of at least one modality")
    return {name: tuple(bands[name]) for name in MODALITIES if name in bands}


def _label_folder(root: Path, images: _Images, flag: Path | None, setting: str | None) -> Path:
    if flag is not None or setting is not None:
        folder = Path(flag) if flag is not None else root / str(setting)
        if not folder.is_dir():
            raise DataError(f"{folder}: no such folder of labels")
        return folder
    places = [root / "labels", *([root.parent / "labels"] if images.channels is not None else [])]
    for folder in places:
        if folder.is_dir():
            return folder
    raise DataError(f"{places[0]}: no labels; put YOLO text files there or name their folder with --labels")


def _labels(folder: Path, ids: Sequence[str], root: Path) -> dict[str, Path]:
    """Label file by frame id; frames without one are negatives."""
    found = {path.stem: path for path in sorted(folder.glob("*.txt")) if not path.name.startswith(".")}
    if "classes" not in ids:
        found.pop("classes", None)  # some labelling tools write classes.txt there
    stray = sorted(found.keys() - set(ids), key=_natural)
    if stray:
        raise DataError(
            f"{folder}: no image in {root} for {listed(f'{id}.txt' for id in stray)}; "
            f"labels are named like their image, as in {ids[0]}.txt"
        )
    if not found:
        raise DataError(f"{folder}: no label file; each frame with objects needs one, as in {ids[0]}.txt")
    return found


def _classes(homes: Sequence[Path], label_folder: Path, named: Sequence[str] | None) -> tuple[str, ...]:
    source = "classes"
    if named is None:
        path = _first_file("classes.txt", [*homes, label_folder])
        if path is None:
            raise DataError(
                f"{homes[0]}: classes are not known; name them in {homes[0] / 'classes.txt'}, one a line, "
                "or with --classes"
            )
        source = str(path)
        try:
            named = path.read_text(encoding="utf-8-sig").splitlines()
        except UnicodeDecodeError as error:
            raise DataError(f"{path}: not UTF-8 text: {error}") from error
    names = tuple(name.strip() for name in named if name.strip())
    if not names:
        raise DataError(f"{source}: no class named; at least one is needed")
    twice = next((name for name in names if names.count(name) > 1), None)
    if twice is not None:
        raise DataError(f"{source}: class '{twice}' is named twice; ids count the lines, so each stands once")
    return names


def _sequence_source(root: Path, homes: Sequence[Path], flag: str | None, setting: str | None) -> Path | str | None:
    """A CSV file, a regular expression, or None where nothing is known."""
    if flag is None and setting is None:
        return _first_file("sequences.csv", homes)
    text = str(flag if flag is not None else setting)
    if not text.lower().endswith(".csv"):
        return text
    if flag is not None and Path(text).is_file():
        return Path(text)
    return root / text


def _first_file(name: str, folders: Sequence[Path]) -> Path | None:
    return next((folder / name for folder in folders if (folder / name).is_file()), None)
