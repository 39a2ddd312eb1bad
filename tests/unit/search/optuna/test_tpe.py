"""TPE through Ray's searcher interface: what it draws, and what it is told of the trials."""

import json
import math
from pathlib import Path
from typing import Any

import pytest
from optuna.trial import TrialState
from tpe_bench import METRIC, TOY, Bench, merit, name_of, parsed

from tune_cmx.config.domains import is_active, refuse_outside
from tune_cmx.search.optuna.known_trials import Outcome
from tune_cmx.search.optuna.tpe import TpeSearch


@pytest.fixture
def bench(tmp_path: Path) -> Bench:
    return Bench(tmp_path)


def test_an_option_is_drawn_only_where_its_fusion_is(bench: Bench) -> None:
    drawn = bench.run(bench.open(trials=20, startup_trials=12))
    assert len(drawn) == 20
    domains = parsed(TOY)
    for values in drawn:
        refuse_outside(domains, values, "drawn")
        assert list(values) == [path for path, domain in domains.items() if is_active(domain, values)]
    assert {values["fusion"] for values in drawn} == {"cssa", "toy", "add"}
    assert any("toy_width" in values for values in drawn)
    for trial, values in zip(bench.stored(), drawn, strict=True):
        assert set(trial.params) == set(values)


def test_values_come_back_as_the_file_has_them(bench: Bench) -> None:
    mixed: dict[str, Any] = {"a": {"choice": [1, True, 1.5, None, "1", [1, {"b": 2}]]}, "b": {"choice": ["x", 2, None]}}
    drawn = bench.run(bench.open(mixed, trials=18), how=lambda _: ("failed", 0))
    expected = [(a, b) for a in mixed["a"]["choice"] for b in mixed["b"]["choice"]]
    assert sorted(map(repr, ((values["a"], values["b"]) for values in drawn))) == sorted(map(repr, expected))


def test_a_stopped_trial_is_never_a_finished_one(bench: Bench) -> None:
    search = bench.open(trials=6)
    ends = [("complete", 9), ("stopped", 3), ("failed", 2), ("stopped", 6), ("complete", 9), ("stopped", 1)]
    bench.run(search, how=lambda number: ends[number - 1])
    trials = bench.stored()
    finished, pruned = TrialState.COMPLETE, TrialState.PRUNED
    assert [trial.state for trial in trials] == [finished, pruned, pruned, pruned, finished, pruned]
    assert [len(trial.intermediate_values) for trial in trials] == [0, 3, 0, 6, 0, 1]
    for trial in trials:
        curve = bench.records[trial.user_attrs["record"]].intermediate
        if trial.state == finished:
            assert trial.value == pytest.approx(curve[9])
        elif trial.intermediate_values:
            assert trial.intermediate_values == curve
    assert [bool(trial.constraints) for trial in trials] == [False, False, True, False, False, False]


def test_what_is_not_over_is_running_until_its_record_says_so(bench: Bench) -> None:
    """Ray tells the searcher before the callback marks the record; and of a paused trial at the end of the search."""
    search = bench.open(trials=3)
    first, second = (name_of(search.suggest(f"ray-{n}")) for n in range(2))
    search.on_trial_complete("ray-0")
    search.on_trial_complete("ray-1", error=True)
    assert bench.states()[first] == TrialState.RUNNING
    bench.end(first, "stopped", epochs=3)
    search.suggest("ray-2")
    assert bench.states()[first] == TrialState.PRUNED
    assert bench.states()[second] == TrialState.RUNNING
    bench.end(second)
    search.settle()
    assert bench.states()[second] == TrialState.COMPLETE


def test_epochs_are_seen_as_they_come(bench: Bench) -> None:
    search = bench.open()
    search.suggest("ray")
    for epoch, value in [(1, 3.0), (2, 4.0), (2, 9.0), (3, math.nan)]:
        search.on_trial_result("ray", {METRIC: value, "epoch": epoch})
    search.on_trial_result("ray", {METRIC: -1.0, "epoch": 0, "failed": "loss is nan"})
    search.on_trial_result("ray", {"epoch": 5})
    assert bench.stored()[0].intermediate_values == {1: 3.0, 2: 4.0}


SMALL = {"fusion": {"choice": ["cssa", "add"]}, "threshold": {"choice": [0.3, 0.5, 0.7], "when": {"fusion": "cssa"}}}


def test_no_arm_is_drawn_twice_and_a_space_that_is_used_up_ends_the_search(bench: Bench) -> None:
    bench.arms_elsewhere = {json.dumps({"fusion": "add"})}
    search = bench.open(SMALL, trials=10)
    drawn = bench.run(search, how=lambda _: ("failed", 0))
    assert sorted(values["threshold"] for values in drawn) == [0.3, 0.5, 0.7]
    assert search.notes == ["searcher.trials is 10, but the space has only 3 different trials"]
    assert len(search.asked()) == 3
    assert TrialState.FAIL in {trial.state for trial in bench.stored() if "record" not in trial.user_attrs}


def test_values_that_come_to_the_same_record_are_one_trial(bench: Bench) -> None:
    search = bench.open(trials=2)
    search._propose = lambda _: bench.propose({"fusion": "add"})
    assert name_of(search.suggest("first")) == '{"fusion": "add"}'
    assert search.suggest("second") == TpeSearch.FINISHED
    assert len(search.asked()) == 1


def test_slots_do_not_count_what_is_paused(bench: Bench) -> None:
    search = bench.open()
    assert search.set_max_concurrency(2)
    assert isinstance(search.suggest("a"), dict)
    assert isinstance(search.suggest("b"), dict)
    assert search.suggest("c") is None
    search.on_pause("a")
    assert isinstance(search.suggest("c"), dict)
    search.on_unpause("a")
    assert search.suggest("d") is None
    for over in ("a", "b"):
        search.on_trial_complete(over)
    assert isinstance(search.suggest("d"), dict)


def test_several_objectives(bench: Bench) -> None:
    """The stopped and the failed have no values; of the stopped, the longer trained stand above the others."""
    search = bench.open(trials=24, objectives=(METRIC, "parameters"))
    ends = ["complete", "stopped", "complete", "failed"]
    for number in range(24):
        name = name_of(search.suggest(f"ray-{number}"))
        search.on_trial_result(f"ray-{number}", {METRIC: 1.0, "epoch": 1})
        values = (merit(bench.values[name]), 1e6 * len(bench.values[name]["stages"]))
        bench.records[name] = Outcome(ends[number % 4], values, dict.fromkeys(range(1, 2 + number % 7), 5.0))
        search.on_trial_complete(f"ray-{number}")
    trials = bench.stored()
    assert [trial.state == TrialState.COMPLETE for trial in trials] == [number % 2 == 0 for number in range(24)]
    assert [len(trial.values or ()) for trial in trials[:4]] == [2, 0, 2, 0]
    stopped = sorted(trials[1::4], key=lambda trial: trial.constraints["unfinished"], reverse=True)
    assert [trial.number % 7 for trial in stopped] == sorted(number % 7 for number in range(1, 24, 4))
    assert {trial.constraints["unfinished"] for trial in trials[3::4]} == {1.0}


def test_a_value_that_is_not_a_number_teaches_as_a_failure_does(bench: Bench) -> None:
    search = bench.open(trials=1)
    bench.end(name_of(search.suggest("ray")), values=(math.nan,))
    search.on_trial_complete("ray")
    (trial,) = bench.stored()
    assert (trial.state, trial.constraints) == (TrialState.PRUNED, {"unfinished": 1.0})


def test_a_region_that_fails_is_avoided(bench: Bench) -> None:
    """A third of the space diverges; trials told as FAIL would leave TPE no notice of it, and most would go there."""
    space = {"lr": {"loguniform": [1e-4, 1]}}
    failed = 0
    search = bench.open(space, trials=30)
    for number in range(30):
        name = name_of(search.suggest(f"ray-{number}"))
        lr = bench.values[name]["lr"]
        failed += lr > 0.05
        bench.records[name] = Outcome("failed" if lr > 0.05 else "complete", (-abs(math.log10(lr) + 2),), {})
        search.on_trial_complete(f"ray-{number}")
    assert failed < 10
