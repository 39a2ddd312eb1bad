"""What holds for every range: numbers from 0 to 1 that keep the order of the raw values."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from tune_cmx.data.pixel_range import PixelScale

TYPES = {
    "uint8": st.integers(0, 255),
    "uint16": st.integers(0, 65535),
    "int32": st.integers(-(2**31), 2**31 - 1),
    "float32": st.floats(-1e6, 1e6, width=32),
}
SCALES = [
    PixelScale("fixed", 40, 9000.5),
    PixelScale("percentile", -273.15, 60),
    PixelScale("image", 0.1, 99.9),
    PixelScale("image", 0, 100),
    PixelScale("plateau", plateau=0.01),
    PixelScale("plateau", plateau=1),
]


@pytest.mark.parametrize("scale", SCALES, ids=lambda scale: scale.kind)
@pytest.mark.parametrize("number_type", TYPES)
@given(data=st.data())
def test_order_is_kept_and_nothing_leaves_0_to_1(scale: PixelScale, number_type: str, data: st.DataObject) -> None:
    shape = data.draw(st.tuples(st.integers(1, 6), st.integers(1, 6), st.integers(1, 3)))
    pixels = data.draw(arrays.arrays(number_type, shape, elements=TYPES[number_type]))
    before = pixels.copy()
    found = scale.scaled(pixels)
    assert (found.dtype, found.shape) == (np.float32, shape)
    assert np.isfinite(found).all()
    assert 0 <= found.min() <= found.max() <= 1
    assert (np.diff(found.ravel()[np.argsort(pixels, axis=None, kind="stable")]) >= 0).all()
    np.testing.assert_array_equal(pixels, before)
    np.testing.assert_array_equal(scale.scaled(pixels[::-1]), found[::-1])
