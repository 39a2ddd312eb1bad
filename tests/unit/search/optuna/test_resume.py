"""A TPE search that is left and resumed: by a driver that died, from a file that was cut short."""

import json
import pickle
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
from optuna.trial import TrialState
from tpe_bench import EPOCHS, METRIC, TOY, Bench, name_of

from tune_cmx.errors import ConfigError
from tune_cmx.search.optuna.journal import STORAGE
from tune_cmx.search.optuna.known_trials import Outcome
from tune_cmx.search.optuna.tpe import TpeSearch


@pytest.fixture
def bench(tmp_path: Path) -> Bench:
    return Bench(tmp_path)


def mixed_ends(number: int) -> tuple[str, int]:
    return [("complete", 9), ("stopped", 3), ("failed", 1), ("stopped", 6)][number % 4]


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Bench:
    """A search that nothing corrupted."""
    bench = Bench(tmp_path_factory.mktemp("whole"))
    bench.run(bench.open(trials=10, startup_trials=4), how=mixed_ends)
    return bench


@pytest.mark.parametrize("ends_meanwhile", [False, True])
@pytest.mark.parametrize("killed_at", [1, 6, 10])
def test_a_resumed_search_draws_what_it_would_have_drawn(
    bench: Bench, whole: Bench, killed_at: int, ends_meanwhile: bool
) -> None:
    """The driver dies with a trial running, which ends before the search is resumed, or is resumed with it."""

    def session() -> TpeSearch:
        return bench.open(trials=10, startup_trials=4)

    bench.run(session(), killed_at - 1, how=mixed_ends)
    running = name_of(session().suggest("killed"))
    if ends_meanwhile:
        status, epochs = mixed_ends(killed_at)
        bench.end(running, status, epochs=epochs)
    bench.run(session(), how=mixed_ends)
    assert list(bench.values) == list(whole.values)
    assert [(t.state, t.params, t.values) for t in bench.stored()] == [
        (t.state, t.params, t.values) for t in whole.stored()
    ]


def test_several_running_trials_are_resumed_before_new_ones(bench: Bench) -> None:
    search = bench.open(trials=5)
    names = [name_of(search.suggest(f"ray-{n}")) for n in range(4)]
    bench.end(names[1])
    again = bench.open(trials=5)
    assert bench.states()[names[1]] == TrialState.COMPLETE
    assert [name_of(again.suggest(f"new-{n}")) for n in range(3)] == [names[0], names[2], names[3]]
    assert name_of(again.suggest("new-3")) not in names
    assert again.suggest("new-4") == TpeSearch.FINISHED
    assert [json.dumps(values, sort_keys=True) for values in again.asked()][:4] == names


@pytest.mark.parametrize("planned", [False, True])
def test_a_driver_that_dies_as_it_plans_leaves_no_record_over(bench: Bench, planned: bool) -> None:
    expected = name_of(bench.open().suggest("ray"))
    dying = Bench(bench.folder / "dying")

    class Killed(BaseException):
        pass

    def die(values: Mapping[str, Any]) -> None:
        if planned:
            Bench.propose(dying, values)
        raise Killed

    search = dying.open()
    search._propose = die
    with pytest.raises(Killed):
        search.suggest("ray")
    again = dying.open()
    assert name_of(again.suggest("ray")) == expected
    assert list(dying.records) == [expected]
    assert len(again.asked()) == 1


def test_a_failed_trial_that_is_tried_again_counts_once(bench: Bench) -> None:
    bench.run(bench.open(trials=4), how=lambda number: ("failed" if number == 2 else "complete", EPOCHS))
    failed = next(name for name, outcome in bench.records.items() if outcome.status == "failed")
    bench.records[failed] = Outcome("interrupted", (), {})
    search = bench.open(trials=4)
    assert name_of(search.suggest("again")) == failed
    assert search.suggest("none") == TpeSearch.FINISHED
    bench.end(failed)
    search.on_trial_complete("again")
    assert bench.states()[failed] == TrialState.COMPLETE
    assert bench.open(trials=4).suggest("none") == TpeSearch.FINISHED


def test_a_search_on_other_terms_is_not_taken_up(bench: Bench) -> None:
    bench.open(trials=3)
    bench.open(trials=9)
    wider = {**TOY, "lr": {"loguniform": [1e-5, 1e-1]}}
    for changes in ({"space": wider}, {"seed": 1}, {"startup_trials": 3}, {"objectives": (METRIC, "milliseconds")}):
        with pytest.raises(ConfigError, match="the search has changed since it began: "):
            bench.open(**changes)


def test_a_line_that_a_full_disk_cut_short_is_taken_out_again(bench: Bench) -> None:
    search = bench.open(trials=4)
    bench.run(search, 2)
    with (bench.folder / STORAGE).open("ab") as file:
        file.write(b'{"op_code":4,"wor')
    bench.run(search)
    assert [trial.state for trial in bench.stored()] == [TrialState.COMPLETE] * 4


@pytest.mark.parametrize("cut", [1, 2, 40])
def test_a_line_that_a_crash_cut_short_spoils_nothing(bench: Bench, cut: int) -> None:
    bench.run(bench.open(trials=3))
    path = bench.folder / STORAGE
    path.write_bytes(path.read_bytes()[:-cut])
    assert len(bench.run(bench.open(trials=5))) == 2
    assert len(bench.stored()) == 5
    assert {trial.state for trial in bench.stored()} == {TrialState.COMPLETE}


def test_ray_can_pickle_the_searcher_and_finds_nothing_to_save(bench: Bench, tmp_path: Path) -> None:
    search = bench.open()
    search._propose = lambda _: None
    assert len(pickle.dumps(search)) < 200
    search.save(str(tmp_path / "state"))
    assert not (tmp_path / "state").exists()
    assert search.metric is None
