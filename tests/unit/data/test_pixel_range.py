"""Raw pixels as numbers from 0 to 1."""

import numpy as np
import pytest
import torch

from tune_cmx.config.data.ranges import PixelRange
from tune_cmx.config.parse import parse_trial
from tune_cmx.data.dataset import as_float
from tune_cmx.data.pixel_range import PixelScale, equalised, range_text
from tune_cmx.errors import ConfigError

RAW = np.array([[7000, 7500], [8000, 9000]], dtype=np.uint16)[:, :, None]


@pytest.mark.parametrize(
    ("pixels", "scale"), [(np.uint8([[[0]], [[255]]]), None), (np.uint16([[[0]], [[65535]]]), PixelScale("type"))]
)
def test_by_the_number_type(pixels, scale):
    assert as_float(pixels, scale).ravel().tolist() == [0, 1]


def test_by_the_number_type_an_image_is_the_same_with_and_without_a_scale():
    pixels = np.arange(256, dtype=np.uint8).reshape(16, 16, 1)
    assert torch.equal(as_float(pixels), as_float(pixels, PixelScale("type", 0, 255)))
    np.testing.assert_array_equal(PixelScale("type", 0, 255).scaled(pixels), as_float(pixels)[0, :, :, None])


@pytest.mark.parametrize("dtype", [np.uint16, np.int32, np.float32])
@pytest.mark.parametrize("kind", ["fixed", "percentile"])
def test_a_range_is_linear_and_values_outside_become_its_ends(dtype, kind):
    scale = PixelScale(kind, 7500, 8500)
    found = as_float(RAW.astype(dtype), scale)
    assert found.dtype == torch.float32
    assert found[0].tolist() == [[0, 0], [0.5, 1]]
    assert scale.outside(RAW).ravel().tolist() == [True, False, False, True]


def test_int32_keeps_digits_that_float32_has_not():
    pixels = np.array([[[2**30 + 1]]], dtype=np.int32)
    assert PixelScale("fixed", 2**30, 2**30 + 2).scaled(pixels)[0, 0, 0] == 0.5


def test_each_image_by_its_own_percentiles():
    scale = PixelScale("image", 0, 100)
    expected = [[0, 0.25], [0.5, 1]]
    assert scale.scaled(RAW)[:, :, 0].tolist() == expected
    assert scale.scaled(RAW + np.uint16(99))[:, :, 0].tolist() == expected
    assert scale.scaled(np.full_like(RAW, 7000)).ravel().tolist() == [0] * 4
    assert not scale.outside(RAW).any()


class TestPlateau:
    # levels 10, 20, 30 with 6, 1 and 1 pixels
    pixels = np.array([10] * 6 + [20, 30], dtype=np.uint16).reshape(2, 4, 1)

    def test_a_level_that_fills_the_image_counts_no_more_than_the_plateau(self):
        """Clipped to 2 pixels, the histogram is 2, 1, 1; ranks 2, 3, 4; so 0, 1/2, 1."""
        assert equalised(self.pixels, 0.25).ravel().tolist() == [0] * 6 + [0.5, 1]

    def test_without_a_plateau_it_is_equalisation(self):
        draw = np.random.default_rng(0)
        skewed = (np.exp(draw.normal(6, 1, (64, 64, 1)))).astype(np.uint16)
        counts, _ = np.histogram(equalised(skewed, 1.0), bins=8, range=(0, 1))
        assert counts.min() > 0.9 * counts.mean()

    def test_a_small_plateau_is_linear_in_the_levels_that_occur(self):
        steps = np.repeat(np.arange(0, 1000, 10, dtype=np.uint16), np.arange(1, 101)).reshape(-1, 5, 1)
        np.testing.assert_allclose(equalised(steps, 1e-6).ravel(), steps.ravel() / 990, atol=1e-6)

    @pytest.mark.parametrize("dtype", [np.int32, np.float32])
    def test_numbers_of_other_types_are_divided_into_levels(self, dtype):
        signed = (self.pixels.astype(np.int64) * 1000 - 20_000).astype(dtype)
        assert equalised(signed, 0.25).ravel().tolist() == [0] * 6 + [0.5, 1]

    def test_a_constant_image_is_zero(self):
        assert equalised(np.full((4, 4, 1), 7000, dtype=np.uint16), 0.01).max() == 0
        assert equalised(np.full((4, 4, 1), 7.5, dtype=np.float32), 0.01).max() == 0


class TestConfiguration:
    @staticmethod
    def read(**thermal):
        return parse_trial({"data": {"range": {"thermal": thermal}}}, source="a.yaml").data.range.of("thermal")

    def test_default_percentiles(self):
        assert self.read(kind="percentile").percentiles == (0.1, 99.9)
        assert self.read(kind="image", low=1).percentiles == (1, 99.9)
        assert parse_trial({}, source="a.yaml").data.range.of("thermal") is None

    @pytest.mark.parametrize(
        ("given", "message"),
        [
            ({"kind": "fixed", "low": 7200}, r"a\.yaml: data\.range\.thermal: kind fixed needs low and high"),
            ({"kind": "fixed", "low": 9, "high": 8}, r"thermal\.low: must be below high; got 9 and 8"),
            ({"kind": "percentile", "low": 50, "high": 101}, "percentiles from 0 to 100, low first; got 50 and 101"),
            ({"kind": "type", "low": 0}, "low and high can only be given with kind fixed, percentile or image"),
            ({"kind": "fixed", "low": 1, "high": 2, "plateau": 0.1}, "can only be given with kind plateau; got fixed"),
            ({"kind": "plateau", "plateau": 0}, "plateau.* above 0"),
            ({"kind": "minmax"}, "kind.*minmax"),
        ],
    )
    def test_what_does_not_fit_the_kind_is_refused(self, given, message):
        with pytest.raises(ConfigError, match=message):
            self.read(**given)


def test_the_text_of_a_range_says_its_numbers_and_its_source():
    def text(scale, asked=None, number_type="uint16", outside=0.0):
        asked = asked and asked.model_dump()
        return range_text({"scale": scale.to_json(), "type": number_type, "asked": asked, "outside": outside})

    assert text(PixelScale("type", 0, 255), number_type="uint8") == "0 to 255 (full range; default for uint8)"
    found = text(PixelScale("percentile", 7213, 10877.5), outside=0.002)
    assert (
        found
        == "7213 to 10877.5 (percentiles 0.1 and 99.9 of train; default for uint16; 0.2% of the train pixels outside)"
    )
    given = PixelRange(kind="fixed", low=7200, high=11000)
    assert text(PixelScale("fixed", 7200, 11000), given) == "7200 to 11000 (given; 0.0% of the train pixels outside)"
    assert text(PixelScale("image", 1, 99), given).startswith("percentiles 1 and 99 of each image")
    assert text(PixelScale("plateau", plateau=0.01), given) == "plateau 0.01 of each image (given)"
    assert range_text({"mean": [0.5], "std": [0.2]}) == "full range of the number type"


@pytest.mark.parametrize("number_type", [np.uint8, np.uint16])
def test_the_range_of_an_image_is_that_of_numpys_percentiles(number_type: type) -> None:
    draw = np.random.default_rng(0)
    for percentiles in ((0.0, 100.0), (1.0, 99.0), (12.3, 45.6)):
        pixels = draw.integers(0, np.iinfo(number_type).max, (7, 9, 3)).astype(number_type)
        low, high = np.percentile(pixels, percentiles).tolist()
        expected = PixelScale("fixed", low, high).scaled(pixels)
        assert PixelScale("image", *percentiles).scaled(pixels) == pytest.approx(expected, abs=1e-6)
