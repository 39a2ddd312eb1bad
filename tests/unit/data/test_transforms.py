"""Whatever is drawn, pixels and boxes move together."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from tune_cmx.config.trial import AugmentConfig
from tune_cmx.data.transforms import Geometry, apply_geometry, draw_geometry, shifted

HEIGHT, WIDTH = 40, 56
STILL = Geometry(flip=False, top=0, left=0, height=HEIGHT, width=WIDTH)


def painted(box, bands=5):
    """An image in which the box is white in every band."""
    image = torch.zeros(bands, HEIGHT, WIDTH)
    x1, y1, x2, y2 = box
    image[:, y1:y2, x1:x2] = 1
    return image


def extent(band):
    """The box around a band's bright pixels; brighter than what lies outside the image, which is the mean."""
    rows, columns = torch.where(band > 0.75)
    return [float(value) for value in (columns.min(), rows.min(), columns.max() + 1, rows.max() + 1)]


@st.composite
def boxes(draw):
    """At most half of the image, so that its mean stays below what `extent` takes for bright."""
    x1, y1 = draw(st.integers(0, WIDTH - 8)), draw(st.integers(0, HEIGHT - 8))
    x2 = draw(st.integers(x1 + 8, WIDTH))
    return x1, y1, x2, draw(st.integers(y1 + 8, max(y1 + 8, min(HEIGHT, y1 + HEIGHT * WIDTH // (2 * (x2 - x1))))))


@given(box=boxes(), seed=st.integers(0, 2**32), low=st.floats(0.5, 1), high=st.floats(1, 2))
@settings(max_examples=60, deadline=None)
def test_every_band_and_the_box_move_together(box, seed, low, high):
    config = AugmentConfig(flip=0.5, scale=(low, high))
    geometry = draw_geometry(config, HEIGHT, WIDTH, torch.Generator().manual_seed(seed))
    image, moved, kept = apply_geometry(painted(box), torch.tensor([box]).float(), geometry)
    assert image.shape == (5, HEIGHT, WIDTH)
    assert (image == image[0]).all()
    assert len(moved) == int(kept.sum())
    for found in moved.tolist():
        assert 0 <= found[0] < found[2] <= WIDTH
        assert 0 <= found[1] < found[3] <= HEIGHT
        if min(found[2] - found[0], found[3] - found[1]) > 4:
            assert extent(image[0]) == pytest.approx(found, abs=1.5)


@given(box=boxes())
@settings(max_examples=20, deadline=None)
def test_two_flips_are_none(box):
    flip = Geometry(flip=True, top=0, left=0, height=HEIGHT, width=WIDTH)
    once_image, once_boxes, _ = apply_geometry(painted(box), torch.tensor([box]).float(), flip)
    image, back, _ = apply_geometry(once_image, once_boxes, flip)
    assert torch.equal(image, painted(box))
    assert back.tolist() == [list(map(float, box))]
    assert extent(once_image[2]) == once_boxes[0].tolist()


def test_standing_still_changes_nothing_and_drops_nothing():
    tiny = torch.tensor([[3.0, 3.0, 4.0, 4.0], [0.0, 0.0, 56.0, 40.0]])
    image, moved, kept = apply_geometry(painted((3, 3, 20, 20)), tiny, STILL)
    assert torch.equal(image, painted((3, 3, 20, 20)))
    assert torch.equal(moved, tiny)
    assert kept.tolist() == [True, True]


def test_boxes_that_are_hardly_visible_are_dropped():
    """The window is the left half, twice as large: x doubles, and what lies right of column 28 is cut."""
    half = Geometry(flip=False, top=0, left=0, height=20, width=28)
    given_boxes = torch.tensor(
        [
            [4.0, 4.0, 12.0, 12.0],  # wholly within
            [20.0, 4.0, 52.0, 12.0],  # 8 of 32 columns left: a quarter
            [21.0, 4.0, 53.0, 12.0],  # 7 of 32
            [30.0, 4.0, 40.0, 12.0],  # outside
            [27.4, 4.0, 28.4, 12.0],  # 0.6 of 1 column left, 1.2 px wide
        ]
    )
    _, moved, kept = apply_geometry(painted((4, 4, 12, 12)), given_boxes, half)
    assert kept.tolist() == [True, True, False, False, False]
    assert moved.tolist() == [[8.0, 8.0, 24.0, 24.0], [40.0, 8.0, 56.0, 24.0]]


def test_outside_is_the_mean_of_each_band():
    image = torch.stack([torch.full((HEIGHT, WIDTH), 0.25), torch.full((HEIGHT, WIDTH), 0.75)])
    wide = Geometry(flip=False, top=-40, left=-56, height=3 * HEIGHT, width=3 * WIDTH)
    moved, _, _ = apply_geometry(image, torch.zeros(0, 4), wide)
    assert torch.allclose(moved, image, atol=1e-6)


def test_no_boxes_stay_none():
    config = AugmentConfig(flip=1.0, scale=(0.5, 0.5))
    geometry = draw_geometry(config, HEIGHT, WIDTH, torch.Generator().manual_seed(0))
    _, moved, kept = apply_geometry(torch.rand(3, HEIGHT, WIDTH), torch.zeros(0, 4), geometry)
    assert moved.shape == (0, 4)
    assert kept.shape == (0,)


def test_draws_are_seeded_and_keep_to_the_settings():
    def draws(config):
        generator = torch.Generator().manual_seed(1)
        return [draw_geometry(config, 100, 200, generator) for _ in range(50)]

    assert draws(AugmentConfig()) == draws(AugmentConfig())
    assert all(geometry.flip for geometry in draws(AugmentConfig(flip=1.0)))
    assert not any(geometry.flip for geometry in draws(AugmentConfig(flip=0.0)))
    heights = [geometry.height for geometry in draws(AugmentConfig(scale=(0.5, 2.0)))]
    assert 50 <= min(heights) < 70
    assert 150 < max(heights) <= 200
    for geometry in draws(AugmentConfig(scale=(1.5, 2.0))):
        assert 0 <= geometry.top <= 100 - geometry.height
        assert 0 <= geometry.left <= 200 - geometry.width


@pytest.mark.parametrize(("right", "down"), [(3, 0), (-3, 0), (0, 2), (0, -2), (4, 1), (-5, 7), (1, -7)])
def test_a_shift_moves_each_pixel_by_so_much(right, down):
    image = torch.arange(2 * 8 * 12, dtype=torch.float32).reshape(2, 8, 12) + 1
    outside = torch.tensor([-1.0, -2.0])[:, None, None]
    moved = shifted(image, right, down, outside)
    for row in range(8):
        for column in range(12):
            inside = 0 <= row - down < 8 and 0 <= column - right < 12
            expected = image[:, row - down, column - right] if inside else outside[:, 0, 0]
            assert torch.equal(moved[:, row, column], expected)
    assert image[0, 0, 0] == 1


@pytest.mark.parametrize(("right", "down"), [(12, 0), (-12, 0), (0, 8), (0, -50), (400, 400)])
def test_a_shift_out_of_the_image_leaves_what_is_outside(right, down):
    assert torch.equal(
        shifted(torch.rand(1, 8, 12), right, down, torch.full((1, 1, 1), 0.5)), torch.full((1, 8, 12), 0.5)
    )
