"""The table of readers of data sets. A new one is a file beside this one and a line here."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated

from pydantic import BeforeValidator

from tune_cmx.config.parse import load_mapping, validate
from tune_cmx.config.section import Section, as_tuple
from tune_cmx.data.readers.base import DataSettings, PairedData, PairedImage, Reader, read_image, read_labels
from tune_cmx.data.readers.folders import FolderReader
from tune_cmx.data.readers.packed import PackedReader
from tune_cmx.errors import DataError

__all__ = ["READERS", "PairedData", "PairedImage", "Reader", "open_data", "read_image", "read_labels"]

READERS: dict[str, Reader] = {
    "folders": FolderReader(),
    "npy": PackedReader(),
}
"""By form; `data synth --form` takes the name of one that can write. The first one is its default."""

Channels = Annotated[tuple[int, ...], BeforeValidator(as_tuple)]


class DataFile(Section):
    """What `data.yaml` may say; paths are from its folder."""

    bands: dict[str, Channels] | None = None
    classes: Annotated[tuple[str, ...] | None, BeforeValidator(as_tuple)] = None
    sequences: str | None = None
    labels: str | None = None


def open_data(
    root: Path,
    *,
    labels: Path | None = None,
    bands: Mapping[str, Sequence[int]] | None = None,
    classes: Sequence[str] | None = None,
    sequences: str | None = None,
) -> PairedData:
    """Find a data set's images, labels, classes and sequences, by the reader whose form the folder has.

    Each argument goes before the key of that name in `root/data.yaml`.

    Args:
        root: The set's folder.
        labels: Folder of label files; None: `labels/` in `root`, for .npy files also beside it.
        bands: Modality -> channels, for .npy files; None: rgb 0..2, thermal 3, event 4 of five.
        classes: Names by class id; None: the lines of `classes.txt`.
        sequences: A CSV file, or a regular expression that is searched in each image's id; None: `sequences.csv`.
            The columns, or named groups, are `sequence` (the file also needs `id`) and, if known, `frame` (the
            position in the video) and `condition` (such as day or night).

    Raises:
        ConfigError: `data.yaml` or an argument is not understood.
        DataError: The folder is empty, an image lacks its partner, a label its image; labels or classes are missing.
    """
    root = Path(root)
    if not root.is_dir():
        raise DataError(f"{root}: no such folder; it should hold {_forms()}")
    said = _data_file(root)
    settings = DataSettings(
        labels=Path(labels) if labels is not None else None if said.labels is None else root / said.labels,
        bands=said.bands if bands is None else {name: tuple(channels) for name, channels in bands.items()},
        classes=said.classes if classes is None else tuple(classes),
        sequences=_sequence_source(root, sequences, said.sequences),
    )
    return _reader(root).open(root, settings)


def _reader(root: Path) -> Reader:
    """The one reader that finds its form in the folder."""
    found = [(sign, reader) for reader in READERS.values() if (sign := reader.sign(root)) is not None]
    if not found:
        raise DataError(f"{root}: no images; it should hold {_forms()}")
    if len(found) > 1:
        signs = " and ".join(sign for sign, _ in found)
        raise DataError(f"{root}: has both {signs}; keep one form or name a folder of one")
    return found[0][1]


def _forms() -> str:
    return ", or ".join(reader.holds for reader in READERS.values())


def _data_file(root: Path) -> DataFile:
    path = root / "data.yaml"
    if not path.is_file():
        return DataFile()
    content, lines = load_mapping(path)
    return validate(DataFile, content, source=str(path), lines=lines)


def _sequence_source(root: Path, argument: str | None, said: str | None) -> Path | str | None:
    """A CSV file, a regular expression, or None where nothing is said."""
    if argument is None and said is None:
        return None
    text = str(said if argument is None else argument)
    if not text.lower().endswith(".csv"):
        return text
    if argument is not None and Path(text).is_file():
        return Path(text)
    return root / text
