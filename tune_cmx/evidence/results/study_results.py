"""A study and its trials, as their files have them."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import pandas as pd

from tune_cmx.config.parse import flatten
from tune_cmx.metrics import SPLITS, scored
from tune_cmx.smoothing import smoothed
from tune_cmx.state.final_results import FinalResults
from tune_cmx.state.rung_log import Decision
from tune_cmx.state.study_state import ArmState, ImportedStudy, StudyState
from tune_cmx.state.trial_state import ImportedRun, Stopped, TrialState

NOT_PROTOCOL = (
    *("seed", "report_split", "data.root", "data.labels", "data.split", "schedule.preset"),
    *(f"model.pretrained.{stream}.path" for stream in ("every", "rgb", "aux")),
)
"""Configuration fields that change no result once the rest is equal: places and labels, and the seed."""


@dataclass(frozen=True)
class Trial:
    """One run folder."""

    name: str
    folder: Path
    state: TrialState
    """trial.json."""
    config: Mapping[str, Any]
    """config.json, nested."""
    metrics: pd.DataFrame
    """metrics.csv, one row an epoch; empty where there is none."""
    final: FinalResults
    """final_results.json; empty before the end."""

    @cached_property
    def results(self) -> Mapping[str, Mapping[str, float | None]]:
        """Final results by split."""
        return self.final.on_splits

    @property
    def reported_on(self) -> str | None:
        """The split that the detections are of."""
        return self.final.split

    @property
    def arm(self) -> str:
        return self.state.arm

    @property
    def phase(self) -> str:
        return self.state.phase

    @property
    def status(self) -> str:
        return self.state.status

    @property
    def seed(self) -> int | None:
        known = "seed" in self.state.model_fields_set  # null is what an import does not know
        seed = self.state.seed if known else self.config.get("seed")
        return None if seed is None else int(seed)

    @property
    def seconds(self) -> float:
        """Of training, over all its segments."""
        return self.state.seconds

    @property
    def epochs(self) -> int:
        return self.state.epochs

    @property
    def epochs_planned(self) -> int | None:
        known = "epochs_planned" in self.state.model_fields_set
        planned = self.state.epochs_planned if known else self.config.get("schedule", {}).get("epochs")
        return None if planned is None else int(planned)

    @property
    def devices(self) -> float:
        """How many devices train it at once: a share of a GPU where several trials have one."""
        return float(self.state.gpus or (self.config.get("schedule") or {}).get("processes") or 1)

    @property
    def on_cpu(self) -> bool | None:
        """By the device on record, such as `2 x cpu, 4 threads`; None: none is."""
        device = self.state.device
        return None if device is None else device.rpartition(" x ")[2].lower().startswith("cpu")

    def times(self, clock: str) -> pd.Series:
        """The clock at each epoch of metrics.csv, as the search reads it; empty where it is not on record.

        Args:
            clock: As `early_stopping.compare_at`.
        """
        column = "seconds" if clock == "gpu_seconds" else clock
        times = self.metrics.get(column, pd.Series(dtype=float))
        return times * float(self.state.gpus or 1) if clock == "gpu_seconds" else times

    @property
    def stopped(self) -> Stopped | None:
        """Where the search stopped it early; None: it did not."""
        return self.state.stopped

    @property
    def imported(self) -> ImportedRun:
        """What the source of an imported run says of it; only runs of an import have it."""
        assert self.state.imported is not None, f"{self.name} is not of an import"
        return self.state.imported

    @cached_property
    def flat_config(self) -> dict[str, Any]:
        """Dotted paths, without the fields of `NOT_PROTOCOL`; the micro-batch is the one it was halved to."""
        planned = {path: value for path, value in flatten(self.config).items() if path not in NOT_PROTOCOL}
        return planned if self.halved_to is None else {**planned, "schedule.micro_batch": self._micro_batches()}

    def _micro_batches(self) -> int | str:
        """The number that all steps were taken with; or, as memory ran out later, which from where on."""
        halvings = self.state.halvings
        if self.halved_to is not None and halvings and all((one.epoch, one.step) == (1, 1) for one in halvings):
            return self.halved_to
        shown = [f"{one.micro_batch} from epoch {one.epoch}, step {one.step}" for one in halvings]
        return "; ".join(shown) or f"{self.halved_to} from some step on"

    @property
    def halved_to(self) -> int | None:
        """Micro-batch after the last halving, as memory ran out; None: memory sufficed."""
        return self.state.micro_batch

    def parameters(self, which: str) -> int | None:
        """Parameter count; `which` is `total` or `active`."""
        counted = self.state.parameters
        if counted is None:
            return None
        return counted.total if which == "total" else counted.active

    def result(self, metric: str) -> float | None:
        """A final result by its name with the split, such as `test/mAP`."""
        split, _, name = metric.rpartition("/")
        return self.results.get(split or (self.reported_on or ""), {}).get(name)

    @property
    def searched_to_the_end(self) -> bool:
        """Whether the search trained it as far as it trains any; that may be before its schedule ends."""
        at_the_end = self.status == "stopped" and self.stopped is not None and self.stopped.cutoff is None
        return self.status == "complete" or at_the_end

    def last(self, metric: str, epochs: int = 1) -> float | None:
        """The mean of a column of metrics.csv over the last epochs that have it, as the search takes it."""
        if metric not in self.metrics:
            return None
        values = self.metrics[metric].dropna().tolist()
        return smoothed(values, epochs) if values else None


@dataclass(frozen=True)
class StudyResults:
    """A study's folder."""

    folder: Path
    state: StudyState
    """study.json."""
    trials: tuple[Trial, ...]
    rungs: tuple[Decision, ...]
    """search/rungs.jsonl, the last entry of each trial and rung: a paused trial may have gone on later."""
    problems: tuple[str, ...]
    """What could not be read, or does not add up; one sentence each."""

    @property
    def baseline(self) -> str | None:
        """The baseline arm's id."""
        return self.state.baseline

    @property
    def arms(self) -> Mapping[str, ArmState]:
        """The configurations, by id."""
        return self.state.arms

    @property
    def imported(self) -> ImportedStudy:
        """Where the runs of an import come from; nothing of another study."""
        return self.state.imported or ImportedStudy()

    @property
    def finalists(self) -> list[str]:
        """Arm ids, the highest on the selection metric first."""
        return list(self.state.selection.finalists)

    @property
    def winner(self) -> str | None:
        """The finalist that its confirmation runs put first on the selection metric; None before they have ended."""
        return self.state.selection.winner

    @property
    def selection_metric(self) -> str:
        """As `val/mAP`."""
        return self.state.selection.metric or self.state.early_stopping.metric or "val/mAP"

    @property
    def selection_split(self) -> str:
        return self.state.selection.split or self.selection_metric.partition("/")[0]

    @property
    def clock(self) -> str:
        """What trials were compared at: epoch, fraction or gpu_seconds."""
        return self.state.early_stopping.compare_at or "epoch"

    @property
    def smooth_epochs(self) -> int:
        """Over so many epochs the search took its metric."""
        return self.state.early_stopping.smooth_epochs or 1

    @property
    def split_how(self) -> str | None:
        """How images were divided: sequence, block, frame or given; `frame` if any run folder says so."""
        ways = [self.state.split.how, *(trial.state.split_how for trial in self.trials)]
        return "frame" if "frame" in ways else next((str(way) for way in ways if way), None)

    @cached_property
    def confirmed(self) -> list[Trial]:
        """The replicates of the arms: complete runs of the confirmation, and no others."""
        return [trial for trial in self.trials if trial.phase == "confirm" and trial.status == "complete"]

    @cached_property
    def primary_metric(self) -> str:
        """What arms are compared on: the selection metric, on test where confirmed runs have it."""
        name = self.selection_metric.rpartition("/")[2]
        on_test = any(trial.result(f"test/{name}") is not None for trial in self.confirmed)
        return f"test/{name}" if on_test else f"{self.selection_split}/{name}"

    def label(self, arm: str) -> str:
        """The configuration's name as stored; the baseline's says that it is the baseline, also in an older study."""
        name = (self.arms[arm].label if arm in self.arms else None) or arm
        return f"{name} (baseline)" if arm == self.baseline and "baseline" not in name else name

    def of_phase(self, phase: str) -> list[Trial]:
        """Trials of one phase, in the order of their names."""
        return [trial for trial in self.trials if trial.phase == phase]


def trials_table(study: StudyResults) -> pd.DataFrame:
    """One row a trial: what it was, how far it went, what it gave."""
    factors = list(study.state.factors)
    return pd.DataFrame([_table_row(study, trial, factors) for trial in study.trials])


def _table_row(study: StudyResults, trial: Trial, factors: list[str]) -> dict[str, Any]:
    flat = trial.flat_config
    return {
        "trial": trial.name,
        "arm": trial.arm,
        "label": study.label(trial.arm),
        "phase": trial.phase,
        "seed": trial.seed,
        "status": trial.status,
        "reason": trial.state.reason,
        "epochs": trial.epochs,
        "epochs_planned": trial.epochs_planned,
        "seconds": trial.seconds,
        **{factor: _cell(flat, factor) for factor in factors},
        f"last {study.selection_metric}": trial.last(study.selection_metric),
        **{f"{split}/{name}": trial.result(f"{split}/{name}") for split in SPLITS for name in scored()},
        **{f"stopped_{key}": getattr(trial.stopped, key, None) for key in ("epoch", "rung", "value", "cutoff")},
        "params_total": trial.parameters("total"),
        "params_active": trial.parameters("active"),
        **{key: getattr(trial.state, key) for key in ("protocol_hash", "split_hash", "split_how", "data_fingerprint")},
        **{key: getattr(trial.state, key) for key in ("code_version", "device")},
        "reported_on": trial.reported_on,
    }


def _cell(flat: Mapping[str, Any], factor: str) -> Any:
    """A factor's value; of a section, all that is below it."""
    if factor in flat:
        return flat[factor]
    below = {path: value for path, value in flat.items() if path.startswith(f"{factor}.") and value not in (None, {})}
    return json.dumps(below) if below else None
