"""A study on real Ray clusters of two nodes on this machine: as a submitted job, and through the Slurm script."""

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

ROOT = Path(__file__).parents[2]
BIN = Path(sys.executable).parent
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
SPACE = {
    "study": "tiny",
    "fixed": {
        "model": {"backbone": "mit_nano", "fusion": {"kind": "cssa", "elsewhere": "add"}, "detector": DETECTOR},
        "schedule": {"epochs": 3, "batch_size": 4, "optimizer": "adamw", "lr": 0.002},
    },
    "search": {"model.fusion.stages": {"choice": [[1], [2], [3]]}},
    "baseline": {"model.fusion": {"kind": "frm_ffm"}},
    "early_stopping": {"kind": "none"},
    "confirm": {"finalists": 1, "seeds": 1},
}
SMALL = ("--num-cpus=1", "--num-gpus=0", "--object-store-memory=100000000")

pytestmark = pytest.mark.slow


@pytest.fixture
def short() -> Iterator[Path]:
    """A folder with a short name, as Ray's sockets lie in it and their paths may have 107 characters."""
    folder = Path(tempfile.mkdtemp(prefix="tc", dir="/tmp"))
    yield folder
    shutil.rmtree(folder, ignore_errors=True)


@pytest.fixture
def study(tmp_path: Path) -> Path:
    """A folder with data and a search-space file."""
    synthesize(tmp_path / "data", images=24, size=64, sequences=6, seed=0)
    (tmp_path / "space.yaml").write_text("# Which stage?\n" + yaml.safe_dump(SPACE))
    return tmp_path


@pytest.fixture
def environment(tmp_path: Path) -> dict[str, str]:
    """A home of its own, so that no token of the user's is read or written."""
    (tmp_path / "home").mkdir()
    return {
        **{name: value for name, value in os.environ.items() if not name.startswith("RAY_")},
        "HOME": str(tmp_path / "home"),
        "PATH": f"{BIN}:{os.environ['PATH']}",
        "OMP_NUM_THREADS": "1",
        "RAY_USAGE_STATS_ENABLED": "0",
    }


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Callable[..., "subprocess.Popen[bytes]"]]:
    """Start a process in a group of its own, its output in a file; ended with all that it started."""
    started: list[subprocess.Popen[bytes]] = []

    def run(name: str, *words: object, **options: object) -> "subprocess.Popen[bytes]":
        with (tmp_path / f"{name}.log").open("ab") as log:
            process = subprocess.Popen(
                [str(word) for word in words],
                stdout=log,
                stderr=log,
                start_new_session=True,
                **options,  # type: ignore[call-overload]
            )
        started.append(process)
        return process

    yield run
    for process in reversed(started):
        process.terminate()  # it alone: Ray's own processes are ended by it, in their order
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(15)
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)


def wait_until(condition: Callable[[], bool], seconds: float, log: Path) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, log.read_text()
        time.sleep(0.2)


def records(study: Path) -> list[RunFolder]:
    return [RunFolder(path.parent) for path in sorted(study.glob("runs/tiny/trials/*/trial.json"))]


def finished(study: Path) -> None:
    """The study came to its report, every trial in full."""
    assert (study / "runs" / "tiny" / "report" / "report.md").stat().st_size > 0
    assert [record.state().status for record in records(study)] == ["complete"] * 5


def words_of(study: Path) -> list[str]:
    data, runs = study / "data", study / "runs"
    return [str(study / "space.yaml"), "--data", str(data), "--output-dir", str(runs), "--device", "cpu"]


def test_a_job_is_submitted_with_the_working_tree_to_two_nodes(
    study: Path, short: Path, environment: dict[str, str], start: Callable[..., "subprocess.Popen[bytes]"]
) -> None:
    environment = {**environment, "RAY_AUTH_MODE": "disabled"}
    loopback, port, dashboard = "127.0.0.1", 27101, 27102
    ray = (BIN / "ray", "start", "--block", f"--node-ip-address={loopback}", *SMALL)
    ports = (f"--port={port}", f"--dashboard-port={dashboard}", "--ray-client-server-port=27103")
    start("head", *ray, "--head", *ports, f"--temp-dir={short / 'a'}", env=environment)
    health = (BIN / "ray", "health-check", "--address", f"{loopback}:{port}")
    wait_until(lambda: subprocess.run(health, env=environment).returncode == 0, 60, study / "head.log")
    # A folder of its own, as on a machine of its own: the nodes' copies of the working tree are removed one by one.
    start("worker", *ray, f"--address={loopback}:{port}", f"--temp-dir={short / 'b'}", env=environment)
    status = (BIN / "ray", "status", "--address", f"{loopback}:{port}")
    wait_until(
        lambda: "/2.0 CPU" in subprocess.run(status, env=environment, capture_output=True, text=True).stdout,
        60,
        study / "worker.log",
    )
    submit = (BIN / "ray", "job", "submit", f"--address=http://{loopback}:{dashboard}", "--working-dir=.", "--")
    where = "import tune_cmx; print('package in', tune_cmx.__file__)"

    def upload() -> "subprocess.CompletedProcess[str]":
        words = [*submit, "python", "-c", where]
        return subprocess.run(words, env=environment, cwd=ROOT, capture_output=True, text=True, timeout=120)

    uploaded = upload()
    deadline = time.monotonic() + 60
    while "No available agent" in uploaded.stderr and time.monotonic() < deadline:  # the head has not begun it yet
        uploaded = upload()
    assert f"package in {short / 'a'}" in uploaded.stdout, uploaded.stdout + uploaded.stderr
    searched = subprocess.run(
        [*submit, "python", "scripts/search.py", *words_of(study), "--address", "auto"],
        env=environment,
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=240,
    )
    assert searched.returncode == 0, searched.stdout + searched.stderr
    assert "3 trials, 2 at a time" in searched.stdout
    finished(study)


SRUN = """#!/usr/bin/env bash
# Runs the command of a job step on this machine, and notes for which node it was.
while [[ $1 == --* ]]; do
    if [[ $1 == --nodelist=* ]]; then echo "${1#*=}" >>"$SLURM_SUBMIT_DIR/steps"; fi
    shift
done
exec "$@" --num-gpus=0
"""
SCONTROL = """#!/usr/bin/env bash
if [[ $1 == show ]]; then printf 'n1\\nn2\\n'; else echo "$@" >>"$SLURM_SUBMIT_DIR/requeued"; fi
"""


@pytest.fixture
def slurm(study: Path, environment: dict[str, str]) -> Iterator[dict[str, str]]:
    """The environment of a batch job of two nodes, with stand-ins for Slurm's commands on the PATH."""
    commands = study / "commands"
    commands.mkdir()
    for name, text in (("srun", SRUN), ("scontrol", SCONTROL)):
        (commands / name).write_text(text)
        (commands / name).chmod(0o755)
    (study / "scripts").symlink_to(ROOT / "scripts")
    job = 90_000_000 + os.getpid()
    yield {
        **environment,
        "PATH": f"{commands}:{environment['PATH']}",
        "SLURM_SUBMIT_DIR": str(study),
        "SLURM_JOB_ID": str(job),
        "SLURM_JOB_NODELIST": "n[1-2]",
        "SLURM_CPUS_PER_TASK": "1",
        "RAY_HEAD_IP": "127.0.0.1",
    }
    shutil.rmtree(f"/tmp/ray-{job}", ignore_errors=True)


@pytest.fixture
def job(
    study: Path, slurm: dict[str, str], start: Callable[..., "subprocess.Popen[bytes]"]
) -> Callable[[], "subprocess.Popen[bytes]"]:
    """Start the batch script, as Slurm does the first time and each time after."""
    script = ROOT / "scripts" / "cluster" / "slurm.sh"
    return lambda: start("job", "bash", script, *words_of(study), env=slurm)


def stopped_by(number: signal.Signals, job: "subprocess.Popen[bytes]", study: Path) -> None:
    """The script gets the signal in the middle of the search, and ends as an interrupted search does."""
    log = study / "job.log"
    wait_until(lambda: any(record.state().epochs for record in records(study)) or job.poll() is not None, 150, log)
    job.send_signal(number)  # as Slurm does, to the batch script alone
    assert job.wait(90) == 130, log.read_text()
    assert "interrupted" in [record.state().status for record in records(study)], log.read_text()
    assert not list(study.glob(".ray-token-*"))


def rows(study: Path) -> dict[str, str]:
    """What each trial's metrics.csv holds."""
    return {path.parent.name: path.read_text() for path in study.glob("runs/tiny/trials/*/metrics.csv")}


def test_a_slurm_job_whose_time_is_up_is_queued_again_and_goes_on(
    study: Path, slurm: dict[str, str], job: Callable[[], "subprocess.Popen[bytes]"]
) -> None:
    stopped_by(signal.SIGUSR1, job(), study)
    assert (study / "requeued").read_text() == f"requeue {slurm['SLURM_JOB_ID']}\n"
    trained = rows(study)
    assert job().wait(240) == 0, (study / "job.log").read_text()
    finished(study)
    assert all(rows(study)[name].startswith(text) for name, text in trained.items())
    assert (study / "steps").read_text().split() == ["n1", "n2"] * 2
    assert not (study / "home" / ".ray").exists()  # the token was the job's own


def test_a_slurm_job_that_is_preempted_leaves_the_queue_to_slurm(
    study: Path, job: Callable[[], "subprocess.Popen[bytes]"]
) -> None:
    stopped_by(signal.SIGTERM, job(), study)
    assert not (study / "requeued").exists()


def test_a_slurm_job_that_cannot_run_says_so_and_is_not_queued_again(
    study: Path, job: Callable[[], "subprocess.Popen[bytes]"]
) -> None:
    (study / "space.yaml").unlink()
    assert job().wait(120) == 2
    assert "space.yaml" in (study / "job.log").read_text()
    assert not (study / "requeued").exists()
