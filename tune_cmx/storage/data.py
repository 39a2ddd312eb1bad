"""Data sets on storage, downloaded once a machine."""

import fcntl
import hashlib
import json
import posixpath
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from tune_cmx.errors import StorageError
from tune_cmx.retry import RETRY_S
from tune_cmx.storage.store import Store

_AT_ONCE = 8


def fetch_data(uri: str, cache: Path, *, retry_s: float = RETRY_S) -> Path:
    """Download a data set, unless this machine has it; processes that need it at the same time wait for the first.

    An interrupted download continues. Data that changed on the storage are downloaded again, beside the old copy.

    Args:
        uri: The data set's folder.
        cache: A folder of this machine, with room for the data set.
        retry_s: Seconds for which one request is tried again.

    Returns:
        The data set's folder below `cache`; it exists only once it is complete.

    Raises:
        StorageError: The folder is empty, or the storage did not answer in time.
    """
    store = Store(uri, retry_s)
    files = store.files("")
    if not files:
        raise StorageError(f"{store.name}: no files are there; copy the data set there, or correct the URI")
    content = json.dumps([uri, *((name, files[name].size, files[name].mtime_ns) for name in sorted(files))])
    name = posixpath.basename(uri.partition("?")[0].rstrip("/")) or "data"
    whole = cache / f"{name}-{hashlib.sha256(content.encode()).hexdigest()[:12]}"
    cache.mkdir(parents=True, exist_ok=True)
    with (cache / f".{whole.name}.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not whole.exists():
            unfinished = cache / f".{whole.name}.partial"
            missing = [file for file in sorted(files) if not (unfinished / file).exists()]
            with ThreadPoolExecutor(_AT_ONCE) as threads:
                fetched = list(threads.map(lambda file: store.get(file, unfinished / file), missing))
            if not all(fetched):
                raise StorageError(f"{store.name}: {missing[fetched.index(False)]} was removed meanwhile; start again")
            unfinished.rename(whole)
    return whole
