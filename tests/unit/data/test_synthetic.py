"""The synthetic set is what its tables say, and its objects show where they should."""

import hashlib
from pathlib import Path

import numpy as np
import pytest

from tune_cmx.data.audit import audit
from tune_cmx.data.dataset import PairedDataset
from tune_cmx.data.readers import READERS, open_data, read_labels
from tune_cmx.data.split import make_split, split_warnings
from tune_cmx.data.synthetic import synthesize
from tune_cmx.errors import ConfigError, DataError

SMALL = {"images": 30, "size": 48, "sequences": 12}


def content(folder: Path) -> str:
    digest = hashlib.sha256()
    for path in sorted(folder.rglob("*")):
        if path.is_file():
            digest.update(str(path.relative_to(folder)).encode() + path.read_bytes())
    return digest.hexdigest()


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    return open_data(synthesize(tmp_path_factory.mktemp("synthetic") / "set", images=96, sequences=24))


def test_it_opens_and_passes_the_audit(data):
    found = audit(data)
    assert set(found.sizes.values()) == {(96, 96)}
    assert len(found.sizes) == 96
    assert found.negatives > 0
    assert 150 < sum(found.boxes.values()) < 384
    assert found.warnings == ()
    assert len({frame.sequence for frame in data.images}) == 24
    assert split_warnings(make_split(data), data) == []


def shown(data):
    """For each box, in which modalities its inside differs from the ring around it."""
    found = []
    for index, frame in enumerate(data.images):
        image, _ = PairedDataset(data, [frame.id], list(data.bands), augment=None, seed=0)[0]
        for box in read_labels(data, frame).boxes * 96:
            x1, y1, x2, y2 = box
            height, width = (y2 - y1) / 4, (x2 - x1) / 4
            inner = image[:, int(y1 + height) : int(y2 - height), int(x1 + width) : int(x2 - width)].mean(dim=(1, 2))
            rgb = float(inner[0] - inner[2]) > 0.35
            thermal = float(inner[3]) > 0.7
            edges = image[4, max(0, int(y1) - 3) : int(y2) + 3, max(0, int(x1) - 3) : int(x2) + 3]
            found.append((index, rgb, thermal, int((edges > 0.7).sum()) > 4))
    return found


def test_a_third_of_the_objects_shows_in_rgb_only_and_a_third_in_thermal_only(data):
    found = shown(data)
    kinds = [(rgb, thermal) for _, rgb, thermal, _ in found]
    assert (False, False) not in kinds
    for kind in ((True, False), (False, True), (True, True)):
        assert 0.25 < kinds.count(kind) / len(kinds) < 0.42
    moving = [event for _, _, thermal, event in found if thermal]
    assert np.mean(moving) > 0.95
    assert np.mean([event for _, _, thermal, event in found if not thermal]) < 0.05


def test_neighbouring_frames_are_alike_and_sequences_are_not(data):
    pixels = [PairedDataset(data, [frame.id], ["rgb"], augment=None, seed=0)[0][0] for frame in data.images]
    sequences = [frame.sequence for frame in data.images]
    steps = [float((pixels[index] - pixels[index - 1]).abs().mean()) for index in range(1, len(pixels))]
    within = [step for step, index in zip(steps, range(1, 96), strict=True) if sequences[index] == sequences[index - 1]]
    across = [step for step, index in zip(steps, range(1, 96), strict=True) if sequences[index] != sequences[index - 1]]
    assert 2 * np.mean(within) < np.mean(across)


def test_the_seed_decides_every_byte(tmp_path):
    first, second = (synthesize(tmp_path / name, **SMALL, seed=3) for name in ("first", "second"))
    assert content(first) == content(second)
    assert content(first) != content(synthesize(tmp_path / "third", **SMALL, seed=4))


def test_both_forms_hold_the_same_pixels(tmp_path):
    folders = open_data(synthesize(tmp_path / "folders", **SMALL))
    packed = open_data(synthesize(tmp_path / "npy", **SMALL, form="npy"))
    assert packed.reader is READERS["npy"]
    assert packed.sequences_known
    modalities = ["rgb", "thermal", "event"]
    for id in (folders.images[0].id, folders.images[-1].id):
        images = [PairedDataset(data, [id], modalities, augment=None, seed=0)[0][0] for data in (folders, packed)]
        assert bool((images[0] == images[1]).all())


def test_only_its_own_folder_is_replaced(tmp_path):
    out = synthesize(tmp_path / "set", **SMALL)
    before = (out / "synthetic.json").stat().st_mtime_ns
    assert synthesize(out, **SMALL) == out
    assert (out / "synthetic.json").stat().st_mtime_ns == before
    synthesize(out, **{**SMALL, "images": 12})
    assert len(open_data(out).images) == 12
    (out / "notes.txt").write_text("mine")
    with pytest.raises(DataError, match=r"holds notes\.txt, which is not part of a synthetic set"):
        synthesize(out, **SMALL)
    other = tmp_path / "other"
    (other / "rgb").mkdir(parents=True)
    with pytest.raises(DataError, match="holds rgb"):
        synthesize(other, **SMALL)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["other", "set"]


@pytest.mark.parametrize("bad", [{"images": 3, "sequences": 4}, {"size": 8}, {"form": "zip"}, {"seed": -1}])
def test_settings_that_cannot_be(tmp_path, bad):
    with pytest.raises(ConfigError, match="a synthetic set"):
        synthesize(tmp_path / "set", **bad)
