"""A disk of its own for the study of scripts/chaos.py, small enough to be filled; Linux only, as a tmpfs is mounted."""

import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO

DISK_BYTES = 64 * 2**20
FILLER = "filler"
"""The file in the disk's folder that takes up all that is left."""


@contextmanager
def small_disk(folder: Path) -> Iterator[bool]:
    """A file system of its own for a folder; False where none may be mounted."""
    folder.mkdir(parents=True)
    mount = ["mount", "-t", "tmpfs", "-o", f"size={DISK_BYTES}", "tmpfs", str(folder)]
    try:
        mounted = subprocess.run(mount, capture_output=True, check=False).returncode == 0
    except FileNotFoundError:
        mounted = False
    try:
        yield mounted
    finally:
        if mounted:
            subprocess.run(["umount", "--lazy", str(folder)], check=True)


def fill(folder: Path, seconds: float) -> None:
    """Keep the disk of a folder full to the last byte for so long."""
    filler = folder / FILLER
    deadline = time.monotonic() + seconds
    with filler.open("wb", buffering=0) as file:
        while time.monotonic() < deadline:
            _fill(file)
            time.sleep(0.02)
    filler.unlink()


def _fill(file: IO[bytes]) -> None:
    size = 2**20
    while size:
        try:
            file.write(bytes(size))
        except OSError:
            size //= 2
