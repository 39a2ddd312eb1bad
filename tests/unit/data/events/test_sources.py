"""Windows of raw events: which events they hold, and what is refused."""

from pathlib import Path

import h5py
import numpy as np
import pytest
from event_sets import DSEC_OFFSET, rows, write_hdf5
from hypothesis import given, settings
from hypothesis import strategies as st

from tune_cmx.config.data.events import EventWindow
from tune_cmx.data.events.sources import read_hdf5, read_sample
from tune_cmx.errors import DataError

SIZE = (3, 4)
"""Height and width."""
TEN_MS = EventWindow(ms=10.0)
TABLE = rows((500, 0, 0, 1), (900, 1, 0, 0), (4_000, 1, 1, 1), (9_999, 2, 1, 1), (10_000, 3, 2, 0), (20_500, 0, 2, 1))


@pytest.fixture
def recording(tmp_path: Path) -> Path:
    path = tmp_path / "events.h5"
    write_hdf5(path, TABLE)
    return path


def times(events) -> list[int]:
    return [t - DSEC_OFFSET for t in events.t.tolist()]


def test_a_window_in_ms_ends_before_the_image(recording) -> None:
    events = read_hdf5(recording, DSEC_OFFSET + 10_000, EventWindow(ms=6.0), *SIZE)
    assert times(events) == [4_000, 9_999]
    assert (events.x.tolist(), events.y.tolist(), events.p.tolist()) == ([1, 2], [1, 1], [True, True])
    assert (events.start_us, events.end_us) == (DSEC_OFFSET + 4_000, DSEC_OFFSET + 10_000)


def test_a_window_begins_with_the_recording_where_it_would_reach_before_it(recording) -> None:
    events = read_hdf5(recording, DSEC_OFFSET + 5_000, TEN_MS, *SIZE)
    assert times(events) == [500, 900, 4_000]
    assert events.start_us == DSEC_OFFSET + 500


def test_an_image_before_the_recording_has_no_events(recording) -> None:
    for end in (DSEC_OFFSET - 90_000, DSEC_OFFSET + 100):
        for window in (TEN_MS, EventWindow(events=3)):
            events = read_hdf5(recording, end, window, *SIZE)
            assert len(events) == 0
            assert events.start_us == events.end_us == end


def test_an_image_long_after_the_recording_has_no_events_of_its_time(recording) -> None:
    assert len(read_hdf5(recording, DSEC_OFFSET + 900_000, TEN_MS, *SIZE)) == 0
    assert times(read_hdf5(recording, DSEC_OFFSET + 900_000, EventWindow(events=2), *SIZE)) == [10_000, 20_500]


def test_a_window_in_events_has_the_last_ones_before_the_image(recording) -> None:
    events = read_hdf5(recording, DSEC_OFFSET + 10_000, EventWindow(events=2), *SIZE)
    assert times(events) == [4_000, 9_999]
    assert events.start_us == DSEC_OFFSET + 4_000
    assert len(read_hdf5(recording, DSEC_OFFSET + 10_000, EventWindow(events=50), *SIZE)) == 4


@settings(deadline=None, max_examples=40)
@given(
    st.lists(st.integers(0, 60_000), max_size=40),
    st.integers(-5_000, 90_000),
    st.integers(1, 60_000),
    st.integers(1, 9),
)
def test_the_index_by_ms_finds_what_a_search_over_all_times_finds(tmp_path_factory, found, end, length, count) -> None:
    path = tmp_path_factory.mktemp("any") / "events.h5"
    t = np.sort(np.array(found, dtype=np.int64))
    write_hdf5(path, np.stack([t, t % 4, t % 3, t % 2], axis=1), spare_ms=1 + count % 3)
    by_time = read_hdf5(path, DSEC_OFFSET + end, EventWindow(ms=length / 1000), *SIZE)
    assert times(by_time) == t[(t >= end - length) & (t < end)].tolist()
    by_number = read_hdf5(path, DSEC_OFFSET + end, EventWindow(events=count), *SIZE)
    assert times(by_number) == t[t < end][-count:].tolist()


def test_an_event_outside_of_the_sensor_is_refused(recording) -> None:
    with pytest.raises(DataError, match=r"events.h5: x of events is 1\.\.3; the sensor of 3×3 px has 0\.\.2"):
        read_hdf5(recording, DSEC_OFFSET + 15_000, TEN_MS.model_copy(update={"ms": 11.0}), 3, 3)


def test_a_file_without_a_part_of_dsecs_form_is_named_with_the_part(recording) -> None:
    with h5py.File(recording, "a") as file:
        del file["ms_to_idx"]
    with pytest.raises(DataError, match=r"events.h5: no ms_to_idx in it; an event file has events/t, "):
        read_hdf5(recording, DSEC_OFFSET, TEN_MS, *SIZE)


def test_an_index_of_other_events_is_refused(recording) -> None:
    with h5py.File(recording, "a") as file:
        file["ms_to_idx"][...] = 0
    with pytest.raises(DataError, match=r"ms_to_idx does not fit events/t: .* for a window of 14000\.\.24000 µs"):
        read_hdf5(recording, DSEC_OFFSET + 24_000, TEN_MS, *SIZE)


def test_what_is_no_hdf5_file_is_named(tmp_path) -> None:
    path = tmp_path / "events.h5"
    path.write_bytes(b"nothing of the kind")
    with pytest.raises(DataError, match=r"events.h5: cannot be read as HDF5"):
        read_hdf5(path, DSEC_OFFSET, TEN_MS, *SIZE)


def sample(tmp_path: Path, table) -> Path:
    path = tmp_path / "frame0000001.npy"
    np.save(path, table)
    return path


def test_a_sample_ends_with_its_last_event(tmp_path) -> None:
    path = sample(tmp_path, TABLE)
    events = read_sample(path, EventWindow(ms=11.0), *SIZE)
    assert events.t.tolist() == [9_999, 10_000, 20_500]
    assert (events.start_us, events.end_us) == (9_501, 20_501)
    assert read_sample(path, EventWindow(events=2), *SIZE).t.tolist() == [10_000, 20_500]


def test_a_window_longer_than_the_sample_takes_all_of_it(tmp_path) -> None:
    events = read_sample(sample(tmp_path, TABLE), EventWindow(ms=5_000.0), *SIZE)
    assert len(events) == len(TABLE)
    assert events.start_us == 500


def test_a_sample_may_be_empty(tmp_path) -> None:
    assert len(read_sample(sample(tmp_path, rows()), TEN_MS, *SIZE)) == 0


def test_polarities_may_be_minus_one_and_one(tmp_path) -> None:
    table = TABLE.copy()
    table[:, 3] = table[:, 3] * 2 - 1
    events = read_sample(sample(tmp_path, table), EventWindow(events=9), *SIZE)
    assert events.p.tolist() == [bool(p) for p in TABLE[:, 3]]


@pytest.mark.parametrize(
    ("table", "said"),
    [
        (TABLE.astype(np.float64), r"N×4 whole numbers are needed, t, x, y, p; got float64 of shape \(6, 4\)"),
        (TABLE[:, :3], r"N×4 whole numbers are needed"),
        (TABLE[::-1], "times of events are not ascending"),
        (TABLE * (1, 1, 1, 3), r"polarities of events are 0\.\.3; 0 and 1, or -1 and 1, are needed"),
        (TABLE - (0, 0, 1, 0), r"y of events is -1\.\.1; the sensor of 4×3 px has 0\.\.2"),
    ],
)
def test_a_sample_of_another_form_is_refused(tmp_path, table, said) -> None:
    with pytest.raises(DataError, match=said) as error:
        read_sample(sample(tmp_path, table), EventWindow(events=9), *SIZE)
    assert "frame0000001.npy" in str(error.value)
