"""What a reader of data sets is: the contract that every entry of `READERS` keeps, and what a reader returns."""

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

from tune_cmx.data.pixels import Pixels
from tune_cmx.data.readers.labels import Labels, parse_labels
from tune_cmx.errors import ConfigError, DataError


@dataclass(frozen=True)
class DataSettings:
    """What the user says of a data set, by flags, by a configuration or in `data.yaml`; None: the reader's default."""

    labels: Path | None = None
    """Folder of the label files."""
    bands: Mapping[str, tuple[int, ...]] | None = None
    """Modality -> channels, for files that hold several modalities."""
    classes: tuple[str, ...] | None = None
    """Names by class id."""
    sequences: Path | str | None = None
    """A CSV file, or a regular expression on the ids."""


@dataclass(frozen=True)
class PairedImage:
    """One moment, seen by every modality of the set."""

    id: str
    """The file name without its suffix, the same for every modality."""
    files: Mapping[str, Path]
    """Image file by modality; where one file holds several modalities, it stands under each."""
    label: Path | None
    """Label file; None: an image without objects."""
    sequence: str | None = None
    """Name of the video; None: not known."""
    number: int | None = None
    """Position in the video, where known."""
    condition: str | None = None
    """What the image was taken under, such as `day` or `night`, where known."""


@dataclass(frozen=True)
class PairedData:
    """A data set as it lies on the disk; no pixel is read yet."""

    root: Path
    images: tuple[PairedImage, ...]
    """By name, numbers in names by value, so that neighbours in the list are neighbours in time."""
    bands: Mapping[str, tuple[int, ...]]
    """Modality -> its channels in its file."""
    classes: tuple[str, ...]
    sequences_known: bool
    reader: "Reader"
    """Reads the files."""
    channels: int | None = None
    """Channels of each file, where one file holds all modalities."""

    def place(self, path: Path) -> str:
        """A file's name for error messages: relative to the set's folder if it lies in there."""
        return str(path.relative_to(self.root)) if path.is_relative_to(self.root) else str(path)


class Reader(ABC):
    """Reads data sets of one form.

    A subclass says whether a folder is of its form, finds the images and decodes their files. Labels are YOLO text
    files unless it overrides `label_bytes` and `parse_labels`. It has no state: it is pickled to loader processes.
    """

    holds: ClassVar[str]
    """What a folder of this form holds, as in `it should hold ...`."""

    @abstractmethod
    def sign(self, root: Path) -> str | None:
        """What in this folder is of this form, such as `rgb/`; None: nothing."""

    @abstractmethod
    def open(self, root: Path, settings: DataSettings) -> PairedData:
        """Find the images with bands, labels, classes and sequences.

        `joining.join` does all but the images.

        Args:
            root: A folder in which `sign` found something.
            settings: What the user says.

        Raises:
            ConfigError: A setting does not fit.
            DataError: Files are missing or do not belong together.
        """

    @abstractmethod
    def decode(self, data: PairedData, content: bytes, place: str) -> Pixels:
        """The pixels of an image file, H×W×channels, as `pixels.checked` passes them.

        Args:
            data: The set.
            content: The file's bytes.
            place: The file's name for error messages.

        Raises:
            DataError: The file is corrupt, or not of the set's form.
        """

    @abstractmethod
    def modalities_of(self, data: PairedData, pixels: Pixels, modalities: Sequence[str]) -> dict[str, Pixels]:
        """The bands of each of these modalities, H×W×bands.

        Args:
            data: The set.
            pixels: Of one file, from `decode`.
            modalities: Some of those that the file holds.
        """

    def remark(self, pixels: Pixels, bands: Pixels) -> str:  # noqa: ARG002  # a subclass uses them
        """What is unusual about a file, as in `are grey and were repeated as three bands`; usually nothing.

        Args:
            pixels: Of the file, from `decode`.
            bands: Of its modality, from `modalities_of`.
        """
        return ""

    def label_bytes(self, image: PairedImage) -> bytes:
        """The content of the image's label file; empty if it has none.

        Raises:
            OSError: The file cannot be read.
        """
        return b"" if image.label is None else image.label.read_bytes()

    def parse_labels(self, content: bytes, place: str, classes: tuple[str, ...]) -> tuple[Labels, list[str]]:
        """The boxes of a label file, and what is wrong with each of its other lines.

        Args:
            content: The file's bytes.
            place: The file's name for error messages.
            classes: Names of the classes.
        """
        return parse_labels(content, place, classes)

    def write(self, root: Path, id: str, bands_HWC: NDArray[np.uint8]) -> None:  # noqa: ARG002  # a subclass uses them
        """Write one image of a synthetic set; a form that no synthetic set needs leaves this as it is.

        Args:
            root: The set's folder.
            id: Of the image.
            bands_HWC: Three bands of rgb, one of thermal, one of event.

        Raises:
            ConfigError: Synthetic sets are not written in this form.
        """
        raise ConfigError(f"{root}: {type(self).__name__} writes no synthetic sets; choose another --form")


def image_files(image: PairedImage) -> list[tuple[Path, list[str]]]:
    """Each file of an image once, and the modalities that it holds."""
    found: dict[Path, list[str]] = {}
    for modality, path in image.files.items():
        found.setdefault(path, []).append(modality)
    return list(found.items())


def read_image(data: PairedData, image: PairedImage, modalities: Sequence[str]) -> dict[str, Pixels]:
    """The image's pixels by modality, in this order, H×W×bands each; uint8, uint16, or float32 within 0..1.

    Only the files that hold one of these modalities are read.

    Raises:
        DataError: A file is missing, corrupt, or not of the set's form.
    """
    pixels: dict[str, Pixels] = {}
    for path, held in image_files(image):
        wanted = [modality for modality in modalities if modality in held]
        if not wanted:
            continue
        try:
            content = path.read_bytes()
        except OSError as error:
            raise DataError(f"{path}: cannot be read: {error}") from error
        decoded = data.reader.decode(data, content, data.place(path))
        pixels.update(data.reader.modalities_of(data, decoded, wanted))
    return {modality: pixels[modality] for modality in modalities}


def read_labels(data: PairedData, image: PairedImage) -> Labels:
    """The image's boxes.

    Raises:
        DataError: A line of its label file cannot be used.
    """
    labels, problems = data.reader.parse_labels(data.reader.label_bytes(image), label_place(data, image), data.classes)
    if problems:
        raise DataError(problems[0])
    return labels


def label_place(data: PairedData, image: PairedImage) -> str:
    """The name of the image's label file for error messages; the image's id if it has none."""
    return image.id if image.label is None else data.place(image.label)
