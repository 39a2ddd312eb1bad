"""The record of one trial: a folder that is readable without this software, and that nothing is ever lost from.

`config.json` is written once, `metrics.csv` only grows, the rest is written to a temporary name and renamed. A disk
that is full or away is waited for (`retry time.RETRY_S`); what was written before stays readable throughout.
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
from typing import IO, Any, Literal

from tune_cmx.config.parse import dump, read_trial
from tune_cmx.config.trial import TrialConfig
from tune_cmx.errors import TrialError
from tune_cmx.retry import on_disk

Phase = Literal["search", "confirm", "single"]
Row = dict[str, float]
OVER = ("complete", "stopped", "failed")
"""The states of a trial that will not go on."""
_LAST_WORDS_S = 5.0
"""How long the note of a failure waits for the disk, which may be what failed."""
_RESERVE, _RESERVE_BYTES = ".reserve", 2**16
"""Room that a record holds while it is trained, given up for the note of a failure on a full disk."""
_log = logging.getLogger(__name__)


def now() -> str:
    """The time in UTC, to the second."""
    return datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds")


def write_atomically(path: Path, content: str | bytes, *, retry_s: float | None = None) -> None:
    """Write beside, wait for the disk, rename: a reader sees the old content or the new, never a part.

    Args:
        path: In a folder that exists.
        content: Text is written as UTF-8.
        retry_s: How long to wait for a disk that fails; None: `RETRY_S`.

    Raises:
        TrialError: It still fails; the old content is untouched.
    """
    partial = path.with_name(f".{path.name}.{os.getpid()}.partial")

    def attempt() -> None:
        try:
            with partial.open("wb") as file:
                file.write(content.encode() if isinstance(content, str) else content)
                file.flush()
                os.fsync(file.fileno())
            partial.replace(path)
        except OSError:
            with suppress(OSError):
                partial.unlink(missing_ok=True)  # on a full disk it takes room from others
            raise

    on_disk(path, attempt, retry_s)


def write_json(path: Path, content: Any, *, retry_s: float | None = None) -> None:
    """JSON with nan as null, written atomically."""
    write_atomically(path, json.dumps(_without_nan(content), indent=1) + "\n", retry_s=retry_s)


def _without_nan(content: Any) -> Any:
    if isinstance(content, Mapping):
        return {key: _without_nan(value) for key, value in content.items()}
    if isinstance(content, list | tuple):
        return [_without_nan(value) for value in content]
    return None if isinstance(content, float) and not math.isfinite(content) else content


class RunFolder:
    """A trial's folder: planned by whoever starts the trial, then written by the trial itself."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.checkpoints = folder / "checkpoint"

    @classmethod
    def plan(cls, folder: Path, config: TrialConfig, **facts: Any) -> "RunFolder":
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
        on_disk(folder, lambda: folder.mkdir(parents=True, exist_ok=True))
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

    def state(self, *, retry_s: float | None = None) -> dict[str, Any]:
        """What `trial.json` says."""
        path = self.folder / "trial.json"
        content: dict[str, Any] = json.loads(on_disk(path, path.read_bytes, retry_s))
        return content

    def update(self, **fields: Any) -> None:
        """Set fields of `trial.json`."""
        write_json(self.folder / "trial.json", {**self.state(), **fields})

    def fail(self, reason: str, trace: str = "") -> None:
        """Note that the trial failed, and why; nothing is raised.

        Where the disk takes nothing more, the record stays as it was, and can be taken up as after a killed process.
        The reason must then reach the user by another way as well.

        Args:
            reason: One sentence.
            trace: The traceback, for `error.txt`.
        """
        with suppress(OSError):
            (self.folder / _RESERVE).unlink(missing_ok=True)
        try:
            state = {**self.state(retry_s=_LAST_WORDS_S), "status": "failed", "reason": reason}
            write_json(self.folder / "trial.json", state, retry_s=_LAST_WORDS_S)
            if trace:
                write_atomically(self.folder / "error.txt", trace, retry_s=_LAST_WORDS_S)
        except (TrialError, OSError) as error:
            _log.error("%s failed: %s; the record could not be told: %s", self.folder.name, reason, error)

    @property
    def over(self) -> bool:
        """Whether the trial has ended for good."""
        return self.state()["status"] in OVER

    @contextmanager
    def held(self, retry_s: float = 60) -> Iterator[None]:
        """Hold the record: two processes that wrote to it at once would spoil it. A dead process lets go by itself.

        Args:
            retry_s: How long to wait for another, as for a worker that outlives its driver by some seconds.

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
        """Note that a process takes the trial up."""
        session = {"started": now(), "ended": None, "seconds": 0.0, "first_epoch": first_epoch, "last_epoch": None}
        self.update(status="running", reason=None, lineage=[*self.state()["lineage"], session], **facts)

    def note_halving(self, *, epoch: int, step: int, micro_batch: int, reason: str) -> None:
        """Note where memory ran out, and with how many images at once the trial goes on."""
        halving = {"epoch": epoch, "step": step, "micro_batch": micro_batch, "reason": reason}
        self.update(micro_batch=micro_batch, halvings=[*self.state().get("halvings", []), halving])
        place = f"{self.folder.name}: out of memory at epoch {epoch}, step {step}"
        _log.warning("%s (%s): goes on with %d images at once", place, reason, micro_batch)

    def micro_batch(self, planned: int | None) -> int | None:
        """Images that the trial has in memory at once: as planned, or as few as it came down to."""
        images: int | None = self.state().get("micro_batch", planned)
        return images

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
        lines = on_disk(path, path.read_bytes).decode().splitlines()
        return [
            {key: float(value) if value else math.nan for key, value in row.items()} for row in csv.DictReader(lines)
        ]

    def _append(self, row: Row) -> None:
        """Let `metrics.csv` grow by the whole row, or, where the disk fails, by nothing."""
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
                    file.truncate(kept)  # what could not be cut back when the attempt before failed
                    file.write(text.getvalue().encode())
                    file.flush()
                    os.fsync(file.fileno())
            except OSError:
                with suppress(OSError):
                    os.truncate(path, kept)
                raise

        on_disk(path, attempt)

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

    def write_detections(self, detections: Sequence[dict[str, Any]]) -> None:
        """Write `detections.json.gz`: the COCO results that were scored, to the last bit.

        Rounded to a hundredth of a pixel they would give other metrics: mAP_75 by up to 1.7 points.
        """
        content = gzip.compress(json.dumps(detections, separators=(",", ":")).encode(), 6, mtime=0)
        write_atomically(self.folder / "detections.json.gz", content)
