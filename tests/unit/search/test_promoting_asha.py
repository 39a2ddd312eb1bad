"""The promoting variant of ASHA: who goes on, when, and in which order."""

import random
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from asha_desk import FULL, VALUES, Desk, arrivals, asha_settings, build_asha, ray_trial
from ray.tune.experiment import Trial
from ray.tune.schedulers import TrialScheduler

from tune_cmx.config.space import EarlyStopping
from tune_cmx.search.rungs import CONTINUE, PAUSE, STOP, read_decisions, stops
from tune_cmx.search.schedulers import PromotingASHA, RecordedASHA


def _reached(desk: Desk, epoch: int) -> set[str]:
    return {name for name, epochs in desk.done.items() if epochs >= epoch}


@pytest.mark.parametrize("order", ["rising", "falling", "random"])
def test_with_new_trials_first_the_upper_third_goes_on_whatever_the_order(order: str) -> None:
    desk = Desk(build_asha(asha_settings()), arrivals(order)).run()
    best = sorted(VALUES, key=lambda name: -VALUES[name])
    assert _reached(desk, 3) == set(best[:9])
    assert _reached(desk, 5) == set(best[:3])
    assert _reached(desk, 9) == set(best[:1])
    assert all(trial.status == Trial.TERMINATED for trial in desk.trials.values())


@pytest.mark.parametrize(("order", "epochs"), [("rising", 25), ("random", 13), ("falling", 9)])
def test_with_promotions_first_the_order_costs_and_does_not_hurt(order: str, epochs: int) -> None:
    desk = Desk(build_asha(asha_settings(first="promotion")), arrivals(order)).run()
    best = sorted(VALUES, key=lambda name: -VALUES[name])
    assert _reached(desk, 3) >= set(best[:9])
    assert len(_reached(desk, 3)) <= epochs
    assert best[0] in _reached(desk, FULL)


def test_a_promotable_trial_of_the_highest_rung_comes_before_a_new_one(tmp_path: Path) -> None:
    """Reduction factor 2, one place, worked out by hand."""
    log = tmp_path / "rungs.jsonl"
    values = {"a": 3.0, "b": 4.0, "c": 1.0, "d": 2.0}
    Desk(build_asha(asha_settings(reduction_factor=2, first="promotion"), log, full=8), values, full=8).run()
    assert [(one.trial, one.rung, one.cutoff, one.decision) for one in read_decisions(log)] == [
        ("a", 2, None, PAUSE),
        ("b", 2, 4.0, CONTINUE),  # the upper one of two
        ("b", 4, None, PAUSE),
        ("c", 2, 4.0, PAUSE),
        ("d", 2, 3.0, PAUSE),  # four have come: the upper two are b and a
        ("a", 2, 3.0, CONTINUE),
        ("a", 4, 4.0, PAUSE),
        ("b", 4, 4.0, CONTINUE),
        ("a", 4, 4.0, STOP),
        ("d", 2, 3.0, STOP),
        ("c", 2, 3.0, STOP),
    ]


@pytest.mark.parametrize("first", ["new", "promotion"])
@pytest.mark.parametrize("seed", range(12))
def test_any_course_ends_with_every_trial_decided_once(tmp_path: Path, seed: int, first: str) -> None:
    """Several places, ties, failures: no double line, the upper ones of each rung went on, none is left."""
    draw = random.Random(seed)
    log = tmp_path / "log"
    values = {f"t{number}": float(draw.randrange(6)) for number in range(draw.randint(1, 25))}
    failing = {name: draw.randint(1, FULL) for name in values if draw.random() < 0.2}
    settings = asha_settings(first=first, reduction_factor=draw.choice([2, 2.3, 3]), brackets=draw.choice([1, 2]))
    places = draw.randint(1, 5)
    desk = Desk(build_asha(settings, log, places=places), values, places=places, failing=failing).run()
    lines = read_decisions(log)
    assert all(trial.status == Trial.TERMINATED for trial in desk.trials.values())
    assert desk.most <= places
    assert len({(one.trial, one.rung, one.decision) for one in lines}) == len(lines)
    assert not any(one.trial in failing and one.at >= failing[one.trial] for one in lines)
    for place in {(one.bracket, one.rung) for one in lines}:
        here = [one for one in lines if (one.bracket, one.rung) == place]
        going = {one.trial for one in here if one.decision == CONTINUE}
        ranked = sorted({(-one.value, one.trial) for one in here})
        upper = [name for _, name in ranked[: int(len(ranked) / settings.reduction_factor + 1e-9)]]
        assert going >= set(upper)
        assert first == "promotion" or len(going) <= max(1, len(upper)) + places - 1
    failed = {name for name, epoch in failing.items() if desk.done[name] >= epoch}
    assert set(stops(lines)) == {name for name in values if desk.done[name] < FULL} - failed


def test_a_trial_that_is_still_being_paused_is_not_promoted_yet() -> None:
    asha = build_asha(asha_settings(reduction_factor=2), places=3)
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
    asha = build_asha(asha_settings(), places=2)
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
    desk = Desk(build_asha(asha_settings()), {"a": 1.0})
    desk.search_alg = SimpleNamespace(is_finished=lambda: False)
    desk.run()
    assert desk.trials["a"].status == Trial.PAUSED
    desk.search_alg = SimpleNamespace(is_finished=lambda: True)
    desk.run()
    assert desk.done == {"a": FULL}


def test_in_a_small_study_the_best_of_a_rung_goes_on(tmp_path: Path) -> None:
    log = tmp_path / "log"
    desk = Desk(build_asha(asha_settings(), log), {"a": 1.0, "b": 2.0}).run()
    assert desk.done == {"a": 2, "b": FULL}
    assert [(one.trial, one.value, one.cutoff) for one in stops(read_decisions(log)).values()] == [("a", 1.0, 2.0)]


@pytest.mark.parametrize("variant", ["promote", "stop"])
def test_every_trial_ends_where_the_search_ends(tmp_path: Path, variant: str) -> None:
    settings = EarlyStopping(variant=variant, reduction_factor=2, spacing=2, last=0.5)
    asha = build_asha(settings, tmp_path / "log", places=9)
    if variant == "promote":
        assert isinstance(asha, PromotingASHA)
        desk = Desk(asha, {"a": 1.0, "b": 2.0, "c": 3.0, "d": 4.0}).run()
        assert desk.done == {"a": 2, "b": 2, "c": 4, "d": 8}
    else:
        assert isinstance(asha, RecordedASHA)
        decisions = [
            asha.on_trial_result(None, ray_trial("d"), {"m": 4.0, "epoch": epoch, "fraction": epoch / FULL})
            for epoch in range(1, 9)
        ]
        assert decisions == ["CONTINUE"] * 7 + ["STOP"]
    ended = [(one.trial, one.decision, one.cutoff) for one in read_decisions(tmp_path / "log") if one.rung == 8]
    assert ended == [("d", STOP, None)]


def test_a_trial_at_its_end_is_not_paused(tmp_path: Path) -> None:
    settings = asha_settings(compare_at="gpu_seconds", grace=100)
    asha = build_asha(settings, tmp_path / "log", full=float("inf"))
    trial = ray_trial("a")
    asha.on_trial_add(None, trial)
    result = {"m": 5.0, "epoch": FULL, "fraction": 1.0, "gpu_seconds": 250.0}
    assert asha.on_trial_result(None, trial, result) == TrialScheduler.CONTINUE
    assert [(one.rung, one.at, one.decision) for one in read_decisions(tmp_path / "log")] == [(200, 250.0, CONTINUE)]


def test_without_early_stopping_there_is_no_scheduler() -> None:
    assert build_asha(EarlyStopping(kind="none")) is None


def test_ties_are_kept_apart_by_name(tmp_path: Path) -> None:
    """What goes on is the same in whatever order equals arrive."""
    kept = []
    for number, names in enumerate((sorted(VALUES), sorted(VALUES, reverse=True))):
        log = tmp_path / f"{number}"
        Desk(build_asha(asha_settings(), log), dict.fromkeys(names, 5.0)).run()
        kept.append({one.trial for one in read_decisions(log) if one.decision == CONTINUE})
    assert kept[0] == kept[1] == {f"t{number:02d}" for number in range(9)}


@pytest.mark.parametrize("first", ["new", "promotion"])
def test_decisions_cost_no_more_with_many_trials(first: str) -> None:
    """Four times the trials make four times the decisions. If a decision took four times as long, it would be 16."""
    spent = {}
    for trials in (250, 1000):
        values = {f"t{number:04d}": random.Random(number).random() for number in range(trials)}
        asha = build_asha(asha_settings(first=first), places=4)
        desk = Desk(asha, values, places=4)
        # the scheduler alone is measured, not the stand-in for Ray
        calls = _spent(asha, ("on_trial_result", "choose_trial_to_run"))
        desk.run()
        spent[trials] = sum(calls)
    assert spent[1000] < 12 * spent[250]
    assert len(_reached(desk, 3)) in range(333, 480)


def _spent(scheduler: Any, names: Sequence[str]) -> list[float]:
    """CPU seconds of each call."""
    seconds: list[float] = []

    def timed(call: Callable[..., Any]) -> Callable[..., Any]:
        def measured(*arguments: Any) -> Any:
            began = time.thread_time()
            try:
                return call(*arguments)
            finally:
                seconds.append(time.thread_time() - began)

        return measured

    for name in names:
        setattr(scheduler, name, timed(getattr(scheduler, name)))
    return seconds
