"""Frames in shared memory: the same numbers, decoded once, or none where they do not fit."""

import logging
import os
import pickle
from contextlib import contextmanager
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from PIL import Image

from tune_cmx.config.trial import AugmentConfig
from tune_cmx.data.audit import audit
from tune_cmx.data.dataset import PairedDataset, build_loader
from tune_cmx.data.readers import open_data, read_image
from tune_cmx.data.shared.image_cache import images_kept, shared_images
from tune_cmx.errors import DataError

ALL = ["rgb", "thermal", "event"]
IDS = [f"f{number}" for number in range(6)]


def left(base):
    return sorted(path.name for path in base.iterdir())


def opened(root):
    data = open_data(root)
    return data, audit(data)


def samples(data, cached, **settings):
    dataset = PairedDataset(
        data, [image.id for image in data.images], ALL, **{"augment": None, "seed": 3, "shared": cached, **settings}
    )
    return [dataset[index] for index in range(len(dataset))]


def same(first, second):
    assert len(first) == len(second)
    for (image, target), (other_image, other_target) in zip(first, second, strict=True):
        assert torch.equal(image, other_image)
        assert target.keys() == other_target.keys()
        assert all(torch.equal(target[key], other_target[key]) for key in target)


@contextmanager
def untouched(cached, data):
    """Frames that are the same bytes afterwards."""
    before = [pixels.tobytes() for image in data.images for pixels in cached.read(image.id, ALL)]
    yield
    assert before == [pixels.tobytes() for image in data.images for pixels in cached.read(image.id, ALL)]


class TestNumbers:
    @pytest.fixture(params=["folders", "sixteen bits", "packed", "packed floats"])
    def root(self, request, folders, packed):
        draw = np.random.default_rng(0)
        sizes = [(8, 12), (4, 6), (9, 5)]  # images of a set may differ in size
        if request.param == "folders":
            images = {
                f"{modality}/{id}": draw.integers(0, 256, size + ((3,) if modality == "rgb" else ()), dtype=np.uint8)
                for id, size in zip("abc", sizes, strict=True)
                for modality in ALL
            }
            return folders(images=images)
        if request.param == "sixteen bits":  # beside rgb of eight
            return folders(images={f"thermal/{id}": draw.integers(0, 65536, (8, 12), dtype=np.uint16) for id in "abc"})
        arrays = {
            id: draw.integers(0, 256, (*size, 5), dtype=np.uint8)
            if request.param == "packed"
            else draw.random((*size, 5))
            for id, size in zip("abc", sizes, strict=True)
        }
        return packed(arrays)

    def test_samples_are_the_same_bits(self, root, base):
        data, found = opened(root)
        plain = samples(data, None)
        with shared_images(data, found, base) as cached, untouched(cached, data):
            same(samples(data, cached), plain)
            same(samples(data, pickle.loads(pickle.dumps(cached))), plain)  # as a loader that is not forked has it
            twisted = {"augment": AugmentConfig(), "seed": 4}
            same(samples(data, cached, **twisted), samples(data, None, **twisted))

    def test_pixels_are_those_that_are_read_and_cannot_be_written(self, root, base):
        data, found = opened(root)
        with shared_images(data, found, base) as cached:
            for image in data.images:
                read = read_image(data, image, ALL)
                for modality, pixels in zip(ALL, cached.read(image.id, ALL), strict=True):
                    assert pixels.dtype == read[modality].dtype
                    np.testing.assert_array_equal(pixels, read[modality])
                    with pytest.raises(ValueError, match="read-only"):
                        pixels[0, 0, 0] = 1

    def test_loaders_of_several_processes_give_the_same(self, root, base):
        data, found = opened(root)
        settings = {"batch_size": 2, "shuffle": True, "seed": 1, "epoch": 2}
        ids = [image.id for image in data.images]
        with shared_images(data, found, base) as cached:
            loaded = []
            for shared, workers in ((None, 0), (cached, 0), (cached, 2)):
                dataset = PairedDataset(data, ids, ALL, augment=AugmentConfig(), seed=0, shared=shared)
                batches = build_loader(dataset, workers=workers, **settings)
                loaded.append([sample for images, targets in batches for sample in zip(images, targets, strict=True)])
        same(loaded[1], loaded[0])
        same(loaded[2], loaded[0])


class TestKey:
    def test_pixels_that_changed_are_other_images(self, folders, base):
        """Also where the audit is older than the files, as in a study that is taken up."""
        root = folders(IDS)
        data, found = opened(root)
        with shared_images(data, found, base) as before:
            old = before.read("f0", ["rgb"])[0].copy()
            Image.new("RGB", (12, 8), (1, 2, 3)).save(root / "rgb" / "f0.png")
            os.utime(root / "rgb" / "f0.png", ns=(1, 1))
            with shared_images(data, found, base) as after:
                assert (after.read("f0", ["rgb"])[0] != old).any()
            np.testing.assert_array_equal(before.read("f0", ["rgb"])[0], old)


class TestWithout:
    def test_too_little_room_is_a_warning(self, folders, base, monkeypatch, caplog):
        data, found = opened(folders(IDS))
        monkeypatch.setattr(os, "statvfs", lambda _: SimpleNamespace(f_bavail=3, f_frsize=1024))
        with caplog.at_level(logging.WARNING), shared_images(data, found, base) as cached:
            assert cached is None
            assert left(base) == []
        assert "the decoded images take 0.00 GiB, and 0.00 GiB may be used, 80% of the free memory" in caplog.text
        assert "every process decodes its own images" in caplog.text
        with images_kept(data, found, base) as lack:
            assert "--shm-size" in lack
        assert left(base) == []

    def test_images_that_turn_out_larger_than_the_first(self, packed, base, monkeypatch, caplog):
        root = packed({id: np.zeros((8, 8, 5), np.uint8) for id in "abcd"})
        data, found = opened(root)
        for id in "bcd":  # the files changed after the audit
            np.save(root / "images" / f"{id}.npy", np.zeros((8, 8, 5), np.float32))
        monkeypatch.setattr(os, "statvfs", lambda _: SimpleNamespace(f_bavail=4, f_frsize=1024))
        with shared_images(data, found, base) as cached:
            assert cached is None
        assert "may be used" in caplog.text
        assert left(base) == []

    def test_a_place_that_cannot_be_used(self, folders, tmp_path, caplog):
        data, found = opened(folders(IDS))
        (tmp_path / "file").write_text("")
        with shared_images(data, found, tmp_path / "file") as cached:
            assert cached is None
        assert "no shared images in" in caplog.text

    def test_a_folder_that_is_a_link(self, folders, base, tmp_path, caplog):
        data, found = opened(folders(IDS))
        with shared_images(data, found, base):
            name = left(base)[0]
        (tmp_path / "elsewhere").mkdir()
        (base / name).symlink_to(tmp_path / "elsewhere")
        with shared_images(data, found, base) as cached:
            assert cached is None
        assert "another user" in caplog.text
        assert left(tmp_path / "elsewhere") == []

    def test_a_frame_that_cannot_be_read_is_named(self, folders, base):
        root = folders(IDS)
        data, found = opened(root)
        (root / "rgb" / "f3.png").write_bytes(b"")
        with pytest.raises(DataError, match=r"rgb/f3\.png: the file is empty"), shared_images(data, found, base):
            pass
        (root / "rgb" / "f3.png").unlink()
        with pytest.raises(DataError, match=r"f3\.png: cannot be read"), shared_images(data, found, base):
            pass
        assert not base.exists() or left(base) == []


def test_by_default_they_are_in_shared_memory_under_the_users_number(folders):
    data, found = opened(folders([*IDS, "only-here"]))
    memory = Path("/dev/shm")
    before = set(memory.glob(f"tune-cmx-{os.getuid()}-*"))
    with shared_images(data, found) as cached:
        assert cached is not None
        assert len(set(memory.glob(f"tune-cmx-{os.getuid()}-*")) - before) == 1
    assert set(memory.glob(f"tune-cmx-{os.getuid()}-*")) <= before
