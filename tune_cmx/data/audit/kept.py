"""What the audit found of each image, kept in the user's cache folder: an unchanged image is not read again.

A set has one file for each way to read it: reader, bands, class map, events, and versions of the code. In it an image
goes by a signature of its files, so a changed one is read again, alone. The newest 16 files are kept; each is about 250
bytes an image and 45 a box. Remove the folder to free the space.
"""

import hashlib
import inspect
import json
import logging
import os
import platform
import time
from collections.abc import Sequence
from functools import cache
from importlib.metadata import version
from pathlib import Path

import numpy as np

from tune_cmx.data.audit.columns import Arrays, columns_of, images_of, read_arrays, write_arrays
from tune_cmx.data.audit.one_image import ImageAudit
from tune_cmx.data.audit.signatures import Signatures
from tune_cmx.data.audit.uncollected import uncollected
from tune_cmx.data.events.kept_images import config_key
from tune_cmx.data.labels.base import Labels
from tune_cmx.data.readers import PairedData, PairedImage
from tune_cmx.storage import cache as cache_folders

FILES = 16
"""Sets and ways to read them that are kept."""
_LEFT_OVER_S = 86400
"""Age of a temporary file whose process must have been killed."""
_DECODERS = ("defusedxml", "numpy", "pillow")
_log = logging.getLogger(__name__)


class KeptAudits:
    """The kept audits of a set. Its image files are not opened.

    Args:
        data: The set.
        folder: Of all kept audits; None: in the user's cache folder.
    """

    def __init__(self, data: PairedData, folder: Path | None = None) -> None:
        self._data = data
        root = _hash(str(data.root.resolve()))
        self._path = (cache_folders.audit_folder() if folder is None else folder) / f"{root}-{_key(data)}.npz"
        self._signatures = Signatures(data)

    @uncollected()
    def found(self) -> list[ImageAudit | None]:
        """What is kept of each image, in the set's order; None for an image that is to be read."""
        arrays, rows = self._rows(self._data.images)
        images = iter(images_of(arrays, self._data.bands, [row for row in rows if row is not None]) if arrays else ())
        return [None if row is None else next(images) for row in rows]

    @uncollected()
    def labels(self, ids: Sequence[str]) -> dict[str, Labels]:
        """The kept boxes by image id; of an image whose labels are to be read there are none."""
        wanted = set(ids)
        images = [image for image in self._data.images if image.id in wanted]
        arrays, rows = self._rows(images)
        there = {image.id: row for image, row in zip(images, rows, strict=True) if row is not None}
        found = images_of(arrays, self._data.bands, list(there.values())) if arrays else []
        return {id: audited.labels for id, audited in zip(there, found, strict=True)}

    @uncollected()
    def keep(self, results: Sequence[ImageAudit]) -> None:
        """Keep what was read. An image with a problem, or one that changed a moment ago, is not kept.

        Processes may do so at once: each writes a file of its own and renames it, and the last one stays.

        Args:
            results: Of all images of the set, in its order.
        """
        shape = {modality: len(channels) for modality, channels in self._data.bands.items()}
        sure = [
            (signature, result)
            for image, result in zip(self._data.images, results, strict=True)
            if not result.problems
            and {modality: len(sums) for modality, sums in result.sums.items()} == shape
            and (signature := self._signatures.lasting(image)) is not None
        ]
        if not sure:
            return
        arrays = columns_of([result for _, result in sure], self._data.bands)
        arrays["signatures"] = np.frombuffer(b"".join(signature for signature, _ in sure), dtype=np.uint8)
        try:
            write_arrays(self._path, arrays)
            _remove_old(self._path.parent)
        except OSError as error:
            reason = error.strerror or error
            _log.warning("%s: the audit cannot be kept: %s; the next command reads all images", self._path, reason)

    def _rows(self, images: Sequence[PairedImage]) -> tuple[Arrays, list[int | None]]:
        """The content of the file, and in it the row of each image."""
        arrays = read_arrays(self._path)
        if not arrays:
            return {}, [None] * len(images)
        _touch(self._path)
        signatures = arrays["signatures"].tobytes()
        size = Signatures.SIZE
        row_of = {signatures[start : start + size]: start // size for start in range(0, len(signatures), size)}
        found = [self._signatures.of(image) for image in images]
        return arrays, [None if signature is None else row_of.get(signature) for signature in found]


def _key(data: PairedData) -> str:
    """Two keys differ if anything but the files may change what is found in an image."""
    reader, events, classes = data.reader, data.raw_events, data.class_map
    described = [
        reading_code(inspect.getfile(type(reader))),
        type(reader).__qualname__,
        repr(sorted(vars(reader).items())),
        [[modality, list(channels)] for modality, channels in data.bands.items()],
        data.channels,
        data.size_of,
        [classes.source, classes.names, classes.to],
        None if events is None else [config_key(events.config), events.height, events.width],
    ]
    return _hash(json.dumps(described))


@cache
def reading_code(reader: str) -> str:
    """A hash of all code that reads data, and of the libraries that decode.

    Args:
        reader: File of the reader's class, which may be in another package.
    """
    own = sorted(Path(__file__).parents[1].rglob("*.py"))
    code = hashlib.sha256()
    for path in [*own, Path(reader)]:
        code.update(hashlib.sha256(path.read_bytes()).digest())
    versions = [version(name) for name in _DECODERS]
    return _hash(json.dumps([code.hexdigest(), platform.python_version(), versions]))


def _hash(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def _touch(path: Path) -> None:
    try:
        os.utime(path)
    except OSError:  # of another user, or removed just now: its age is only for the choice of what is removed
        return


def _remove_old(folder: Path) -> None:
    """Remove all but the files that were used last, and what a killed process left."""
    ages: list[tuple[float, Path]] = []
    for path in folder.iterdir():
        try:
            ages.append((time.time() - path.stat().st_mtime, path))
        except FileNotFoundError:  # another process removed it
            continue
    whole = sorted(one for one in ages if one[1].suffix == ".npz")
    left = [one for one in ages if one[1].suffix == ".part" and one[0] > _LEFT_OVER_S]
    for _, path in [*whole[FILES:], *left]:
        path.unlink(missing_ok=True)
