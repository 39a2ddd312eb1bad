"""By what an image is known again without opening its files."""

import hashlib
import os
import time
from pathlib import Path
from typing import ClassVar

from tune_cmx.data.labels.base import LabelFile, LabelForm, LabelSource
from tune_cmx.data.readers import PairedData, PairedImage
from tune_cmx.data.readers.paths import texts_of

_UNSURE_NS = 2_000_000_000
"""A file that changed less than 2 s before it was looked up may change again without another time: on some file systems
times are whole seconds, or two."""


class Signatures:
    """Signatures of the images of a set, each found once: the state of the files before they are read.

    Two signatures differ if the image's id, a path, or the size, inode, time of the content or time of the inode of a
    file differs. The time of the inode changes also where a program sets the time of the content back, as `cp -p` does.

    Args:
        data: The set.
    """

    SIZE: ClassVar[int] = 16
    """Bytes of a signature."""

    def __init__(self, data: PairedData) -> None:
        self._data = data
        self._before_ns = time.time_ns() - _UNSURE_NS
        self._found: dict[str, tuple[bytes, int] | None] = {}
        self._forms: dict[int, str] = {}

    def of(self, image: PairedImage) -> bytes | None:
        """The signature; None where a file cannot be looked up."""
        found = self._looked_up(image)
        return None if found is None else found[0]

    def lasting(self, image: PairedImage) -> bytes | None:
        """The signature, if a change of a file after this would change it; otherwise None."""
        found = self._looked_up(image)
        return None if found is None or found[1] >= self._before_ns else found[0]

    def _looked_up(self, image: PairedImage) -> tuple[bytes, int] | None:
        if image.id not in self._found:
            self._found[image.id] = self._look_up(image)
        return self._found[image.id]

    def _look_up(self, image: PairedImage) -> tuple[bytes, int] | None:
        parts = [image.id, str(image.time_us)]
        latest = 0
        before = ""
        state = ""
        try:
            for modality, path in texts_of(image.files).items():
                if path != before:  # one file may hold all modalities
                    before = path
                    state, changed = _state(path)
                    latest = max(latest, changed)
                parts += (modality, state)
            if isinstance(image.label, LabelFile):
                state, changed = _state(image.label.file)
                parts += (self._form(image.label.form), state)
                latest = max(latest, changed)
            elif image.label is not None:
                parts.append(self._listed(image.label))
        except OSError:
            return None
        text = "\0".join(parts).encode(errors="surrogateescape")
        return hashlib.blake2b(text, digest_size=self.SIZE).digest(), latest

    def _form(self, form: LabelForm) -> str:
        if id(form) not in self._forms:  # the images of the set keep it alive
            self._forms[id(form)] = f"{type(form).__qualname__} {sorted(vars(form).items())!r}"
        return self._forms[id(form)]

    def _listed(self, label: LabelSource) -> str:
        """Of labels that the reader has in memory: what they are."""
        reading = label.read("", self._data.class_map)
        return repr((reading.digest, reading.size, reading.labels.pixels, reading.problems, reading.remarks))


def _state(path: str | Path) -> tuple[str, int]:
    """Path, size, inode and times of a file, and the later time in ns."""
    name = str(path)
    found = os.stat(name)  # noqa: PTH116  # half the time of path.stat()
    return (
        f"{name}\0{found.st_size} {found.st_ino} {found.st_mtime_ns} {found.st_ctime_ns}",
        max(found.st_mtime_ns, found.st_ctime_ns),
    )
