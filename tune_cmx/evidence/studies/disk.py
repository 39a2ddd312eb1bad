"""The space that files take. A file with several names, as a checkpoint's weights in a model folder, counts once."""

import os
from collections import Counter
from collections.abc import Iterable, Iterator
from pathlib import Path


def size_bytes(places: Iterable[Path]) -> int:
    """The sum of the files' sizes at or below the paths. Links are not followed."""
    return sum({(one.st_dev, one.st_ino): one.st_size for one in _files(places)}.values())


def freed_bytes(places: Iterable[Path]) -> int:
    """What removing the paths frees: files that have another name elsewhere stay."""
    found = list(_files(places))
    names = Counter((one.st_dev, one.st_ino) for one in found)
    files = {(one.st_dev, one.st_ino): one for one in found}
    return sum(one.st_size for key, one in files.items() if names[key] >= one.st_nlink)


def _files(places: Iterable[Path]) -> Iterator[os.stat_result]:
    for place in places:
        if place.is_symlink() or not place.is_dir():
            yield place.lstat()
            continue
        with os.scandir(place) as entries:
            yield from _files([Path(entry) for entry in entries])
