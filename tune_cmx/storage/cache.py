"""The folders in which this machine keeps copies of files on storage, and what it computed from files."""

import hashlib
from pathlib import Path


def cache_folder() -> Path:
    """In the home folder of the user who runs the process."""
    return Path.home() / ".cache" / "tune_cmx"


def driver_folder(uri: str) -> Path:
    """The driver's copy of a study."""
    return cache_folder() / "studies" / _short(uri)


def worker_folder(uri: str) -> Path:
    """The workers' copy of a study; not the driver's, also on one machine, because each pulls its own."""
    return cache_folder() / "workers" / _short(uri)


def reader_folder(uri: str) -> Path:
    """The copy of a study for commands that only read it."""
    return cache_folder() / "read" / _short(uri)


def data_folder() -> Path:
    """The folder of data sets, each in a folder of its own."""
    return cache_folder() / "data"


def event_folder() -> Path:
    """The folder of images that were computed from raw events."""
    return cache_folder() / "events"


def audit_folder() -> Path:
    """The folder of what the audit found in each image of a set."""
    return cache_folder() / "audits"


def _short(uri: str) -> str:
    return hashlib.sha256(uri.encode()).hexdigest()[:16]
