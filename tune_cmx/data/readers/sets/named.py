"""What the readers of published RGB + thermal data sets share."""

from collections.abc import Callable
from pathlib import Path
from typing import ClassVar

from tune_cmx.data.readers.base import Reader
from tune_cmx.data.readers.folders import FolderReader
from tune_cmx.data.readers.names import Key
from tune_cmx.data.readers.pairing import IMAGE_SUFFIXES, PairedFiles, files_under, ids_of
from tune_cmx.data.readers.sequences import VideoPosition


class NamedReader(FolderReader):
    """Reads a data set as it is published. Synthetic sets are not written in its form."""

    published: ClassVar[bool] = True
    write = Reader.write


def first_image(folder: Path) -> Path | None:
    """One image below a folder, relative to it."""
    return next(files_under(folder, IMAGE_SUFFIXES), None)


def positions_of(root: Path, paired: PairedFiles, position: Callable[[Key], VideoPosition]) -> dict[str, VideoPosition]:
    """The position of each image in a video, by id.

    Args:
        root: The set's folder.
        paired: Its images.
        position: Of a moment, by its name.
    """
    return {id: position(key) for key, id in ids_of(root, list(paired.files)).items()}
