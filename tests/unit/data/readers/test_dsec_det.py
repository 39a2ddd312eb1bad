"""DSEC-Det as it lies on the disk."""

from pathlib import Path

import h5py
import numpy as np
import pytest
from event_sets import DSEC_OFFSET, HEIGHT, STEP_US, TRACK, WIDTH, dsec_det
from PIL import Image

from tune_cmx.config.data.events import EventsConfig, EventWindow
from tune_cmx.data.audit import audit
from tune_cmx.data.readers import PairedData, open_data, read_image, read_labels
from tune_cmx.data.readers.sets.dsec_det import CLASSES
from tune_cmx.errors import ConfigError, DataError

FIRST = "train/zurich_city_00_a"
TRACKS = f"{FIRST}/object_detections/left/tracks.npy"


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(tmp_path / "home"))


@pytest.fixture
def root(tmp_path: Path) -> Path:
    return dsec_det(tmp_path / "set")


def image_of(data: PairedData, id: str):
    return next(image for image in data.images if image.id == id)


def change_tracks(root: Path, **fields) -> None:
    """New values of the first row of a sequence's tracks."""
    tracks = np.load(root / TRACKS)
    for name, value in fields.items():
        tracks[name][0] = value
    np.save(root / TRACKS, tracks)


def test_images_sequences_classes_and_times_are_read(root) -> None:
    data = open_data(root)
    assert [image.id for image in data.images][:2] == ["zurich_city_00_a_000000", "zurich_city_00_a_000001"]
    assert len(data.images) == 12
    assert data.bands == {"rgb": (0, 1, 2), "event": (0, 1)}
    assert data.classes == CLASSES
    assert data.sequences_known
    image = image_of(data, "zurich_city_01_a_000002")
    assert (image.sequence, image.number, image.part) == ("zurich_city_01_a", 2, "train")
    assert image.time_us == DSEC_OFFSET + 3 * STEP_US
    assert data.remarks == ()


def test_the_tracks_at_the_time_of_an_image_are_its_boxes(root) -> None:
    data = open_data(root)
    for number in range(4):
        labels = read_labels(data, image_of(data, f"zurich_city_01_a_{number:06d}"))
        left = 8 + 5 * number
        assert labels.in_pixels(HEIGHT, WIDTH).tolist() == [[left, 12, left + 16, 32]]
        assert [CLASSES[id] for id in labels.classes] == ["car"]


def test_the_official_validation_sequences_are_in_val(tmp_path) -> None:
    names = ("train/zurich_city_00_a", "train/zurich_city_16_a", "train/zurich_city_21_a", "test/thun_02_a")
    data = open_data(dsec_det(tmp_path / "set", names, images=1))
    assert [image.part for image in data.images] == ["test", "train", "val", "val"]


def test_an_event_image_shows_the_50_ms_before_the_image(root) -> None:
    """The object's left edge falls and its right edge rises, where the image has them."""
    data = open_data(root)
    counts = read_image(data, image_of(data, "zurich_city_00_a_000001"), ["event"])["event"]
    assert (counts.dtype, counts.shape) == (np.uint8, (HEIGHT, WIDTH, 2))
    assert sorted(set(np.nonzero(counts[:, :, 0])[1].tolist())) == [13 + 15]
    assert sorted(set(np.nonzero(counts[:, :, 1])[1].tolist())) == [13]


def test_another_representation_has_other_bands(root) -> None:
    config = EventsConfig(representation="voxel_grid", bins=4, window=EventWindow(events=100))
    data = open_data(root, events=config)
    assert data.bands["event"] == (0, 1, 2, 3)
    assert read_image(data, data.images[0], ["rgb", "event"])["event"].shape == (HEIGHT, WIDTH, 4)
    other = open_data(root).with_events(config)
    assert (other.bands, other.raw_events) == (data.bands, data.raw_events)


def test_the_audit_reads_all_of_it(root) -> None:
    found = audit(open_data(root))
    assert set(found.sizes.values()) == {(HEIGHT, WIDTH)}
    assert (found.class_boxes["pedestrian"], found.class_boxes["car"]) == (8, 4)


@pytest.mark.parametrize(("kept", "bands"), [("rgb", {"rgb"}), ("events", {"event"})])
def test_images_or_events_alone_are_read(tmp_path, kept, bands) -> None:
    data = open_data(dsec_det(tmp_path / "set", rgb=kept == "rgb", events=kept == "events"))
    assert set(data.bands) == bands
    assert len(data.images) == 12
    assert (data.raw_events is None) == (kept == "rgb")
    if kept == "events":
        assert read_image(data, data.images[0], ["event"])["event"].shape == (480, 640, 2)


def test_events_are_refused_where_there_are_none(tmp_path) -> None:
    root = dsec_det(tmp_path / "set", events=False)
    with pytest.raises(ConfigError, match=r"data\.events: is for raw events, and .* has no events; leave data\.events"):
        open_data(root, events=EventsConfig())


def test_a_sequence_without_tracks_is_named_and_not_read(root) -> None:
    (root / TRACKS).unlink()
    data = open_data(root)
    assert {image.sequence for image in data.images} == {"zurich_city_01_a", "zurich_city_12_a"}
    assert data.remarks == (f"not read, as they have no object_detections/left/tracks.npy: {FIRST}",)


def test_images_in_the_view_of_the_rgb_camera_are_refused(root) -> None:
    (root / FIRST / "images" / "left" / "distorted").rename(root / FIRST / "images" / "left" / "rectified")
    with pytest.raises(DataError, match=r"Download the remapped images into images/left/distorted/"):
        open_data(root)


def test_a_sequence_that_lacks_what_others_have_is_named(root) -> None:
    (root / FIRST / "events" / "left" / "events.h5").unlink()
    with pytest.raises(DataError, match=rf"no events/left/events\.h5 in {FIRST}; add it, or move"):
        open_data(root)


def test_a_box_beyond_the_edge_is_clipped_and_one_outside_left_out(root) -> None:
    change_tracks(root, x=-6.0)
    labels = read_labels(open_data(root), open_data(root).images[0])
    assert labels.boxes.tolist() == [[0, 12, 10, 32]]
    change_tracks(root, x=-60.0)
    data = open_data(root)
    assert data.remarks == ("boxes of the tracks that were left out, as they lie outside of the image: 1",)
    assert len(read_labels(data, data.images[0]).boxes) == 0


def test_a_box_without_an_image_at_its_time_is_counted(root) -> None:
    change_tracks(root, t=DSEC_OFFSET + 7)
    assert open_data(root).remarks == ("boxes of the tracks that were left out, as no image has their time: 1",)


def test_tracks_on_another_clock_are_refused(root) -> None:
    tracks = np.load(root / TRACKS)
    tracks["t"] -= DSEC_OFFSET
    np.save(root / TRACKS, tracks)
    with pytest.raises(DataError, match=r"tracks\.npy: no box at the time of an image in .*timestamps\.txt"):
        open_data(root)


@pytest.mark.parametrize(
    ("fields", "said"),
    [
        ({"class_id": 8}, r"row 0: class_id is 8; allowed: 0\.\.7 \(pedestrian, "),
        ({"w": 0}, r"row 0: x 8, y 12, width 0, height 20; finite numbers are needed, width and height above 0"),
        ({"h": np.inf}, r"row 0: x 8, y 12, width 16, height inf"),
        ({"x": np.nan}, r"row 0: x nan, y 12"),
    ],
)
def test_a_wrong_track_is_named_with_its_row(root, fields, said) -> None:
    change_tracks(root, **fields)
    with pytest.raises(DataError, match=said):
        open_data(root)


@pytest.mark.parametrize(("field", "value", "said"), [("class_id", -1, "class_id is -1"), ("t", np.nan, "t is nan")])
def test_tracks_of_other_number_types_are_checked_too(root, field, value, said) -> None:
    kinds = [(name, {"class_id": "i4", "t": "f8"}.get(name, TRACK[name])) for name in TRACK.names]
    np.save(root / TRACKS, np.load(root / TRACKS).astype(kinds))
    change_tracks(root, **{field: value})
    with pytest.raises(DataError, match=rf"row 0: {said}"):
        open_data(root)


def test_tracks_without_a_field_are_refused(root) -> None:
    np.save(root / TRACKS, np.zeros(2, dtype=TRACK)[["t", "x", "y", "w", "h"]])
    with pytest.raises(DataError, match=r"tracks\.npy: no field class_id"):
        open_data(root)


def test_an_image_without_a_time_is_named(root) -> None:
    times = root / FIRST / "images" / "timestamps.txt"
    times.write_text("\n".join(times.read_text().split()[:3]) + "\n")
    with pytest.raises(DataError, match=r"000003\.png: no time in .*timestamps\.txt, which has 3 lines"):
        open_data(root)


def test_events_of_another_sensor_are_named_by_the_audit(root) -> None:
    with h5py.File(root / FIRST / "events" / "left" / "events.h5", "a") as file:
        file["events/x"][0] = WIDTH
    with pytest.raises(DataError, match=rf"events\.h5: x of events is \d+\.\.{WIDTH}; the sensor of {WIDTH}×{HEIGHT}"):
        audit(open_data(root))


def test_an_image_of_another_size_is_named_by_the_audit(root) -> None:
    path = root / FIRST / "images" / "left" / "distorted" / "000002.png"
    Image.fromarray(np.zeros((10, 10, 3), np.uint8)).save(path)
    with pytest.raises(
        DataError, match=rf"zurich_city_00_a_000002: modalities differ in size .*event {WIDTH}×{HEIGHT}"
    ):
        audit(open_data(root))


def _change_events(root: Path, change) -> None:
    with h5py.File(root / FIRST / "events" / "left" / "events.h5", "r+") as file:
        change(file)


def _empty(file) -> None:
    for name in "txyp":
        del file[f"events/{name}"]
        file[f"events/{name}"] = np.zeros(0, dtype=np.uint32)


def _shift(file) -> None:
    file["t_offset"][()] = DSEC_OFFSET + 10_000_000


def _reverse(file) -> None:
    file["events/t"][:] = file["events/t"][:][::-1]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (_empty, r"events\.h5: has no event; download the file again"),
        (_shift, r"events\.h5: events are of .* so no image has an event; t_offset"),
        (_reverse, r"events\.h5: times of events are not ascending"),
    ],
)
def test_events_of_another_time_than_the_images_are_refused(root, change, message) -> None:
    _change_events(root, change)
    with pytest.raises(DataError, match=message):
        open_data(root)


def test_images_without_an_event_in_their_window_are_counted(root) -> None:
    assert not any("have no event" in text for text in audit(open_data(root)).warnings)
    _change_events(root, lambda file: file["t_offset"].__setitem__((), DSEC_OFFSET + 2 * STEP_US))
    warnings = audit(open_data(root)).warnings
    assert any("of 12 images have no event in their window" in text for text in warnings)
