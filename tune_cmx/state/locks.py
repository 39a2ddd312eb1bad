"""The lock of a study folder or a run folder, which its process holds while it works."""

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

LOCK_FILE = ".lock"


def is_locked(folder: Path) -> bool:
    """Whether another process holds the folder's lock. A dead process holds none."""
    path = folder / LOCK_FILE
    if path.is_symlink() or not path.is_file():
        return False
    with path.open("rb") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except BlockingIOError:
            return True
    return False


@contextmanager
def locked(folder: Path) -> Iterator[bool]:
    """Hold the folder's lock in the block; False: another process holds it.

    Raises:
        OSError: The lock cannot be written, or is a symbolic link.
    """
    with os.fdopen(os.open(folder / LOCK_FILE, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW, 0o644), "r+b") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            yield False
        else:
            yield True
