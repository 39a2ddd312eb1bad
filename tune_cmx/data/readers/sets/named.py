"""What the readers of published RGB + thermal data sets share."""

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import ClassVar

from tune_cmx.data.readers.base import DataSettings, Reader
from tune_cmx.data.readers.folders import FolderReader
from tune_cmx.data.readers.joining import refuse
from tune_cmx.data.readers.names import Key
from tune_cmx.data.readers.order import listed
from tune_cmx.data.readers.pairing import IMAGE_SUFFIXES, PairedFiles, files_under, ids_of
from tune_cmx.data.readers.sequences import VideoPosition


class NamedReader(FolderReader):
    """Reads a data set as it is published. Synthetic sets are not written in its form."""

    published: ClassVar[bool] = True
    write = Reader.write

    def refuse_settings(self, root: Path, settings: DataSettings) -> None:
        """Refuse what only other layouts take.

        Raises:
            ConfigError: Folders or channels are named.
        """
        said = f"is for other layouts: {self.title} has its own names; leave it out, or take --layout folders"
        refuse(root, f"images {said}", settings.images)
        refuse(root, f"bands {said}", settings.bands)


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


def split_remark(root: Path, lists: Mapping[str, Sequence[Path]], parts: Mapping[str, str]) -> str:
    """Which lists the split is from, with the number of images of each part."""
    counts = [f"{part} {sum(one == part for one in parts.values())}" for part in lists]
    names = [
        str(path.relative_to(root)) if path.is_relative_to(root) else str(path)
        for found in lists.values()
        for path in found
    ]
    return f"the split is from {listed(names)}: {', '.join(counts)} images"
