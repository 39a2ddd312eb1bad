"""Files of a folder of images that are not read: they are named, or they are an error."""

from collections import Counter
from collections.abc import Collection
from pathlib import Path, PurePath

from tune_cmx.counting import count
from tune_cmx.data.readers.names import name_parts, said_modalities
from tune_cmx.data.readers.order import listed
from tune_cmx.data.readers.pairing import IMAGE_SUFFIXES, folders_under
from tune_cmx.errors import DataError

_TEXTS = frozenset(
    {"", ".txt", ".xml", ".json", ".yaml", ".yml", ".md", ".pdf", ".html", ".py", ".sh", ".log", ".cache", ".names"}
)
"""Suffixes of files that usually describe a set."""


def unread_files(root: Path, modalities: Collection[str]) -> list[str]:
    """Remarks on the files that are neither images nor texts.

    Args:
        root: The set's folder.
        modalities: Those of which images were found.

    Raises:
        DataError: A folder is named like another modality, and holds no image.
    """
    found: list[str] = []
    for folder, names in folders_under(root):
        suffixes = Counter(PurePath(name).suffix.lower() for name in names if name[0] != ".")
        others = {suffix: number for suffix, number in suffixes.items() if suffix not in IMAGE_SUFFIXES}
        data = {suffix: number for suffix, number in others.items() if suffix not in _TEXTS}
        inside = PurePath(folder)
        if len(others) == len(suffixes):
            plain = name_parts(inside / "x").modality
            named = {plain} if plain is not None and others else said_modalities(inside.name) if data else frozenset()
            lacking = sorted(name for name in named if name not in modalities)
            if lacking:
                raise DataError(_no_image(root / folder, lacking[0], data or others))
        if inside == PurePath():
            data.pop(".csv", None)
        place = "the folder itself" if inside == PurePath() else f"{folder}/"
        found += [f"{place} ({count(number, suffix + ' file')})" for suffix, number in sorted(data.items())]
    images = f"images are {', '.join(IMAGE_SUFFIXES)}"
    return [f"not read: {listed(found)}; {images}"] if found else []


def _no_image(folder: Path, modality: str, suffixes: dict[str, int]) -> str:
    shown = ", ".join(count(number, f"{suffix} file".strip()) for suffix, number in sorted(suffixes.items()))
    if modality == "event":
        fix = (
            "Save each moment's events as an image of the same name, or give raw events in a layout that holds them "
            "(--layout dsec_det or pedro)"
        )
    elif ".npy" in suffixes:
        fix = (
            "Files of .npy beside images are not supported: save them as PNG or TIFF of 8 or 16 bits, or all "
            "modalities of a moment in one .npy file (--layout npy)"
        )
    else:
        fix = "Convert them"
    return (
        f"{folder}: is named like {modality}, and has no image ({', '.join(IMAGE_SUFFIXES)}), but {shown}. {fix}, or "
        "move the folder away"
    )
