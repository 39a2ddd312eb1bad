"""Frames in shared memory: the same numbers, decoded once, gone with the last process however it ends."""

import logging
import os
import pickle
import subprocess
import sys
import time
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
from tune_cmx.data.frame_cache import frames_kept, shared_frames
from tune_cmx.data.layout import open_data
from tune_cmx.data.pixels import read_frame
from tune_cmx.errors import DataError

ALL = ["rgb", "thermal", "event"]
IDS = [f"f{number}" for number in range(6)]
PROCESS = """
import sys, time
from pathlib import Path
from tune_cmx.data import frame_cache
from tune_cmx.data.audit import audit
from tune_cmx.data.layout import open_data
root, base, log, seconds = Path(sys.argv[1]), Path(sys.argv[2]), Path(sys.argv[3]), float(sys.argv[4])
data = open_data(root)
read_frame = frame_cache.read_frame
def slow(data, frame, modalities):
    time.sleep(seconds)
    with log.open("a") as file:
        print(sys.argv[5], frame.id, file=file)
    return read_frame(data, frame, modalities)
found = audit(data)
frame_cache.read_frame = slow
print("ready", flush=True)
sys.stdin.readline()
with frame_cache.shared_frames(data, found, base) as frames:
    images = [pixels for frame in data.frames for pixels in frames.read(frame.id, list(data.bands))]
    print(sum(int(pixels.sum()) for pixels in images), flush=True)
    sys.stdin.readline()
"""


@pytest.fixture
def base(tmp_path):
    """A folder in place of /dev/shm."""
    return tmp_path / "memory"


@pytest.fixture
def process(base, tmp_path):
    """A function that starts a process which opens a set's shared frames when it is told to go on, and then again
    waits for that; a frame takes it so many seconds to decode."""
    begun = []

    def start(root, name="a", seconds=0.0):
        command = [sys.executable, "-c", PROCESS, *map(str, (root, base, tmp_path / "log", seconds, name))]
        pipes = dict.fromkeys(("stdin", "stdout", "stderr"), subprocess.PIPE)
        begun.append(subprocess.Popen(command, text=True, **pipes))
        assert begun[-1].stdout.readline() == "ready\n"
        return begun[-1]

    yield start
    for one in begun:
        one.kill()
        one.communicate()


def go_on(process):
    process.stdin.write("\n")
    process.stdin.flush()


def left(base):
    return sorted(path.name for path in base.iterdir())


def until(condition):
    deadline = time.monotonic() + 20
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.01)


def opened(root):
    data = open_data(root)
    return data, audit(data)


def samples(data, frames, **settings):
    dataset = PairedDataset(
        data, [frame.id for frame in data.frames], ALL, **{"augment": None, "seed": 3, "shared": frames, **settings}
    )
    return [dataset[index] for index in range(len(dataset))]


def same(first, second):
    assert len(first) == len(second)
    for (image, target), (other_image, other_target) in zip(first, second, strict=True):
        assert torch.equal(image, other_image)
        assert target.keys() == other_target.keys()
        assert all(torch.equal(target[key], other_target[key]) for key in target)


@contextmanager
def untouched(frames, data):
    """Frames that are the same bytes afterwards."""
    before = [pixels.tobytes() for frame in data.frames for pixels in frames.read(frame.id, ALL)]
    yield
    assert before == [pixels.tobytes() for frame in data.frames for pixels in frames.read(frame.id, ALL)]


class TestNumbers:
    @pytest.fixture(params=["folders", "sixteen bits", "packed", "packed floats"])
    def root(self, request, folders, packed):
        draw = np.random.default_rng(0)
        sizes = [(8, 12), (4, 6), (9, 5)]  # frames of a set may differ in size
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
        with shared_frames(data, found, base) as frames, untouched(frames, data):
            same(samples(data, frames), plain)
            same(samples(data, pickle.loads(pickle.dumps(frames))), plain)  # as a loader that is not forked has it
            twisted = {"augment": AugmentConfig(), "seed": 4}
            same(samples(data, frames, **twisted), samples(data, None, **twisted))

    def test_pixels_are_those_that_are_read_and_cannot_be_written(self, root, base):
        data, found = opened(root)
        with shared_frames(data, found, base) as frames:
            for frame in data.frames:
                read = read_frame(data, frame, ALL)
                for modality, pixels in zip(ALL, frames.read(frame.id, ALL), strict=True):
                    assert pixels.dtype == read[modality].dtype
                    np.testing.assert_array_equal(pixels, read[modality])
                    with pytest.raises(ValueError, match="read-only"):
                        pixels[0, 0, 0] = 1

    def test_loaders_of_several_processes_give_the_same(self, root, base):
        data, found = opened(root)
        settings = {"batch_size": 2, "shuffle": True, "seed": 1, "epoch": 2}
        ids = [frame.id for frame in data.frames]
        with shared_frames(data, found, base) as frames:
            loaded = []
            for shared, workers in ((None, 0), (frames, 0), (frames, 2)):
                dataset = PairedDataset(data, ids, ALL, augment=AugmentConfig(), seed=0, shared=shared)
                batches = build_loader(dataset, workers=workers, **settings)
                loaded.append([sample for images, targets in batches for sample in zip(images, targets, strict=True)])
        same(loaded[1], loaded[0])
        same(loaded[2], loaded[0])


class TestProcesses:
    def test_of_two_that_come_at_once_one_decodes(self, folders, base, process, tmp_path):
        first, second = (process(root, name, 0.05) for root, name in zip([folders(IDS)] * 2, "ab", strict=True))
        go_on(first)
        go_on(second)
        assert first.stdout.readline() == second.stdout.readline()
        decoded = [line.split() for line in (tmp_path / "log").read_text().splitlines()]
        assert len({name for name, _ in decoded}) == 1
        assert sorted(id for _, id in decoded) == sorted([*IDS, IDS[0]])  # the first one also for its number type
        assert len(left(base)) == 1
        go_on(first)
        go_on(second)
        says = [one.communicate()[1] for one in (first, second)]
        assert sum("waiting for another process" in text for text in says) == 1
        assert left(base) == []

    def test_the_last_one_that_leaves_removes_them(self, folders, base, process):
        root = folders(IDS)
        data, found = opened(root)
        other = process(root)
        with shared_frames(data, found, base) as frames:
            go_on(other)
            total = sum(int(pixels.sum()) for id in IDS for pixels in frames.read(id, ALL))
            assert int(other.stdout.readline()) == total
        assert len(left(base)) == 1
        with shared_frames(data, found, base) as frames:  # still there: nothing is decoded anew
            assert frames is not None
        go_on(other)
        other.communicate()
        assert left(base) == []

    def test_what_a_killed_builder_left_is_built_anew(self, folders, base, process):
        root = folders(IDS)
        killed = process(root, seconds=0.2)
        go_on(killed)
        until(lambda: any(base.glob("*/frames.part")))
        killed.kill()
        killed.wait()
        assert len(left(base)) == 1
        data, found = opened(root)
        plain = samples(data, None)
        with shared_frames(data, found, base) as frames:
            same(samples(data, frames), plain)
            assert not any(base.glob("*/*.part"))
        assert left(base) == []

    def test_one_that_waits_for_a_builder_that_is_killed_builds(self, folders, base, process):
        root = folders(IDS)
        killed, waits = process(root, "a", seconds=0.5), process(root, "b")
        go_on(killed)
        until(lambda: any(base.glob("*/frames.part")))
        go_on(waits)
        assert "waiting" in waits.stderr.readline()
        killed.kill()
        assert int(waits.stdout.readline()) > 0
        go_on(waits)
        waits.communicate()
        assert left(base) == []

    def test_leftovers_of_another_set_are_removed_and_what_is_used_is_not(self, folders, base, process):
        killed, alive = process(folders(IDS, name="killed")), process(folders(IDS[:4], name="alive"))
        for one in (killed, alive):
            go_on(one)
            one.stdout.readline()
        killed.kill()
        killed.wait()
        data, found = opened(folders(IDS[:3], name="mine"))
        assert len(left(base)) == 2
        with shared_frames(data, found, base):
            assert len(left(base)) == 2
        go_on(alive)
        alive.communicate()
        assert left(base) == []

    def test_they_outlive_trials_where_somebody_keeps_them(self, folders, base, process, tmp_path):
        root = folders(IDS)
        data, found = opened(root)
        with frames_kept(data, found, base) as lack:
            assert lack is None
            for name in "ab":
                trial = process(root, name)
                go_on(trial)
                trial.stdout.readline()
                go_on(trial)
                trial.communicate()
                assert any(base.glob("*/index.json"))
        assert {line.split()[0] for line in (tmp_path / "log").read_text().splitlines()} == {"a"}
        assert left(base) == []


class TestKey:
    def test_pixels_that_changed_are_other_frames(self, folders, base):
        """Also where the audit is older than the files, as in a study that is taken up."""
        root = folders(IDS)
        data, found = opened(root)
        with shared_frames(data, found, base) as before:
            old = before.read("f0", ["rgb"])[0].copy()
            Image.new("RGB", (12, 8), (1, 2, 3)).save(root / "rgb" / "f0.png")
            os.utime(root / "rgb" / "f0.png", ns=(1, 1))
            with shared_frames(data, found, base) as after:
                assert (after.read("f0", ["rgb"])[0] != old).any()
            np.testing.assert_array_equal(before.read("f0", ["rgb"])[0], old)


class TestWithout:
    def test_too_little_room_is_a_warning(self, folders, base, monkeypatch, caplog):
        data, found = opened(folders(IDS))
        monkeypatch.setattr(os, "statvfs", lambda _: SimpleNamespace(f_bavail=3, f_frsize=1024))
        with caplog.at_level(logging.WARNING), shared_frames(data, found, base) as frames:
            assert frames is None
            assert left(base) == []
        assert "the decoded frames take 0.00 GiB, and 0.00 GiB may be used, 80% of what is free" in caplog.text
        assert "every process decodes its own frames" in caplog.text
        with frames_kept(data, found, base) as lack:
            assert "--shm-size" in lack
        assert left(base) == []

    def test_frames_that_turn_out_larger_than_the_first(self, packed, base, monkeypatch, caplog):
        arrays = {"a": np.zeros((8, 8, 5), np.uint8), **{id: np.zeros((8, 8, 5), np.float32) for id in "bcd"}}
        data, found = opened(packed(arrays))
        monkeypatch.setattr(os, "statvfs", lambda _: SimpleNamespace(f_bavail=4, f_frsize=1024))
        with shared_frames(data, found, base) as frames:
            assert frames is None
        assert "may be used" in caplog.text
        assert left(base) == []

    def test_a_place_that_cannot_be_used(self, folders, tmp_path, caplog):
        data, found = opened(folders(IDS))
        (tmp_path / "file").write_text("")
        with shared_frames(data, found, tmp_path / "file") as frames:
            assert frames is None
        assert "no shared frames in" in caplog.text

    def test_a_folder_that_is_a_link(self, folders, base, tmp_path, caplog):
        data, found = opened(folders(IDS))
        with shared_frames(data, found, base):
            name = left(base)[0]
        (tmp_path / "elsewhere").mkdir()
        (base / name).symlink_to(tmp_path / "elsewhere")
        with shared_frames(data, found, base) as frames:
            assert frames is None
        assert "another user's" in caplog.text
        assert left(tmp_path / "elsewhere") == []

    def test_a_frame_that_cannot_be_read_is_named(self, folders, base):
        root = folders(IDS)
        data, found = opened(root)
        (root / "rgb" / "f3.png").write_bytes(b"")
        with pytest.raises(DataError, match=r"rgb/f3\.png: corrupt"), shared_frames(data, found, base):
            pass
        (root / "rgb" / "f3.png").unlink()
        with pytest.raises(DataError, match=r"f3\.png: cannot be read"), shared_frames(data, found, base):
            pass
        assert not base.exists() or left(base) == []


def test_by_default_they_are_in_shared_memory_under_the_users_number(folders):
    data, found = opened(folders([*IDS, "only-here"]))
    memory = Path("/dev/shm")
    before = set(memory.glob(f"tune-cmx-{os.getuid()}-*"))
    with shared_frames(data, found) as frames:
        assert frames is not None
        assert len(set(memory.glob(f"tune-cmx-{os.getuid()}-*")) - before) == 1
    assert set(memory.glob(f"tune-cmx-{os.getuid()}-*")) <= before
