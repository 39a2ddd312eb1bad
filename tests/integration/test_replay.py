"""The replay: the curves that are drawn, what a study costs on them, and that nothing but the seed decides."""

import importlib
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tune_cmx.config.space import Confirm, EarlyStopping

ROOT = Path(__file__).parents[2]


with pytest.MonkeyPatch.context() as patch:
    patch.syspath_prepend(str(ROOT / "scripts"))  # as Python does for a script
    replay: Any = importlib.import_module("replay")
    replay_curves: Any = importlib.import_module("replay_curves")
MODEL = replay_curves.read_model(ROOT / "benchmarks" / "replay_model.json")
STOP = EarlyStopping(variant="stop", reduction_factor=3, spacing=None, last=1, smooth_epochs=3)


def _outcomes(setting: Any, count: int, noise: str = "0.4", order: str = "random") -> list[Any]:
    return [replay.replay(setting, MODEL, noise, order, (3, number)) for number in range(count)]


def _cost(outcomes: list[Any]) -> float:
    return float(np.mean([one.cost for one in outcomes]))


def test_the_equivalent_are_one_function() -> None:
    assert len(MODEL.means) == 88
    assert len(set(MODEL.function.tolist())) == 24 + 64 // 2
    curves = replay_curves.draw_curves(MODEL, "0.4", np.random.default_rng(0))
    pairs = [np.flatnonzero(MODEL.function == one) for one in range(56)]
    assert all(len({float(curves.true[one]) for one in pair}) == 1 for pair in pairs)
    assert sum(len(pair) == 2 for pair in pairs) == 32


@pytest.mark.parametrize(("noise", "half_sd"), [("0.2", 0.14), ("0.4", 0.28), ("0.6", 0.42)])
def test_curves_have_the_noise_that_the_model_defines(noise: str, half_sd: float) -> None:
    drawn = [replay_curves.draw_curves(MODEL, noise, np.random.default_rng(number)) for number in range(60)]
    true = np.array([one.true for one in drawn])
    runs = np.array([one.runs for one in drawn])
    assert runs.shape == (60, 3, 88, 15)
    error = runs[..., -1] - true[:, None]
    assert error.mean() == pytest.approx(0, abs=0.02)
    assert error.std() == pytest.approx(half_sd * 2**0.5, rel=0.05)  # offset and jitter, with no gap left
    assert (true - MODEL.means).std() == pytest.approx(0.25, rel=0.05)
    gap = (true[:, None] - runs[..., 0]).mean()
    assert gap == pytest.approx(20.19 * (1 - 15**-0.666), rel=0.01)


def test_a_seed_decides_everything() -> None:
    setting = replay.Setting("default", EarlyStopping(), 3)
    assert _outcomes(setting, 3) == _outcomes(setting, 3)
    assert len({one.cost for one in _outcomes(setting, 8)}) > 1


def test_a_grid_costs_all_and_picks_what_a_grid_picks() -> None:
    outcomes = _outcomes(replay.Setting("grid"), 20)
    assert {(one.cost, one.near_grid) for one in outcomes} == {(1.0, True)}
    assert 0.4 < np.mean([one.near_best for one in outcomes]) < 1


def test_the_default_reaches_the_targets() -> None:
    """Of 40 studies; benchmarks/replay.md has 2,000, and their standard errors."""
    default = replay.Setting("default", EarlyStopping(), Confirm().finalists)
    outcomes = _outcomes(default, 40)
    assert 0.25 < _cost(outcomes) < 0.30
    assert np.mean([one.near_best for one in outcomes]) > 0.75
    assert np.mean([one.near_grid for one in outcomes]) > 0.85


def test_the_order_of_arrival_costs_the_stopping_variant_alone() -> None:
    default = replay.Setting("default", EarlyStopping(), 3)
    stop = replay.Setting("stop", STOP, 3)
    assert abs(_cost(_outcomes(default, 15, order="worst")) - _cost(_outcomes(default, 15))) < 0.01
    assert _cost(_outcomes(stop, 15, order="worst")) > _cost(_outcomes(stop, 15)) + 0.1


def test_the_shipped_stopping_variant_costs_what_rays_does() -> None:
    bare = {"variant": "stop", "reduction_factor": 3, "spacing": None, "last": 1, "smooth_epochs": 1}
    ours = _outcomes(replay.Setting("ours", EarlyStopping(**bare)), 10)
    assert ours == _outcomes(replay.Setting("Ray's", ray_grace=2), 10)


def test_more_noise_chooses_worse() -> None:
    default = replay.Setting("default", EarlyStopping(), 3)
    quiet, loud = (np.mean([one.near_best for one in _outcomes(default, 40, noise)]) for noise in ("0.2", "0.6"))
    assert quiet > 0.95 > loud


def test_equivalent_trained_once_cost_less() -> None:
    once = replay.Setting("once", EarlyStopping(), 3, equivalent_once=True)
    assert _cost(_outcomes(once, 5)) < _cost(_outcomes(replay.Setting("all", EarlyStopping(), 3), 5)) - 0.05


def test_the_committed_table_names_every_setting() -> None:
    page = (ROOT / "benchmarks" / "replay.md").read_text(encoding="utf-8")
    assert [setting.name for setting in replay.settings() if f"| {setting.name} " not in page] == []


def test_the_table_is_written(tmp_path: Path) -> None:
    found = {("0.4", "random", setting.name): _outcomes(setting, 2) for setting in replay.settings()[:3]}
    lines = list(replay.rows(found))
    page = replay.page_of(lines, 2, "2026-11-23")
    assert "rungs at 2, 3, 5, 9" in page
    assert "| grid, one seed " in page
    assert "100.0 ± 0.0" in page
    assert str(tmp_path) not in page
