"""What the names of folders and files say: modality, part of a split, and what is left as the name of a moment."""

import os
import re
from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property, lru_cache
from pathlib import Path, PurePath
from unicodedata import normalize

MODALITY_WORDS: Mapping[str, frozenset[str]] = {
    "rgb": frozenset({"rgb", "visible", "vis", "vi", "visual", "color", "colour", "optical"}),
    "thermal": frozenset({"thermal", "infrared", "ir", "lwir", "tir", "thermo", "infra", "previewdata"}),
    "event": frozenset({"event", "events", "dvs"}),
}
"""Words for a modality in the name of a folder, or at the start or end of a file's name; letter case does not count."""
PART_WORDS: Mapping[str, frozenset[str]] = {
    "train": frozenset({"train", "training"}),
    "val": frozenset({"val", "valid", "validation"}),
    "test": frozenset({"test", "testing"}),
}
"""Words for a part of a split in the name of a folder."""
NEUTRAL = frozenset({"image", "images", "img", "imgs", "jpegimages", "data", "frames", "left"})
"""Words of folder names that say nothing."""
LABEL_WORDS = frozenset(
    {"label", "labels", "annotation", "annotations", "ann", "anno", "annos", "anns", "xml", "xmls", "yolo", "txt"}
)
"""Words of folder names that hold labels."""
_KNOWN = NEUTRAL | LABEL_WORDS | frozenset().union(*MODALITY_WORDS.values(), *PART_WORDS.values())

Key = tuple[str, ...]
"""The name of a moment: the folders that are neither modality nor part, then the file's name without its modality."""


_SEPARATOR = re.compile(r"[_\-. ]")
_PART_AND_YEAR = re.compile(
    rf"(?P<part>{'|'.join(sorted(frozenset().union(*PART_WORDS.values())))})(?P<year>(?:19|20)\d\d)"
)
_WORD_AT_AN_END = (
    re.compile(r"^(?P<rest>.+)[_\-. ](?P<word>[A-Za-z]+)$"),
    re.compile(r"^(?P<word>[A-Za-z]+)[_\-. ](?P<rest>.+)$"),
)


@dataclass(frozen=True)
class NameParts:
    """What a file's path says."""

    key: Key
    modality: str | None
    part: str | None
    stem: str = ""
    """The file's whole name without suffix."""

    @property
    def whole(self) -> Key:
        """The key with the file's whole name, for files whose own name has a word for a modality."""
        return (*self.key[:-1], self.stem or self.key[-1])


class ImageNames:
    """Finds the image that the path of a label, or a line of a list, means."""

    def __init__(self, ids: Mapping[Key, str], files: Mapping[str, Mapping[str, Path]] | None = None) -> None:
        """Args:

        ids: Of the images, by the name of each moment.
        files: Of the images by id and modality, if their whole names also mean the image; None: they do not.
        """
        self._ids = ids
        self._files = files or {}
        self._by_name: dict[str, dict[str, frozenset[str]]] = defaultdict(dict)
        for key, id in ids.items():
            folders = frozenset(key[:-1])
            for name in {key[-1], id}:
                self._by_name[name][id] = folders
        self._folders: frozenset[str] = frozenset().union(*(key[:-1] for key in ids))

    def id_of(self, said: NameParts, part: str | None = None) -> str | None:
        """The id of the image with this name; None: there is no such image, or more than one.

        A path may have other folders than the image, but not those of other images.

        Args:
            said: Of the path, from `name_parts`.
            part: Of the split, where the path does not say it.
        """
        of_part = said.part or part or ""
        for key in dict.fromkeys((said.whole, said.key)):
            for own in (key, (of_part, *key)):
                if own in self._ids:
                    return self._ids[own]
        needed = self._folders & {of_part, *said.key[:-1]}
        for table, name in ((self._by_name, said.key[-1]), (self._by_file, normalize("NFC", said.whole[-1]))):
            found = [id for id, folders in table.get(name, {}).items() if needed <= folders]
            if found:
                return found[0] if len(found) == 1 else None
        return None

    @cached_property
    def _by_file(self) -> dict[str, dict[str, frozenset[str]]]:
        """By the whole name of an image's file: names may have what a pattern leaves out, such as a hash."""
        named: dict[str, dict[str, frozenset[str]]] = defaultdict(dict)
        for key, id in self._ids.items():
            for path in self._files.get(id, {}).values():
                named[normalize("NFC", path.stem)][id] = frozenset(key[:-1])
        return named


def name_parts(path: PurePath) -> NameParts:
    """Read a path.

    Args:
        path: Of a file, relative to the set's folder.
    """
    return parts_of(path.parts[:-1], path.stem)


def text_parts(path: str) -> NameParts:
    """Read a path that is a text; its name has a suffix."""
    folder, _, name = path.rpartition(os.sep)
    return parts_of(_folder_names(folder), name.rpartition(".")[0])


def parts_of(folders: tuple[str, ...], name: str) -> NameParts:
    """Read a path, given as the names of its folders and its file's name without suffix."""
    left, modality, part = _of_folders(folders)
    stem, of_file = _without_modality(name, modality)
    return NameParts((*left, stem), modality or of_file, part, name)


@lru_cache(maxsize=4096)
def _folder_names(folder: str) -> tuple[str, ...]:
    return PurePath(folder).parts


def said_modalities(folder: str) -> frozenset[str]:
    """The modalities of which a folder's name has a word, also among other words, as in `event_stream`."""
    return frozenset(name for word in _words(folder) if (name := _word(word, MODALITY_WORDS)) is not None)


@lru_cache(maxsize=4096)  # thousands of images are in one folder
def _of_folders(folders: tuple[str, ...]) -> tuple[Key, str | None, str | None]:
    """The folders that are neither modality nor part; modality and part."""
    modality: str | None = None
    part: str | None = None
    left: list[str] = []
    for folder in folders:
        words = _words(folder)
        found = {_word(word, MODALITY_WORDS) for word in words} - {None}
        of_part = {_word(word, PART_WORDS) for word in words} - {None}
        plain = all(
            _word(word, MODALITY_WORDS) or _word(word, PART_WORDS) or word in NEUTRAL or word in LABEL_WORDS
            for word in words
            if not word.isdigit() and word not in ("bit",)
        )
        if not plain or len(found) > 1 or len(of_part) > 1 or not (found or of_part or set(words) - _digits(words)):
            left.append(folder)
            continue
        modality = next(iter(found), modality)
        part = next(iter(of_part), part)
    return tuple(left), modality, part


def _without_modality(stem: str, modality: str | None) -> tuple[str, str | None]:
    """A file's name without a modality's word at its end or start, and that modality.

    Where the folder names another modality, the word belongs to the name.
    """
    if not _SEPARATOR.search(stem):  # as in most sets; the patterns below take longer
        return stem, None
    for pattern in _WORD_AT_AN_END:
        match = pattern.match(stem)
        found = match and _word(match["word"].lower(), MODALITY_WORDS)
        if match and found and modality in (None, found):
            return match["rest"], found
    return stem, None


def holds_labels(folder: str) -> bool:
    """Whether a folder is named as one of labels, perhaps of one modality or part, as `labels_thermal`."""
    if folder.lower() in LABEL_WORDS:
        return True
    words = _words(folder)
    others = [word for word in words if word not in LABEL_WORDS]
    return len(others) < len(words) and all(_word(word, MODALITY_WORDS) or _word(word, PART_WORDS) for word in others)


def _word(word: str, table: Mapping[str, frozenset[str]]) -> str | None:
    return next((name for name, words in table.items() if word in words), None)


def _words(name: str) -> list[str]:
    """In lower case; `TrainRGB` and COCO's `train2017` are two, `JPEGImages` and `PreviewData` are known as one."""
    words = [word for word in re.split(r"[_\-. ]+", name) if word]
    split = [[word] if word.lower() in _KNOWN else re.split(r"(?<=[a-z])(?=[A-Z])", word) for word in words]
    found = [word.lower() for parts in split for word in parts]
    return [part for word in found for part in _without_year(word)]


def _without_year(word: str) -> list[str]:
    match = _PART_AND_YEAR.fullmatch(word)
    return [word] if match is None else [match["part"], match["year"]]


def _digits(words: list[str]) -> set[str]:
    return {word for word in words if word.isdigit()}
