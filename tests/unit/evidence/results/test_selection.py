"""Which run stands for a configuration."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tune_cmx.evidence.results.reading import read_study
from tune_cmx.evidence.results.selection import median_run

if TYPE_CHECKING:
    from conftest import StudyWriter


@pytest.mark.parametrize(
    ("values", "seed"), [([30.0, 32.0, 31.0], 102), ([30.0, 33.0, 31.0, 32.0], 102), ([30.0, 30.0], 100), ([30.0], 100)]
)
def test_the_median_run_by_validation(values: list[float], seed: int, writer: StudyWriter) -> None:
    """Test values run the other way, and do not matter."""
    for offset, value in enumerate(values):
        writer.trial(f"confirm-{offset}", "stages-1", seed=100 + offset, val=value, test=90 - value)
    found = median_run(read_study(writer.write()), "stages-1")
    assert found is not None
    assert found.seed == seed


def test_a_configuration_without_confirmed_runs_has_none(writer: StudyWriter) -> None:
    writer.trial("s-0", "stages-1", "search")
    assert median_run(read_study(writer.write()), "stages-1") is None
