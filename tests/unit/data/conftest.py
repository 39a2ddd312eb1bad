"""Tiny data sets on the disk, one frame at a time."""

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

Builder = Callable[..., Path]
BOX = "0 0.5 0.5 0.5 0.5\n"


@pytest.fixture
def folders(tmp_path: Path) -> Builder:
    """Build a set of image folders: 8 rows and 12 columns a frame, one box in its middle."""

    def build(
        ids: Sequence[str] = ("a", "b", "c"),
        *,
        images: Mapping[str, Any] | None = None,
        labels: Mapping[str, str] | None = None,
        sequences: Mapping[str, str] | None = None,
        classes: Sequence[str] | None = ("person",),
        modalities: Sequence[str] = ("rgb", "thermal", "event"),
        name: str = "set",
    ) -> Path:
        """`images` has pixels by `modality/id`, `labels` has texts by id, in place of the usual ones."""
        root = tmp_path / name
        draw = np.random.default_rng(0)
        for modality in modalities:
            (root / modality).mkdir(parents=True)
            for id in ids:
                shape = (8, 12, 3) if modality == "rgb" else (8, 12)
                pixels = draw.integers(0, 256, shape, dtype=np.uint8)
                pixels = (images or {}).get(f"{modality}/{id}", pixels)
                Image.fromarray(pixels).save(root / modality / f"{id}.png")
        (root / "labels").mkdir()
        for id, text in (dict.fromkeys(ids, BOX) if labels is None else labels).items():
            (root / "labels" / f"{id}.txt").write_text(text)
        if classes is not None:
            (root / "classes.txt").write_text("".join(f"{name}\n" for name in classes))
        if sequences is not None:
            rows = [f"{id},{sequence}" for id, sequence in sequences.items()]
            (root / "sequences.csv").write_text("\n".join(["id,sequence", *rows]) + "\n")
        return root

    return build


@pytest.fixture
def packed(tmp_path: Path) -> Builder:
    """Build a set of .npy files in `images/`, labels in `labels/` beside it; the root is the folder of both."""

    def build(arrays: Mapping[str, Any], *, labels: Mapping[str, str] | None = None, name: str = "packed") -> Path:
        root = tmp_path / name
        (root / "images").mkdir(parents=True)
        (root / "labels").mkdir()
        for id, array in arrays.items():
            np.save(root / "images" / f"{id}.npy", array)
        for id, text in (dict.fromkeys(arrays, BOX) if labels is None else labels).items():
            (root / "labels" / f"{id}.txt").write_text(text)
        (root / "classes.txt").write_text("person\n")
        return root

    return build


@pytest.fixture
def base(tmp_path: Path) -> Path:
    """A folder in place of /dev/shm."""
    return tmp_path / "memory"
