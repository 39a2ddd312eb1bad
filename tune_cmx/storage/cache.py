"""Where this machine keeps copies of what lies on storage."""

import hashlib
from pathlib import Path


def cache_folder() -> Path:
    """In the home folder of whoever runs the process."""
    return Path.home() / ".cache" / "tune_cmx"


def driver_folder(uri: str) -> Path:
    """A study's copy at its driver."""
    return cache_folder() / "studies" / _short(uri)


def worker_folder(uri: str) -> Path:
    """A study's copy at its workers: another one than the driver's, also on one machine, for each must pull its own."""
    return cache_folder() / "workers" / _short(uri)


def reader_folder(uri: str) -> Path:
    """A study's copy for who only reads it."""
    return cache_folder() / "read" / _short(uri)


def data_folder() -> Path:
    """Data sets, each in a folder of its own."""
    return cache_folder() / "data"


def _short(uri: str) -> str:
    return hashlib.sha256(uri.encode()).hexdigest()[:16]
