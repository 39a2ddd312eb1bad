"""Bands as pictures for people."""

import numpy as np
import pytest

from tune_cmx.data.band_pictures import band_panels


def test_colour_is_one_panel_and_every_other_band_one_of_its_own() -> None:
    bands = {"rgb": np.zeros((4, 6, 3), np.uint8), "thermal": np.zeros((4, 6, 1), np.uint16)}
    panels = band_panels({**bands, "event": np.zeros((4, 6, 2), np.float32)})
    assert [name for name, _ in panels] == ["rgb", "thermal", "event 1", "event 2"]
    assert {(panel.size, panel.mode) for _, panel in panels} == {((6, 4), "RGB")}


def test_rgb_of_other_than_three_bands_is_shown_band_by_band() -> None:
    assert [name for name, _ in band_panels({"rgb": np.zeros((2, 2, 2), np.uint8)})] == ["rgb 1", "rgb 2"]


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16, np.float32])
def test_colours_are_kept_whatever_the_type_of_number(dtype: type) -> None:
    top = 1.0 if dtype is np.float32 else float(np.iinfo(dtype).max)
    eight = np.arange(256, dtype=np.uint8).repeat(3).reshape(16, 16, 3)
    ((_, panel),) = band_panels({"rgb": (eight / 255 * top).round(0 if top > 1 else 6).astype(dtype)})
    assert np.array_equal(np.asarray(panel), eight)


@pytest.mark.parametrize("dtype", [np.int32, np.float32])
def test_colours_of_other_numbers_are_spread_by_one_range(dtype: type) -> None:
    raw = np.linspace(-500, 9000, 300).reshape(10, 10, 3).astype(dtype)
    ((_, panel),) = band_panels({"rgb": raw})
    assert (np.asarray(panel).min(), np.asarray(panel).max()) == (0, 255)


def test_a_band_that_uses_little_of_its_range_is_spread_over_black_and_white() -> None:
    ((_, panel),) = band_panels({"thermal": np.arange(29_000, 29_100, dtype=np.uint16).reshape(10, 10, 1)})
    assert (np.asarray(panel).min(), np.asarray(panel).max()) == (0, 255)


def test_a_band_that_never_changes_is_black() -> None:
    ((_, panel),) = band_panels({"event": np.full((5, 5, 1), 7, np.uint8)})
    assert np.asarray(panel).max() == 0
