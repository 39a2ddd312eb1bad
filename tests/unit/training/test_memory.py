"""Shares of a GPU by measured memory."""

from types import SimpleNamespace

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from tune_cmx.errors import ConfigError
from tune_cmx.training.memory import CONTEXT_BYTES, USABLE, limit_memory, share, tensor_fraction

GIB = 2**30


@pytest.mark.parametrize(
    ("peak_gib", "fraction"),
    [(72, 1.0), (36.5, 1.0), (36, 1 / 2), (24, 1 / 3), (20, 1 / 3), (18, 1 / 4), (7.2, 1 / 10)],
)
def test_a_share_of_80_gib(peak_gib: float, fraction: float) -> None:
    assert share(int(peak_gib * GIB), 80 * GIB) == fraction


@given(st.integers(1, 10**12), st.integers(1, 10**12))
def test_trials_of_a_gpu_fit_into_it_and_one_more_would_not(peak: int, total: int) -> None:
    try:
        trials = round(1 / share(peak, total))
    except ConfigError:
        assert peak > USABLE * total
        return
    assert trials * peak <= USABLE * total * (1 + 1e-9) < (trials + 1) * peak * (1 + 2e-9)


def test_what_does_not_fit_is_refused_with_what_to_lower() -> None:
    said = (
        r"takes 75\.0 GiB, and 90% of the GPU's 80\.0 GiB .* lower schedule\.batch_size or model\.detector\.image_size"
    )
    with pytest.raises(ConfigError, match=said):
        share(75 * GIB, 80 * GIB)


def test_what_cuda_keeps_for_each_process_is_taken_from_its_share() -> None:
    assert tensor_fraction(0.25, 80 * GIB) * 80 * GIB == pytest.approx(20 * GIB - CONTEXT_BYTES)
    with pytest.raises(ConfigError, match=r"share of 0\.1 of a GPU of 4\.0 GiB .* raise --gpus-per-trial"):
        tensor_fraction(0.1, 4 * GIB)


def test_the_cpu_has_no_shares_to_hold_a_trial_to() -> None:
    limit_memory(0.001, "cpu")


def test_a_trial_on_a_gpu_is_held_to_its_share_of_it(monkeypatch: pytest.MonkeyPatch) -> None:
    """torch's part stands in where there is no GPU: it takes the index that Ray leaves, never the bare device."""
    held: list[tuple[int, float]] = []
    monkeypatch.setattr(torch.cuda.memory, "_lazy_init", lambda: None)
    monkeypatch.setattr(torch.cuda, "current_device", lambda: 0)
    monkeypatch.setattr(torch.cuda, "get_device_properties", lambda _: SimpleNamespace(total_memory=80 * 2**30))
    monkeypatch.setattr(
        torch._C, "_cuda_setMemoryFraction", lambda share, index: held.append((index, share)), raising=False
    )
    limit_memory(0.5, "cuda")
    assert held == [(0, pytest.approx(0.5 - 0.5 / 80))]
    limit_memory(1, "cuda")
    assert len(held) == 1
