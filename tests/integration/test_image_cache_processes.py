"""Frames in shared memory are decoded by one process, and gone with the last one however it ends."""

import subprocess
import sys
import time

import numpy as np
import pytest
from PIL import Image

from tune_cmx.data.audit import audit
from tune_cmx.data.readers import open_data, read_image
from tune_cmx.data.shared.image_cache import images_kept, shared_images

ALL = ["rgb", "thermal", "event"]
IDS = [f"f{number}" for number in range(6)]
PROCESS = """
import sys, time
from pathlib import Path
from tune_cmx.data.shared import image_cache
from tune_cmx.data.audit import audit
from tune_cmx.data.readers import open_data
root, base, log, seconds = Path(sys.argv[1]), Path(sys.argv[2]), Path(sys.argv[3]), float(sys.argv[4])
data = open_data(root)
read_image = image_cache.read_image
def slow(data, image, modalities):
    time.sleep(seconds)
    with log.open("a") as file:
        print(sys.argv[5], image.id, file=file)
    return read_image(data, image, modalities)
found = audit(data)
image_cache.read_image = slow
print("ready", flush=True)
sys.stdin.readline()
with image_cache.shared_images(data, found, base) as cached:
    images = [pixels for image in data.images for pixels in cached.read(image.id, list(data.bands))]
    print(sum(int(pixels.sum()) for pixels in images), flush=True)
    sys.stdin.readline()
"""


@pytest.fixture
def base(tmp_path):
    """A folder in place of /dev/shm."""
    return tmp_path / "memory"


@pytest.fixture
def folders(tmp_path):
    """Build a set of image folders: 8 rows and 12 columns an image, one box in its middle."""

    def build(ids, name="set"):
        draw, root = np.random.default_rng(0), tmp_path / name
        for part in (*ALL, "labels"):
            (root / part).mkdir(parents=True)
        for id in ids:
            for modality in ALL:
                pixels = draw.integers(0, 256, (8, 12, 3) if modality == "rgb" else (8, 12), dtype=np.uint8)
                Image.fromarray(pixels).save(root / modality / f"{id}.png")
            (root / "labels" / f"{id}.txt").write_text("0 0.5 0.5 0.5 0.5\n")
        (root / "classes.txt").write_text("person\n")
        return root

    return build


@pytest.fixture
def process(base, tmp_path):
    """A function that starts a process which opens a set's shared images when it is told to go on, and then again
    waits for that; an image takes it so many seconds to decode."""
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
    deadline = time.monotonic() + 240
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.01)


def opened(root):
    data = open_data(root)
    return data, audit(data)


def test_of_two_that_come_at_once_one_decodes(folders, base, process, tmp_path):
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


def test_the_last_one_that_leaves_removes_them(folders, base, process):
    root = folders(IDS)
    data, found = opened(root)
    other = process(root)
    with shared_images(data, found, base) as cached:
        go_on(other)
        total = sum(int(pixels.sum()) for id in IDS for pixels in cached.read(id, ALL))
        assert int(other.stdout.readline()) == total
    assert len(left(base)) == 1
    with shared_images(data, found, base) as cached:  # still there: nothing is decoded anew
        assert cached is not None
    go_on(other)
    other.communicate()
    assert left(base) == []


def test_what_a_killed_builder_left_is_built_anew(folders, base, process):
    root = folders(IDS)
    killed = process(root, seconds=0.2)
    go_on(killed)
    until(lambda: any(base.glob("*/images.part")))
    killed.kill()
    killed.wait()
    assert len(left(base)) == 1
    data, found = opened(root)
    with shared_images(data, found, base) as cached:
        for image in data.images:
            plain = read_image(data, image, ALL)
            for modality, pixels in zip(ALL, cached.read(image.id, ALL), strict=True):
                np.testing.assert_array_equal(pixels, plain[modality])
        assert not any(base.glob("*/*.part"))
    assert left(base) == []


def test_one_that_waits_for_a_builder_that_is_killed_builds(folders, base, process):
    root = folders(IDS)
    killed, waits = process(root, "a", seconds=0.5), process(root, "b")
    go_on(killed)
    until(lambda: any(base.glob("*/images.part")))
    go_on(waits)
    assert "waiting" in waits.stderr.readline()
    killed.kill()
    assert int(waits.stdout.readline()) > 0
    go_on(waits)
    waits.communicate()
    assert left(base) == []


def test_leftovers_of_another_set_are_removed_and_what_is_used_is_not(folders, base, process):
    killed, alive = process(folders(IDS, name="killed")), process(folders(IDS[:4], name="alive"))
    for one in (killed, alive):
        go_on(one)
        one.stdout.readline()
    killed.kill()
    killed.wait()
    data, found = opened(folders(IDS[:3], name="mine"))
    assert len(left(base)) == 2
    with shared_images(data, found, base):
        assert len(left(base)) == 2
    go_on(alive)
    alive.communicate()
    assert left(base) == []


def test_they_outlive_trials_where_somebody_keeps_them(folders, base, process, tmp_path):
    root = folders(IDS)
    data, found = opened(root)
    with images_kept(data, found, base) as lack:
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
