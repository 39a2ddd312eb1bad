"""The rungs of ASHA, and the log of what was decided at them; nothing here knows Ray."""

import hashlib
import json
import math
import os
from bisect import bisect_left, insort
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from tune_cmx import ties
from tune_cmx.config.space import EarlyStopping
from tune_cmx.retry import on_disk
from tune_cmx.state.rung_log import Decision, parse_decision

CONTINUE, PAUSE, STOP = "continue", "pause", "stop"
FIRST_EPOCH = 2
"""No trial is compared before it, whatever the unit of the rungs."""


def read_decisions(log: Path) -> list[Decision]:
    """The decisions so far, in order; a last line that a crash cut short does not count.

    Raises:
        DataError: A line lacks a field, or has one of another type.
    """
    if not log.exists():
        return []
    lines = log.read_text(encoding="utf-8").splitlines(keepends=True)
    whole = [(number, line) for number, line in enumerate(lines, start=1) if line.endswith("}\n")]
    return [parse_decision(json.loads(line), f"{log}:{number}") for number, line in whole]


def rungs(config: EarlyStopping, full: float, bracket: int = 0) -> list[float]:
    """The points at which a bracket's trials are compared, or end.

    Args:
        config: Where they are.
        full: The end of a schedule in the unit of `compare_at`; infinite for GPU-seconds.
        bracket: The first begins at the first rung, the next at the second.
    """
    return config.rungs(full)[bracket:]


def bracket_of(trial: str, brackets: int, seed: int) -> int:
    """The bracket that a trial is dealt to, by a hash: the same in every session, and no generator is touched."""
    return int.from_bytes(hashlib.sha256(f"{seed}:{trial}".encode()).digest()[:8], "big") % brackets


def stops(decisions: Sequence[Decision]) -> dict[str, Decision]:
    """The decision that stopped each trial that was stopped, by the trial's name."""
    latest = {decision.trial: decision for decision in decisions}
    return {name: decision for name, decision in latest.items() if decision.decision == STOP}


def place_in_rung(value: float, trial: str) -> tuple[float, str]:
    """Sorts trials by value, the highest first; values that differ only by rounding are sorted by the trial's name."""
    return -ties.key(value), trial


class Rung:
    """The values of the trials that reached a rung; ties go by the trial's name."""

    def __init__(self) -> None:
        self.values: dict[str, float] = {}
        self._ranked: list[tuple[float, str]] = []
        """Highest first: minus the value to 12 digits, and the name."""

    def add(self, trial: str, value: float) -> None:
        """Enter a trial; one that is there keeps its value."""
        if trial not in self.values:
            self.values[trial] = value
            insort(self._ranked, place_in_rung(value, trial))

    def rank(self, trial: str) -> int:
        """How many are above it."""
        return bisect_left(self._ranked, place_in_rung(self.values[trial], trial))

    def upper(self, reduction_factor: float) -> int:
        """How many the upper 1/reduction_factor are, rounded down."""
        return int(len(self._ranked) / reduction_factor + 1e-9)

    def nth(self, count: int) -> float | None:
        """The lowest of the upper `count`; None of none."""
        return self.values[self._ranked[count - 1][1]] if count else None

    def percentile(self, share: float) -> float | None:
        """The value below which a share of them lies, between neighbours as numpy interpolates; None of none."""
        if not self._ranked:
            return None
        place = (len(self._ranked) - 1) * share
        below = int(place)
        low = self.values[self._ranked[-1 - below][1]]
        high = self.values[self._ranked[max(-2 - below, -len(self._ranked))][1]]
        part = place - below
        return low + (high - low) * part if part < 0.5 else high - (high - low) * (1 - part)


class RungMemory:
    """The rungs of one search, their log, and when a report is due for a comparison."""

    def __init__(
        self, config: EarlyStopping, *, metric: str, full: float, log: Path | None, phase: str, seed: int
    ) -> None:
        self.config, self.metric, self._log = config, metric, log
        self._time, self._phase, self._seed = config.compare_at, phase, seed
        self._points = [rungs(config, full, bracket) for bracket in range(config.brackets)]
        self.rungs = {(bracket, point): Rung() for bracket, points in enumerate(self._points) for point in points}
        ends = config.last < 1 and math.isfinite(full) and bool(self._points[0])
        self._end = self._points[0][-1] if ends else None
        self.latest: dict[str, Decision] = {}
        """What was decided last about each trial."""
        for decision in self._earlier():
            self.rungs[decision.bracket, decision.rung].add(decision.trial, decision.value)
            self.latest[decision.trial] = decision

    def _earlier(self) -> list[Decision]:
        if self._log is None or not self._log.exists():
            return []
        if not self._log.read_bytes().endswith(b"\n"):
            with self._log.open("ab") as file:
                file.write(b"\n")  # a crash cut the last line short; what follows must not join it
        return [decision for decision in read_decisions(self._log) if decision.phase == self._phase]

    def at(self, result: Mapping[str, Any]) -> float:
        """The place of a report in the unit of the rungs."""
        return float(result[self._time])

    def due(self, trial: str, result: Mapping[str, Any]) -> tuple[int, float] | None:
        """Bracket and rung that a report brings a trial to, if it was not compared there or further before."""
        if result["epoch"] < FIRST_EPOCH:
            return None
        bracket = bracket_of(trial, self.config.brackets, self._seed)
        at = self.at(result)
        reached = [point for point in self._points[bracket] if at >= point * (1 - 1e-9)]  # 3/10 is below 0.1 * 3
        known = self.latest.get(trial)
        if not reached or (known is not None and known.rung >= reached[-1]):
            return None
        return bracket, reached[-1]

    def ends(self, place: tuple[int, float]) -> bool:
        """Whether a rung is the last, where the search has seen enough of a trial."""
        return place[1] == self._end

    def decide(self, *decisions: Decision) -> None:
        """Remember decisions, on the disk too."""
        for decision in decisions:
            self.rungs[decision.bracket, decision.rung].add(decision.trial, decision.value)
            self.latest[decision.trial] = decision
        if self._log is None:
            return
        log = self._log
        lines = "".join(json.dumps(asdict(decision)) + "\n" for decision in decisions).encode()
        log.parent.mkdir(parents=True, exist_ok=True)
        kept = log.stat().st_size if log.exists() else 0

        def append() -> None:
            with log.open("ab") as file:
                file.truncate(kept)  # what an attempt before this one left of a line
                file.write(lines)
                file.flush()
                os.fsync(file.fileno())

        on_disk(log, append)

    def decision(
        self,
        facts: Mapping[str, Any],
        place: tuple[int, float],
        result: Mapping[str, Any],
        cutoff: float | None,
        decided: str,
    ) -> Decision:
        """A decision about a report of the trial with these facts."""
        value = float(result[self.metric])
        return Decision(
            *(facts["name"], facts["arm"], place[1], self.at(result), value, cutoff, decided, self._phase, place[0])
        )
