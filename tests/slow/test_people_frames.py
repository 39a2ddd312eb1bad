"""Real frames: 104 of them, hand-labelled, from 11 videos. Not part of the repository."""

import os
from pathlib import Path

import pytest

from tune_cmx.data.audit import audit, statistics
from tune_cmx.data.readers import open_data
from tune_cmx.data.split import make_split, split_warnings

REPOSITORY = Path(__file__).parents[2]
PEOPLE = Path(os.environ.get("TUNE_CMX_PEOPLE", REPOSITORY.parent / "shared" / "data" / "people"))

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(not PEOPLE.is_dir(), reason="needs the people frames; name their folder in TUNE_CMX_PEOPLE"),
]


@pytest.fixture(scope="module")
def data():
    return open_data(PEOPLE)


@pytest.fixture(scope="module")
def found(data):
    return audit(data)


def test_every_frame_and_label_can_be_used(data, found):
    assert list(data.bands) == ["rgb", "thermal", "event"]
    assert data.classes == ("person",)
    assert len(data.images) == 104
    assert set(found.sizes.values()) == {(480, 640)}
    assert sum(found.boxes.values()) == 385
    assert found.negatives == 8
    assert found.warnings == ()


def test_the_split_keeps_the_eleven_videos_apart(data, found):
    split = make_split(data, seed=0)
    parts = {"train": split.train, "val": split.val, "test": split.test}
    assert sum(len(names) for names in split.sequences.values()) == 11
    assert split_warnings(split, data) == []
    for part, fraction in zip(parts, (0.7, 0.15, 0.15), strict=True):
        assert len(parts[part]) / 104 == pytest.approx(fraction, abs=0.05)
        assert sum(found.boxes[id] for id in parts[part]) > 0
    assert 0.05 < statistics(found, split.train)["thermal"]["mean"][0] < 0.5
