"""The record of one trial: a folder that is readable without this software, and that nothing is ever lost from.

`config.json` is written once, `metrics.csv` only grows, the rest is written to a temporary name and renamed.
"""

import csv
import datetime
import fcntl
import gzip
import io
import json
import math
import os
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Literal

from tune_cmx.config.parse import dump, read_trial
from tune_cmx.config.trial import TrialConfig
from tune_cmx.errors import TrialError

Phase = Literal["search", "confirm", "single"]
Row = dict[str, float]
OVER = ("complete", "stopped", "failed")
"""The states of a trial that will not go on."""


def now() -> str:
    """The time in UTC, to the second."""
    return datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds")


def write_atomically(path: Path, content: str | bytes) -> None:
    """Write beside, wait for the disk, rename: a reader sees the old content or the new, never a part."""
    partial = path.with_name(f".{path.name}.{os.getpid()}.partial")
    with partial.open("wb") as file:
        file.write(content.encode() if isinstance(content, str) else content)
        file.flush()
        os.fsync(file.fileno())
    partial.replace(path)


def write_json(path: Path, content: Any) -> None:
    """JSON with nan as null, written atomically."""
    write_atomically(path, json.dumps(_without_nan(content), indent=1) + "\n")


def _without_nan(content: Any) -> Any:
    if isinstance(content, Mapping):
        return {key: _without_nan(value) for key, value in content.items()}
    if isinstance(content, list | tuple):
        return [_without_nan(value) for value in content]
    return None if isinstance(content, float) and not math.isfinite(content) else content


class TrialRecord:
    """A trial's folder: planned by whoever starts the trial, then written by the trial itself."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.checkpoints = folder / "checkpoint"

    @classmethod
    def plan(cls, folder: Path, config: TrialConfig, **facts: Any) -> "TrialRecord":
        """Make the record, or open it where the same trial was planned before.

        Args:
            folder: The record's folder; its name is the trial's id.
            config: Resolved, defaults included.
            facts: Arm, phase, hashes: what `trial.json` holds from the start.

        Raises:
            TrialError: The folder holds the record of another configuration.
        """
        record = cls(folder)
        if (folder / "trial.json").exists():
            kept = record.config()
            if kept.placeless() != config.placeless():
                raise TrialError(f"{folder}: holds a trial of another configuration; take a new folder")
            if kept != config:
                write_json(folder / "config.json", dump(config))  # the data have moved
            return record
        folder.mkdir(parents=True, exist_ok=True)
        write_json(folder / "config.json", dump(config))
        state = {"id": folder.name, "seed": config.seed, "status": "planned", "reason": None, "created": now()}
        progress = {
            "seconds": 0.0,
            "epochs": 0,
            "epochs_planned": config.schedule.epochs,
            "lineage": [],
            "stopped": None,
        }
        write_json(folder / "trial.json", {**state, **facts, **progress})
        return record

    def config(self) -> TrialConfig:
        """The configuration that the trial runs."""
        return read_trial(self.folder / "config.json")

    def state(self) -> dict[str, Any]:
        """What `trial.json` says."""
        content: dict[str, Any] = json.loads((self.folder / "trial.json").read_text(encoding="utf-8"))
        return content

    def update(self, **fields: Any) -> None:
        """Set fields of `trial.json`."""
        write_json(self.folder / "trial.json", {**self.state(), **fields})

    @property
    def over(self) -> bool:
        """Whether the trial has ended for good."""
        return self.state()["status"] in OVER

    @contextmanager
    def held(self, patience_s: float = 60) -> Iterator[None]:
        """Hold the record: two processes that wrote to it at once would spoil it. A dead process lets go by itself.

        Args:
            patience_s: How long to wait for another, as for a worker that outlives its driver by some seconds.

        Raises:
            TrialError: Another process still holds it.
        """
        deadline = time.monotonic() + patience_s
        with (self.folder / ".lock").open("w") as lock:
            while True:
                try:
                    fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
                    break
                except OSError as error:
                    if time.monotonic() > deadline:
                        place = f"{self.folder}: another process is training this trial"
                        raise TrialError(f"{place}; wait for it, or end it") from error
                    time.sleep(0.2)
            yield

    def begin_session(self, first_epoch: int, **facts: Any) -> None:
        """Note that a process takes the trial up."""
        session = {"started": now(), "ended": None, "seconds": 0.0, "first_epoch": first_epoch, "last_epoch": None}
        self.update(status="running", reason=None, lineage=[*self.state()["lineage"], session], **facts)

    def add_epoch(self, row: Row, *, session_seconds: float) -> None:
        """Append a finished epoch to `metrics.csv` and count it in `trial.json`."""
        self._append(row)
        state = self.state()
        state["lineage"][-1].update(seconds=session_seconds, last_epoch=int(row["epoch"]), ended=now())
        self.update(lineage=state["lineage"], epochs=int(row["epoch"]), seconds=row["seconds"])

    def complete_rows(self, history: Sequence[Row]) -> None:
        """Append what the last checkpoint knows and `metrics.csv` lost, as when a process died between the two.

        Raises:
            TrialError: `metrics.csv` has epochs that no checkpoint has, which would be trained twice.
        """
        path = self.folder / "metrics.csv"
        if path.exists():
            content = path.read_bytes()
            if not content.endswith(b"\n"):
                write_atomically(path, content[: content.rfind(b"\n") + 1])
        written = len(self.rows())
        if written > len(history):
            raise TrialError(
                f"{path}: has {written} epochs, the checkpoint beside it {len(history)}; put the checkpoint back, or "
                "delete the trial's folder to train it afresh"
            )
        for row in history[written:]:
            self._append(row)

    def rows(self) -> list[Row]:
        """The epochs of `metrics.csv`; an undefined metric is nan."""
        path = self.folder / "metrics.csv"
        if not path.exists():
            return []
        with path.open(newline="", encoding="utf-8") as file:
            return [
                {key: float(value) if value else math.nan for key, value in row.items()} for row in csv.DictReader(file)
            ]

    def _append(self, row: Row) -> None:
        path = self.folder / "metrics.csv"
        text = io.StringIO()
        writer = csv.writer(text, lineterminator="\n")
        if not path.exists() or not path.stat().st_size:
            writer.writerow(row)
        values = [int(value) if key == "epoch" else value for key, value in row.items()]
        writer.writerow(["" if isinstance(value, float) and math.isnan(value) else value for value in values])
        with path.open("a", encoding="utf-8") as file:
            file.write(text.getvalue())
            file.flush()
            os.fsync(file.fileno())

    def write_results(self, config: TrialConfig, results: Mapping[str, Mapping[str, float]], parameters: int) -> None:
        """Write `final_results.json`, in the form that the group's scripts read.

        Args:
            config: What was trained.
            results: Metrics in points by split; those of `config.report_split` stand first.
            parameters: In total.
        """
        content = {
            "experiment_id": self.folder.name,
            "config": dump(config),
            "results": results[config.report_split],
            "split": config.report_split,
            "results_by_split": results,
            "training": {"total_time_hours": self.state()["seconds"] / 3600},
            "model": {"total_params": parameters, "total_params_M": round(parameters / 1e6, 2)},
        }
        write_json(self.folder / "final_results.json", content)

    def write_detections(self, detections: Sequence[Mapping[str, Any]]) -> None:
        """Write `detections.json.gz`: COCO results, boxes to a hundredth of a pixel, scores to five digits."""
        rounded = [
            {**d, "bbox": [round(side, 2) for side in d["bbox"]], "score": round(d["score"], 5)} for d in detections
        ]
        write_atomically(self.folder / "detections.json.gz", gzip.compress(json.dumps(rounded).encode(), mtime=0))
