"""Real events: nine samples of PEDRo. Not part of the repository."""

import os
from pathlib import Path

import numpy as np
import pytest

from tune_cmx.config.data.events import EventsConfig, EventWindow
from tune_cmx.data.audit import audit
from tune_cmx.data.events.frames import polarity_counts, voxel_grid
from tune_cmx.data.events.sources import read_sample
from tune_cmx.data.readers import open_data, read_image, read_labels, signs

REPOSITORY = Path(__file__).parents[2]
PEDRO = Path(os.environ.get("TUNE_CMX_PEDRO", REPOSITORY.parent / "shared" / "data" / "pedro_examples"))
ALL = EventWindow(ms=1000.0)

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(not PEDRO.is_dir(), reason="needs samples of PEDRo; name their folder in TUNE_CMX_PEDRO"),
]


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))


@pytest.fixture
def data():
    return open_data(PEDRO)


def test_every_sample_and_label_can_be_used(data) -> None:
    assert signs(PEDRO)[0][0] == "pedro"
    found = audit(data)
    assert len(data.images) == 9
    assert set(found.sizes.values()) == {(260, 346)}
    assert found.class_boxes == {"person": 13}
    (warning,) = found.warnings
    assert warning.startswith("label files in yolo/ that were not read, as they have no sample: ")
    assert warning.endswith("train/frame0000007, train/frame0000074, val/frame0003422")


def test_the_events_of_a_sample_are_all_in_its_image(data) -> None:
    for image in data.images:
        events = read_sample(image.files["event"], ALL, 260, 346)
        assert 39_000 < events.end_us - events.start_us < 41_000
        counts = polarity_counts(events, 260, 346)
        assert counts.sum() == len(events) == len(np.load(image.files["event"]))
        grid = voxel_grid(events, 260, 346, 5)
        np.testing.assert_allclose(grid.sum(axis=2), counts[:, :, 0] - counts[:, :, 1], atol=1e-9)


@pytest.mark.parametrize("representation", ["count", "voxel_grid", "time_surface"])
@pytest.mark.parametrize("window", [EventWindow(ms=20.0), EventWindow(events=2000)])
def test_persons_who_move_have_more_events_than_the_rest(data, representation, window) -> None:
    """A person fills a part of the image; its share of the activity is larger than its share of the area."""
    config = EventsConfig(representation=representation, window=window)
    seen = data.with_events(config)
    inside = area = 0.0
    for image in seen.images:
        neutral = 128 if representation == "voxel_grid" else 0
        pixels = read_image(seen, image, ["event"])["event"]
        active = (pixels != neutral).any(axis=2)
        covered = np.zeros_like(active)
        for x1, y1, x2, y2 in read_labels(seen, image).in_pixels(260, 346).astype(int):
            covered[y1:y2, x1:x2] = True
        inside += active[covered].sum() / max(active.sum(), 1)
        area += covered.mean()
    assert inside > area
