"""Requests to a place on storage, and whether it can be written to."""

import os
import posixpath
import re
import shutil
import tempfile
import uuid
from collections.abc import Callable
from functools import cached_property
from pathlib import Path, PurePosixPath

import pyarrow
from pyarrow.fs import FileInfo, FileSelector, FileSystem, FileType

from tune_cmx.errors import StorageError
from tune_cmx.retry import Result, with_retry

_CHUNK = 64 * 2**20
_WHOLE = ("s3", "gcs", "abfs")
"""File systems on which an object appears whole or not at all."""
_ALLOWED = ("ACCESS_DENIED", "INVALID_ACCESS_KEY_ID", "SIGNATURE_DOES_NOT_MATCH", "UNRECOGNIZED_CLIENT")
_MISSING = ("NO_SUCH_BUCKET", "BUCKET_NOT_FOUND")


def is_uri(place: str | Path) -> bool:
    """Whether a place is named by a URI and not by a path."""
    return "://" in str(place)


def below(uri: str, name: str) -> str:
    """The URI of what lies under that name in a folder; the query, such as an endpoint, stays."""
    path, mark, query = uri.partition("?")
    return f"{path.rstrip('/')}/{name}{mark}{query}"


class Store:
    """A place on a file system of pyarrow's; each request is tried again while it fails."""

    def __init__(self, uri: str, retry_s: float) -> None:
        self.name = re.sub(r"(?<=://)[^/@]*@", "", uri)  # without credentials
        self._uri, self._retry_s = uri, retry_s

    @cached_property
    def _opened(self) -> tuple[FileSystem, str]:
        try:
            system, path = FileSystem.from_uri(self._uri)
        except pyarrow.ArrowInvalid as error:
            raise StorageError(f"{self.name}: {error}; give s3://bucket/prefix, or an absolute path") from error
        return system, path.rstrip("/")

    def _ask(self, what: str, relative: str, attempt: Callable[[FileSystem, str], Result]) -> Result:
        """One request, about a path below this place."""

        def request() -> Result:
            system, base = self._opened
            return attempt(system, posixpath.join(base, relative) if relative else base)

        def failure(error: OSError, spent_s: float) -> StorageError:
            reason = str(error).replace("\n", " ")
            return StorageError(
                f"{self.name}: could not {what} {relative or 'it'} in {spent_s:.0f} s: {reason}; {_fix(error)}"
            )

        place = f"{self.name}: {relative}"
        return with_retry(request, place, retry_s=self._retry_s, passes=_may_pass, failure=failure)

    def put(self, file: Path, relative: str) -> None:
        """Upload a file; a reader sees the old content or the new."""

        def attempt(system: FileSystem, path: str) -> None:
            whole = system.type_name in _WHOLE
            target = path if whole else f"{path}.{os.getpid()}.partial"
            if not whole:
                system.create_dir(posixpath.dirname(path))
            with file.open("rb") as source:
                chunk = source.read(_CHUNK)  # before the output is opened, for to close that is to publish it
                with system.open_output_stream(target, compression=None) as output:
                    while chunk:
                        output.write(chunk)
                        chunk = source.read(_CHUNK)
            if not whole:
                system.move(target, path)

        self._ask("write", relative, attempt)

    def get(self, relative: str, file: Path) -> bool:
        """Download a file, under its name only once it is whole; False if it is not there."""
        file.parent.mkdir(parents=True, exist_ok=True)
        unfinished = file.with_name(f".{file.name}.{os.getpid()}.partial")

        def attempt(system: FileSystem, path: str) -> bool:
            try:
                source = system.open_input_stream(path, compression=None)  # else a .gz is unpacked
            except FileNotFoundError:
                return False
            try:
                with source, unfinished.open("wb") as output:
                    shutil.copyfileobj(source, output, _CHUNK)
                unfinished.replace(file)
            finally:
                unfinished.unlink(missing_ok=True)
            return True

        return self._ask("read", relative, attempt)

    def kind(self, relative: str) -> FileType:
        """File, directory or not found."""
        return self._ask("look up", relative, lambda system, path: system.get_file_info(path).type)

    def entries(self, relative: str, *, recursive: bool) -> dict[str, FileInfo]:
        """Files and folders below, by their path from there; empty if there are none."""

        def attempt(system: FileSystem, path: str) -> dict[str, FileInfo]:
            found = system.get_file_info(FileSelector(path, recursive=recursive, allow_not_found=True))
            return {entry.path[len(path) :].removeprefix("/"): entry for entry in found}

        entries = self._ask("list", relative, attempt)
        for name in entries:
            if name.startswith("/") or ".." in PurePosixPath(name).parts:
                raise StorageError(f"{self.name}: '{name}' below '{relative}' would lead out of its folder; rename it")
        return entries

    def files(self, relative: str) -> dict[str, FileInfo]:
        """All files below that are not hidden."""
        entries = self.entries(relative, recursive=True)
        return {name: entry for name, entry in entries.items() if entry.is_file and not hidden(name)}

    def remove(self, relative: str) -> None:
        """Remove a file, or a folder with all that is in it, if it is there."""

        def attempt(system: FileSystem, path: str) -> None:
            kind = system.get_file_info(path).type
            if kind == FileType.Directory:
                system.delete_dir(path)
            elif kind == FileType.File:
                system.delete_file(path)

        self._ask("remove", relative, attempt)


def _may_pass(error: OSError) -> bool:
    hopeless = isinstance(error, FileNotFoundError | PermissionError)
    return not hopeless and not any(code in str(error) for code in (*_ALLOWED, *_MISSING))


def _fix(error: OSError) -> str:
    if any(code in str(error) for code in _MISSING):
        return "make the bucket first, or correct its name"
    if isinstance(error, PermissionError) or any(code in str(error) for code in _ALLOWED):
        return "give credentials, or a role, that may list, read, write and delete there"
    return "see that the storage can be reached from this machine and has room"


def hidden(name: str) -> bool:
    """Locks and unfinished files, which are nobody else's business."""
    return any(part.startswith(".") or part.endswith(".partial") for part in PurePosixPath(name).parts)


def check_writable(place: str | Path, *, retry_s: float = 20.0) -> None:
    """Write a small file, read it back, remove it: a wrong place is found before anything is trained.

    Args:
        place: A URI or a path; the folder is made if it is not there, a bucket is not.
        retry_s: How long to wait for storage that fails.

    Raises:
        StorageError: It cannot be written to or read from; says what failed and what to do.
    """
    store = Store(str(place) if is_uri(place) else str(Path(place).resolve()), retry_s)
    name = f"writable-{uuid.uuid4().hex}.txt"
    with tempfile.TemporaryDirectory() as made:
        sent, received = Path(made) / "sent", Path(made) / "received"
        sent.write_text(name)
        store.put(sent, name)
        found = store.get(name, received)
        store.remove(name)
        if not found or received.read_text() != name:
            raise StorageError(f"{store.name}: a file that was written does not come back; is it one storage?")
