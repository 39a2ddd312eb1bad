"""What a reader of data sets is: the contract that every entry of `READERS` keeps, and what a reader returns."""

import os
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from enum import IntEnum
from pathlib import Path
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

from tune_cmx.config.data.events import EventsConfig
from tune_cmx.data.events.raw import RawEvents
from tune_cmx.data.labels.base import LabelReading, Labels, LabelSource
from tune_cmx.data.labels.classes import ClassMap
from tune_cmx.data.pixels import Pixels, resized
from tune_cmx.errors import ConfigError, DataError

CHOICES = ("labels", "labels_from", "images", "bands", "size_of")
"""Settings that have a meaning for some layouts alone."""


@dataclass(frozen=True)
class DataSettings:
    """What the user says of a data set, by flags, by a configuration or in `data.yaml`; None: the reader's default."""

    labels: Path | None = None
    """Folder of the label files, or a COCO document."""
    labels_from: str | None = None
    """Modality whose labels are the ground truth, where several have labels of their own."""
    images: Mapping[str, str] | None = None
    """Modality -> folder or pattern of its image files, from the set's folder."""
    bands: Mapping[str, tuple[int, ...]] | None = None
    """Modality -> channels, for files that hold several modalities."""
    classes: tuple[str, ...] | Mapping[str, str | None] | None = None
    """The names to learn, in their order, or new names of some classes; see `labels.classes.class_map`. Where nothing
    else names numbered labels, the names by class id."""
    names: tuple[str, ...] | None = None
    """Names by class id, as `data.yaml` has them."""
    size_of: str | None = None
    """Modality to whose size the images of the others are resized."""
    label_classes: tuple[str, ...] | None = None
    """Class names of the labels, where an earlier reading of the same set found them."""
    sequences: Path | str | None = None
    """A CSV file, or a regular expression on the ids."""
    lists: Mapping[str, tuple[Path, ...]] = field(default_factory=dict)
    """Lists or folders of the images of each part of the set's own split."""
    labelled: bool = True
    """False: the images alone are wanted; labels, classes and parts are neither searched nor read."""


@dataclass(frozen=True)
class PairedImage:
    """One moment, seen by every modality of the set."""

    id: str
    """The file name without suffix and modality; with the names of folders before it where that is not unique."""
    files: Mapping[str, Path]
    """Image file by modality; where one file holds several modalities, it stands under each."""
    label: LabelSource | None
    """Where its boxes come from; None: an image without objects."""
    sequence: str | None = None
    """Name of the video; None: not known."""
    number: int | None = None
    """Position in the video, where known."""
    condition: str | None = None
    """What the image was taken under, such as `day` or `night`, where known."""
    time_us: int | None = None
    """Its time in µs on the clock of the raw events, where these are of a whole sequence."""
    part: str | None = None
    """Part of the set's own split, train, val or test; None: the set has none, or leaves the image out."""


@dataclass(frozen=True)
class PairedData:
    """A data set as it lies on the disk; no pixel is read yet."""

    root: Path
    images: tuple[PairedImage, ...]
    """By name, numbers in names by value, so that neighbours in the list are neighbours in time."""
    bands: Mapping[str, tuple[int, ...]]
    """Modality -> its channels in its file."""
    class_map: ClassMap
    """The classes of the labels, and those that the detector learns."""
    sequences_known: bool
    reader: "Reader"
    """Reads the files."""
    layout: str = ""
    """The reader's name in the table."""
    channels: int | None = None
    """Channels of each file, where one file holds all modalities."""
    raw_events: RawEvents | None = None
    """How its raw events become images; None: it has none."""
    remarks: tuple[str, ...] = ()
    """What of the folder was not read, and what else a user should know."""
    size_of: str | None = None
    """Modality to whose size the images of the others are resized; None: all have one size."""

    def with_events(self, config: EventsConfig | None) -> "PairedData":
        """The same set, its raw events seen as a configuration says.

        Args:
            config: What it says; None: the default, where the set has raw events.

        Raises:
            ConfigError: It says something, and the set has no raw events.
        """
        if self.raw_events is None:
            if config is None:
                return self
            held = "event images, which are used as they are" if "event" in self.bands else "no events"
            raise ConfigError(f"data.events: is for raw events, and {self.root} has {held}; leave data.events out")
        config = config or EventsConfig()
        bands = {**self.bands, "event": tuple(range(config.bands))}
        return replace(self, bands=bands, raw_events=replace(self.raw_events, config=config))

    @property
    def classes(self) -> tuple[str, ...]:
        """Names of the classes that the detector learns, by id."""
        return self.class_map.names

    def place(self, path: Path) -> str:
        """A file's name for error messages: relative to the set's folder if it lies in there."""
        return str(path).removeprefix(f"{self.root}{os.sep}")


class Certainty(IntEnum):
    """How sure it is that a folder is of a form."""

    POSSIBLE = 1
    LIKELY = 2
    CERTAIN = 3


@dataclass(frozen=True)
class Sign:
    """What in a folder is of a form."""

    text: str
    """Such as `rgb/`."""
    certainty: Certainty


class Reader(ABC):
    """Reads data sets of one form.

    A subclass says whether a folder is of its form, finds images and labels, and decodes image files. It has no state:
    it is pickled to loader processes.
    """

    title: ClassVar[str]
    """Name of the form, as in `LLVIP`."""
    holds: ClassVar[str]
    """What a folder of this form holds, as in `it should hold ...`."""
    takes: ClassVar[frozenset[str]] = frozenset()
    """Which of `CHOICES` it uses; `open_data` refuses the others. `joining.join` uses every other setting."""
    published: ClassVar[bool] = False
    """Whether this is the form in which the authors of one data set give it out."""

    @abstractmethod
    def sign(self, root: Path) -> Sign | None:
        """What in this folder is of this form; None: nothing. It is fast: no image is read."""

    @abstractmethod
    def open(self, root: Path, settings: DataSettings) -> PairedData:
        """Find the images with bands, labels, classes, sequences and parts.

        `joining.join` does all but the images, and looks for labels in the usual places.

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

    def content(self, data: PairedData, image: PairedImage, path: Path) -> bytes:  # noqa: ARG002  # a subclass uses them
        """What `decode` reads of a file; the file's bytes, unless it holds more than one image.

        Args:
            data: The set.
            image: Whose file it is.
            path: One of its files.

        Raises:
            OSError: The file cannot be read.
        """
        return path.read_bytes()

    def identity(self, data: PairedData, image: PairedImage, path: Path, content: bytes) -> bytes:  # noqa: ARG002
        """What of a file is part of the set's fingerprint; the content, unless the configuration changes it.

        Args:
            data: The set.
            image: Whose file it is.
            path: One of its files.
            content: What `content` gave of it.

        Raises:
            OSError: The file cannot be read.
        """
        return content

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
        wanted = [modality for modality in held if modality in modalities or modality == data.size_of]
        if not wanted:
            continue
        try:
            content = data.reader.content(data, image, path)
        except OSError as error:
            raise DataError(f"{path}: cannot be read: {error}") from error
        decoded = data.reader.decode(data, content, data.place(path))
        pixels.update(data.reader.modalities_of(data, decoded, wanted))
    pixels = of_one_size(data, pixels)
    return {modality: pixels[modality] for modality in modalities}


def of_one_size(data: PairedData, pixels: Mapping[str, Pixels]) -> dict[str, Pixels]:
    """The modalities of an image, resized to the one that `size_of` names; unchanged where it names none."""
    if data.size_of is None or data.size_of not in pixels:
        return dict(pixels)
    height, width = pixels[data.size_of].shape[:2]
    return {modality: resized(bands, height, width) for modality, bands in pixels.items()}


def read_labels(data: PairedData, image: PairedImage) -> Labels:
    """The image's boxes, with the ids of the classes that the detector learns.

    Raises:
        DataError: A label cannot be used.
    """
    found = label_reading(data, image)
    if found.problems:
        raise DataError(found.problems[0])
    return found.labels


def label_reading(data: PairedData, image: PairedImage) -> LabelReading:
    """The image's boxes, with the ids of the classes that the detector learns, and what is wrong with the others."""
    if image.label is None:
        return LabelReading(Labels.of([], []))
    try:
        found = image.label.read(data.place(image.label.path), data.class_map)
    except OSError as error:
        return LabelReading(Labels.of([], []), [f"{data.place(image.label.path)}: cannot be read: {error}"])
    return replace(found, labels=found.labels.mapped(data.class_map))
