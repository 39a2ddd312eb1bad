"""The promoting variant of ASHA, driven through the interface that Ray calls it by."""

import random
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from ray.tune.experiment import Trial
from ray.tune.schedulers import TrialScheduler

from tune_cmx.config.space import EarlyStopping
from tune_cmx.search.rungs import GO_ON, PAUSE, STOP, bracket_of, read_decisions, stops
from tune_cmx.search.schedulers import PromotingASHA, RecordedASHA, build_scheduler

FULL = 16
VALUES = {f"t{number:02d}": float(number) for number in range(27)}


def _settings(**changed: Any) -> EarlyStopping:
    """Rungs 2 and 4 of 8 epochs, and of 16 one at 8 too; the upper third goes on, in full at last."""
    keys = {"reduction_factor": 3, "spacing": 2, "last": 1, "first": "new"}
    return EarlyStopping(**{**keys, **changed})


def _asha(settings: EarlyStopping, log: Path | None = None, *, places: int = 1, **search: Any) -> Any:
    arguments: dict[str, Any] = {"metric": "m", "full": FULL, "log": log, "slots": lambda: places, **search}
    return build_scheduler(settings, **arguments)


def _trial(name: str) -> Trial:
    return Trial("train", stub=True, trial_id=name, config={"trial": {"name": name, "arm": f"arm-{name}"}})


class Desk:
    """Ray's controller and its workers: places, epochs that are reported again after a pause, no clock."""

    def __init__(
        self,
        scheduler: Any,
        values: Mapping[str, float],
        *,
        places: int = 1,
        full: int = FULL,
        done: Mapping[str, int] | None = None,
        failing: Mapping[str, int] | None = None,
    ) -> None:
        self.scheduler, self.values, self.places, self.full = scheduler, values, places, full
        self.done = dict(done or {})
        """Epochs on the record of each trial."""
        self.failing = failing or {}
        self.search_alg = SimpleNamespace(is_finished=lambda: True)
        self.starts: list[str] = []
        self.most = 0
        self.trials = {name: _trial(name) for name in values}
        self._reported: dict[str, int] = {}
        for trial in self.trials.values():
            scheduler.on_trial_add(self, trial)

    def stop_trial(self, trial: Trial) -> None:
        assert trial.status == Trial.PAUSED
        self.scheduler.on_trial_remove(self, trial)
        trial.set_status(Trial.TERMINATED)

    def run(self, until: Callable[[], bool] = lambda: False) -> "Desk":
        """Report until all is over, or until something holds, as if the driver were killed there."""
        self._fill()
        while (running := self._running()) and not until():
            for trial in running:
                if until():
                    break
                self._report(trial)
                self._fill()
        return self

    def decided(self) -> list[tuple[str, float, str]]:
        return [(one.trial, one.rung, one.decision) for one in self.scheduler.decided.values()]

    def _running(self) -> list[Trial]:
        return [trial for trial in self.trials.values() if trial.status == Trial.RUNNING]

    def _fill(self) -> None:
        while len(self._running()) < self.places and (trial := self.scheduler.choose_trial_to_run(self)) is not None:
            assert trial.status == Trial.PAUSED
            trial.set_status(Trial.RUNNING)
            self._reported[trial.trial_id] = 0
            self.starts.append(trial.trial_id)
        self.most = max(self.most, len(self._running()))

    def _report(self, trial: Trial) -> None:
        name = trial.trial_id
        self._reported[name] += 1
        epoch = self._reported[name]
        self.done[name] = max(self.done.get(name, 0), epoch)
        result = {"m": self.values[name], "epoch": epoch, "fraction": epoch / self.full, "gpu_seconds": 10.0 * epoch}
        if self.failing.get(name) == epoch:
            result |= {"m": -1.0, "failed": "loss is nan"}
        decision = self.scheduler.on_trial_result(self, trial, result)
        over = epoch == self.full or "failed" in result
        if decision == TrialScheduler.PAUSE:
            trial.set_status(Trial.PAUSED)
        elif over or decision == TrialScheduler.STOP:
            self.scheduler.on_trial_complete(self, trial, result)
            trial.set_status(Trial.TERMINATED)


def _arrivals(order: str) -> dict[str, float]:
    names = sorted(VALUES, key=lambda name: VALUES[name], reverse=order == "falling")
    if order == "random":
        random.Random(0).shuffle(names)
    return {name: VALUES[name] for name in names}


def _reached(desk: Desk, epoch: int) -> set[str]:
    return {name for name, epochs in desk.done.items() if epochs >= epoch}


@pytest.mark.parametrize("order", ["rising", "falling", "random"])
def test_with_new_trials_first_the_upper_third_goes_on_whatever_the_order(order: str) -> None:
    desk = Desk(_asha(_settings()), _arrivals(order)).run()
    best = sorted(VALUES, key=lambda name: -VALUES[name])
    assert _reached(desk, 3) == set(best[:9])
    assert _reached(desk, 5) == set(best[:3])
    assert _reached(desk, 9) == set(best[:1])
    assert all(trial.status == Trial.TERMINATED for trial in desk.trials.values())


@pytest.mark.parametrize(("order", "epochs"), [("rising", 25), ("random", 13), ("falling", 9)])
def test_with_promotions_first_the_order_costs_and_does_not_hurt(order: str, epochs: int) -> None:
    desk = Desk(_asha(_settings(first="promotion")), _arrivals(order)).run()
    best = sorted(VALUES, key=lambda name: -VALUES[name])
    assert _reached(desk, 3) >= set(best[:9])
    assert len(_reached(desk, 3)) <= epochs
    assert best[0] in _reached(desk, FULL)


def test_a_promotable_trial_of_the_highest_rung_comes_before_a_new_one(tmp_path: Path) -> None:
    """Reduction factor 2, one place, worked out by hand."""
    log = tmp_path / "rungs.jsonl"
    values = {"a": 3.0, "b": 4.0, "c": 1.0, "d": 2.0}
    Desk(_asha(_settings(reduction_factor=2, first="promotion"), log, full=8), values, full=8).run()
    assert [(one.trial, one.rung, one.cutoff, one.decision) for one in read_decisions(log)] == [
        ("a", 2, None, PAUSE),
        ("b", 2, 4.0, GO_ON),  # the upper one of two
        ("b", 4, None, PAUSE),
        ("c", 2, 4.0, PAUSE),
        ("d", 2, 3.0, PAUSE),  # four have come: the upper two are b and a
        ("a", 2, 3.0, GO_ON),
        ("a", 4, 4.0, PAUSE),
        ("b", 4, 4.0, GO_ON),
        ("a", 4, 4.0, STOP),
        ("d", 2, 3.0, STOP),
        ("c", 2, 3.0, STOP),
    ]


@pytest.mark.parametrize("first", ["new", "promotion"])
@pytest.mark.parametrize("cut", range(0, 60, 3))
def test_a_search_taken_up_halfway_ends_as_if_it_had_not_been_left(tmp_path: Path, first: str, cut: int) -> None:
    settings, values = _settings(first=first), _arrivals("random")
    whole, parts = tmp_path / "whole.jsonl", tmp_path / "parts.jsonl"
    expected = Desk(_asha(settings, whole), values).run().done
    left = Desk(_asha(settings, parts), values).run(lambda: len(read_decisions(parts)) >= cut)
    over = {name for name, trial in left.trials.items() if trial.status == Trial.TERMINATED}
    over |= set(stops(read_decisions(parts)))
    rest = {name: value for name, value in values.items() if name not in over}
    again = Desk(_asha(settings, parts), rest, done=left.done).run()
    assert parts.read_bytes() == whole.read_bytes()
    assert again.done == expected


def test_a_trial_that_the_log_says_is_paused_is_not_begun_before_its_promotion(tmp_path: Path) -> None:
    log = tmp_path / "log"
    Desk(_asha(_settings(), log), _arrivals("rising")).run(lambda: len(read_decisions(log)) >= 20)
    paused = {one.trial for one in read_decisions(log)}
    again = Desk(_asha(_settings(), log), _arrivals("rising"))
    assert all(trial.status == Trial.PAUSED for trial in again.trials.values())
    again.run(lambda: len(read_decisions(log)) >= 27)
    assert not set(again.starts) & paused


@pytest.mark.parametrize("first", ["new", "promotion"])
@pytest.mark.parametrize("seed", range(12))
def test_any_course_ends_with_every_trial_decided_once(tmp_path: Path, seed: int, first: str) -> None:
    """Several places, ties, failures: no double line, the upper ones of each rung went on, none is left."""
    draw = random.Random(seed)
    log = tmp_path / "log"
    values = {f"t{number}": float(draw.randrange(6)) for number in range(draw.randint(1, 25))}
    failing = {name: draw.randint(1, FULL) for name in values if draw.random() < 0.2}
    settings = _settings(first=first, reduction_factor=draw.choice([2, 2.3, 3]), brackets=draw.choice([1, 2]))
    places = draw.randint(1, 5)
    desk = Desk(_asha(settings, log, places=places), values, places=places, failing=failing).run()
    lines = read_decisions(log)
    assert all(trial.status == Trial.TERMINATED for trial in desk.trials.values())
    assert desk.most <= places
    assert len({(one.trial, one.rung, one.decision) for one in lines}) == len(lines)
    assert not any(one.trial in failing and one.at >= failing[one.trial] for one in lines)
    for place in {(one.bracket, one.rung) for one in lines}:
        here = [one for one in lines if (one.bracket, one.rung) == place]
        going = {one.trial for one in here if one.decision == GO_ON}
        ranked = sorted({(-one.value, one.trial) for one in here})
        upper = [name for _, name in ranked[: int(len(ranked) / settings.reduction_factor + 1e-9)]]
        assert going >= set(upper)
        assert first == "promotion" or len(going) <= max(1, len(upper)) + places - 1
    failed = {name for name, epoch in failing.items() if desk.done[name] >= epoch}
    assert set(stops(lines)) == {name for name in values if desk.done[name] < FULL} - failed


def test_an_epoch_reported_again_changes_nothing(tmp_path: Path) -> None:
    log = tmp_path / "log"
    desk = Desk(_asha(_settings(), log), {"c": 3.0, "b": 2.0, "a": 1.0}).run()
    assert desk.starts.count("c") == 4  # begun, and taken up at each of three rungs
    assert [one.decision for one in read_decisions(log) if one.trial == "c"] == [PAUSE, GO_ON] * 3


def test_a_worker_lost_while_its_trial_is_paused(tmp_path: Path) -> None:
    """Ray starts the trial again by itself; it comes back to its rung and is paused there, without a second line."""
    log = tmp_path / "log"
    asha = _asha(_settings(), log, places=2)
    desk = Desk(asha, {"a": 1.0, "b": 2.0}, places=2)
    desk._fill()
    trial = desk.trials["a"]
    report = {"m": 1.0, "fraction": 0.1}
    assert asha.on_trial_result(desk, trial, {**report, "epoch": 1}) == TrialScheduler.CONTINUE
    assert asha.on_trial_result(desk, trial, {**report, "epoch": 2}) == TrialScheduler.PAUSE
    asha.on_trial_error(desk, trial)
    trial.set_status(Trial.PENDING)
    asha.on_trial_add(desk, trial)
    assert trial.status == Trial.PENDING
    trial.set_status(Trial.RUNNING)
    assert asha.on_trial_result(desk, trial, {**report, "epoch": 1}) == TrialScheduler.CONTINUE
    assert asha.on_trial_result(desk, trial, {**report, "epoch": 2}) == TrialScheduler.PAUSE
    assert len(read_decisions(log)) == 1


def test_a_trial_that_is_still_being_paused_is_not_promoted_yet() -> None:
    asha = _asha(_settings(reduction_factor=2), places=3)
    desk = Desk(asha, {"a": 1.0, "b": 2.0}, places=2)
    desk._fill()
    for name in "ba":
        result = {"m": VALUES["t01"] if name == "a" else 2.0, "epoch": 2, "fraction": 0.1}
        assert asha.on_trial_result(desk, desk.trials[name], result) == TrialScheduler.PAUSE
    assert asha.choose_trial_to_run(desk) is None  # Ray still has both as running
    desk.trials["b"].set_status(Trial.PAUSED)
    assert asha.choose_trial_to_run(desk) is desk.trials["b"]
    assert asha.choose_trial_to_run(desk) is desk.trials["b"], "asked twice before Ray takes it"


def test_a_worker_that_becomes_free_goes_to_who_waits_for_one() -> None:
    asha = _asha(_settings(), places=2)
    desk = Desk(asha, {"a": 1.0, "b": 2.0, "c": 3.0})
    first, second = asha.choose_trial_to_run(desk), None
    first.set_status(Trial.RUNNING)
    second = asha.choose_trial_to_run(desk)
    second.set_status(Trial.PENDING)
    assert (first.trial_id, second.trial_id) == ("a", "b")
    assert asha.choose_trial_to_run(desk) is second, "no room for a third; Ray looks for a worker for the second"
    assert asha.on_trial_result(desk, first, {"m": 1.0, "epoch": 2, "fraction": 0.1}) == TrialScheduler.PAUSE
    first.set_status(Trial.PAUSED)
    assert asha.choose_trial_to_run(desk) is second
    assert asha.choose_trial_to_run(desk).trial_id == "c"


def test_nothing_is_stopped_as_long_as_the_searcher_has_more() -> None:
    desk = Desk(_asha(_settings()), {"a": 1.0})
    desk.search_alg = SimpleNamespace(is_finished=lambda: False)
    desk.run()
    assert desk.trials["a"].status == Trial.PAUSED
    desk.search_alg = SimpleNamespace(is_finished=lambda: True)
    desk.run()
    assert desk.done == {"a": FULL}


def test_in_a_small_study_the_best_of_a_rung_goes_on(tmp_path: Path) -> None:
    log = tmp_path / "log"
    desk = Desk(_asha(_settings(), log), {"a": 1.0, "b": 2.0}).run()
    assert desk.done == {"a": 2, "b": FULL}
    assert [(one.trial, one.value, one.cutoff) for one in stops(read_decisions(log)).values()] == [("a", 1.0, 2.0)]


@pytest.mark.parametrize("variant", ["promote", "stop"])
def test_every_trial_ends_where_the_search_ends(tmp_path: Path, variant: str) -> None:
    settings = EarlyStopping(variant=variant, reduction_factor=2, spacing=2, last=0.5)
    asha = _asha(settings, tmp_path / "log", places=9)
    if variant == "promote":
        assert isinstance(asha, PromotingASHA)
        desk = Desk(asha, {"a": 1.0, "b": 2.0, "c": 3.0, "d": 4.0}).run()
        assert desk.done == {"a": 2, "b": 2, "c": 4, "d": 8}
    else:
        assert isinstance(asha, RecordedASHA)
        decisions = [
            asha.on_trial_result(None, _trial("d"), {"m": 4.0, "epoch": epoch, "fraction": epoch / FULL})
            for epoch in range(1, 9)
        ]
        assert decisions == ["CONTINUE"] * 7 + ["STOP"]
    ended = [(one.trial, one.decision, one.cutoff) for one in read_decisions(tmp_path / "log") if one.rung == 8]
    assert ended == [("d", STOP, None)]


def test_a_trial_that_ended_with_the_search_is_not_taken_up_beyond_it(tmp_path: Path) -> None:
    """The driver died between the log and the record, and the trial is handed to Ray once more."""
    settings, log = EarlyStopping(reduction_factor=2, spacing=2, last=0.5), tmp_path / "log"
    Desk(_asha(settings, log), {"a": 1.0, "b": 2.0, "c": 3.0, "d": 4.0}).run()
    before = log.read_bytes()
    again = Desk(_asha(settings, log), {"d": 4.0}).run()
    assert again.starts == []
    assert again.trials["d"].status == Trial.TERMINATED
    assert log.read_bytes() == before


def test_a_trial_at_its_end_is_not_paused(tmp_path: Path) -> None:
    settings = _settings(compare_at="gpu_seconds", grace=100)
    asha = _asha(settings, tmp_path / "log", full=float("inf"))
    trial = _trial("a")
    asha.on_trial_add(None, trial)
    result = {"m": 5.0, "epoch": FULL, "fraction": 1.0, "gpu_seconds": 250.0}
    assert asha.on_trial_result(None, trial, result) == TrialScheduler.CONTINUE
    assert [(one.rung, one.at, one.decision) for one in read_decisions(tmp_path / "log")] == [(200, 250.0, GO_ON)]


@pytest.mark.parametrize("variant", ["promote", "stop"])
def test_brackets_begin_a_rung_later_each_and_judge_alone(tmp_path: Path, variant: str) -> None:
    settings = EarlyStopping(variant=variant, brackets=3, reduction_factor=2, spacing=2, last=1)
    log = tmp_path / "log"
    asha = _asha(settings, log, places=50, seed=7)
    names = [f"t{number}" for number in range(40)]
    dealt = {name: bracket_of(name, 3, 7) for name in names}
    assert set(dealt.values()) == {0, 1, 2}
    assert dealt != {name: bracket_of(name, 3, 8) for name in names}
    for name in names:
        trial = _trial(name)
        if variant == "promote":
            asha.on_trial_add(None, trial)
        for epoch in (1, 2, 4, 8):
            if asha.on_trial_result(None, trial, {"m": 1.0, "epoch": epoch, "fraction": 0.1}) != "CONTINUE":
                break
    first: dict[str, float] = {}
    for one in read_decisions(log):
        assert one.bracket == dealt[one.trial]
        first.setdefault(one.trial, one.rung)
    assert {name: [2, 4, 8][bracket] for name, bracket in dealt.items()} == first
    again = _asha(settings, log, places=50, seed=7)
    for bracket, rung in ((0, 2), (1, 4), (2, 8)):
        assert set(again.contents(rung, bracket)) == {name for name in names if dealt[name] == bracket}


def test_phases_share_a_log_and_judge_alone(tmp_path: Path) -> None:
    log = tmp_path / "log"
    Desk(_asha(_settings(), log, phase="stages"), {"a": 9.0, "b": 8.0, "c": 7.0}).run()
    before = log.read_bytes()
    second = _asha(_settings(), log, phase="thresholds")
    assert not second.decided
    Desk(second, {"d": 1.0, "e": 2.0, "f": 3.0}).run()
    assert log.read_bytes().startswith(before)
    assert {one.phase for one in read_decisions(log)} == {"stages", "thresholds"}
    assert set(_asha(_settings(), log, phase="stages").decided) == {"a", "b", "c"}


def test_no_log_is_written_where_none_is_given(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    desk = Desk(_asha(_settings()), VALUES).run()
    assert len(desk.decided()) == len(VALUES)
    assert not list(tmp_path.rglob("*"))


def test_without_early_stopping_there_is_no_scheduler() -> None:
    assert _asha(EarlyStopping(kind="none")) is None


def test_ties_are_kept_apart_by_name(tmp_path: Path) -> None:
    """What goes on is the same in whatever order equals arrive."""
    kept = []
    for number, names in enumerate((sorted(VALUES), sorted(VALUES, reverse=True))):
        log = tmp_path / f"{number}"
        Desk(_asha(_settings(), log), dict.fromkeys(names, 5.0)).run()
        kept.append({one.trial for one in read_decisions(log) if one.decision == GO_ON})
    assert kept[0] == kept[1] == {f"t{number:02d}" for number in range(9)}


def test_decisions_of_before_phases_and_brackets_are_read(tmp_path: Path) -> None:
    log = tmp_path / "log"
    log.write_text(
        '{"trial": "a", "arm": "x", "rung": 2, "at": 2.0, "value": 5.0, "cutoff": null, "decision": "go on"}\n'
    )
    assert [(one.phase, one.bracket) for one in read_decisions(log)] == [("search", 0)]


@pytest.mark.parametrize("first", ["new", "promotion"])
def test_a_thousand_trials_take_seconds(first: str) -> None:
    values = {f"t{number:04d}": random.Random(number).random() for number in range(1000)}
    asha = _asha(_settings(first=first), places=4)
    desk = Desk(asha, values, places=4)
    # the stand-in looks through all its trials at each report; the scheduler alone is measured
    spent = _spent(asha, ("on_trial_result", "choose_trial_to_run"))
    desk.run()
    assert sum(spent) < 2.0
    assert len(_reached(desk, 3)) in range(333, 480)


def _spent(scheduler: Any, names: Sequence[str]) -> list[float]:
    """Seconds of each call."""
    seconds: list[float] = []

    def timed(call: Callable[..., Any]) -> Callable[..., Any]:
        def measured(*arguments: Any) -> Any:
            began = time.perf_counter()
            try:
                return call(*arguments)
            finally:
                seconds.append(time.perf_counter() - began)

        return measured

    for name in names:
        setattr(scheduler, name, timed(getattr(scheduler, name)))
    return seconds


def test_a_decision_is_a_line_of_plain_json(tmp_path: Path) -> None:
    log = tmp_path / "search" / "rungs.jsonl"
    Desk(_asha(_settings(), log), {"a": 1.0}).run()
    first = read_decisions(log)[0]
    assert asdict(first) == {
        "trial": "a",
        "arm": "arm-a",
        "rung": 2,
        "at": 2.0,
        "value": 1.0,
        "cutoff": None,
        "decision": PAUSE,
        "phase": "search",
        "bracket": 0,
    }
