"""A set's own split into parts, from lists of image names."""

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path, PurePosixPath

from tune_cmx.data.readers.names import PART_WORDS, ImageNames, Key, name_parts
from tune_cmx.data.readers.order import listed, natural_order
from tune_cmx.data.readers.pairing import IMAGE_SUFFIXES, files_under
from tune_cmx.errors import DataError

LIST_FOLDERS = ("", "ImageSets", "imageSets", "ImageSets/Main", "splits", "images", "meta")
"""Where lists may lie, from the set's folder."""


def lists_in(root: Path) -> dict[str, list[Path]]:
    """The lists train.txt, val.txt and test.txt of a set, by part; empty where there is none."""
    found: dict[str, list[Path]] = {}
    for folder in LIST_FOLDERS:
        for part, words in PART_WORDS.items():
            paths = [path for word in sorted(words) if (path := root / folder / f"{word}.txt").is_file()]
            if paths:
                found.setdefault(part, []).extend(paths)
    return found


def parts_from_lists(
    root: Path,
    lists: Mapping[str, Sequence[Path]],
    ids: Mapping[Key, str],
    *,
    files: Mapping[str, Mapping[str, Path]] | None = None,
    absent: bool = False,
) -> dict[str, str]:
    """The part of each image that a list names.

    Args:
        root: The set's folder.
        lists: By part, text files with an image on each line: its id, or its path with or without suffix; or folders,
            of which every image is meant.
        ids: Of the images, by the name of each moment.
        files: Of the images, by id and modality, if lists may have whole names of files.
        absent: Whether lists may name images that the set does not have; then these are passed over.

    Raises:
        DataError: A list names an unknown image, a folder has none, or one image is in two parts.
    """
    names = ImageNames(ids, files)
    parts: dict[str, str] = {}
    for part, paths in lists.items():
        for path in paths:
            unknown: list[str] = []
            for name in _names(root, path):
                id = names.id_of(name_parts(name), part)
                if id is None:
                    unknown.append(str(name))
                elif parts.setdefault(id, part) != part:
                    raise DataError(f"{path}: image '{id}' is in both {parts[id]} and {part}; each belongs to one part")
            if unknown and not absent:
                shown = listed(sorted(unknown, key=natural_order), 3)
                raise DataError(f"{path}: no image in {root} for {shown}; add the images, or remove their lines")
    return parts


def split_remark(root: Path, lists: Mapping[str, Sequence[Path]], parts: Mapping[str, str]) -> str:
    """Which lists the split is from, with the number of images of each part."""
    counts = [f"{part} {sum(one == part for one in parts.values())}" for part in lists]
    names = [
        str(path.relative_to(root)) if path.is_relative_to(root) else str(path)
        for found in lists.values()
        for path in found
    ]
    return f"the split is from {listed(names)}: {', '.join(counts)} images"


def _names(root: Path, path: Path) -> Iterator[PurePosixPath]:
    if path.is_dir():
        files = list(files_under(path, (*IMAGE_SUFFIXES, ".npy"), labels=True))
        if not files:
            raise DataError(f"{path}: no image; the folder is named as a part of the split")
        inside = PurePosixPath(path.relative_to(root).as_posix()) if path.is_relative_to(root) else PurePosixPath()
        yield from (inside / file.as_posix() for file in files)
        return
    try:
        lines = path.read_text(encoding="utf-8-sig").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise DataError(f"{path}: cannot be read: {error}") from error
    for line in lines:
        text = line.strip().replace("\\", "/").removeprefix("./")
        if not text:
            continue
        name = PurePosixPath(text)
        if name.is_absolute() and PurePosixPath(root.as_posix()) in name.parents:
            name = name.relative_to(root.as_posix())
        yield name if name.suffix.lower() in (*IMAGE_SUFFIXES, ".txt", ".xml", ".npy") else PurePosixPath(f"{name}.png")
