"""Join the images that a reader found with their labels, classes and sequences; the parts that readers share."""

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from tune_cmx.data.readers.base import DataSettings, PairedData, PairedImage, Reader
from tune_cmx.data.readers.sequences import read_sequences
from tune_cmx.errors import DataError


@dataclass(frozen=True)
class FoundImages:
    """The image files of a set."""

    folder: Path
    """Where they lie."""
    files: Mapping[str, Mapping[str, Path]]
    """File by id and modality."""
    bands: Mapping[str, tuple[int, ...]]
    """Modality -> its channels in its file, in the order of MODALITIES."""
    channels: int | None = None
    """Channels of each file, where one file holds all modalities."""
    labels_beside: bool = False
    """Whether labels and classes may also lie beside the set's folder."""


def join(reader: Reader, root: Path, images: FoundImages, settings: DataSettings) -> PairedData:
    """The images of a set with their labels, classes and sequences.

    Args:
        reader: Found the images and will read their files.
        root: The set's folder.
        images: The image files.
        settings: What the user says. Defaults: YOLO text files in `labels/`, the lines of `classes.txt`, and the
            table `sequences.csv`.

    Raises:
        DataError: A label has no image, or labels or classes are missing.
    """
    label_folder = _label_folder(root, images, settings.labels)
    homes = [root, images.folder]
    if images.labels_beside and label_folder.parent == root.parent:
        homes.append(root.parent)
    classes = _classes(homes, label_folder, settings.classes)
    ids = sorted(images.files, key=natural_order)
    source = _first_file("sequences.csv", homes) if settings.sequences is None else settings.sequences
    position_of = {} if source is None else read_sequences(source, ids)
    label_of = _labels(label_folder, ids, root)
    paired = []
    for id in ids:
        image = PairedImage(id, images.files[id], label_of.get(id))
        at = position_of.get(id)
        if at is not None:
            image = replace(image, sequence=at.sequence, number=at.number, condition=at.condition)
        paired.append(image)
    return PairedData(
        root=root,
        images=tuple(paired),
        bands=images.bands,
        classes=classes,
        sequences_known=source is not None,
        reader=reader,
        channels=images.channels,
    )


def listed(names: Iterable[str], most: int = 5) -> str:
    """The first few names, and how many more there are."""
    names = list(names)
    more = f" and {len(names) - most} more" if len(names) > most else ""
    return ", ".join(names[:most]) + more


def natural_order(name: str) -> tuple[tuple[str | int, ...], str]:
    """A sorting key that puts image_9 before image_10.

    Where sequences are not known, the order of names is taken for the order in time.
    """
    parts = re.split(r"([0-9]+)", name)
    return tuple(int(part) if index % 2 else part for index, part in enumerate(parts)), name


def _label_folder(root: Path, images: FoundImages, named: Path | None) -> Path:
    if named is not None:
        if not named.is_dir():
            raise DataError(f"{named}: no such folder of labels")
        return named
    places = [root / "labels", *([root.parent / "labels"] if images.labels_beside else [])]
    for folder in places:
        if folder.is_dir():
            return folder
    raise DataError(f"{places[0]}: no labels; put YOLO text files there or name their folder with --labels")


def _labels(folder: Path, ids: Sequence[str], root: Path) -> dict[str, Path]:
    """Label file by image id; an image without one is a negative."""
    found = {path.stem: path for path in sorted(folder.glob("*.txt")) if not path.name.startswith(".")}
    if "classes" not in ids:
        found.pop("classes", None)  # some labelling tools write classes.txt there
    stray = sorted(found.keys() - set(ids), key=natural_order)
    if stray:
        raise DataError(
            f"{folder}: no image in {root} for {listed(f'{id}.txt' for id in stray)}; "
            f"labels are named like their image, as in {ids[0]}.txt"
        )
    if not found:
        raise DataError(f"{folder}: no label file; each image with objects needs one, as in {ids[0]}.txt")
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
        raise DataError(f"{source}: class '{twice}' is named twice; ids count the lines, so each name occurs once")
    return names


def _first_file(name: str, folders: Sequence[Path]) -> Path | None:
    return next((folder / name for folder in folders if (folder / name).is_file()), None)
