"""What a TPE search begins with: priors, and the trials of an earlier study."""

import statistics
from pathlib import Path
from typing import Any

import pytest
from optuna.trial import TrialState
from tpe_bench import METRIC, TOY, Bench

from tune_cmx.config.searchers import TpeSearcher
from tune_cmx.errors import ConfigError
from tune_cmx.search.optuna.journal import STORAGE


@pytest.fixture
def bench(tmp_path: Path) -> Bench:
    return Bench(tmp_path)


def observation(lr: float, value: float, **changes: Any) -> dict[str, Any]:
    return {"values": {"fusion": "add", "stages": [1], "lr": lr, **changes}, "value": value}


PRIORS = [observation(10 ** (-1 - n / 4), 10.0 - n) for n in range(12)]


def test_priors_shift_what_is_drawn_and_are_no_trials(tmp_path: Path) -> None:
    """Two sets of observations, the same but for which end of the range was good."""

    def drawn(folder: str, priors: list[dict[str, Any]]) -> list[float]:
        bench = Bench(tmp_path / folder)
        settings = TpeSearcher.model_validate({"trials": 8, "priors": priors}).priors
        values = bench.run(bench.open(trials=8, priors=settings), how=lambda _: ("failed", 0))
        bench.open(trials=8, priors=settings)
        assert len(bench.stored()) == 12 + 8
        assert sum("prior" in trial.user_attrs for trial in bench.stored()) == 12
        return [item["lr"] for item in values]

    high = drawn("high", PRIORS)
    low = drawn("low", [observation(item["values"]["lr"], -item["value"]) for item in PRIORS])
    assert len(high) == len(low) == 8
    assert statistics.median(high) > 10 * statistics.median(low)


@pytest.mark.parametrize(
    ("prior", "said"),
    [
        (observation(1.0, 3.0), "number 1: lr is 1.0"),
        (observation(0.01, 3.0, depth=3), "number 1: depth is not searched"),
        (observation(0.01, 3.0, threshold=0.5), "number 1: threshold is searched only where"),
        (observation(0.01, 3.0, fusion="cssa"), "number 1: threshold is missing"),
    ],
)
def test_a_prior_outside_the_space_is_refused(bench: Bench, prior: dict[str, Any], said: str) -> None:
    priors = TpeSearcher.model_validate({"trials": 8, "priors": [prior]}).priors
    with pytest.raises(ConfigError, match=said):
        bench.open(priors=priors)


def test_a_later_study_begins_with_the_finished_trials_of_an_earlier_one(tmp_path: Path) -> None:
    earlier, later = Bench(tmp_path / "earlier"), Bench(tmp_path / "later")
    earlier.run(earlier.open(trials=12), how=lambda number: ("stopped" if number % 3 == 0 else "complete", 6))
    before = (tmp_path / "earlier" / STORAGE).read_bytes()
    narrow = {**TOY, "fusion": {"choice": ["cssa", "toy"]}, "threshold": {**TOY["threshold"], "uniform": [0.1, 1.0]}}
    finished = [trial for trial in earlier.stored() if trial.state == TrialState.COMPLETE]
    fit = [trial for trial in finished if trial.user_attrs["values"]["fusion"] != "add"]
    assert 0 < len(fit) < len(finished)

    search = later.open(narrow, trials=2, continues=str(tmp_path / "earlier"))
    rest = len(finished) - len(fit)
    begins = f"the search begins with {len(fit)} finished trials of {tmp_path / 'earlier'}"
    assert search.notes == [f"{begins}; {rest} more do not fit this space"]
    assert len(later.run(search)) == 2
    assert later.open(narrow, trials=2, continues=str(tmp_path / "earlier")).notes == []
    taken = [trial for trial in later.stored() if "prior" in trial.user_attrs]
    assert [(trial.user_attrs["values"], trial.values) for trial in taken] == [
        (trial.user_attrs["values"], trial.values) for trial in fit
    ]
    assert (tmp_path / "earlier" / STORAGE).read_bytes() == before


def test_a_study_that_cannot_be_continued_is_named(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=f"{STORAGE} is not there; name the folder of a study"):
        Bench(tmp_path / "later").open(continues=str(tmp_path / "nowhere"))
    assert not (tmp_path / "nowhere").exists()
    Bench(tmp_path / "earlier").open(objectives=(METRIC, "parameters"))
    with pytest.raises(ConfigError, match="earlier searched on val/mAP, parameters, this study does on val/mAP"):
        Bench(tmp_path / "another").open(continues=str(tmp_path / "earlier"))
