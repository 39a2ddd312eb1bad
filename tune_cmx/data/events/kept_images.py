"""Event images on the disk, each computed once for a representation and window.

An image is a .npy file of 8-bit pixels, compressed by zlib, in the user's cache folder. Its name is a hash of all that
it depends on, so a changed file, configuration or code never meets an old image. Remove the folder to free the space.
"""

import hashlib
import io
import json
import logging
import os
import tempfile
import zlib
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tune_cmx.config.data.events import EventsConfig
from tune_cmx.config.parse import dump
from tune_cmx.storage.cache import event_folder

Image = NDArray[np.uint8]
_CODE = ("frames.py", "raw.py", "sources.py")
"""Files of this folder on which an image depends."""
_LEVEL = 1
"""Level 6 would save a tenth of the space, and take as long as all the rest."""
_log = logging.getLogger(__name__)


def kept_image(
    source: Path, facts: Any, config: EventsConfig, compute: Callable[[], Image], folder: Path | None = None
) -> bytes:
    """An event image as the bytes of a .npy file, read from the cache folder or computed and put there.

    Processes may ask for the same image at once: each writes a file of its own and renames it, and all have the same
    content. If the folder cannot be written, the image is computed at each request; a warning in the log says so.

    Args:
        source: The file of the raw events.
        facts: What else selects the events in it, such as the time of the image; JSON types.
        config: Representation and window.
        compute: Makes the image, H×W×bands.
        folder: Of all event images; None: in the user's cache folder.

    Raises:
        DataError: As `compute` does.
        OSError: The source does not exist.
    """
    path = _path(source, facts, config, event_folder() if folder is None else folder)
    kept = _read(path)
    if kept is None:
        stream = io.BytesIO()
        np.save(stream, compute())
        kept = stream.getvalue()
        _write(path, kept)
    return kept


def config_key(config: EventsConfig) -> str:
    """A hash of representation, window, scale and the code that computes images."""
    return _hash([dump(config), _code()])


def _path(source: Path, facts: Any, config: EventsConfig, folder: Path) -> Path:
    """A folder for each configuration; in it 256 folders, as some file systems are slow with many files in one."""
    status = source.stat()
    key = _hash([str(source.resolve()), status.st_size, status.st_mtime_ns, facts])
    return folder / f"{config.representation}-{config_key(config)}" / key[:2] / f"{key}.npy.z"


def _hash(content: Any) -> str:
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()[:24]


@cache
def _code() -> str:
    digest = hashlib.sha256()
    for name in _CODE:
        digest.update(Path(__file__).with_name(name).read_bytes())
    return digest.hexdigest()


def _read(path: Path) -> bytes | None:
    """The image; None where there is none, or a damaged one, such as after a power failure."""
    try:
        return zlib.decompress(path.read_bytes())
    except (OSError, zlib.error):
        return None


def _write(path: Path, image: bytes) -> None:
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        handle, name = tempfile.mkstemp(dir=path.parent, prefix=".", suffix=".part")
        try:
            with os.fdopen(handle, "wb") as file:
                file.write(zlib.compress(image, _LEVEL))
            Path(name).replace(path)
        except BaseException:
            Path(name).unlink(missing_ok=True)
            raise
    except OSError as error:
        _warn_once(str(path.parents[2]), error.strerror or str(error))


@cache
def _warn_once(folder: str, reason: str) -> None:
    _log.warning("%s: event images cannot be kept: %s; each is computed whenever it is read", folder, reason)
