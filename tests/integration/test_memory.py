"""What a trial takes, measured in a fresh process, on the CPU."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tune_cmx.data.prepare import Prepared, prepare
from tune_cmx.errors import TrialError
from tune_cmx.training.memory import MemoryProbe, peak_memory

if TYPE_CHECKING:
    from pathlib import Path

    from conftest import Tiny

    from tune_cmx.config.trial import TrialConfig


def sized(config: TrialConfig, side: int) -> TrialConfig:
    detector = config.model.detector.model_copy(update={"image_size": side, "max_size": side})
    return config.model_copy(update={"model": config.model.model_copy(update={"detector": detector})})


@pytest.fixture(scope="module")
def tiny_here(tiny_at: type[Tiny], data: Path, tmp_path_factory: pytest.TempPathFactory) -> Tiny:
    """One for all tests here."""
    return tiny_at(data, tmp_path_factory.mktemp("memory"))


@pytest.fixture(scope="module")
def config(tiny_here: Tiny) -> TrialConfig:
    return tiny_here.study().arms["stages-2"].config


@pytest.fixture(scope="module")
def prepared(tiny_here: Tiny, config: TrialConfig) -> Prepared:
    """The data, audited and split."""
    return prepare(config.data, tiny_here.folder / "prepared")


@pytest.fixture(scope="module")
def large(prepared: Prepared, config: TrialConfig) -> MemoryProbe:
    """Images of 256 pixels. A probe is a fresh process, and loads torch."""
    return peak_memory(sized(config, 256), prepared, "cpu", steps=2)


def test_larger_images_take_more_memory_and_time(prepared: Prepared, config: TrialConfig, large: MemoryProbe) -> None:
    small = peak_memory(sized(config, 64), prepared, "cpu", steps=2)
    assert 2**20 < small.peak < large.peak < large.total
    images = 4 * 5 * 4 * (256**2 - 64**2)  # a batch of four, five bands of floats: the least that must be there
    assert large.peak - small.peak > images
    assert 0 < small.step_seconds < large.step_seconds
    assert small.total == large.total


def test_micro_batches_take_less_memory(prepared: Prepared, config: TrialConfig, large: MemoryProbe) -> None:
    """In evaluation as well, which is probed as a trial does it."""
    config = sized(config, 256)
    parts = config.model_copy(update={"schedule": config.schedule.model_copy(update={"micro_batch": 1})})
    assert peak_memory(parts, prepared, "cpu", steps=2).peak < 0.85 * large.peak


def test_what_does_not_fit_says_with_which_settings(prepared: Prepared, config: TrialConfig) -> None:
    said = r"memory probe with batch_size 4 and image_size 100000: out of memory: .*; lower image_size, or micro_batch"
    with pytest.raises(TrialError, match=said):
        peak_memory(sized(config, 100_000), prepared, "cpu")
