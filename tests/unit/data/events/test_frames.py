"""Events as images: values worked out by hand, and what holds for all events."""

import math

import numpy as np
import pytest
from event_sets import rows
from hypothesis import given
from hypothesis import strategies as st

from tune_cmx.config.data.events import EventsConfig
from tune_cmx.data.events.frames import (
    Events,
    as_bytes,
    event_image,
    polarity_counts,
    time_surface,
    voxel_grid,
)

HEIGHT, WIDTH = 3, 4
START, END = 1_000, 51_000


def events_of(table, start=START, end=END) -> Events:
    t, x, y, p = np.asarray(table, dtype=np.int64).reshape(-1, 4).T
    return Events(t, x, y, p > 0, start, end)


A_FEW = events_of(rows((1_000, 0, 0, 1), (13_500, 2, 1, 0), (26_000, 2, 1, 1), (50_999, 2, 1, 1), (50_999, 3, 2, 0)))


@st.composite
def any_events(draw) -> Events:
    one = st.tuples(
        st.integers(START, END - 1), st.integers(0, WIDTH - 1), st.integers(0, HEIGHT - 1), st.integers(0, 1)
    )
    return events_of(sorted(draw(st.lists(one, max_size=30))))


any_config = st.builds(
    EventsConfig,
    representation=st.sampled_from(["count", "voxel_grid", "time_surface"]),
    bins=st.integers(2, 6),
    saturation=st.integers(1, 4),
    tau_ms=st.floats(1, 1000),
)


def opposite(events: Events) -> Events:
    return Events(events.t, events.x, events.y, ~events.p, events.start_us, events.end_us)


def test_counts_by_hand() -> None:
    expected = np.zeros((HEIGHT, WIDTH, 2))
    expected[0, 0, 0] = 1
    expected[1, 2] = 2, 1
    expected[2, 3, 1] = 1
    np.testing.assert_array_equal(polarity_counts(A_FEW, HEIGHT, WIDTH), expected)


def test_a_count_is_scaled_by_the_saturation_and_stays_at_one() -> None:
    image = event_image(A_FEW, HEIGHT, WIDTH, EventsConfig(saturation=4))
    assert image.dtype == np.float32
    assert image[1, 2].tolist() == [0.5, 0.25]
    assert event_image(A_FEW, HEIGHT, WIDTH, EventsConfig(saturation=1)).max() == 1


def test_a_voxel_grid_by_hand() -> None:
    """Three bins at 1, 26 and 51 ms: 13.5 ms is half way between the first two."""
    grid = voxel_grid(A_FEW, HEIGHT, WIDTH, 3)
    assert grid.shape == (HEIGHT, WIDTH, 3)
    assert grid[0, 0].tolist() == [1, 0, 0]
    last = (50_999 - 26_000) / 25_000
    np.testing.assert_allclose(grid[1, 2], [-0.5, -0.5 + 1 + (1 - last), last], atol=1e-12)
    np.testing.assert_allclose(grid[2, 3], [0, -(1 - last), -last], atol=1e-12)
    image = event_image(A_FEW, HEIGHT, WIDTH, EventsConfig(representation="voxel_grid", bins=3, saturation=2))
    np.testing.assert_allclose(image, 0.5 + grid / 4, atol=1e-6)


def test_a_time_surface_by_hand() -> None:
    """Only the last event of a pixel and polarity counts; its age is from the end of the window."""
    surface = time_surface(A_FEW, HEIGHT, WIDTH, tau_ms=25)
    assert surface.dtype == np.float32
    assert surface[0, 0].tolist() == pytest.approx([math.exp(-2), 0])
    assert surface[1, 2].tolist() == pytest.approx([math.exp(-0.001 / 25), math.exp(-37.5 / 25)])
    assert (surface > 0).sum() == 4


@pytest.mark.parametrize(
    ("representation", "neutral", "byte"), [("count", 0, 0), ("voxel_grid", 0.5, 128), ("time_surface", 0, 0)]
)
def test_a_window_without_events_gives_the_neutral_image(representation, neutral, byte) -> None:
    config = EventsConfig(representation=representation)
    image = event_image(events_of([]), HEIGHT, WIDTH, config)
    assert image.shape == (HEIGHT, WIDTH, config.bands)
    assert (image == neutral).all()
    assert (as_bytes(image) == byte).all()


def test_an_image_is_stored_in_steps_of_one_of_255() -> None:
    image = np.array([0, 0.1, 0.5, 0.999, 1], dtype=np.float32)
    assert as_bytes(image).tolist() == [0, 26, 128, 255, 255]


@given(any_events())
def test_counts_sum_to_the_number_of_events(events) -> None:
    assert polarity_counts(events, HEIGHT, WIDTH).sum() == len(events)


@given(any_events())
def test_opposite_polarities_swap_the_bands(events) -> None:
    for make in (polarity_counts, lambda *of: time_surface(*of, tau_ms=20)):
        here, there = make(events, HEIGHT, WIDTH), make(opposite(events), HEIGHT, WIDTH)
        np.testing.assert_array_equal(here, there[:, :, ::-1])
    np.testing.assert_allclose(
        voxel_grid(events, HEIGHT, WIDTH, 3), -voxel_grid(opposite(events), HEIGHT, WIDTH, 3), atol=1e-12
    )


@given(any_events(), st.integers(2, 8))
def test_the_bins_of_a_pixel_sum_to_its_signed_count(events, bins) -> None:
    counts = polarity_counts(events, HEIGHT, WIDTH)
    signed = counts[:, :, 0] - counts[:, :, 1]
    np.testing.assert_allclose(voxel_grid(events, HEIGHT, WIDTH, bins).sum(axis=2), signed, atol=1e-9)


@given(any_events(), any_config)
def test_every_image_is_within_0_and_1_and_has_the_bands_of_its_configuration(events, config) -> None:
    image = event_image(events, HEIGHT, WIDTH, config)
    assert image.shape == (HEIGHT, WIDTH, config.bands)
    assert image.dtype == np.float32
    assert image.min() >= 0
    assert image.max() <= 1
    assert np.abs(as_bytes(image) / 255 - image).max() <= 0.5 / 255 + 1e-6


@given(any_events(), any_config)
def test_the_events_are_not_changed(events, config) -> None:
    before = [column.copy() for column in (events.t, events.x, events.y, events.p)]
    event_image(events, HEIGHT, WIDTH, config)
    for column, old in zip((events.t, events.x, events.y, events.p), before, strict=True):
        np.testing.assert_array_equal(column, old)
