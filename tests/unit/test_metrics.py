"""The table of metrics: what an entry must not say, and which names find which entry."""

import pytest

from tune_cmx.metrics import METRICS, Metric, find


def test_a_metric_of_which_lower_is_better_cannot_select() -> None:
    """ASHA, finalists and rungs take the highest value, so the search would select the worst."""
    with pytest.raises(ValueError, match="a search selects the highest value, but a lower one is better"):
        Metric("loss", "a loss", "", "lower", selects=True)


@pytest.mark.parametrize("name", ["gmacs", "GMACs", "G-MACs"])
def test_gmacs_are_no_other_name_of_macs(name: str) -> None:
    assert find(name) == ("gmacs", METRICS["gmacs"])
    assert METRICS["gmacs"].unit != METRICS["macs"].unit
