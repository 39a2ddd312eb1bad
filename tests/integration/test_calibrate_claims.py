"""The calibration of claims: its bounds on the page, and that it would notice a gate that is wrong."""

from __future__ import annotations

import importlib
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest

ROOT = Path(__file__).parents[2]
PAGE = ROOT / "benchmarks" / "calibration.md"


@pytest.fixture
def script(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    monkeypatch.syspath_prepend(str(ROOT / "scripts"))  # as Python does for a script
    return importlib.import_module("calibrate_claims")


def test_the_page_on_record_keeps_every_bound() -> None:
    rows = [line.split("|")[1:-1] for line in PAGE.read_text(encoding="utf-8").splitlines() if line.startswith("| ")]
    figures = [[float(cell) for cell in row[1:]] for row in rows[2:]]
    assert {tuple(row[:3]) for row in figures} == {
        (m, sd, n) for m in (1, 12) for sd in (0.2, 0.4, 0.66) for n in (3, 5, 8)
    }
    assert len(figures) == 36
    assert all(false <= 5 and 93 <= covered <= 98 for *_, false, covered, _ in figures)
    assert "2,000 simulated studies" in PAGE.read_text(encoding="utf-8")


@pytest.mark.parametrize("paired", [True, False])
def test_few_studies_give_about_what_the_page_says(paired: bool, script: ModuleType) -> None:
    """120 studies of 4 arms: 480 intervals, false SUPPORTED at most 2.5 % in truth, so 10 of 120 would be a wonder."""
    tally = script.simulate(script.Setting(paired, 4, 0.4, 5), 120, np.random.default_rng(1))
    assert tally.studies == 120
    assert len(tally.covered) == 480
    assert tally.false < 10
    assert 0.9 < np.mean(tally.covered) < 0.99
    assert tally.found > 40


def test_a_gate_without_holm_is_noticed(script: ModuleType, monkeypatch: pytest.MonkeyPatch) -> None:
    verdicts: Any = importlib.import_module("tune_cmx.evidence.claims.verdicts")
    monkeypatch.setattr(verdicts, "holm", list)
    tally = script.simulate(script.Setting(True, 12, 0.4, 5), 120, np.random.default_rng(1))
    assert tally.false > 10


def test_missed_bounds_are_said(script: ModuleType) -> None:
    setting = script.Setting(True, 1, 0.2, 3)
    good = script.Tally(studies=100, false=3, found=50, covered=[True] * 95 + [False] * 5)
    assert "All bounds are kept" in script.verdict_words({setting: good})
    bad = script.Tally(studies=100, false=8, found=50, covered=[True] * 95 + [False] * 5)
    assert "BOUNDS MISSED at shared, paired, 1, 0.2, 3" in script.verdict_words({setting: bad})
