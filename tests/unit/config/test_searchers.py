"""The searchers of a search-space file: which keys each takes, and what it cannot draw."""

from typing import Any

import pytest

from tune_cmx.config.parse import validate
from tune_cmx.config.searchers import Searcher
from tune_cmx.config.space import StudyFile
from tune_cmx.errors import ConfigError


def read(searcher: Any) -> Searcher:
    """The searcher of a file with this section, which stands in line 7."""
    content = {"study": "a", "search": {"schedule.lr": {"choice": [1]}}, "baseline": {"schedule.lr": 2}}
    found = validate(StudyFile, {**content, "searcher": searcher}, source="a.yaml", lines={"searcher": 7})
    return found.searcher


@pytest.mark.parametrize(
    ("searcher", "said"),
    [
        ({"kind": "random"}, "searcher.trials: is missing"),
        ({"kind": "tpe"}, "searcher.trials: is missing"),
        ({"kind": "random", "trials": 0}, "searcher.trials: must be at least 1; got 0"),
        ({"kind": "grid", "trials": 3}, "searcher.trials: searcher grid does not take it; random and tpe do"),
        ({"trials": 3}, "searcher.trials: searcher grid does not take it; random and tpe do"),
        ({"kind": "random", "trials": 2, "priors": []}, "searcher.priors: searcher random does not take it; tpe does"),
        ({"kind": "random", "trails": 2}, "searcher.trails: unknown key. Known: kind, trials. Did you mean 'trials'?"),
        ({"kind": "tpa"}, "searcher.kind: unknown searcher 'tpa'. Known: grid, random, tpe. Did you mean 'tpe'?"),
        ({"kind": 3}, "searcher.kind: unknown searcher 3. Known: grid, random, tpe."),
        (3, "searcher: needs a mapping, as in {kind: grid}; got 3"),
        ({"kind": "tpe", "trials": 2, "priors": [{"value": 1.0}]}, "searcher.priors[1].values: is missing"),
    ],
)
def test_a_key_that_a_searcher_does_not_take_is_refused_with_the_one_that_does(searcher: Any, said: str) -> None:
    with pytest.raises(ConfigError) as caught:
        read(searcher)
    assert str(caught.value) == f"a.yaml:7: {said}"


@pytest.mark.parametrize(
    ("searcher", "said"),
    [
        ({"objectives": ["val/mAP"]}, "two or more different ones"),
        ({"objectives": ["val/mAP", "val/mAP"]}, "two or more different ones"),
        ({"objectives": ["val/mAP", "watts"]}, "unknown objective 'watts'. Known: val/mAP"),
        ({"objectives": ["val/mAP_50", "parameters"]}, "must be early_stopping.metric, val/mAP; got val/mAP_50"),
        (
            {"objectives": ["val/mAP", "parameters"], "priors": [{"values": {"schedule.lr": 0.1}, "value": 50.0}]},
            "priors have one value",
        ),
    ],
)
def test_objectives_that_cannot_be_meant_are_refused(searcher: dict[str, Any], said: str) -> None:
    with pytest.raises(ConfigError, match=said):
        read({"kind": "tpe", "trials": 2, **searcher})


def test_a_searcher_is_written_out_with_all_its_options() -> None:
    content = {"study": "a", "search": {"schedule.lr": {"choice": [1]}}, "baseline": {"schedule.lr": 2}}
    file = validate(StudyFile, {**content, "searcher": {"kind": "random", "trials": 2}}, source="a.yaml")
    assert file.model_dump()["searcher"] == {"kind": "random", "trials": 2}
    assert read({}).model_dump() == {"kind": "grid"}
    tpe = read({"kind": "tpe", "trials": 2}).model_dump()
    assert tpe == {"kind": "tpe", "trials": 2, "objectives": (), "startup_trials": 10, "priors": (), "continues": None}
