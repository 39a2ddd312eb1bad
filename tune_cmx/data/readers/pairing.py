"""Find the image files of a folder and put those of one moment together, by their names."""

import os
import re
from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import islice
from pathlib import Path

from tune_cmx.config.trial import MODALITIES
from tune_cmx.data.readers.names import LABEL_WORDS, MODALITY_WORDS, Key, text_parts
from tune_cmx.data.readers.order import listed, natural_order
from tune_cmx.data.readers.paths import FilePaths, start_of, texts_of
from tune_cmx.errors import ConfigError, DataError
from tune_cmx.registry import lookup

IMAGE_SUFFIXES = (".bmp", ".jpeg", ".jpg", ".png", ".tif", ".tiff", ".webp")


@dataclass(frozen=True)
class PairedFiles:
    """The image files of a folder."""

    files: Mapping[Key, Mapping[str, Path]]
    """By moment and modality."""
    parts: Mapping[Key, str]
    """Part of a split by moment, where a folder names it."""
    unread: Mapping[str, int] = field(default_factory=dict)
    """Folders of images of which no modality is known, with the number of their images."""

    @property
    def modalities(self) -> tuple[str, ...]:
        """Those of which there is an image, in the order of MODALITIES."""
        found = {modality for files in self.files.values() for modality in files}
        return tuple(name for name in MODALITIES if name in found)


def files_under(
    root: Path, suffixes: Sequence[str], *, labels: bool = False, most: int | None = None
) -> Iterator[Path]:
    """The files below a folder, as `names_under` gives them."""
    return map(Path, names_under(root, suffixes, labels=labels, most=most))


def names_under(root: Path, suffixes: Sequence[str], *, labels: bool = False, most: int | None = None) -> Iterator[str]:
    """The paths of the files below a folder, relative to it, by name; hidden ones are left out.

    Args:
        root: The folder; links to folders are followed, but not to a folder around them.
        suffixes: In lower case.
        labels: Whether to also look into folders that hold labels.
        most: Files of each folder; None: all.

    Raises:
        DataError: A folder cannot be read.
    """
    endings = tuple(suffixes)
    for folder, files in folders_under(root, labels=labels):
        inside = "" if folder == "." else f"{folder}{os.sep}"
        wanted = (name for name in files if name[0] != "." and name.lower().endswith(endings))
        yield from (inside + name for name in islice(wanted, most))


def folders_under(root: Path, *, labels: bool = False) -> Iterator[tuple[str, list[str]]]:
    """The folders below a folder and itself, relative to it, each with the names of its files in order.

    Args:
        root: The folder; links to folders are followed, but not to a folder around them. Hidden folders are left out.
        labels: Whether to also look into folders that hold labels.

    Raises:
        DataError: A folder cannot be read.
    """
    around: dict[str, tuple[str, ...]] = {}
    for folder, folders, files in os.walk(root, followlinks=True, onerror=_unreadable):
        above = around.get(folder.rpartition(os.sep)[0], ())
        real = os.path.realpath(folder)
        if real in above:
            folders.clear()
            continue
        around[folder] = (*above, real)
        folders[:] = sorted(name for name in folders if name[0] != "." and (labels or name.lower() not in LABEL_WORDS))
        yield os.path.relpath(folder, root), sorted(files)


def _unreadable(error: OSError) -> None:
    if isinstance(error, FileNotFoundError):  # a folder that a layout may have
        return
    raise DataError(f"{error.filename}: cannot be read: {error.strerror}; allow it, or move the folder away") from error


@dataclass(frozen=True)
class ImageFile:
    """What an image's path says."""

    key: Key
    modality: str
    part: str | None
    path: str
    whole: Key | None = None
    """The key with the file's whole name, where the folder says the modality and the name has a word for it too."""
    """From the set's folder."""


def pair_by_names(root: Path, *, most: int | None = None) -> PairedFiles:
    """The images below a folder, paired by what folders and file names say.

    A folder `images` is rgb if a folder `images_ir`, or one like it, is beside it.

    Args:
        root: The folder.
        most: Images of each folder; None: all.

    Raises:
        DataError: Two images of one modality have one name.
    """
    paths = list(names_under(root, IMAGE_SUFFIXES, most=most))
    folders = {folder: Path(folder).parts for folder in {path.rpartition(os.sep)[0] for path in paths}}
    beside = {names[:at] for names in folders.values() for at, name in enumerate(names) if _named_beside(name)}
    plain_rgb = {
        folder
        for folder, names in folders.items()
        if any(name.lower() == "images" and names[:at] in beside for at, name in enumerate(names))
    }
    found: list[ImageFile] = []
    unknown: Counter[str] = Counter()
    for path in paths:
        said = text_parts(path)
        folder = path.rpartition(os.sep)[0]
        modality = "rgb" if said.modality is None and folder in plain_rgb else said.modality
        if modality is None:
            unknown[folder or "."] += 1
        else:
            found.append(ImageFile(said.key, modality, said.part, path, said.whole))
    return paired_files(root, found, unknown)


def pair_by_patterns(root: Path, said: Mapping[str, str]) -> PairedFiles:
    """The images of the files that the user names.

    Args:
        root: The set's folder.
        said: By modality a folder, or a path in which `{id}` stands for the name of a moment and `*` for anything
            within a name, as in `{rgb: "JPEGImages/{id}_RGB.jpg"}`. Both are from the set's folder.

    Raises:
        ConfigError: A modality or pattern cannot be used.
        DataError: There is no such image, or two have one name.
    """
    found: list[ImageFile] = []
    for modality, pattern in said.items():
        lookup(dict.fromkeys(MODALITIES), modality, "images: unknown modality")
        before = len(found)
        if "{" not in pattern:
            if not (root / pattern).is_dir():
                raise DataError(f"{root / pattern}: no such folder; images.{modality} names it")
            start = start_of(Path(pattern))
            for path in names_under(root / pattern, IMAGE_SUFFIXES, labels=True):
                named = text_parts(path)
                found.append(ImageFile(named.key, modality, named.part, start + path, named.whole))
        else:
            expression = _expression(modality, pattern)
            for path in names_under(root, IMAGE_SUFFIXES, labels=True):
                match = expression.fullmatch(path)
                if match:
                    found.append(ImageFile(tuple(match["id"].split("/")), modality, text_parts(path).part, path))
        if len(found) == before:
            raise DataError(f"{root}: no image ({', '.join(IMAGE_SUFFIXES)}) for images.{modality}: '{pattern}'")
    return paired_files(root, found)


def paired_files(root: Path, found: Sequence[ImageFile], unread: Mapping[str, int] | None = None) -> PairedFiles:
    """Put the files of each moment together; where the parts of a split count alike, a part belongs to the name.

    Args:
        root: The set's folder.
        found: Its image files.
        unread: Folders of images of which no modality is known, with the number of their images.

    Raises:
        DataError: Two images of one modality have one name, or images of one moment are in two parts of a split.
    """
    found = _with_whole_names(found)
    parts_of: dict[tuple[Key, str], list[str | None]] = defaultdict(list)
    for one in found:
        parts_of[one.key, one.modality].append(one.part)
    in_name = any(len(parts) > 1 and None not in parts and len(set(parts)) > 1 for parts in parts_of.values())
    files: dict[Key, dict[str, str]] = defaultdict(dict)
    parts: dict[Key, str] = {}
    start = start_of(root)
    for one in found:
        key = (one.part, *one.key) if in_name and one.part is not None else one.key
        _add(files[key], root, one.modality, start + one.path)
        if one.part is not None and parts.setdefault(key, one.part) != one.part:
            others = " and ".join(path.removeprefix(start) for path in files[key].values())
            raise DataError(f"{root}: {others} are of one moment, but in two parts of the split; move one of them")
    return PairedFiles({key: FilePaths(texts) for key, texts in files.items()}, parts, dict(unread or {}))


def _with_whole_names(found: Sequence[ImageFile]) -> list[ImageFile]:
    """The files, with the whole name as the key where another modality has that name and not the shorter one."""
    keys: dict[str, set[Key]] = defaultdict(set)
    for one in found:
        keys[one.modality].add(one.key)

    def elsewhere(key: Key, modality: str) -> bool:
        return any(key in own for name, own in keys.items() if name != modality)

    return [
        replace(one, key=one.whole)
        if one.whole not in (None, one.key)
        and elsewhere(one.whole, one.modality)
        and not elsewhere(one.key, one.modality)
        else one
        for one in found
    ]


def complete(root: Path, paired: PairedFiles) -> dict[Key, Mapping[str, Path]]:
    """The files of each moment, if every modality has an image of each.

    Raises:
        DataError: An image lacks its partner.
    """
    modalities = paired.modalities
    if len(modalities) > 1 and all(len(files) == 1 for files in paired.files.values()):
        shown = {name: next(files[name] for files in paired.files.values() if name in files) for name in modalities}
        examples = " and ".join(f"{path.relative_to(root)} ({name})" for name, path in shown.items())
        raise DataError(
            f"{root}: no {modalities[0]} image has the name of a {modalities[1]} image, as in {examples}. Say in "
            'data.yaml where the name of a moment stands, as in images: {rgb: "a/{id}_x.png", thermal: "b/{id}_*.png"}'
        )
    missing = []
    for modality in modalities:
        lacking = [key for key, files in paired.files.items() if modality not in files]
        if lacking:
            like = next(files[modality] for files in paired.files.values() if modality in files)
            missing += [(natural_order("_".join(key)), modality, key, like) for key in lacking]
    if missing:
        names = [str(like.parent.relative_to(root) / f"{key[-1]}{like.suffix}") for _, _, key, like in sorted(missing)]
        raise DataError(
            f"{root}: each id needs an image in each of {', '.join(modalities)}; missing: {listed(names)}. "
            "Add them, or remove their partners"
        )
    of_each = ((key, texts_of(files)) for key, files in paired.files.items())
    return {key: FilePaths({name: texts[name] for name in modalities}) for key, texts in of_each}


def ids_of(root: Path, keys: Sequence[Key]) -> dict[Key, str]:
    """An id for each moment: the file's name where that is unique, otherwise with the folders' names before it.

    Raises:
        DataError: Two moments have one id.
    """
    count = Counter(key[-1] for key in keys)
    plain = all(number == 1 for number in count.values())
    ids = {key: key[-1] if plain else "_".join(key) for key in keys}
    twice = next((id for id, number in Counter(ids.values()).items() if number > 1), None)
    if twice is not None:
        raise DataError(f"{root}: two images have the id '{twice}'; rename one")
    return ids


def _add(files: dict[str, str], root: Path, modality: str, path: str) -> None:
    if modality in files:
        here, there = Path(path).relative_to(root), Path(files[modality]).relative_to(root)
        names = (there.name, here.name) if here.parent == there.parent else (str(there), str(here))
        raise DataError(f"{root / here.parent}: {names[0]} and {names[1]} have one id; keep one")
    files[modality] = path


def _named_beside(name: str) -> bool:
    first, _, rest = name.lower().partition("_")
    return first == "images" and any(rest in words for words in MODALITY_WORDS.values())


def _expression(modality: str, pattern: str) -> re.Pattern[str]:
    if pattern.count("{id}") != 1 or set(re.findall(r"\{[^}]*\}", pattern)) != {"{id}"}:
        raise ConfigError(
            f"images.{modality}: needs {{id}} once, where the name of a moment stands, as in 'rgb/{{id}}_RGB.jpg'; "
            f"got '{pattern}'"
        )
    pieces = re.split(r"(\{id\}|\*)", pattern)
    return re.compile(
        "".join({"{id}": "(?P<id>.+?)", "*": "[^/]*"}.get(piece, re.escape(piece)) for piece in pieces), re.IGNORECASE
    )
