"""A node is lost in the middle of a study: two raylets on this machine, each with a GPU that is not there."""

import contextlib
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import yaml

from tune_cmx.data.synthetic import synthesize
from tune_cmx.training.run_folder import RunFolder

BIN = Path(sys.executable).parent
LOOPBACK, PORT = "127.0.0.1", 27201
SPACE = {
    "study": "tiny",
    "fixed": {
        "model": {
            "backbone": "mit_nano",
            "fusion": {"kind": "cssa", "elsewhere": "add"},
            "detector": {"image_size": 64, "max_size": 64, "fpn_channels": 16, "head_width": 32},
        },
        "schedule": {"epochs": 12, "batch_size": 4, "optimizer": "adamw", "lr": 0.002},
    },
    "search": {"model.fusion.stages": {"choice": [[1], [2], [3]]}},
    "baseline": {"model.fusion": {"kind": "frm_ffm"}},
    "early_stopping": {"kind": "none"},
    "confirm": {"finalists": 1, "seeds": 1},
}
PROGRAM = """
import dataclasses, sys
from pathlib import Path
from rich.console import Console
from tune_cmx.config.study import read_study
from tune_cmx.data.prepare import prepare
from tune_cmx.search.cluster import Resources, ray_cluster
from tune_cmx.search.console import StudyConsole
from tune_cmx.search.runner import run_study
from tune_cmx.search.study_folder import open_folder

folder, address = Path(sys.argv[1]), sys.argv[2]
study = read_study(folder / "space.yaml", overrides={"data.root": str(folder / "data")})
prepared = prepare(study.baseline.config.data, folder / "runs" / "tiny" / "data")
opened = open_folder(folder / "runs" / "tiny", study, prepared, folder / "space.yaml")
GPUs = Resources(address, cpus_per_trial=1, gpus_per_trial=1, max_concurrent=None, device="cpu", threads=1, workers=0)
with ray_cluster(GPUs):
    raise SystemExit(not run_study(opened, GPUs, StudyConsole(Console(), "val/mAP")))
"""

pytestmark = pytest.mark.slow


def start(log: Path, *words: object) -> "subprocess.Popen[bytes]":
    """In a group of its own, with a home of its own, so that no token of the user's is read or written."""
    environment = {name: value for name, value in os.environ.items() if not name.startswith("RAY_")}
    changes = {"RAY_AUTH_MODE": "disabled", "RAY_USAGE_STATS_ENABLED": "0", "OMP_NUM_THREADS": "1"}
    with log.open("ab") as output:
        return subprocess.Popen(
            [str(word) for word in words],
            stdout=output,
            stderr=output,
            env={**environment, **changes, "HOME": str(log.parent)},
            start_new_session=True,
        )


@pytest.fixture
def nodes(tmp_path: Path) -> Iterator[tuple["subprocess.Popen[bytes]", "subprocess.Popen[bytes]"]]:
    """`ray start` of the head and of another node: a CPU and a GPU each, and a temporary folder each."""
    short = Path(tempfile.mkdtemp(prefix="tc", dir="/tmp"))  # Ray's sockets may have 107 characters in their path
    node = (BIN / "ray", "start", "--block", f"--node-ip-address={LOOPBACK}", "--num-cpus=1", "--num-gpus=1")
    small = (*node, "--object-store-memory=100000000")
    head_ports = (f"--port={PORT}", "--ray-client-server-port=27203", "--include-dashboard=false")
    started = [start(tmp_path / "head.log", *small, "--head", *head_ports, f"--temp-dir={short / 'a'}")]
    try:
        wait_until(lambda: "Ray runtime started" in (tmp_path / "head.log").read_text(), 90, tmp_path / "head.log")
        other = (*small, f"--address={LOOPBACK}:{PORT}", f"--temp-dir={short / 'b'}")
        started.append(start(tmp_path / "other.log", *other))
        wait_until(lambda: "Ray runtime started" in (tmp_path / "other.log").read_text(), 90, tmp_path / "other.log")
        yield started[0], started[1]
    finally:
        for process in reversed(started):
            end(process)
        shutil.rmtree(short, ignore_errors=True)


def end(process: "subprocess.Popen[bytes]") -> None:
    """It alone first, as it ends what it started; then its group."""
    process.terminate()
    with contextlib.suppress(subprocess.TimeoutExpired):
        process.wait(20)
    with contextlib.suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)


def wait_until(condition: Callable[[], bool], seconds: float, log: Path) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, log.read_text()
        time.sleep(0.05)


def children(pid: int) -> dict[int, str]:
    """The processes that a process started, and their programs."""
    found = {}
    for stat in Path("/proc").glob("[0-9]*/stat"):
        with contextlib.suppress(OSError):  # it has ended
            if int(stat.read_text().rpartition(")")[2].split()[1]) == pid:
                found[int(stat.parent.name)] = (stat.parent / "cmdline").read_bytes().split(b"\0")[0].decode()
    return found


def holder(record: RunFolder) -> int | None:
    """The process that trains a record, as the kernel's table of locks has it."""
    lock = record.folder / ".lock"
    if not lock.exists():
        return None
    lines = [line.split() for line in Path("/proc/locks").read_text().splitlines()]
    inode = f":{lock.stat().st_ino}"
    return next((int(line[4]) for line in lines if line[1] == "FLOCK" and line[5].endswith(inode)), None)


def records(study: Path) -> dict[str, RunFolder]:
    return {path.parent.name: RunFolder(path.parent) for path in study.glob("runs/tiny/trials/*/trial.json")}


def test_its_trial_goes_on_on_the_other(
    tmp_path: Path, nodes: tuple["subprocess.Popen[bytes]", "subprocess.Popen[bytes]"]
) -> None:
    synthesize(tmp_path / "data", images=24, size=64, sequences=6, seed=0)
    (tmp_path / "space.yaml").write_text(yaml.safe_dump(SPACE))
    log = tmp_path / "study.log"
    study = start(log, sys.executable, "-c", PROGRAM, tmp_path, f"{LOOPBACK}:{PORT}")
    try:
        (raylet,) = (pid for pid, program in children(nodes[1].pid).items() if program.endswith("/raylet"))

        def there() -> list[RunFolder]:
            """What the node that will be lost trains, and has trained for two epochs."""
            pids = children(raylet)
            return [one for one in records(tmp_path).values() if holder(one) in pids and one.state().epochs >= 2]

        wait_until(lambda: bool(there()) or study.poll() is not None, 180, log)
        (record,) = there()
        rows = (record.folder / "metrics.csv").read_bytes()
        os.kill(raylet, signal.SIGKILL)
        assert study.wait(300) == 0, log.read_text()
    finally:
        end(study)
    states = {name: one.state() for name, one in records(tmp_path).items()}
    assert {state.status for state in states.values()} == {"complete"}
    assert len(states) == 3 + 2
    assert {name for name, state in states.items() if len(state.lineage) > 1} == {record.folder.name}
    first, second = record.state().lineage
    assert second.first_epoch > max(first.last_epoch, rows.count(b"\n") - 1)
    assert (record.folder / "metrics.csv").read_bytes().startswith(rows)
    assert [row["epoch"] for row in record.rows()] == list(range(1, 13))
