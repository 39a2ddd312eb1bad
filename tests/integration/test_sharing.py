"""How many trials share a GPU, measured on the CPU, whose memory stands for the GPU's."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tune_cmx.config.parse import flatten
from tune_cmx.errors import TrialError
from tune_cmx.search.cluster import Resources, ray_cluster
from tune_cmx.search.planning.gpu_share import measured_share
from tune_cmx.search.study_folder import open_folder

if TYPE_CHECKING:
    from conftest import Tiny

    from tune_cmx.data.prepare import Prepared

pytestmark = pytest.mark.slow  # whole studies


def test_the_largest_trial_says_how_many_share_a_gpu(tiny: Tiny, prepared: Prepared) -> None:
    sizes = ("model.detector.image_size", "model.detector.max_size")
    fixed = {path: value for path, value in flatten(tiny.fixed).items() if path not in sizes}
    huge = {
        "fixed": fixed,
        "search": {"arms": {"choice": [dict.fromkeys(sizes, 100_000)]}},
        "baseline": dict.fromkeys(sizes, 64),
    }
    with ray_cluster(Resources(None, 1, 0, max_concurrent=1, device="cpu", threads=1, workers=0)):
        opened = open_folder(tiny.folder / "fits", tiny.study(), prepared, tiny.space())
        share, sentence = measured_share(opened, "cpu", gpus=False)
        assert 0 < share < 1
        assert 1 / share == pytest.approx(round(1 / share))
        assert f"{round(1 / share)} a GPU" in sentence
        opened = open_folder(tiny.folder / "huge", tiny.study(**huge), prepared, tiny.space(**huge))
        with pytest.raises(TrialError, match=r"memory probe with .*out of memory"):
            measured_share(opened, "cpu", gpus=False)
