"""Whole studies through the command line and Ray: left alone, with failing trials, a worker killed, the driver killed.

One trial at a time where studies are compared, as ASHA hangs on the order of arrival.
"""

from __future__ import annotations

import contextlib
import itertools
import json
import os
import signal
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tune_cmx.config.parse import flatten
from tune_cmx.search.rungs import STOP, read_decisions
from tune_cmx.training.run_folder import RunFolder

if TYPE_CHECKING:
    from conftest import Tiny

VICTIM = "search-stages-2-s0"


@pytest.fixture(scope="module")
def alone(data: Path, tmp_path_factory: pytest.TempPathFactory, tiny_at: type[Tiny]) -> Tiny:
    """A study that nothing corrupted."""
    study = tiny_at(data, tmp_path_factory.mktemp("alone"))
    code = study.search(study.space(), "--max-concurrent", "1")
    assert code == 0, study.log()
    return study


def _holder(record: RunFolder) -> int:
    """The process that holds a record, as the kernel's table of locks has it."""
    inode = (record.folder / ".lock").stat().st_ino
    with open("/proc/locks") as table:  # noqa: PTH123  not a file on a disk
        lines = [line.split() for line in table]
    (pid,) = {int(line[4]) for line in lines if line[1] == "FLOCK" and line[5].endswith(f":{inode}")}
    return pid


def _assert_same(study: Tiny, alone: Tiny) -> None:
    """The same trials ended in the same way, with the same numbers and weights."""
    ours, theirs = study.records(), alone.records()
    assert {name: record.state().status for name, record in ours.items()} == {
        name: record.state().status for name, record in theirs.items()
    }
    for name, record in ours.items():
        assert study.numbers(record) == study.numbers(theirs[name]), name
        assert study.weights(record) == study.weights(theirs[name]), name


def _decisions(study: Tiny) -> Path:
    return study.folder / "tiny" / "search" / "rungs.jsonl"


def _last_decisions(study: Tiny) -> dict[tuple[str, float], tuple[float, str]]:
    """What was decided last of each trial at each rung, and its value there."""
    return {(found.trial, found.rung): (found.value, found.decision) for found in read_decisions(_decisions(study))}


def _assert_no_epoch_twice(record: RunFolder, rows_before: bytes) -> None:
    """Each session began behind the rows of those before it, and what was there at the kill stayed as it was."""
    lineage = record.state().lineage
    assert len(lineage) >= 2
    assert lineage[1].first_epoch > rows_before.count(b"\n") - 1
    for earlier, later in itertools.pairwise(lineage):
        assert later.first_epoch > (earlier.last_epoch or 0)
    assert (record.folder / "metrics.csv").read_bytes().startswith(rows_before)
    epochs = [row["epoch"] for row in record.rows()]
    assert epochs == list(range(1, len(epochs) + 1))


def _descendants(pid: int) -> set[int]:
    """The processes that a process started, and theirs."""
    parents = {}
    for stat in Path("/proc").glob("[0-9]*/stat"):
        with contextlib.suppress(OSError):  # it has ended
            parents[int(stat.parent.name)] = int(stat.read_text().rpartition(")")[2].split()[1])
    found = {pid}
    while more := {child for child, parent in parents.items() if parent in found} - found:
        found |= more
    return found


def _listening(pids: set[int]) -> set[str]:
    """The addresses, as the kernel writes them, at which processes listen."""
    inodes = set()
    for pid in pids:
        with contextlib.suppress(OSError):
            links = [str(link.readlink()) for link in Path(f"/proc/{pid}/fd").iterdir()]
            inodes |= {link[8:-1] for link in links if link.startswith("socket:[")}
    tables = [Path("/proc/net/tcp"), Path("/proc/net/tcp6")]
    lines = [line.split() for table in tables if table.exists() for line in table.read_text().splitlines()[1:]]
    return {line[1].partition(":")[0] for line in lines if line[3] == "0A" and line[9] in inodes}


def test_nothing_listens_on_other_than_loopback(tiny: Tiny) -> None:
    process = tiny.start(tiny.space())
    try:
        tiny.wait_until(lambda: any(record.state().epochs for record in tiny.records().values()))
        found = _listening(_descendants(process.pid))
    finally:
        process.terminate()
        process.wait(240)
    assert found  # Ray's own
    assert found <= {"0100007F", "0" * 24 + "01000000", "0000000000000000FFFF00000100007F"}


def test_a_study_to_its_report(alone: Tiny) -> None:
    study = json.loads((alone.folder / "tiny" / "study.json").read_text())
    states = {name: record.state() for name, record in alone.records().items()}
    (finalist,) = study["selection"]["finalists"]
    assert study["status"] == "complete"
    assert set(states) == {
        *(f"search-stages-{stage}-s0" for stage in (1, 2, 3, 4)),
        *("confirm-baseline-s1000", f"confirm-{finalist}-s1000"),
    }
    assert {state.status for state in states.values()} <= {"complete", "stopped"}
    assert len({state.protocol_hash for state in states.values()}) == 1
    last = alone.log().strip().splitlines()[-1]
    assert last == f"report: {alone.folder / 'tiny' / 'report' / 'report.html'}"
    assert "CSSA at stage 1" in Path(last.removeprefix("report: ")).read_text()


def test_stopped_trials_are_those_of_the_rungs(alone: Tiny) -> None:
    decisions = read_decisions(alone.folder / "tiny" / "search" / "rungs.jsonl")
    stopped = {decision.trial for decision in decisions if decision.decision == STOP}
    states = {name: record.state() for name, record in alone.records().items()}
    assert stopped == {name for name, state in states.items() if state.status == "stopped"}
    assert [decision.decision for decision in decisions[-2:]] == [STOP, STOP]  # the paused rest, at the end
    assert {decision.trial for decision in decisions} == {name for name in states if name.startswith("search-")}
    for name, state in states.items():
        assert state.epochs == (2 if name in stopped else 3)
        assert (state.stopped is not None) == (name in stopped)


def test_failed_trials_are_recorded_and_the_search_goes_on(tiny: Tiny) -> None:
    arms = [
        {"schedule.lr": 1000.0},
        {"model.detector.image_size": 100_000, "model.detector.max_size": 100_000},
        {"schedule.lr": 0.001},
    ]
    fixed = {path: value for path, value in flatten(tiny.fixed).items() if not any(path in arm for arm in arms)}
    baseline = {"schedule.lr": 0.002, "model.detector.image_size": 64, "model.detector.max_size": 64}
    space = tiny.space(fixed=fixed, search={"arms": {"choice": arms}}, baseline=baseline)
    assert tiny.search(space, "--max-concurrent", "2") == 0, tiny.log()
    memory, fine, nan = (record for name, record in tiny.records().items() if name.startswith("search-"))
    assert (memory.config().model.detector.image_size, nan.config().schedule.lr) == (100_000, 1000.0)
    assert nan.state().status == memory.state().status == "failed"
    assert nan.state().reason.startswith("loss is ")
    assert memory.state().reason.startswith("out of memory: ")
    assert fine.state().status == "complete"
    assert "2 trials failed" in tiny.log()
    report = (tiny.folder / "tiny" / "report" / "report.md").read_text()
    assert "loss is " in report
    assert "out of memory" in report
    compared = {decision.trial for decision in read_decisions(tiny.folder / "tiny" / "search" / "rungs.jsonl")}
    assert compared == {fine.folder.name}
    assert len(tiny.records()) == 3 + 2


def test_a_killed_worker(tiny: Tiny, alone: Tiny) -> None:
    process = tiny.start(tiny.space(), "--max-concurrent", "1")
    try:
        tiny.wait_until(lambda: VICTIM in (records := tiny.records()) and records[VICTIM].state().epochs == 1)
        record = tiny.records()[VICTIM]
        os.kill(_holder(record), signal.SIGKILL)
        rows = (record.folder / "metrics.csv").read_bytes()
        assert process.wait(400) == 0, tiny.log()
    finally:
        process.kill()
    assert "its worker was lost; it will resume from its checkpoint" in tiny.log()
    _assert_no_epoch_twice(record, rows)
    _assert_same(tiny, alone)
    assert _last_decisions(tiny) == _last_decisions(alone)  # the next trial may come to the rung before the lost one


def test_a_killed_driver(tiny: Tiny, alone: Tiny) -> None:
    space = tiny.space()
    process = tiny.start(space, "--max-concurrent", "1")
    try:
        tiny.wait_until(lambda: VICTIM in (records := tiny.records()) and records[VICTIM].state().epochs == 1)
    finally:
        process.kill()
    process.wait(60)
    record = tiny.records()[VICTIM]
    with record.held(60):  # its worker ends soon after the driver
        rows = (record.folder / "metrics.csv").read_bytes()
    assert tiny.search(space, "--max-concurrent", "1", "--resume") == 0, tiny.log()
    _assert_no_epoch_twice(record, rows)
    _assert_same(tiny, alone)
    assert _decisions(tiny).read_bytes() == _decisions(alone).read_bytes()
