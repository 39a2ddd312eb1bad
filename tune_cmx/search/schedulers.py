"""ASHA on Ray's scheduler interface, with a memory.

Ray's own ASHAScheduler decides by the same rule (a test holds the two together), but Ray saves no scheduler: a
restored search judges by empty rungs (ray-project/ray#30838). Here each decision is appended to `rungs.jsonl` beside
the records as it is made, and a search that is taken up again starts from there.
"""

import json
import os
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
from ray.tune.experiment import Trial
from ray.tune.schedulers import FIFOScheduler, TrialScheduler

from tune_cmx.config.space import EarlyStopping

GO_ON, STOP = "go on", "stop"
GPU_SECONDS_RUNGS = 12
"""Rungs over GPU-seconds, whose end is not known beforehand."""


@dataclass(frozen=True)
class Decision:
    """What ASHA decided about one trial at one rung; a line of `rungs.jsonl`."""

    trial: str
    arm: str
    rung: float
    at: float
    """Where the trial stood when it was compared, in the unit of the rungs."""
    value: float
    cutoff: float | None
    """What it was compared with; None for the first to arrive."""
    decision: str


def read_decisions(log: Path) -> list[Decision]:
    """The decisions so far, in order; a last line that a crash cut short does not count."""
    if not log.exists():
        return []
    lines = log.read_text(encoding="utf-8").splitlines(keepends=True)
    return [Decision(**json.loads(line)) for line in lines if line.endswith("}\n")]


def rungs(config: EarlyStopping, full: float) -> list[float]:
    """The points of comparison below the end of the schedule: grace · reduction_factor^k.

    Args:
        config: Where the first one is and how they grow.
        full: The end, in the unit of `compare_at`; infinite for GPU-seconds.
    """
    points = [config.grace * config.reduction_factor**k for k in range(GPU_SECONDS_RUNGS)]
    return [point for point in points if point < full * (1 - 1e-9)]


def trial_facts(trial: Trial) -> Mapping[str, Any]:
    """What the runner told Ray about a trial: its name, arm and record."""
    facts: Mapping[str, Any] = trial.config["trial"]
    return facts


class RecordedASHA(FIFOScheduler):
    """Stop a trial at a rung whose value is below the upper 1/reduction_factor of those that came before.

    The stopping variant of ASHA (Li et al., arXiv:1810.05934), as in Ray: the first to arrive goes on, nothing is
    taken up again. What it keeps hangs on the order of arrival. A report that says `failed` enters no rung.
    """

    def __init__(self, config: EarlyStopping, *, metric: str, full: float, log: Path) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self._time: str = config.compare_at
        self._metric: str = metric
        self._log = log
        self._percentile = 100 * (1 - 1 / config.reduction_factor)
        self.contents: dict[float, dict[str, float]] = {point: {} for point in rungs(config, full)}
        """The value of each trial at each rung, by the trial's name."""
        if log.exists() and not log.read_bytes().endswith(b"\n"):
            with log.open("ab") as file:
                file.write(b"\n")  # a crash cut the last line short; what follows must not join it
        for decision in read_decisions(log):
            self.contents[decision.rung][decision.trial] = decision.value

    def on_trial_result(self, _controller: Any, trial: Trial, result: Mapping[str, Any]) -> str:
        """Decide at the highest rung that the trial has reached, if it was not compared there before."""
        if result.get("failed"):
            return str(TrialScheduler.CONTINUE)
        facts = trial_facts(trial)
        at, value = float(result[self._time]), float(result[self._metric])
        reached = [rung for rung in self.contents if at >= rung * (1 - 1e-9)]  # 3/10 is below 0.1 * 3 in floats
        if not reached or facts["name"] in self.contents[max(reached)]:
            return str(TrialScheduler.CONTINUE)
        recorded = self.contents[max(reached)]
        cutoff = float(np.percentile(list(recorded.values()), self._percentile)) if recorded else None
        recorded[facts["name"]] = value
        over = result["fraction"] >= 1  # a rung over GPU-seconds may lie behind the last epoch: nothing is left to stop
        decision = STOP if cutoff is not None and value < cutoff and not over else GO_ON
        self._write(Decision(facts["name"], facts["arm"], max(reached), at, value, cutoff, decision))
        return str(TrialScheduler.STOP if decision == STOP else TrialScheduler.CONTINUE)

    def _write(self, decision: Decision) -> None:
        self._log.parent.mkdir(parents=True, exist_ok=True)
        with self._log.open("a", encoding="utf-8") as file:
            file.write(json.dumps(asdict(decision)) + "\n")
            file.flush()
            os.fsync(file.fileno())
