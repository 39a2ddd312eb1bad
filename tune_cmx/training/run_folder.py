"""The run folder of one trial. It is readable without this software, and keeps every finished epoch.

`config.json` is written once, and `metrics.csv` is only appended to. Every other file is written under a temporary
name and then renamed. If the disk is full or away, each write retries for `retry.RETRY_S`; earlier content stays.
"""

import csv
import datetime
import fcntl
import gzip
import io
import json
import logging
import math
import os
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO, Any

from tune_cmx.config.parse import dump, read_trial
from tune_cmx.config.trial import TrialConfig
from tune_cmx.errors import DataError, TrialError
from tune_cmx.retry import on_disk
from tune_cmx.state.final_results import RESULTS_FILE, FinalResults
from tune_cmx.state.json_file import parsed, write_atomically, write_json
from tune_cmx.state.trial_state import (
    TRIAL_FILE,
    Halving,
    Phase,
    Session,
    TrialState,
    new_trial_state,
    read_trial_state,
    write_trial_state,
)

Row = dict[str, float]
_LAST_WORDS_S = 5.0
"""How long the reason of a failure is retried on a disk, which may be what failed."""
_RESERVE, _RESERVE_BYTES = ".reserve", 2**16
"""Space that a run folder reserves while its trial trains. On a full disk, the reason of a failure uses it."""
_log = logging.getLogger(__name__)


def now() -> str:
    """The time in UTC, to the second."""
    return datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds")


class RunFolder:
    """A trial's folder. Whoever starts the trial plans it; then the trial writes it."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.checkpoints = folder / "checkpoint"
        self._state_file = folder / TRIAL_FILE

    @classmethod
    def plan(
        cls, folder: Path, config: TrialConfig, *, arm: str = "single", phase: Phase = "single", **facts: Any
    ) -> "RunFolder":
        """Make the run folder, or open it if the same trial was planned before.

        Args:
            folder: Its name is the trial's id.
            config: Resolved, defaults included.
            arm: The configuration's id in its study.
            phase: What the trial is for.
            facts: Further fields of `TrialState` that are known from the start.

        Raises:
            TrialError: The folder holds a trial of another configuration.
        """
        run_folder = cls(folder)
        if run_folder._state_file.exists():
            kept = run_folder.config()
            if kept.placeless() != config.placeless():
                raise TrialError(f"{folder}: holds a trial of another configuration; give another folder")
            if kept != config:
                write_json(folder / "config.json", dump(config))  # the data have moved
            return run_folder
        state = new_trial_state(
            run_folder._state_file,
            id=folder.name,
            seed=config.seed,
            status="planned",
            reason=None,
            created=now(),
            arm=arm,
            phase=phase,
            **facts,
            seconds=0.0,
            epochs=0,
            epochs_planned=config.schedule.epochs,
            lineage=[],
            stopped=None,
        )
        on_disk(folder, lambda: folder.mkdir(parents=True, exist_ok=True))
        write_json(folder / "config.json", dump(config))
        write_trial_state(run_folder._state_file, state)
        return run_folder

    def config(self) -> TrialConfig:
        """The configuration that the trial runs."""
        return read_trial(self.folder / "config.json")

    def state(self, *, retry_s: float | None = None) -> TrialState:
        """What `trial.json` says.

        Raises:
            DataError: The file is damaged.
        """
        return read_trial_state(self._state_file, retry_s=retry_s)

    def update(self, **fields: Any) -> None:
        """Set fields of `trial.json`, by their names in `TrialState`."""
        write_trial_state(self._state_file, self.state().with_fields(self._state_file, **fields))

    def fail(self, reason: str, trace: str = "") -> None:
        """Note that the trial failed, and why; nothing is raised.

        If the disk is full, `trial.json` stays as it was, and the trial can be resumed as after a killed process. The
        reason must then reach the user by another way too.

        Args:
            reason: One sentence.
            trace: The traceback, for `error.txt`.
        """
        with suppress(OSError):
            (self.folder / _RESERVE).unlink(missing_ok=True)
        try:
            state = self.state(retry_s=_LAST_WORDS_S).with_fields(self._state_file, status="failed", reason=reason)
            write_trial_state(self._state_file, state, retry_s=_LAST_WORDS_S)
            if trace:
                write_atomically(self.folder / "error.txt", trace, retry_s=_LAST_WORDS_S)
        except (TrialError, DataError, OSError) as error:
            _log.error("%s failed: %s; its trial.json could not be written: %s", self.folder.name, reason, error)

    @property
    def over(self) -> bool:
        """Whether the trial has ended for good."""
        return self.state().over

    @contextmanager
    def held(self, retry_s: float = 60) -> Iterator[None]:
        """Lock the folder, so that two processes never write to it at once. A dead process releases the lock.

        Args:
            retry_s: How long to wait for another process, such as a worker that outlives its driver by some seconds.

        Raises:
            TrialError: Another process still holds it.
        """
        path = self.folder / ".lock"
        with on_disk(path, lambda: path.open("w")) as lock:
            on_disk(path, lambda: self._lock(lock, retry_s))
            reserve = self.folder / _RESERVE
            try:
                with suppress(OSError):
                    reserve.write_bytes(bytes(_RESERVE_BYTES))
                yield
            finally:
                with suppress(OSError):
                    reserve.unlink(missing_ok=True)

    def _lock(self, lock: IO[str], retry_s: float) -> None:
        deadline = time.monotonic() + retry_s
        while True:
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
                return
            except BlockingIOError as error:
                if time.monotonic() > deadline:
                    place = f"{self.folder}: another process is training this trial"
                    raise TrialError(f"{place}; wait for it, or end it") from error
                time.sleep(0.2)

    def begin_session(self, first_epoch: int, **facts: Any) -> None:
        """Note that a process starts or resumes the trial; `facts` are further fields of `TrialState`."""
        session = Session(started=now(), ended=None, seconds=0.0, first_epoch=first_epoch, last_epoch=None)
        self.update(status="running", reason=None, lineage=[*self._sessions(), session.as_json()], **facts)

    def _sessions(self) -> list[dict[str, Any]]:
        return [session.as_json() for session in self.state().lineage]

    def note_halving(self, *, epoch: int, step: int, micro_batch: int, reason: str) -> None:
        """Note where memory ran out, and how many images the trial has in memory at once from then on."""
        halving = Halving(epoch=epoch, step=step, micro_batch=micro_batch, reason=reason)
        before = [one.as_json() for one in self.state().halvings]
        self.update(micro_batch=micro_batch, halvings=[*before, halving.as_json()])
        place = f"{self.folder.name}: out of memory at epoch {epoch}, step {step}"
        _log.warning("%s (%s); micro-batch halved to %d images", place, reason, micro_batch)

    def micro_batch(self, planned: int | None) -> int | None:
        """Images that the trial has in memory at once: as planned, or the number after its last halving."""
        return self.state().micro_batch or planned

    def add_epoch(self, row: Row, *, session_seconds: float) -> None:
        """Append a finished epoch to `metrics.csv` and count it in `trial.json`."""
        self._append(row)
        *before, last = self._sessions()
        last |= {"seconds": session_seconds, "last_epoch": int(row["epoch"]), "ended": now()}
        self.update(lineage=[*before, last], epochs=int(row["epoch"]), seconds=row["seconds"])

    def complete_rows(self, history: Sequence[Row]) -> None:
        """Append the epochs that the last checkpoint has and `metrics.csv` lacks, as after a process that died.

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
        lines = on_disk(path, path.read_bytes).decode().splitlines()
        return [
            {key: float(value) if value else math.nan for key, value in row.items()} for row in csv.DictReader(lines)
        ]

    def _append(self, row: Row) -> None:
        """Append the whole row to `metrics.csv`; if the disk fails, append nothing."""
        path = self.folder / "metrics.csv"
        kept = on_disk(path, lambda: path.stat().st_size if path.exists() else 0)
        text = io.StringIO()
        writer = csv.writer(text, lineterminator="\n")
        if not kept:
            writer.writerow(row)
        values = [int(value) if key == "epoch" else value for key, value in row.items()]
        writer.writerow(["" if isinstance(value, float) and math.isnan(value) else value for value in values])

        def attempt() -> None:
            try:
                with path.open("ab") as file:
                    file.truncate(kept)  # what a failed attempt could not remove
                    file.write(text.getvalue().encode())
                    file.flush()
                    os.fsync(file.fileno())
            except OSError:
                with suppress(OSError):
                    os.truncate(path, kept)
                raise

        on_disk(path, attempt)

    def write_results(
        self,
        config: TrialConfig,
        results: Mapping[str, Mapping[str, float]],
        parameters: int,
        breakdown: Mapping[str, Mapping[str, Mapping[str, float]]] | None = None,
    ) -> None:
        """Write `final_results.json`, in the form that the group's scripts read.

        Args:
            config: What was trained.
            results: Metrics in points by split.
            parameters: In total.
            breakdown: The reported split `by_class` and `by_condition`.
        """
        content = {
            "experiment_id": self.folder.name,
            "config": dump(config),
            "results": results[config.report_split],
            "split": config.report_split,
            "results_by_split": results,
            **(breakdown or {}),
            "training": {"total_time_hours": self.state().seconds / 3600},
            "model": {"total_params": parameters, "total_params_M": round(parameters / 1e6, 2)},
        }
        path = self.folder / RESULTS_FILE
        write_json(path, parsed(FinalResults, content, path).as_json())

    def write_detections(self, detections: Sequence[dict[str, Any]]) -> None:
        """Write `detections.json.gz`: the COCO results that were scored, to the last bit.

        Rounded to a hundredth of a pixel they would give other metrics: mAP_75 by up to 1.7 points.
        """
        content = gzip.compress(json.dumps(detections, separators=(",", ":")).encode(), 6, mtime=0)
        write_atomically(self.folder / "detections.json.gz", content)
