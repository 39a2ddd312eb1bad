"""The pixel sums of all images of a set as an array for each modality, and these arrays in a JSON file."""

import base64
from collections.abc import Iterator, Mapping, Sequence
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tune_cmx.data.audit.one_image import Sums

Columns = Mapping[str, NDArray[np.float64]]


class SetSums(Mapping[str, Mapping[str, tuple[Sums, ...]]]):
    """Pixel sums of each band, by image id and modality; those of an image are made when they are asked for.

    Args:
        ids: Of the images.
        columns: By modality, images×bands×3: sum, sum of squares, number of pixels.
    """

    def __init__(self, ids: Sequence[str], columns: Columns) -> None:
        self._ids, self._columns = ids, columns

    @classmethod
    def of(cls, ids: Sequence[str], images: Sequence[Mapping[str, Sequence[Sums]]]) -> "SetSums":
        """From the sums of each image, in the order of the ids."""
        modalities = images[0] if images else ()
        return cls(ids, {name: np.array([image[name] for image in images], dtype=np.float64) for name in modalities})

    @classmethod
    def from_json(cls, ids: Sequence[str], content: Mapping[str, str]) -> "SetSums":
        """From what `to_json` gave, and the ids in the same order."""
        flat = {name: np.frombuffer(base64.b64decode(text), dtype="<f8") for name, text in content.items()}
        return cls(ids, {name: values.reshape(len(ids), -1, 3) for name, values in flat.items()})

    def to_json(self) -> dict[str, Any]:
        """By modality the bytes of its array (little-endian float64) as base64; as decimal numbers they take longer."""
        return {
            name: base64.b64encode(np.ascontiguousarray(values, dtype="<f8").tobytes()).decode()
            for name, values in self._columns.items()
        }

    def columns(self, ids: Sequence[str]) -> Columns:
        """The arrays of some images."""
        rows = np.fromiter((self._row_of[id] for id in ids), dtype=np.intp, count=len(ids))
        return {name: values[rows] for name, values in self._columns.items()}

    @cached_property
    def _row_of(self) -> dict[str, int]:
        return {id: row for row, id in enumerate(self._ids)}

    def __getitem__(self, id: str) -> Mapping[str, tuple[Sums, ...]]:
        row = self._row_of[id]
        return {
            name: tuple((total, squares, int(number)) for total, squares, number in values[row].tolist())
            for name, values in self._columns.items()
        }

    def __iter__(self) -> Iterator[str]:
        return iter(self._ids)

    def __len__(self) -> int:
        return len(self._ids)

    def __repr__(self) -> str:
        return f"SetSums of {len(self)} images"
