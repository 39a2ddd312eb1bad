"""Waiting for storage that fails for a while."""

import errno
import logging
import random
from pathlib import Path

import pytest

from tune_cmx import retry
from tune_cmx.errors import TrialError
from tune_cmx.retry import on_disk

PLACE = Path("runs/a/metrics.csv")


class Flaky:
    """Fails with these errors, one a call, then works."""

    def __init__(self, *numbers: int) -> None:
        self.numbers = list(numbers)
        self.calls = 0

    def __call__(self) -> str:
        self.calls += 1
        if self.numbers:
            number = self.numbers.pop(0)
            raise OSError(number, errno.errorcode[number])
        return "done"


class Clock:
    """Time that passes only in sleep, so that a busy machine changes nothing."""

    def __init__(self) -> None:
        self._now_s = 0.0

    def monotonic(self) -> float:
        return self._now_s

    def sleep(self, seconds: float) -> None:
        self._now_s += seconds


@pytest.fixture(autouse=True)
def _short_waits(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(retry, "FIRST_WAIT_S", 0.001)


def test_errors_that_pass(caplog: pytest.LogCaptureFixture) -> None:
    """The wait is told of once, and draws nothing from the generator that a trial's checkpoint holds."""
    state = random.getstate()
    attempt = Flaky(errno.ENOSPC, errno.EIO, errno.ESTALE, errno.EDQUOT, errno.ETIMEDOUT, errno.EROFS)
    with caplog.at_level(logging.WARNING):
        assert on_disk(PLACE, attempt) == "done"
    assert attempt.calls == 7
    assert [record.getMessage() for record in caplog.records] == [
        "runs/a/metrics.csv: [Errno 28] ENOSPC; trying again for up to 600 s"
    ]
    assert random.getstate() == state


@pytest.mark.parametrize(
    ("number", "words"),
    [
        (errno.ENOSPC, "ENOSPC for 0 s; free some space there"),
        (errno.EDQUOT, "EDQUOT for 0 s; free some space there"),
        (errno.ESTALE, "ESTALE for 0 s; make this storage available again"),
    ],
)
def test_errors_that_stay(number: int, words: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(retry, "time", Clock())
    attempt = Flaky(*[number] * 1000)
    again = "then resume from the last checkpoint with --resume --retry-failed"
    with pytest.raises(TrialError, match=f"^runs/a/metrics.csv: {words}, {again}$"):
        on_disk(PLACE, attempt, retry_s=0.02)
    assert 3 <= attempt.calls <= 10


@pytest.mark.parametrize("number", [errno.ENOENT, errno.EACCES, errno.ENOTDIR])
def test_errors_that_no_waiting_helps_are_raised_at_once(number: int) -> None:
    attempt = Flaky(number)
    with pytest.raises(OSError, match=errno.errorcode[number]) as caught:
        on_disk(PLACE, attempt)
    assert (attempt.calls, caught.value.errno) == (1, number)


def test_without_retries_there_is_one_attempt() -> None:
    attempt = Flaky(errno.EIO)
    with pytest.raises(TrialError):
        on_disk(PLACE, attempt, retry_s=0)
    assert attempt.calls == 1
