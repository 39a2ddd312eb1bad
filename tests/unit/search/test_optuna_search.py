"""TPE through Ray's searcher interface, with records that nothing trains."""

import json
import math
import pickle
import statistics
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import optuna
import pytest
from optuna.trial import TrialState

from tune_cmx.config.domains import Domains, is_active, parse_domains, refuse_outside
from tune_cmx.config.space import Searcher
from tune_cmx.errors import ConfigError
from tune_cmx.search.optuna_journal import STORAGE
from tune_cmx.search.optuna_memory import Outcome
from tune_cmx.search.optuna_search import TpeSearch

METRIC = "val/mAP"
EPOCHS = 9
TOY: dict[str, Any] = {
    "fusion": {"choice": ["cssa", "toy", "add"]},
    "stages": {"choice": [[1], [4], [1, 2, 3, 4]]},
    "threshold": {"uniform": [0.1, 0.9], "when": {"fusion": "cssa"}},
    "toy_mode": {"choice": [{"gate": "hard"}, {"gate": "soft"}], "when": {"fusion": "toy"}},
    "toy_width": {"int": [1, 8], "when": {"toy_mode": {"gate": "soft"}, "fusion": ["toy"]}},
    "lr": {"loguniform": [1e-4, 1e-1]},
}
"""An option only where its fusion is, and one of that option's."""


def parsed(space: Mapping[str, Any]) -> Domains:
    return parse_domains(space, "space.yaml", {})


def merit(values: Mapping[str, Any]) -> float:
    """A peak at cssa with threshold 0.4, in points."""
    base = {"cssa": 40.0, "toy": 30.0, "add": 20.0}[values["fusion"]]
    off = abs(values.get("threshold", 0.9) - 0.4)
    return float(base - 30 * off - 3 * abs(math.log10(values["lr"]) + 2) + len(values["stages"]))


@dataclass
class Bench:
    """A study's folder, its records in memory: what outlives a driver that is killed."""

    folder: Path
    records: dict[str, Outcome] = field(default_factory=dict)
    values: dict[str, Mapping[str, Any]] = field(default_factory=dict)
    arms_elsewhere: set[str] = field(default_factory=set)

    def propose(self, values: Mapping[str, Any]) -> dict[str, Any] | None:
        """Plan a record, or open it."""
        name = json.dumps(values, sort_keys=True)
        if name in self.arms_elsewhere:
            return None
        self.values[name] = values
        self.records.setdefault(name, Outcome("running", (), {}))
        return {"name": name}

    def open(self, space: Mapping[str, Any] = TOY, *, trials: int = 30, seed: int = 0, **settings: Any) -> TpeSearch:
        """A session of the search."""
        return TpeSearch(
            parsed(space),
            Searcher(kind="tpe", trials=trials, **settings),
            study_name="search",
            storage=self.folder / STORAGE,
            seed=seed,
            metric=METRIC,
            propose=self.propose,
            outcome=self.records.__getitem__,
        )

    def end(self, name: str, status: str = "complete", *, epochs: int = EPOCHS, **given: Any) -> None:
        """The trial's record as it is in the end."""
        value = merit(self.values[name]) if "lr" in self.values[name] else 0.0
        curve = {epoch: value * epoch / EPOCHS for epoch in range(1, epochs + 1)}
        self.records[name] = Outcome(status, given.get("values", (value,)), curve)

    def run(
        self,
        search: TpeSearch,
        count: int = 1000,
        how: Callable[[int], tuple[str, int]] = lambda _: ("complete", EPOCHS),
    ) -> list[Mapping[str, Any]]:
        """Train one trial after another; `how` says how the nth ends."""
        drawn = []
        for number in range(count):
            suggested = search.suggest(f"ray-{number}")
            if suggested == TpeSearch.FINISHED:
                break
            assert isinstance(suggested, dict)
            name = suggested["trial"]["name"]
            drawn.append(self.values[name])
            status, epochs = how(len(self.values))
            self.end(name, status, epochs=epochs)
            search.on_trial_complete(f"ray-{number}")
        return drawn

    def stored(self) -> list[optuna.trial.FrozenTrial]:
        """What the storage has, read as another program would."""
        backend = optuna.storages.journal.JournalFileBackend(str(self.folder / STORAGE))
        return optuna.load_study(study_name="search", storage=optuna.storages.JournalStorage(backend)).trials

    def states(self) -> dict[str, TrialState]:
        """Optuna's state of each record's trial, the last where there are two."""
        return {trial.user_attrs["record"]: trial.state for trial in self.stored() if "record" in trial.user_attrs}


@pytest.fixture
def bench(tmp_path: Path) -> Bench:
    return Bench(tmp_path)


def name_of(suggested: Any) -> str:
    return str(suggested["trial"]["name"])


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


def mixed_ends(number: int) -> tuple[str, int]:
    return [("complete", 9), ("stopped", 3), ("failed", 1), ("stopped", 6)][number % 4]


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Bench:
    """A search that nothing disturbed."""
    bench = Bench(tmp_path_factory.mktemp("whole"))
    bench.run(bench.open(trials=14, startup_trials=4), how=mixed_ends)
    return bench


@pytest.mark.parametrize("ends_meanwhile", [False, True])
@pytest.mark.parametrize("killed_at", [1, 5, 9, 14])
def test_a_search_taken_up_draws_what_it_would_have_drawn(
    bench: Bench, whole: Bench, killed_at: int, ends_meanwhile: bool
) -> None:
    """The driver dies with a trial running, which ends before the search is taken up, or goes on then."""

    def session() -> TpeSearch:
        return bench.open(trials=14, startup_trials=4)

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


def test_several_running_trials_are_taken_up_before_new_ones(bench: Bench) -> None:
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


SMALL = {"fusion": {"choice": ["cssa", "add"]}, "threshold": {"choice": [0.3, 0.5, 0.7], "when": {"fusion": "cssa"}}}


def test_no_arm_is_drawn_twice_and_a_space_that_is_used_up_ends_the_search(bench: Bench) -> None:
    bench.arms_elsewhere = {json.dumps({"fusion": "add"})}
    search = bench.open(SMALL, trials=10)
    drawn = bench.run(search, how=lambda _: ("failed", 0))
    assert sorted(values["threshold"] for values in drawn) == [0.3, 0.5, 0.7]
    assert search.notes == ["searcher.trials asks for 10, but the space has only 3 different ones"]
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


def observation(lr: float, value: float, **changes: Any) -> dict[str, Any]:
    return {"values": {"fusion": "add", "stages": [1], "lr": lr, **changes}, "value": value}


PRIORS = [observation(10 ** (-1 - n / 4), 10.0 - n) for n in range(12)]


def test_priors_shift_what_is_drawn_and_are_no_trials(tmp_path: Path) -> None:
    """Two sets of observations, the same but for which end of the range was good."""

    def drawn(folder: str, priors: list[dict[str, Any]]) -> list[float]:
        bench = Bench(tmp_path / folder)
        settings = Searcher.model_validate({"kind": "tpe", "trials": 8, "priors": priors}).priors
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
    priors = Searcher.model_validate({"kind": "tpe", "trials": 8, "priors": [prior]}).priors
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


def test_a_search_on_other_terms_is_not_taken_up(bench: Bench) -> None:
    bench.open(trials=3)
    bench.open(trials=9)
    wider = {**TOY, "lr": {"loguniform": [1e-5, 1e-1]}}
    for changes in ({"space": wider}, {"seed": 1}, {"startup_trials": 3}, {"objectives": (METRIC, "milliseconds")}):
        with pytest.raises(ConfigError, match="the search is not the one that it began as: "):
            bench.open(**changes)


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
