"""ASHA that remembers, held against Ray's own."""

import json
import random
from pathlib import Path
from typing import Any

import pytest
from ray.tune.experiment import Trial
from ray.tune.schedulers import ASHAScheduler, TrialScheduler

from tune_cmx.config.space import EarlyStopping
from tune_cmx.search.rungs import CONTINUE, STOP, read_decisions, rungs
from tune_cmx.search.schedulers import RecordedASHA

METRIC = "val/mAP_smooth"
FULL = 20


def _settings(reduction_factor: float = 2, grace: float = 2, compare_at: Any = "epoch") -> EarlyStopping:
    """The stopping variant as it is published, which is Ray's."""
    published: dict[str, Any] = {"spacing": None, "last": 1, "variant": "stop"}
    return EarlyStopping(reduction_factor=reduction_factor, grace=grace, compare_at=compare_at, **published)


def _asha(log: Path, settings: EarlyStopping, full: float = FULL) -> RecordedASHA:
    return RecordedASHA(settings, metric=METRIC, full=full, log=log)


def _trial(name: str) -> Trial:
    return Trial("train", stub=True, trial_id=name, config={"trial": {"name": name, "arm": f"arm-{name}"}})


def _result(value: float, **at: float) -> dict[str, Any]:
    return {METRIC: value, "epoch": 2, "fraction": 0.1, "gpu_seconds": 1.0, **at}


def _reports(draw: random.Random, order: str, trials: int) -> list[tuple[str, int, float]]:
    """Trial, epoch and value of each report as they arrive: one trial after another, or interleaved.

    Values are few enough that ties come up; some trials report every other epoch.
    """
    level = sorted((draw.randrange(8) for _ in range(trials)), reverse=order == "falling")
    every = [draw.choice([1, 1, 2, 3]) for _ in range(trials)]
    waiting = [
        [(f"t{n}", epoch, level[n] + (draw.randrange(3) if order == "random" else 0)) for epoch in range(e, FULL, e)]
        for n, e in enumerate(every)
    ]
    if order != "random" or draw.random() < 0.3:
        return [report for queue in waiting for report in queue]
    arrived = []
    while left := [queue for queue in waiting if queue]:
        arrived.append(draw.choice(left).pop(0))
    return arrived


@pytest.mark.parametrize(
    ("settings", "full", "expected"),
    [
        (_settings(3, 3), 25, [3, 9]),
        (_settings(2, 5), 25, [5, 10, 20]),
        (_settings(4, 2), 25, [2, 8]),
        (_settings(2, 2), 5, [2, 4]),
        (_settings(2, 2), 8, [2, 4]),
        (_settings(2, 0.2, "fraction"), 1.0, [0.2, 0.4, 0.8]),
        (_settings(2, 0.25, "fraction"), 1.0, [0.25, 0.5]),
        (_settings(3, 100, "gpu_seconds"), float("inf"), [100 * 3.0**k for k in range(24)]),
    ],
)
def test_rungs_lie_below_the_end(settings: EarlyStopping, full: float, expected: list[float]) -> None:
    assert rungs(settings, full) == pytest.approx(expected)


@pytest.mark.parametrize("order", ["random", "rising", "falling"])
@pytest.mark.parametrize("reduction_factor", [2, 3, 4])
def test_decides_as_ray_does(tmp_path: Path, reduction_factor: int, order: str) -> None:
    """Over 10 sequences of up to 20 trials each; Ray's class is told not to stop a trial at its end.

    A value on the cutoff continues here; Ray stops it where its interpolation puts the cutoff a last bit higher.
    """
    stopped = 0
    for seed in range(10):
        draw = random.Random(seed)
        settings = _settings(reduction_factor, draw.choice([2, 3, 4]))
        ours = _asha(tmp_path / f"{seed}.jsonl", settings)
        rays = ASHAScheduler(*("epoch", METRIC, "max"), FULL, settings.grace, reduction_factor, stop_last_trials=False)
        trials: dict[str, Trial] = {}
        over: set[str] = set()
        for name, epoch, value in _reports(draw, order, draw.randint(1, 20)):
            if name in over:
                continue
            if name not in trials:
                trials[name] = _trial(name)
                rays.on_trial_add(None, trials[name])
            result = _result(value, epoch=epoch, fraction=epoch / FULL)
            decision = ours.on_trial_result(None, trials[name], result)
            of_ray = rays.on_trial_result(None, trials[name], result)
            ties_with_cutoff = (
                ours.decided[name].cutoff == pytest.approx(value, rel=1e-12) if of_ray != decision else False
            )
            assert decision == of_ray or (decision == TrialScheduler.CONTINUE and ties_with_cutoff)
            if decision == TrialScheduler.STOP:
                over.add(name)
        stopped += len(over)
    assert stopped > 0 if order != "rising" else stopped == 0


def test_a_resumed_search_ends_as_if_it_had_not_been_left(tmp_path: Path) -> None:
    for seed in range(10):
        draw = random.Random(seed)
        reports = _reports(draw, "random", 12)
        whole, parts = _asha(tmp_path / f"{seed}.jsonl", _settings()), tmp_path / f"{seed}-parts.jsonl"
        over: set[str] = set()
        for number, (name, epoch, value) in enumerate(reports):
            if number % 7 == 0:
                again = _asha(parts, _settings())
                assert [again.contents(rung) for rung in (2, 4, 8, 16)] == [
                    whole.contents(rung) for rung in (2, 4, 8, 16)
                ]
            if name in over:
                continue
            result = _result(value, epoch=epoch, fraction=epoch / FULL)
            decision = whole.on_trial_result(None, _trial(name), result)
            assert again.on_trial_result(None, _trial(name), result) == decision
            if decision == TrialScheduler.STOP:
                over.add(name)
        assert parts.read_bytes() == (tmp_path / f"{seed}.jsonl").read_bytes()


def test_a_decision_is_on_the_disk_when_it_is_made(tmp_path: Path) -> None:
    log = tmp_path / "search" / "rungs.jsonl"
    asha = _asha(log, _settings())
    assert asha.on_trial_result(None, _trial("a"), _result(5.0, epoch=2)) == TrialScheduler.CONTINUE
    assert asha.on_trial_result(None, _trial("b"), _result(4.0, epoch=2)) == TrialScheduler.STOP
    first, second = [json.loads(line) for line in log.read_text().splitlines()]
    assert first == {
        "trial": "a",
        "arm": "arm-a",
        "rung": 2,
        "at": 2.0,
        "value": 5.0,
        "cutoff": None,
        "decision": CONTINUE,
        "phase": "search",
        "bracket": 0,
    }
    assert second == {
        "trial": "b",
        "arm": "arm-b",
        "rung": 2,
        "at": 2.0,
        "value": 4.0,
        "cutoff": 5.0,
        "decision": STOP,
        "phase": "search",
        "bracket": 0,
    }


def test_a_replayed_epoch_is_not_compared_again(tmp_path: Path) -> None:
    """A trial whose worker was lost reports its epochs once more, from the record."""
    asha = _asha(tmp_path / "log", _settings())
    asha.on_trial_result(None, _trial("a"), _result(5.0, epoch=2))
    asha.on_trial_result(None, _trial("b"), _result(6.0, epoch=2))
    for epoch in (1, 2, 3):
        assert asha.on_trial_result(None, _trial("a"), _result(0.0, epoch=epoch)) == TrialScheduler.CONTINUE
    assert len(read_decisions(tmp_path / "log")) == 2


@pytest.mark.parametrize("cut", [1, 2, 30])
def test_a_line_that_a_crash_cut_short_does_not_count(tmp_path: Path, cut: int) -> None:
    log = tmp_path / "log"
    asha = _asha(log, _settings())
    asha.on_trial_result(None, _trial("a"), _result(5.0, epoch=2))
    asha.on_trial_result(None, _trial("b"), _result(6.0, epoch=2))
    log.write_bytes(log.read_bytes()[:-cut])
    again = _asha(log, _settings())
    assert again.contents(2) in ({"a": 5.0}, {"a": 5.0, "b": 6.0})
    again.on_trial_result(None, _trial("b"), _result(6.0, epoch=2))
    again.on_trial_result(None, _trial("c"), _result(7.0, epoch=2))
    assert [decision.trial for decision in read_decisions(log)] == ["a", "b", "c"]
    assert _asha(log, _settings()).contents(2) == {"a": 5.0, "b": 6.0, "c": 7.0}


def test_a_failed_report_enters_no_rung(tmp_path: Path) -> None:
    asha = _asha(tmp_path / "log", _settings())
    failed = {**_result(-1.0, epoch=4), "failed": "loss is nan"}
    assert asha.on_trial_result(None, _trial("a"), failed) == TrialScheduler.CONTINUE
    assert not asha.contents(2)
    assert read_decisions(tmp_path / "log") == []


@pytest.mark.parametrize(("epochs", "grace"), [(10, 0.1), (10, 0.3), (20, 0.15), (30, 0.1), (7, 1 / 7)])
def test_a_rung_over_fractions_is_reached_at_its_epoch(tmp_path: Path, epochs: int, grace: float) -> None:
    """0.1 · 3 is above 3/10 in floating point; the trial is compared at epoch 3 all the same, and never before 2."""
    asha = _asha(tmp_path / "log", _settings(3, grace, "fraction"), full=1.0)
    for epoch in range(1, epochs + 1):
        asha.on_trial_result(None, _trial("a"), _result(5.0, epoch=epoch, fraction=epoch / epochs))
    expected = [max(2, round(rung * epochs)) for rung in rungs(_settings(3, grace, "fraction"), 1.0)]
    assert [round(decision.at * epochs) for decision in read_decisions(tmp_path / "log")] == expected


def test_trials_of_unlike_length_meet_at_equal_fractions(tmp_path: Path) -> None:
    asha = _asha(tmp_path / "log", _settings(2, 0.4, "fraction"), full=1.0)
    asha.on_trial_result(None, _trial("long"), _result(9.0, epoch=10, fraction=0.4))
    assert asha.on_trial_result(None, _trial("short"), _result(1.0, epoch=1, fraction=0.2)) == TrialScheduler.CONTINUE
    assert asha.on_trial_result(None, _trial("short"), _result(1.0, epoch=2, fraction=0.4)) == TrialScheduler.STOP


def test_gpu_seconds_go_to_the_highest_rung_passed(tmp_path: Path) -> None:
    asha = _asha(tmp_path / "log", _settings(2, 10, "gpu_seconds"), full=float("inf"))
    asha.on_trial_result(None, _trial("a"), _result(5.0, gpu_seconds=45.0))
    asha.on_trial_result(None, _trial("b"), _result(4.0, gpu_seconds=12.0))
    assert [(d.trial, d.rung, d.at) for d in read_decisions(tmp_path / "log")] == [("a", 40, 45.0), ("b", 10, 12.0)]
    assert asha.on_trial_result(None, _trial("b"), _result(4.0, gpu_seconds=41.0)) == TrialScheduler.STOP


def test_a_trial_at_its_end_is_compared_and_not_stopped(tmp_path: Path) -> None:
    asha = _asha(tmp_path / "log", _settings(2, 10, "gpu_seconds"), full=float("inf"))
    asha.on_trial_result(None, _trial("a"), _result(5.0, gpu_seconds=11.0))
    last = _result(4.0, gpu_seconds=12.0, fraction=1.0)
    assert asha.on_trial_result(None, _trial("b"), last) == TrialScheduler.CONTINUE
    assert asha.contents(10) == {"a": 5.0, "b": 4.0}
