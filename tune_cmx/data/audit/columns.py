"""The audits of many images as a few arrays, and these as a file."""

import hashlib
import io
import json
import os
import tempfile
from collections.abc import Mapping, Sequence
from itertools import accumulate, pairwise
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tune_cmx.data.audit.one_image import ImageAudit
from tune_cmx.data.labels.base import Labels

Arrays = dict[str, NDArray[Any]]
Bands = Mapping[str, Sequence[int]]
_DIGEST = 32
"""Bytes of a hash."""


def columns_of(images: Sequence[ImageAudit], bands: Bands) -> Arrays:
    """Arrays with a row for each image, or for each box.

    Args:
        images: At least one. Each has sums of every band, and no problem.
        bands: Modality -> channels, of the set.
    """
    texts: dict[str, int] = {}
    kinds = [
        texts.setdefault(json.dumps([[image.types[modality] for modality in bands], image.odd]), len(texts))
        for image in images
    ]
    none = (np.nan, np.nan)
    return {
        "sizes": np.array([image.size for image in images], dtype=np.int32),
        "digests": np.frombuffer(b"".join(bytes.fromhex(image.digest) for image in images), dtype=np.uint8),
        "sums": np.array([[band for modality in bands for band in image.sums[modality]] for image in images]),
        "extremes": np.array([[image.extremes.get(modality, none) for modality in bands] for image in images]),
        "kinds": np.array(kinds, dtype=np.int32),
        "texts": np.frombuffer(json.dumps(list(texts)).encode(), dtype=np.uint8),
        "counts": np.array([len(image.labels.classes) for image in images], dtype=np.int32),
        "in_pixels": np.array([image.labels.pixels for image in images], dtype=np.bool_),
        "boxes": np.concatenate([image.labels.boxes for image in images]),
        "classes": np.concatenate([image.labels.classes for image in images]),
        "ignore": np.concatenate([image.labels.ignore for image in images]),
    }


def images_of(arrays: Arrays, bands: Bands, rows: Sequence[int]) -> list[ImageAudit]:
    """The audits of some rows of what `columns_of` gave."""
    places = dict(zip(bands, pairwise(accumulate(map(len, bands.values()), initial=0)), strict=True))
    kinds = [json.loads(text) for text in json.loads(arrays["texts"].tobytes())]
    types = [dict(zip(bands, kind[0], strict=True)) for kind in kinds]
    odd = [[(modality, remark) for modality, remark in kind[1]] for kind in kinds]
    with_ends = [[number for number, name in enumerate(bands) if of[name] != "uint8"] for of in types]
    names = list(bands)
    digests = arrays["digests"].tobytes().hex()
    firsts = np.concatenate([[0], np.cumsum(arrays["counts"])]).tolist()
    sizes, extremes = arrays["sizes"].tolist(), arrays["extremes"].tolist()
    totals, squares = (arrays["sums"][:, :, index].tolist() for index in (0, 1))
    numbers = arrays["sums"][:, :, 2].astype(np.int64).tolist()
    kind_of, in_pixels = arrays["kinds"].tolist(), arrays["in_pixels"].tolist()
    boxes, classes, ignore = arrays["boxes"], arrays["classes"], arrays["ignore"]
    found = []
    for row in rows:
        kind, of_row = kind_of[row], slice(firsts[row], firsts[row + 1])
        found.append(
            ImageAudit(
                tuple(sizes[row]),
                {
                    modality: tuple(
                        zip(totals[row][first:last], squares[row][first:last], numbers[row][first:last], strict=True)
                    )
                    for modality, (first, last) in places.items()
                },
                Labels(boxes[of_row], classes[of_row], ignore[of_row], in_pixels[row]),
                digests[row * 2 * _DIGEST : (row + 1) * 2 * _DIGEST],
                (),
                odd[kind],
                types[kind],
                {names[number]: tuple(extremes[row][number]) for number in with_ends[kind]},
            )
        )
    return found


def write_arrays(path: Path, arrays: Arrays) -> None:
    """Write arrays after a hash of them, whole or not at all; the folder is made.

    Raises:
        OSError: The folder cannot be written.
    """
    stream = io.BytesIO()
    np.savez(stream, allow_pickle=False, **arrays)
    content = stream.getvalue()
    path.parent.mkdir(parents=True, exist_ok=True)
    handle, name = tempfile.mkstemp(dir=path.parent, prefix=".", suffix=".part")
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(hashlib.sha256(content).digest())
            file.write(content)
        Path(name).replace(path)
    except BaseException:
        Path(name).unlink(missing_ok=True)
        raise


def read_arrays(path: Path) -> Arrays:
    """What `write_arrays` wrote; empty where there is no such file, or a damaged one."""
    try:
        content = path.read_bytes()
    except OSError:
        return {}
    if hashlib.sha256(content[_DIGEST:]).digest() != content[:_DIGEST]:
        return {}
    with np.load(io.BytesIO(content[_DIGEST:]), allow_pickle=False) as arrays:
        return dict(arrays)
