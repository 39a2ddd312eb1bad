"""Event images are computed once for what they depend on, by however many processes."""

import io
import logging
import os
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest

from tune_cmx.config.data.events import EventsConfig, EventWindow
from tune_cmx.data.events import kept_images
from tune_cmx.data.events.kept_images import config_key

COUNT = EventsConfig()


def kept_image(*given):
    return np.load(io.BytesIO(kept_images.kept_image(*given)))


class Maker:
    """Makes an image and counts how often."""

    def __init__(self) -> None:
        self.calls = 0
        self.image = np.random.default_rng(0).integers(0, 256, (6, 8, 2), dtype=np.uint8)

    def __call__(self):
        self.calls += 1
        return self.image


@pytest.fixture
def source(tmp_path: Path) -> Path:
    path = tmp_path / "events.h5"
    path.write_bytes(b"events")
    return path


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path / "kept"


def test_an_image_is_computed_once_and_read_back_to_the_bit(source, folder) -> None:
    make = Maker()
    for _ in range(3):
        image = kept_image(source, 50_000, COUNT, make, folder)
        assert image.dtype == np.uint8
        np.testing.assert_array_equal(image, make.image)
    assert make.calls == 1
    assert [path.suffix for path in folder.rglob("*") if path.is_file()] == [".z"]


def test_another_time_configuration_or_file_is_another_image(source, folder) -> None:
    make = Maker()
    kept_image(source, 50_000, COUNT, make, folder)
    kept_image(source, 100_000, COUNT, make, folder)
    for other in (
        EventsConfig(representation="voxel_grid"),
        EventsConfig(window=EventWindow(events=20_000)),
        EventsConfig(saturation=5),
    ):
        kept_image(source, 50_000, other, make, folder)
    os.utime(source, ns=(0, 0))
    kept_image(source, 50_000, COUNT, make, folder)
    assert make.calls == 6


def test_other_code_computes_again(source, folder, monkeypatch) -> None:
    make = Maker()
    kept_image(source, 50_000, COUNT, make, folder)
    before = config_key(COUNT)
    monkeypatch.setattr(kept_images, "_code", lambda: "other")
    assert config_key(COUNT) != before
    kept_image(source, 50_000, COUNT, make, folder)
    assert make.calls == 2


def test_a_damaged_file_is_computed_again(source, folder) -> None:
    make = Maker()
    kept_image(source, 50_000, COUNT, make, folder)
    (path,) = folder.rglob("*.npy.z")
    for content in (b"", b"half", path.read_bytes()[:-40]):
        path.write_bytes(content)
        np.testing.assert_array_equal(kept_image(source, 50_000, COUNT, make, folder), make.image)
    assert make.calls == 4


def test_many_at_once_leave_one_whole_file(source, folder) -> None:
    make = Maker()
    with ThreadPoolExecutor(8) as pool:
        found = list(pool.map(lambda _: kept_image(source, 50_000, COUNT, make, folder), range(32)))
    assert all(np.array_equal(image, make.image) for image in found)
    assert [path.suffix for path in folder.rglob("*") if path.is_file()] == [".z"]


def test_a_folder_that_cannot_be_written_is_warned_of_once(source, tmp_path, caplog) -> None:
    blocked = tmp_path / "file"
    blocked.write_bytes(b"")
    make = Maker()
    with caplog.at_level(logging.WARNING):
        for time in range(3):
            np.testing.assert_array_equal(kept_image(source, time, COUNT, make, blocked), make.image)
    (record,) = caplog.records
    assert record.getMessage() == (
        f"{blocked}: event images cannot be kept: Not a directory; each is computed whenever it is read"
    )


def test_the_default_folder_is_in_the_users_cache(source, tmp_path, monkeypatch) -> None:
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    kept_image(source, 50_000, COUNT, Maker())
    assert len(list((tmp_path / "home" / ".cache" / "tune_cmx" / "events").glob("count-*/*/*.npy.z"))) == 1
