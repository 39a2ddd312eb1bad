"""A small study, its driver's processes, and what two runs of it must have in common; for scripts/chaos.py.

Linux only: locks and processes are read from /proc.
"""

import json
import os
import signal
import subprocess
import sys
import uuid
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

from tune_cmx.search.optuna.journal import STORAGE, studies_of
from tune_cmx.search.rungs import STOP, read_decisions
from tune_cmx.state.rung_log import Decision
from tune_cmx.state.trial_state import Session
from tune_cmx.training.run_folder import RunFolder

NAME, MARK = "chaos", "TUNE_CMX_CHAOS"
COMMAND = (sys.executable, "-c", "from tune_cmx.cli import main; main()")
EPOCHS = 16
STAGES = [[1], [2], [3], [4], [1, 2], [3, 4]]
DETECTOR = {
    "image_size": 64,
    "max_size": 64,
    "fpn_channels": 16,
    "head_width": 32,
    "anchor_sizes": [8, 16, 24, 32, 48],
    "proposals_train": 50,
    "proposals_eval": 50,
    "rois_per_image": 16,
}
SPACE: dict[str, Any] = {
    "study": NAME,
    "fixed": {
        "model": {"backbone": "mit_nano", "fusion": {"kind": "cssa", "elsewhere": "add"}, "detector": DETECTOR},
        "schedule": {"epochs": EPOCHS, "batch_size": 4, "optimizer": "adamw", "lr": 0.002, "warmup_epochs": 0.5},
    },
    "search": {"model.fusion.stages": {"choice": STAGES}},
    "baseline": {"model.fusion": {"kind": "frm_ffm"}},
    "confirm": {"finalists": 1, "seeds": 2},
}
STOPPING = {"grace": 3, "reduction_factor": 2, "spacing": 2, "smooth_epochs": 2, "last": 1}
SEARCHERS: dict[str, dict[str, Any]] = {
    "grid": {"kind": "grid"},
    "tpe": {"kind": "tpe", "trials": len(STAGES) - 1, "startup_trials": 2},
}
NOT_NUMBERS = ("seconds", "images_per_second", "val/milliseconds", "memory_mib")
"""Columns of `metrics.csv` that hang on the machine's mood."""


def space_file(path: Path, variant: str, searcher: str) -> Path:
    """Write the search-space file."""
    changes: dict[str, Any] = {"early_stopping": {**STOPPING, "variant": variant}, "searcher": SEARCHERS[searcher]}
    path.write_text("# Does a study that is killed again and again end as if nothing had been?\n")
    with path.open("a") as file:
        yaml.safe_dump({**SPACE, **changes}, file, sort_keys=False)
    return path


@dataclass
class Study:
    """A study in a folder, and the driver that runs it."""

    folder: Path
    space: Path
    data: Path
    at_a_time: int
    ray: Path
    """For Ray's own files; a short name, as its sockets' paths may have 107 characters."""
    mark: str = field(default_factory=lambda: uuid.uuid4().hex)
    """Stands in the environment of every process that belongs to the study."""
    driver: "subprocess.Popen[bytes] | None" = None

    @property
    def log(self) -> Path:
        """What the drivers printed; not on the study's own disk, which may be full."""
        return self.folder.with_suffix(".log")

    def start(self) -> None:
        """Start the study, or take it up."""
        words = [
            "search",
            self.space,
            "--data",
            self.data,
            "--output-dir",
            self.folder,
            "--device",
            "cpu",
            "--resume-or-start",
        ]
        command = [*COMMAND, *map(str, words), "--max-concurrent", str(self.at_a_time)]
        environment = {**os.environ, "OMP_NUM_THREADS": "1", "RAY_TMPDIR": str(self.ray), MARK: self.mark}
        with self.log.open("ab") as log:
            self.driver = subprocess.Popen(command, stdout=log, stderr=log, env=environment, start_new_session=True)

    def ended(self) -> int | None:
        """The exit code of the driver; None while it runs."""
        assert self.driver is not None
        return self.driver.poll()

    def processes(self) -> dict[int, str]:
        """The command line of each process that belongs to the study."""
        found = {}
        for path in Path("/proc").glob("[0-9]*"):
            with suppress(OSError):  # it has ended, or is another user's
                if f"{MARK}={self.mark}".encode() in (path / "environ").read_bytes().split(b"\0"):
                    found[int(path.name)] = (path / "cmdline").read_bytes().replace(b"\0", b" ").decode()
        return found

    def end(self) -> None:
        """Kill whatever is left."""
        for pid in self.processes():
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        if self.driver is not None:
            self.driver.wait()

    @property
    def results(self) -> Path:
        """The study's folder as the report knows it."""
        return self.folder / NAME

    def records(self) -> dict[str, RunFolder]:
        """All planned trials by name."""
        return {path.parent.name: RunFolder(path.parent) for path in self.results.glob("trials/*/trial.json")}

    def decisions(self) -> list[Decision]:
        """ASHA's."""
        return read_decisions(self.results / "search" / "rungs.jsonl")

    def lines(self) -> dict[str, list[bytes]]:
        """The whole lines of each file that only grows."""
        files = [*self.results.glob("trials/*/metrics.csv"), *self.results.glob("search/rungs.jsonl")]
        content = {str(file.relative_to(self.results)): file.read_bytes() for file in files}
        return {name: text[: text.rfind(b"\n") + 1].splitlines() for name, text in content.items()}

    def epochs(self) -> int:
        """Finished ones, of all trials."""
        return sum(max(0, len(lines) - 1) for name, lines in self.lines().items() if name.endswith(".csv"))


class Finished:
    """What was finished at a moment, and must never be lost again."""

    def __init__(self, study: Study) -> None:
        self._lines = study.lines()
        self._over = {
            name: state.status
            for name, record in study.records().items()
            if (state := record.state()).status in ("complete", "stopped")
        }

    def lost(self, study: Study) -> Iterator[str]:
        """What is not there any more, in sentences."""
        now, records = study.lines(), study.records()
        for name, lines in self._lines.items():
            if now.get(name, [])[: len(lines)] != lines:
                yield f"{name}: {len(lines)} lines were there, and are gone or others"
        for name, status in self._over.items():
            here = records[name].state().status if name in records else "gone"
            if here != status:
                yield f"{name}: was {status}, is {here}"


def holders(study: Study) -> dict[int, str]:
    """The processes that hold records, as the kernel's table of locks has it, and the records' names."""
    inodes = {str(lock.stat().st_ino): lock.parent.name for lock in study.results.glob("trials/*/.lock")}
    table = [line.split() for line in Path("/proc/locks").read_text().splitlines()]
    held = {int(line[4]): line[5].rpartition(":")[2] for line in table if line[1] == "FLOCK"}
    ours = study.processes()
    return {pid: inodes[inode] for pid, inode in held.items() if inode in inodes and pid in ours}


def sound(study: Study) -> Iterator[str]:
    """What is wrong with a study that has ended, whatever order its trials came in."""
    state = json.loads((study.results / "study.json").read_text())
    if state["status"] != "complete":
        yield f"study.json says {state['status']}"
    if not (study.results / "report" / "report.md").is_file():
        yield "there is no report"
    decisions = study.decisions()
    lines = Counter((one.trial, one.rung, one.decision) for one in decisions)
    twice = [key for key, count in lines.items() if count > 1]
    yield from (f"{trial} stands twice at rung {rung:g}: {decision}" for trial, rung, decision in twice)
    stopped = {one.trial for one in decisions if one.decision == STOP}
    for name, record in study.records().items():
        trial = record.state()
        if trial.status not in ("complete", "stopped"):
            yield f"{name} is {trial.status}: {trial.reason}"
        if (trial.status == "stopped") != (name in stopped):
            yield f"{name} is {trial.status}, but rungs.jsonl says {'stop' if name in stopped else 'no stop'}"
        epochs = [int(row["epoch"]) for row in record.rows()]
        if epochs != list(range(1, trial.epochs + 1)):
            yield f"{name}: trial.json counts {trial.epochs} epochs, metrics.csv has {epochs}"
        yield from (f"{name}: {words}" for words in _trained_twice(trial.lineage))


def _trained_twice(lineage: Sequence[Session]) -> Iterator[str]:
    last = 0
    for number, session in enumerate(lineage, 1):
        if session.first_epoch <= last:
            yield f"session {number} began at epoch {session.first_epoch}, but epoch {last} was finished before"
        last = max(last, session.last_epoch or 0)


def same(study: Study, alone: Study, *, order: bool) -> Iterator[str]:
    """In what a study differs from the uninterrupted one; `order`: what hangs on the order of the trials, too."""
    ours, theirs = study.records(), alone.records()
    for name in sorted(ours.keys() & theirs.keys()):
        here, there = _numbers(ours[name]), _numbers(theirs[name])
        both = min(len(here), len(there))
        if here[:both] != there[:both]:
            yield f"{name}: other numbers"
        if len(here) == len(there):
            yield from (f"{name}: other {what}" for what in _differing(ours[name], theirs[name]))
    if not order:
        return
    states = [{name: _end(record) for name, record in records.items()} for records in (ours, theirs)]
    for name in sorted(states[0].keys() | states[1].keys()):
        if states[0].get(name) != states[1].get(name):
            yield f"{name}: {states[0].get(name)}, uninterrupted {states[1].get(name)}"
    if _last_decisions(study) != _last_decisions(alone):  # a lost worker's place may go to the next trial first
        yield "rungs.jsonl: other decisions"
    selections = [json.loads((one.results / "study.json").read_text())["selection"] for one in (study, alone)]
    if selections[0] != selections[1]:
        yield f"selected {selections[0]}, uninterrupted {selections[1]}"
    if _suggested(study) != _suggested(alone):
        yield f"suggested {_suggested(study)}, uninterrupted {_suggested(alone)}"


def _last_decisions(study: Study) -> dict[tuple[str, float], tuple[float, str]]:
    """What was decided last of each trial at each rung, and its value there."""
    return {(found.trial, found.rung): (found.value, found.decision) for found in study.decisions()}


def _end(record: RunFolder) -> tuple[Any, ...]:
    state = record.state()
    return state.status, state.epochs


def _numbers(record: RunFolder) -> list[dict[str, str]]:
    """`metrics.csv` to the last bit, as text, without the times."""
    header, *lines = [line.split(",") for line in (record.folder / "metrics.csv").read_text().splitlines()]
    rows = [dict(zip(header, line, strict=True)) for line in lines]
    return [{key: value for key, value in row.items() if key not in NOT_NUMBERS} for row in rows]


def _differing(record: RunFolder, other: RunFolder) -> Iterator[str]:
    """The files of two trials of the same length that should be alike, and are not."""
    for pattern in ("config.json", "detections.json.gz", "checkpoint/*/model.safetensors"):
        contents = [[path.read_bytes() for path in one.folder.glob(pattern)] for one in (record, other)]
        if pattern == "config.json":  # the split lies in the study's own folder
            contents = [[_placeless(one)] for one in (record, other)]
        if contents[0] != contents[1]:
            yield pattern
    results = [one.folder / "final_results.json" for one in (record, other)]
    values = [json.loads(path.read_text())["results_by_split"] if path.is_file() else None for path in results]
    if values[0] != values[1]:
        yield "final_results.json"


def _placeless(record: RunFolder) -> bytes:
    return record.config().placeless().model_dump_json().encode()


def _suggested(study: Study) -> list[dict[str, Any]]:
    """What TPE asked for, in order; without it, nothing."""
    if not (study.results / STORAGE).is_file():
        return []
    trials = [trial for found in studies_of(study.results) for trial in found.get_trials()]
    return [{"params": trial.params, "state": trial.state.name, "values": trial.values} for trial in trials]
