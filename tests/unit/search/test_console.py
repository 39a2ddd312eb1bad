"""What a person sees: a line an event in a log, a table on a terminal."""

import io
import re
import time

import pytest
from rich.console import Console

from tune_cmx.search.console import FINISHED_SHOWN, StudyConsole, duration

TRIALS = {"a": ("stages 1", 4, 0), "b": ("stages 2", 4, 0), "c": ("stages [3]", 4, 0)}


def _console(*, terminal: bool) -> tuple[StudyConsole, io.StringIO]:
    text = io.StringIO()
    return StudyConsole(Console(file=text, force_terminal=terminal, width=100, highlight=False), "val/mAP"), text


def _start(shown: StudyConsole, trials: dict[str, tuple[str, int, int]], slots: int) -> None:
    shown.start("Search", len(trials), slots)
    for name, (label, epochs, known) in trials.items():
        shown.add(name, label, epochs, known)


def test_a_line_an_event_where_there_is_no_terminal() -> None:
    shown, text = _console(terminal=False)
    _start(shown, TRIALS, 2)
    shown.epoch("a", 1, 12.345, 3.0)
    shown.end("b", "failed", "loss is nan at epoch 1, step 2")
    lines = text.getvalue().splitlines()
    assert lines[0] == "Search: 3 trials, 2 at a time"
    assert [line[10:] for line in lines[1:]] == [
        "stages 1: epoch 1 of 4, val/mAP 12.35",
        "stages 2: failed, loss is nan at epoch 1, step 2",
    ]
    assert "\x1b" not in text.getvalue()


def test_a_long_event_stays_one_line() -> None:
    shown, text = _console(terminal=False)
    _start(shown, TRIALS, 1)
    shown.end("a", "failed", "word " * 60)
    assert len(text.getvalue().splitlines()) == 2


def test_the_table_at_the_end() -> None:
    shown, text = _console(terminal=False)
    _start(shown, TRIALS, 1)
    for epoch in range(1, 5):
        shown.epoch("a", epoch, 10.0, 20.0 * epoch)
    shown.end("a", "complete")
    shown.epoch("c", 2, 30.0, 5.0)
    shown.end("c", "stopped", "ASHA: 30.00 is below 31.00 at rung 2")
    before = len(text.getvalue())
    shown.finish()
    head, best, second, summary = text.getvalue()[before:].splitlines()
    assert head.split() == ["trial", "epoch", "val/mAP", "time", "status"]
    assert best.split() == ["stages", "1", "4/4", "10.00", "1", "min", "20", "s", "complete"]
    assert second.startswith("stages [3]")
    assert "ASHA: 30.00 is below 31.00 at rung 2" in second
    assert summary.startswith("2 of 3 trials ended · 1 complete · 1 stopped · at most ")


def test_a_table_on_a_terminal() -> None:
    shown, text = _console(terminal=True)
    _start(shown, TRIALS, 2)
    shown.epoch("a", 1, 12.0, 3.0)
    shown.end("b", "failed", "out of memory")
    shown.finish()
    assert "epoch 1 of 4" not in text.getvalue()
    last = text.getvalue().rpartition("trial ")[2]
    assert "1/4" in last
    assert "failed: out of memory" in last


def test_a_trial_is_seen_before_its_first_epoch() -> None:
    for terminal in (False, True):
        shown, text = _console(terminal=terminal)
        _start(shown, TRIALS, 2)
        shown.begin("b")
        assert ("stages 2" if terminal else "stages 2: started") in text.getvalue()
        assert "stages 1" not in text.getvalue()
        shown.finish()


def test_a_live_table_is_no_longer_than_a_screen() -> None:
    trials = {str(number): (f"arm {number}", 2, 0) for number in range(40)}
    shown, text = _console(terminal=True)
    _start(shown, trials, 2)
    for name in trials:
        shown.end(name, "stopped")
    shown.finish()
    *_, live, final = text.getvalue().split("trial ")
    assert live.count("arm ") == FINISHED_SHOWN
    assert final.count("arm ") == 40


def _left(text: str) -> int:
    """Seconds left, of `at most 3 s left`."""
    return int(re.findall(r"at most (\d+) s left", text)[-1])


def test_epochs_of_an_earlier_session_do_not_count_for_the_time_left() -> None:
    """One epoch took half a second, and four are left; the five of the record took none of it."""
    shown, text = _console(terminal=False)
    _start(shown, {"a": ("stages 1", 10, 5)}, 1)
    time.sleep(0.6)
    for epoch in range(1, 7):
        shown.epoch("a", epoch, 10.0, 1.0 * epoch)
    shown.finish()
    assert _left(text.getvalue()) >= 2


def test_epochs_after_a_lost_worker_do_not_count_twice() -> None:
    """Two epochs took six tenths, and eight are left; the two reported again took none of it."""
    shown, text = _console(terminal=False)
    _start(shown, {"a": ("stages 1", 10, 0)}, 1)
    time.sleep(0.6)
    for epoch in (1, 2, 1, 2):
        shown.epoch("a", epoch, 10.0, 1.0 * epoch)
    shown.finish()
    assert _left(text.getvalue()) >= 2


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (0.4, "0 s"),
        (59.4, "59 s"),
        (59.6, "1 min 00 s"),
        (200, "3 min 20 s"),
        (7500, "2 h 05 min"),
        (3599.7, "1 h 00 min"),
    ],
)
def test_durations(seconds: float, text: str) -> None:
    assert duration(seconds) == text


def test_a_table_is_not_drawn_for_every_event() -> None:
    shown, text = _console(terminal=True)
    _start(shown, TRIALS, 2)
    for epoch in range(200):
        shown.epoch("a", epoch, 12.0, 3.0)
    shown.finish()
    assert text.getvalue().count("val/mAP") < 100  # the table's head
