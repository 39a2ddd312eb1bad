"""Decoded frames in memory that all processes of a machine share, each set once.

The first process to come decodes a set's frames into a folder in shared memory, while the others wait; each maps the
same file; the last to leave removes it.
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

from tune_cmx.data import pixels as pixels_module
from tune_cmx.data.audit import Audit
from tune_cmx.data.pixels import Pixels
from tune_cmx.data.readers import PairedData, PairedImage, read_image
from tune_cmx.data.shared_folder import locked_alone, shared_folder
from tune_cmx.errors import DataError

USABLE = 0.8
"""The fraction of what is free that a set may fill; the rest is for what else lies there, such as loaders' batches."""
_FORM = 1
"""Of what is written; another one is another folder."""
_BUILD, _FRAMES, _INDEX = "build", "frames", "index.json"
_ALIGN = 64
_THREADS, _AT_ONCE = 8, 64
"""Of the decoding: threads at most, and frames that may wait to be written."""
_MEMORY = Path("/proc/meminfo")
_LAST_S = 5.0
"""How long one that keeps the place waits for the processes it outlives to be gone."""
Place = tuple[int, str, tuple[int, ...]]
"""Where an image begins in the file, in bytes; its number type; its bands, rows and columns."""

_log = logging.getLogger(__name__)


class SharedImages:
    """The decoded frames of a set, read-only. A process that gets it pickled maps the same memory.

    Args:
        folder: Which holds them, and is held by the caller or its parent.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        places: dict[str, dict[str, Place]] = json.loads((folder / _INDEX).read_text(encoding="utf-8"))
        self._places = places
        self._bytes: NDArray[np.uint8] = np.asarray(np.memmap(folder / _FRAMES, dtype=np.uint8, mode="r"))

    def __reduce__(self) -> tuple[Any, ...]:
        return SharedImages, (self._folder,)

    @property
    def nbytes(self) -> int:
        """Of all frames."""
        return len(self._bytes)

    def read(self, id: str, modalities: Sequence[str]) -> list[Pixels]:
        """A frame's pixels, H×W×bands of each modality, as `read_image` gives them."""
        return [self._image(*self._places[id][modality]) for modality in modalities]

    def _image(self, start: int, dtype: str, shape: tuple[int, ...]) -> Pixels:
        number = np.dtype(dtype)
        bands: Pixels = self._bytes[start : start + math.prod(shape) * number.itemsize].view(number).reshape(shape)
        return bands.transpose(1, 2, 0)


@contextmanager
def shared_images(data: PairedData, audit: Audit, base: Path | None = None) -> Iterator[SharedImages | None]:
    """The set's frames in shared memory for as long as the context lasts, decoded by the first that asks.

    Where they do not fit, or the memory cannot be used, a warning in the log says so, and there are none.

    Args:
        data: The set.
        audit: Of it.
        base: The folder for all sets' folders; None: /dev/shm, or where there is none the folder for temporary files.

    Raises:
        DataError: A frame cannot be read.
    """
    base = base or _memory()
    with ExitStack() as stack:
        frames = None
        try:
            folder = stack.enter_context(shared_folder(base, _family(), _key(data, audit)))
            frames = _found_or_built(folder, data, audit)
        except OSError as error:
            _log.warning("%s; every process decodes its own frames", _reason(error, base))
        if frames is None:
            stack.close()
        yield frames


@contextmanager
def images_kept(data: PairedData, audit: Audit, base: Path | None = None) -> Iterator[str | None]:
    """Keep what trials put into shared memory between one trial and the next; nothing is decoded here.

    Args:
        data: The set.
        audit: Of it.
        base: As of `shared_images`.

    Yields:
        What is wrong, if trials will have to go without shared frames.

    Raises:
        DataError: A frame cannot be read.
    """
    base = base or _memory()
    with ExitStack() as stack:
        lack = None
        try:
            folder = stack.enter_context(shared_folder(base, _family(), _key(data, audit), last_s=_LAST_S))
            if not (folder / _INDEX).exists():
                _check_room(base, _bytes_needed(data, audit))
        except OSError as error:
            lack = f"{_reason(error, base)}; every process decodes its own frames"
            stack.close()
        yield lack


def _reason(error: OSError, base: Path) -> str:
    return f"no shared frames in {base}: {error.strerror or error}"


def _memory() -> Path:
    shared = Path("/dev/shm")
    return shared if os.access(shared, os.W_OK) else Path(tempfile.gettempdir())


def _family() -> str:
    return f"tune-cmx-{os.getuid()}-"


def _key(data: PairedData, audit: Audit) -> str:
    """Differs where any pixel could. The audit may be older than the files, and so their sizes and times count too."""
    files = sorted({path for frame in data.images for path in frame.files.values()})
    try:
        found = [(status.st_size, status.st_mtime_ns) for status in map(os.stat, files)]
    except OSError as error:
        raise DataError(f"{error.filename}: cannot be read: {error}") from error
    decoding = (Path(pixels_module.__file__), Path(inspect.getfile(type(data.reader))))
    code = [hashlib.sha256(path.read_bytes()).hexdigest() for path in decoding]
    described = [_FORM, code, audit.fingerprint, {name: list(bands) for name, bands in data.bands.items()}, found]
    return hashlib.sha256(json.dumps(described).encode()).hexdigest()[:16]


def _found_or_built(folder: Path, data: PairedData, audit: Audit) -> SharedImages:
    """The frames of a folder that is held.

    Raises:
        OSError: They do not fit.
        DataError: A frame cannot be read.
    """
    if not (folder / _INDEX).exists():
        with (folder / _BUILD).open("w") as lock:
            if not locked_alone(lock.fileno()):
                _log.warning("waiting for another process, which puts the frames into %s", folder)
                fcntl.flock(lock, fcntl.LOCK_EX)
            if not (folder / _INDEX).exists():
                _build(folder, data, audit)
    return SharedImages(folder)


def _build(folder: Path, data: PairedData, audit: Audit) -> None:
    part = folder / f"{_FRAMES}.part"
    part.unlink(missing_ok=True)  # of a builder that was killed
    room = _check_room(folder.parent, _bytes_needed(data, audit))
    places: dict[str, dict[str, Place]] = {}
    try:
        with part.open("wb") as file:
            for frame, images in _decoded(data):
                places[frame.id] = {modality: _append(file, pixels) for modality, pixels in images.items()}
                if file.tell() > room:  # some frames have larger numbers than the first
                    raise _no_room(file.tell(), room)
            file.flush()
            os.fsync(file.fileno())
        part.replace(folder / _FRAMES)
        index = folder / f"{_INDEX}.part"
        index.write_text(json.dumps(places), encoding="utf-8")
        index.replace(folder / _INDEX)  # last: whoever sees it may read
    except BaseException:
        part.unlink(missing_ok=True)
        raise


def _decoded(data: PairedData) -> Iterator[tuple[PairedImage, Mapping[str, Pixels]]]:
    """All frames in order, every modality of each."""
    modalities = list(data.bands)
    with ThreadPoolExecutor(min(_THREADS, os.cpu_count() or 1)) as pool:
        for start in range(0, len(data.images), _AT_ONCE):
            frames = data.images[start : start + _AT_ONCE]
            yield from zip(frames, pool.map(lambda frame: read_image(data, frame, modalities), frames), strict=True)


def _append(file: IO[bytes], pixels: Pixels) -> Place:
    """Band after band, as samples have them."""
    file.write(b"\0" * (-file.tell() % _ALIGN))
    start = file.tell()
    bands = np.ascontiguousarray(pixels.transpose(2, 0, 1))
    file.write(bands.data)
    return start, bands.dtype.str, bands.shape


def _bytes_needed(data: PairedData, audit: Audit) -> int:
    """Of all frames, if their numbers are of the same type as the first one's."""
    images = read_image(data, data.images[0], list(data.bands)).values()
    bytes_per_pixel = sum(pixels.shape[2] * pixels.itemsize for pixels in images)
    areas = (height * width for height, width in audit.sizes.values())
    return sum(bytes_per_pixel * area + len(data.bands) * _ALIGN for area in areas)


def _check_room(base: Path, needed: int) -> int:
    """Bytes that may be used.

    Raises:
        OSError: They are fewer than needed.
    """
    status = os.statvfs(base)
    free = status.f_bavail * status.f_frsize
    if base.is_relative_to("/dev/shm") and _MEMORY.exists():  # it may be larger than the memory that is left
        lines = dict(line.split(":") for line in _MEMORY.read_text(encoding="ascii").splitlines())
        free = min(free, int(lines["MemAvailable"].split()[0]) * 1024)
    room = int(USABLE * free)
    if needed > room:
        raise _no_room(needed, room)
    return room


def _no_room(needed: int, room: int) -> OSError:
    return OSError(
        f"the decoded frames take {needed / 2**30:.2f} GiB, and {room / 2**30:.2f} GiB may be used, {USABLE:.0%} of "
        "what is free; in a container, give it more with --shm-size"
    )
