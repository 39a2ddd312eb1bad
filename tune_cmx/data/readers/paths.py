"""The files of an image as texts: a `Path` is made only when one is asked for, as a large set has very many."""

import os
from collections.abc import Iterator, Mapping
from pathlib import Path


class FilePaths(Mapping[str, Path]):
    """Files by modality.

    Args:
        texts: Path of each file, by modality.
    """

    __slots__ = ("texts",)

    def __init__(self, texts: Mapping[str, str]) -> None:
        self.texts = texts

    def __getitem__(self, modality: str) -> Path:
        return Path(self.texts[modality])

    def __iter__(self) -> Iterator[str]:
        return iter(self.texts)

    def __len__(self) -> int:
        return len(self.texts)

    def __contains__(self, modality: object) -> bool:
        return modality in self.texts

    def __repr__(self) -> str:
        return f"FilePaths({dict(self.texts)!r})"


def start_of(folder: Path) -> str:
    """With what the paths of all files below a folder start."""
    return str(folder / "_")[:-1]


def texts_of(files: Mapping[str, Path]) -> Mapping[str, str]:
    """The path of each file as a text, by modality."""
    if isinstance(files, FilePaths):
        return files.texts
    return {modality: os.fspath(path) for modality, path in files.items()}
