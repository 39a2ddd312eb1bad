"""Decoded images in memory that all processes of a machine share.

The first process decodes a set's images into a folder in shared memory, while the others wait. Each maps the same file,
and the last one removes it.
"""

import fcntl
import hashlib
import inspect
import json
import logging
import math
import os
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import IO, Any

import numpy as np
from numpy.typing import NDArray

from tune_cmx.data.audit import Audit
from tune_cmx.data.audit.kept import reading_code
from tune_cmx.data.events.kept_images import config_key
from tune_cmx.data.pixels import Pixels
from tune_cmx.data.readers import PairedData, PairedImage, read_image
from tune_cmx.data.shared.shared_folder import locked_alone, shared_folder
from tune_cmx.errors import DataError

USABLE = 0.8
"""Fraction of the free memory that a set may fill; loaders' batches, for example, need the rest."""
_FORM = 2
"""Version of the files in the folder; it is part of the key."""
_BUILD, _IMAGES, _INDEX = "build", "images", "index.json"
_ALIGN = 64
_THREADS, _AT_ONCE = 8, 64
"""Limits while decoding: threads, and images that wait to be written."""
_MEMORY = Path("/proc/meminfo")
_LAST_S = 5.0
"""Seconds that `images_kept` waits at its end for the processes of its trials to leave."""
Place = tuple[int, str, tuple[int, ...]]
"""Of one modality of an image: start in the file in bytes; number type; bands, rows and columns."""

_log = logging.getLogger(__name__)


class SharedImages:
    """The decoded images of a set, read-only. Unpickled in another process, it maps the same memory.

    Args:
        folder: Holds the images. The caller or its parent process must hold the folder's lock.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        places: dict[str, dict[str, Place]] = json.loads((folder / _INDEX).read_text(encoding="utf-8"))
        self._places = places
        self._bytes: NDArray[np.uint8] = np.asarray(np.memmap(folder / _IMAGES, dtype=np.uint8, mode="r"))

    def __reduce__(self) -> tuple[Any, ...]:
        return SharedImages, (self._folder,)

    @property
    def nbytes(self) -> int:
        """Size of all images in bytes."""
        return len(self._bytes)

    def read(self, id: str, modalities: Sequence[str]) -> list[Pixels]:
        """An image's pixels, H×W×bands of each modality, as `read_image` gives them."""
        return [self._image(*self._places[id][modality]) for modality in modalities]

    def _image(self, start: int, dtype: str, shape: tuple[int, ...]) -> Pixels:
        number = np.dtype(dtype)
        bands: Pixels = self._bytes[start : start + math.prod(shape) * number.itemsize].view(number).reshape(shape)
        return bands.transpose(1, 2, 0)


@contextmanager
def shared_images(data: PairedData, audit: Audit, base: Path | None = None) -> Iterator[SharedImages | None]:
    """The set's images in shared memory while the context lasts; the first process decodes them.

    Args:
        data: The set.
        audit: Of the set.
        base: Folder for the folders of all sets; None: /dev/shm, or the folder for temporary files if there is none.

    Yields:
        The images; None if they do not fit or the memory cannot be used, which a warning in the log says.

    Raises:
        DataError: An image cannot be read.
    """
    base = base or _memory()
    with ExitStack() as stack:
        images = None
        try:
            folder = stack.enter_context(shared_folder(base, _family(), _key(data, audit)))
            images = _found_or_built(folder, data, audit)
        except OSError as error:
            _log.warning("%s; every process decodes its own images", _reason(error, base))
        if images is None:
            stack.close()
        yield images


@contextmanager
def images_kept(data: PairedData, audit: Audit, base: Path | None = None) -> Iterator[str | None]:
    """Keep the images that trials share from one trial to the next; nothing is decoded here.

    Args:
        data: The set.
        audit: Of the set.
        base: As for `shared_images`.

    Yields:
        The reason why trials cannot share images, or None.

    Raises:
        DataError: An image cannot be read.
    """
    base = base or _memory()
    with ExitStack() as stack:
        lack = None
        try:
            folder = stack.enter_context(shared_folder(base, _family(), _key(data, audit), last_s=_LAST_S))
            if not (folder / _INDEX).exists():
                _check_room(base, _bytes_needed(data, audit))
        except OSError as error:
            lack = f"{_reason(error, base)}; every process decodes its own images"
            stack.close()
        yield lack


def _reason(error: OSError, base: Path) -> str:
    return f"no shared images in {base}: {error.strerror or error}"


def _memory() -> Path:
    shared = Path("/dev/shm")
    return shared if os.access(shared, os.W_OK) else Path(tempfile.gettempdir())


def _family() -> str:
    return f"tune-cmx-{os.getuid()}-"


def _key(data: PairedData, audit: Audit) -> str:
    """Two keys differ if any pixel may differ. Files may be newer than the audit: the key has their sizes and times."""
    files = sorted({path for image in data.images for path in image.files.values()})
    try:
        found = [(status.st_size, status.st_mtime_ns) for status in map(os.stat, files)]
    except OSError as error:
        raise DataError(f"{error.filename}: cannot be read: {error}") from error
    code = reading_code(inspect.getfile(type(data.reader)))
    bands = {name: list(channels) for name, channels in data.bands.items()}
    events = None if data.raw_events is None else config_key(data.raw_events.config)
    described = [_FORM, code, audit.fingerprint, bands, data.size_of, events, found]
    return hashlib.sha256(json.dumps(described).encode()).hexdigest()[:16]


def _found_or_built(folder: Path, data: PairedData, audit: Audit) -> SharedImages:
    """The images of a folder whose lock is held.

    Raises:
        OSError: The images do not fit.
        DataError: An image cannot be read.
    """
    if not (folder / _INDEX).exists():
        with (folder / _BUILD).open("w") as lock:
            if not locked_alone(lock.fileno()):
                _log.warning("waiting for another process, which decodes the images into %s", folder)
                fcntl.flock(lock, fcntl.LOCK_EX)
            if not (folder / _INDEX).exists():
                _build(folder, data, audit)
    return SharedImages(folder)


def _build(folder: Path, data: PairedData, audit: Audit) -> None:
    part = folder / f"{_IMAGES}.part"
    part.unlink(missing_ok=True)  # left by a process that was killed
    room = _check_room(folder.parent, _bytes_needed(data, audit))
    places: dict[str, dict[str, Place]] = {}
    try:
        with part.open("wb") as file:
            for image, bands in _decoded(data):
                places[image.id] = {modality: _append(file, pixels) for modality, pixels in bands.items()}
                if file.tell() > room:  # some files changed to a larger number type since the audit
                    raise _no_room(file.tell(), room)
            file.flush()
            os.fsync(file.fileno())
        part.replace(folder / _IMAGES)
        index = folder / f"{_INDEX}.part"
        index.write_text(json.dumps(places), encoding="utf-8")
        index.replace(folder / _INDEX)  # last: its presence says that the images are complete
    except BaseException:
        part.unlink(missing_ok=True)
        raise


def _decoded(data: PairedData) -> Iterator[tuple[PairedImage, Mapping[str, Pixels]]]:
    """All images in order, with the pixels of every modality."""
    modalities = list(data.bands)
    with ThreadPoolExecutor(min(_THREADS, os.cpu_count() or 1)) as pool:
        for start in range(0, len(data.images), _AT_ONCE):
            images = data.images[start : start + _AT_ONCE]
            yield from zip(images, pool.map(lambda image: read_image(data, image, modalities), images), strict=True)


def _append(file: IO[bytes], pixels: Pixels) -> Place:
    """Write the bands one after the other, in the order that samples have."""
    file.write(b"\0" * (-file.tell() % _ALIGN))
    start = file.tell()
    bands = np.ascontiguousarray(pixels.transpose(2, 0, 1))
    file.write(bands.data)
    return start, bands.dtype.str, bands.shape


def _bytes_needed(data: PairedData, audit: Audit) -> int:
    """Size of all decoded images, if all have the number type of the first."""
    images = read_image(data, data.images[0], list(data.bands)).values()
    bytes_per_pixel = sum(pixels.shape[2] * pixels.itemsize for pixels in images)
    areas = (height * width for height, width in audit.sizes.values())
    return sum(bytes_per_pixel * area + len(data.bands) * _ALIGN for area in areas)


def _check_room(base: Path, needed: int) -> int:
    """The bytes that may be used.

    Raises:
        OSError: More are needed.
    """
    status = os.statvfs(base)
    free = status.f_bavail * status.f_frsize
    if base.is_relative_to("/dev/shm") and _MEMORY.exists():  # /dev/shm may be larger than the free memory
        lines = dict(line.split(":") for line in _MEMORY.read_text(encoding="ascii").splitlines())
        free = min(free, int(lines["MemAvailable"].split()[0]) * 1024)
    room = int(USABLE * free)
    if needed > room:
        raise _no_room(needed, room)
    return room


def _no_room(needed: int, room: int) -> OSError:
    return OSError(
        f"the decoded images take {needed / 2**30:.2f} GiB, and {room / 2**30:.2f} GiB may be used, {USABLE:.0%} of "
        "the free memory; in a container, raise it with --shm-size"
    )
