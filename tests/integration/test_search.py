"""Two whole studies through the command line and Ray: one runs undisturbed, of the other driver and worker are killed.

Two of their trials fail. Each study runs one trial at a time, because ASHA depends on the order in which trials arrive.
A study costs half a minute of both cores, so the tests share the undisturbed one.
"""

from __future__ import annotations

import contextlib
import itertools
import json
import os
import signal
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import pytest

from tune_cmx.config.parse import flatten
from tune_cmx.search.rungs import STOP, read_decisions
from tune_cmx.training.run_folder import RunFolder

if TYPE_CHECKING:
    from conftest import Tiny

FUSION = "model.fusion"
SIZES = ("model.detector.image_size", "model.detector.max_size")
BASELINE = {FUSION: {"kind": "frm_ffm"}, "schedule.lr": 0.002, **dict.fromkeys(SIZES, 64)}
ARMS = [
    {FUSION: {"kind": "cssa", "elsewhere": "add", "stages": [1]}},
    {FUSION: {"kind": "cssa", "elsewhere": "add", "stages": [2]}},
    {"schedule.lr": 1000.0},
    dict.fromkeys(SIZES, 100_000),
    {FUSION: {"kind": "cssa", "elsewhere": "add", "stages": [3]}},
    {FUSION: {"kind": "cssa", "elsewhere": "add", "stages": [4]}},
]
TRAINED = [f"search-fusion-cssa-elsewhere-add-stages-{stage}-s0" for stage in (1, 2, 3, 4)]
NAN, MEMORY = "search-lr-1000-s0", "search-image-size-100000-max-size-100000-s0"
LOOPBACK = {"0100007F", "0" * 24 + "01000000", "0000000000000000FFFF00000100007F"}
"""As the kernel writes it."""


class Undisturbed(NamedTuple):
    """A complete study, and the addresses at which its processes listened while it ran."""

    study: Tiny
    addresses: set[str]


def _space(tiny: Tiny) -> Path:
    """Four configurations that train, two that fail."""
    fixed = {path: value for path, value in flatten(tiny.fixed).items() if not path.startswith(tuple(BASELINE))}
    return tiny.space(fixed=fixed, search={"arms": {"choice": ARMS}}, baseline=BASELINE)


def _epochs(tiny: Tiny, name: str) -> int:
    folder = tiny.folder / "tiny" / "trials" / name
    return RunFolder(folder).state().epochs if (folder / "trial.json").exists() else 0


@pytest.fixture(scope="module")
def undisturbed(data: Path, tmp_path_factory: pytest.TempPathFactory, tiny_at: type[Tiny]) -> Undisturbed:
    """A study from its start to its report."""
    tiny = tiny_at(data, tmp_path_factory.mktemp("undisturbed"))
    process = tiny.start(_space(tiny), "--max-concurrent", "1")
    try:
        tiny.wait_until(lambda: process.poll() is not None or _epochs(tiny, TRAINED[0]) > 0)
        addresses = _listening(_descendants(process.pid))
        assert process.wait(400) == 0, tiny.log()
    finally:
        process.kill()
    return Undisturbed(tiny, addresses)


@pytest.fixture(scope="module")
def alone(undisturbed: Undisturbed) -> Tiny:
    """The undisturbed study."""
    return undisturbed.study


def _holder(record: RunFolder) -> int:
    """The process that holds a run folder, as the kernel's table of locks has it."""
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
        assert record.state().reason == theirs[name].state().reason
        if record.state().epochs:
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


def test_processes_listen_on_loopback_alone(undisturbed: Undisturbed) -> None:
    assert undisturbed.addresses  # Ray's own
    assert undisturbed.addresses <= LOOPBACK


def test_a_study_to_its_report(alone: Tiny) -> None:
    study = json.loads((alone.folder / "tiny" / "study.json").read_text())
    states = {name: record.state() for name, record in alone.records().items()}
    (finalist,) = study["selection"]["finalists"]
    assert study["status"] == "complete"
    assert set(states) == {*TRAINED, NAN, MEMORY, "confirm-baseline-s1000", f"confirm-{finalist}-s1000"}
    assert {state.status for name, state in states.items() if name not in (NAN, MEMORY)} <= {"complete", "stopped"}
    assert len({state.protocol_hash for state in states.values()}) == 1
    last = alone.log().strip().splitlines()[-1]
    assert last == f"report: {alone.folder / 'tiny' / 'report' / 'report.html'}"
    assert "CSSA at stage 1" in Path(last.removeprefix("report: ")).read_text()


def test_stopped_trials_are_those_of_the_rungs(alone: Tiny) -> None:
    decisions = read_decisions(_decisions(alone))
    stopped = {decision.trial for decision in decisions if decision.decision == STOP}
    states = {name: record.state() for name, record in alone.records().items() if name not in (NAN, MEMORY)}
    assert stopped == {name for name, state in states.items() if state.status == "stopped"}
    assert [decision.decision for decision in decisions[-2:]] == [STOP, STOP]  # the paused rest, at the end
    assert {decision.trial for decision in decisions} == set(TRAINED)  # failed trials are not compared
    for name, state in states.items():
        assert state.epochs == (2 if name in stopped else 3)
        assert (state.stopped is not None) == (name in stopped)


def test_failed_trials_are_recorded_and_the_search_continues(alone: Tiny) -> None:
    records = alone.records()
    nan, memory = records[NAN].state(), records[MEMORY].state()
    assert nan.status == memory.status == "failed"
    assert nan.reason.startswith("loss is ")
    assert memory.reason.startswith("out of memory: ")
    assert "2 trials failed" in alone.log()
    report = (alone.folder / "tiny" / "report" / "report.md").read_text()
    assert "loss is " in report
    assert "out of memory" in report


def test_a_study_whose_driver_and_worker_are_killed_gives_the_same_results(tiny: Tiny, alone: Tiny) -> None:
    """First the driver is killed in the second trial; then, in the resumed study, the worker in the last one."""
    of_driver, of_worker = TRAINED[1], TRAINED[-1]
    space = _space(tiny)
    process = tiny.start(space, "--max-concurrent", "1")
    try:
        tiny.wait_until(lambda: _epochs(tiny, of_driver) == 1)
    finally:
        process.kill()
    process.wait(60)
    records = tiny.records()
    with records[of_driver].held(60):  # its worker ends soon after the driver
        rows_at_first = (records[of_driver].folder / "metrics.csv").read_bytes()

    process = tiny.start(space, "--max-concurrent", "1", "--resume")
    try:
        tiny.wait_until(lambda: _epochs(tiny, of_worker) == 1)
        os.kill(_holder(records[of_worker]), signal.SIGKILL)
        decided = _decisions(tiny).read_bytes()
        rows_at_second = (records[of_worker].folder / "metrics.csv").read_bytes()
        assert process.wait(400) == 0, tiny.log()
    finally:
        process.kill()
    assert "its worker was lost; it will resume from its checkpoint" in tiny.log()
    assert decided.count(b"\n") >= 3
    assert _decisions(alone).read_bytes().startswith(decided)
    assert _last_decisions(tiny) == _last_decisions(alone)  # a later trial may reach the rung before the lost one
    _assert_no_epoch_twice(records[of_driver], rows_at_first)
    _assert_no_epoch_twice(records[of_worker], rows_at_second)
    _assert_same(tiny, alone)
