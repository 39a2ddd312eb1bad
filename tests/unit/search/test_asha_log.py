"""What ASHA remembers: its log of decisions, which a search is resumed from, and brackets and phases share."""

from dataclasses import asdict
from functools import partial
from pathlib import Path

import pytest
from asha_desk import VALUES, Desk, arrivals, asha_settings, build_asha, ray_trial
from ray.tune.experiment import Trial
from ray.tune.schedulers import TrialScheduler

from tune_cmx.config.space import EarlyStopping
from tune_cmx.search.rungs import CONTINUE, PAUSE, bracket_of, read_decisions, stops


@pytest.mark.parametrize("first", ["new", "promotion"])
def test_a_search_resumed_halfway_ends_as_if_it_had_not_been_left(tmp_path: Path, first: str) -> None:
    """Left after a number of decisions, up to 57; all of them are about 60."""
    settings, values = asha_settings(first=first), arrivals("random")
    whole = tmp_path / "whole.jsonl"
    expected = Desk(build_asha(settings, whole), values).run().done
    for cut in range(0, 60, 5):
        parts = tmp_path / f"parts-{cut}.jsonl"
        left = Desk(build_asha(settings, parts), values).run(partial(_has_lines, parts, cut))
        over = {name for name, trial in left.trials.items() if trial.status == Trial.TERMINATED}
        over |= set(stops(read_decisions(parts)))
        rest = {name: value for name, value in values.items() if name not in over}
        again = Desk(build_asha(settings, parts), rest, done=left.done).run()
        assert parts.read_bytes() == whole.read_bytes(), cut
        assert again.done == expected, cut


def _has_lines(log: Path, count: int) -> bool:
    return count == 0 or (log.is_file() and log.read_bytes().count(b"\n") >= count)


def test_a_trial_that_the_log_says_is_paused_is_not_begun_before_its_promotion(tmp_path: Path) -> None:
    log = tmp_path / "log"
    Desk(build_asha(asha_settings(), log), arrivals("rising")).run(lambda: len(read_decisions(log)) >= 20)
    paused = {one.trial for one in read_decisions(log)}
    again = Desk(build_asha(asha_settings(), log), arrivals("rising"))
    assert all(trial.status == Trial.PAUSED for trial in again.trials.values())
    again.run(lambda: len(read_decisions(log)) >= 27)
    assert not set(again.starts) & paused


def test_an_epoch_reported_again_changes_nothing(tmp_path: Path) -> None:
    log = tmp_path / "log"
    desk = Desk(build_asha(asha_settings(), log), {"c": 3.0, "b": 2.0, "a": 1.0}).run()
    assert desk.starts.count("c") == 4  # begun, and taken up at each of three rungs
    assert [one.decision for one in read_decisions(log) if one.trial == "c"] == [PAUSE, CONTINUE] * 3


def test_a_worker_lost_while_its_trial_is_paused(tmp_path: Path) -> None:
    """Ray starts the trial again by itself; it comes back to its rung and is paused there, without a second line."""
    log = tmp_path / "log"
    asha = build_asha(asha_settings(), log, places=2)
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


def test_a_trial_that_ended_with_the_search_is_not_taken_up_beyond_it(tmp_path: Path) -> None:
    """The driver died between the log and the record, and the trial is handed to Ray once more."""
    settings, log = EarlyStopping(reduction_factor=2, spacing=2, last=0.5), tmp_path / "log"
    Desk(build_asha(settings, log), {"a": 1.0, "b": 2.0, "c": 3.0, "d": 4.0}).run()
    before = log.read_bytes()
    again = Desk(build_asha(settings, log), {"d": 4.0}).run()
    assert again.starts == []
    assert again.trials["d"].status == Trial.TERMINATED
    assert log.read_bytes() == before


@pytest.mark.parametrize("variant", ["promote", "stop"])
def test_brackets_begin_a_rung_later_each_and_judge_alone(tmp_path: Path, variant: str) -> None:
    settings = EarlyStopping(variant=variant, brackets=3, reduction_factor=2, spacing=2, last=1)
    log = tmp_path / "log"
    asha = build_asha(settings, log, places=50, seed=7)
    names = [f"t{number}" for number in range(40)]
    dealt = {name: bracket_of(name, 3, 7) for name in names}
    assert set(dealt.values()) == {0, 1, 2}
    assert dealt != {name: bracket_of(name, 3, 8) for name in names}
    for name in names:
        trial = ray_trial(name)
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
    again = build_asha(settings, log, places=50, seed=7)
    for bracket, rung in ((0, 2), (1, 4), (2, 8)):
        assert set(again.contents(rung, bracket)) == {name for name in names if dealt[name] == bracket}


def test_phases_share_a_log_and_judge_alone(tmp_path: Path) -> None:
    log = tmp_path / "log"
    Desk(build_asha(asha_settings(), log, phase="stages"), {"a": 9.0, "b": 8.0, "c": 7.0}).run()
    before = log.read_bytes()
    second = build_asha(asha_settings(), log, phase="thresholds")
    assert not second.decided
    Desk(second, {"d": 1.0, "e": 2.0, "f": 3.0}).run()
    assert log.read_bytes().startswith(before)
    assert {one.phase for one in read_decisions(log)} == {"stages", "thresholds"}
    assert set(build_asha(asha_settings(), log, phase="stages").decided) == {"a", "b", "c"}


def test_no_log_is_written_where_none_is_given(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    desk = Desk(build_asha(asha_settings()), VALUES).run()
    assert len(desk.decided()) == len(VALUES)
    assert not list(tmp_path.rglob("*"))


def test_decisions_of_before_phases_and_brackets_are_read(tmp_path: Path) -> None:
    log = tmp_path / "log"
    log.write_text(
        '{"trial": "a", "arm": "x", "rung": 2, "at": 2.0, "value": 5.0, "cutoff": null, "decision": "continue"}\n'
    )
    assert [(one.phase, one.bracket) for one in read_decisions(log)] == [("search", 0)]


def test_a_decision_is_a_line_of_plain_json(tmp_path: Path) -> None:
    log = tmp_path / "search" / "rungs.jsonl"
    Desk(build_asha(asha_settings(), log), {"a": 1.0}).run()
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
