"""What the package costs by itself, in tables for benchmarks/.

python scripts/benchmark.py overhead --date 2026-11-24
python scripts/benchmark.py training --date 2026-11-26
"""

import argparse
import csv
import hashlib
import io
import json
import math
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Generator, Sequence
from contextlib import closing, suppress
from importlib.metadata import version
from pathlib import Path
from typing import Any

import yaml
from rich.console import Console

from tune_cmx.config.searchers import SEARCHERS
from tune_cmx.config.study import read_study
from tune_cmx.config.trial import TrialConfig
from tune_cmx.data.prepare import Prepared, prepare
from tune_cmx.data.synthetic import synthesize
from tune_cmx.metrics import scored
from tune_cmx.search.cluster import Resources, ray_cluster
from tune_cmx.search.console import StudyConsole
from tune_cmx.search.runner import run_study
from tune_cmx.search.study_folder import open_folder
from tune_cmx.search.trainable import train
from tune_cmx.training.protocol import code_version, package_versions
from tune_cmx.training.run_folder import Row, RunFolder, now

ROOT = Path(__file__).parents[1]
STUDY = "stand-in"
EPOCHS = 10
TICKS = os.sysconf("SC_CLK_TCK")


def train_nothing(
    record: RunFolder,
    prepared: Prepared,  # noqa: ARG001
    *,
    device: str = "cpu",
    workers: int = 0,  # noqa: ARG001
    gpus: float | None = None,
    shared_cache: bool = False,  # noqa: ARG001
    loggers: Sequence[str] = (),  # noqa: ARG001
    study: str | None = None,  # noqa: ARG001
) -> Generator[Any, None, None]:
    """What `run_trial` does to a record, without data, model and checkpoints; the metric follows from the arm."""
    from tune_cmx.training.loop import EpochReport
    from tune_cmx.training.tensorboard.events import TrialBoard  # the driver, as that of a search, loads no torch

    with record.held():
        config, rows = record.config(), record.rows()
        seconds = rows[-1]["seconds"] if rows else 0.0
        if record.state().parameters is None:
            record.update(parameters={"total": 1, "active": 1}, audit_warnings=[])
        record.begin_session(
            len(rows) + 1,
            epochs=len(rows),
            seconds=seconds,
            device=device,
            gpus=gpus,
            code_version=code_version(),
            packages=package_versions(),
        )
        with closing(TrialBoard(record.folder, config, rows)) as board:
            for row in [*rows, *(curve(config, epoch) for epoch in range(len(rows) + 1, config.schedule.epochs + 1))]:
                if row["epoch"] > len(rows):
                    record.add_epoch(row, session_seconds=row["seconds"] - seconds)
                    board.add(row)
                metrics = {name: value for name, value in row.items() if "/" in name}
                yield EpochReport(int(row["epoch"]), config.schedule.epochs, row["seconds"], metrics)
        results = {name: row[f"val/{name}"] for name in scored()}
        record.write_detections([])
        record.write_results(config, {"val": results, config.report_split: results}, 1)
        record.update(status="complete", finished=now())


def curve(config: TrialConfig, epoch: int) -> Row:
    """The row of an epoch: it rises towards an end that hangs on the learning rate, with noise of the seed."""
    noise = hashlib.sha256(f"{config.schedule.lr} {config.seed} {epoch}".encode()).digest()[0] / 256
    value = (40 - 3 * abs(math.log10(config.schedule.lr) + 2)) * (1 - math.exp(-epoch / 3)) + noise
    metrics = {**{f"val/{name}": value for name in scored()}, "val/milliseconds": 1.0, "train/loss": 100 - value}
    return {"epoch": epoch, "fraction": epoch / config.schedule.epochs, "seconds": float(epoch), **metrics}


def train_stand_in(config: dict[str, Any]) -> None:
    """What a Ray worker runs."""
    train(config, train_nothing)


def write_space(path: Path, trials: int, *, searcher: str, variant: str, epochs: int = EPOCHS) -> Path:
    """A search-space file over the learning rate with so many arms."""
    span = {"loguniform": [1e-4, 1.0]}
    grid = {"choice": [round(10 ** (-4 + 4 * number / trials), 9) for number in range(trials)]}
    content = {
        "study": STUDY,
        "fixed": {
            "model": {"backbone": "mit_nano", "fusion": {"kind": "add"}},
            "schedule": {"epochs": epochs, "batch_size": 4, "optimizer": "adamw"},
        },
        "search": {"schedule.lr": grid if searcher == "grid" else span},
        "baseline": {"schedule.lr": 0.0123},
        "searcher": {"kind": searcher, **({} if searcher == "grid" else {"trials": trials})},
        "early_stopping": {"variant": variant},
        "confirm": {"finalists": 2, "seeds": 2},
    }
    path.write_text("# How much does a search cost by itself?\n" + yaml.safe_dump(content), encoding="utf-8")
    return path


class TimedConsole(StudyConsole):
    """Notes when the first trial began, in seconds since the process did, and counts reports."""

    def __init__(self, console: Console, metric: str) -> None:
        super().__init__(console, metric)
        self.begun_s = 0.0
        self.reports = 0

    def begin(self, name: str) -> None:
        """A worker takes the trial up."""
        self.begun_s = self.begun_s or age_s()
        super().begin(name)

    def epoch(self, name: str, epoch: int, value: float, seconds: float) -> None:
        """A trial finished an epoch."""
        self.reports += 1
        super().epoch(name, epoch, value, seconds)


def age_s() -> float:
    """Seconds since this process began."""
    ticks = int(Path("/proc/self/stat").read_text().rpartition(")")[2].split()[19])
    return time.clock_gettime(time.CLOCK_BOOTTIME) - ticks / TICKS


def peak_mib() -> float:
    """The most memory that this process has had."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) / 1024 for line in lines if line.startswith("VmHWM"))


def measure_study(arguments: argparse.Namespace) -> None:
    """Run one study of the stand-in in this process, and print a row as JSON."""
    folder = Path(arguments.folder)
    space = write_space(folder / "space.yaml", arguments.trials, searcher=arguments.searcher, variant=arguments.variant)
    study = read_study(space, overrides={"data.root": str(synthetic(folder))})
    prepared = prepare(study.baseline.config.data, folder / "study" / "data")
    opened = open_folder(folder / "study", study, prepared, space)
    screen = Console(file=io.StringIO(), force_terminal=arguments.screen == "table", width=120)
    console = TimedConsole(screen, study.file.early_stopping.metric)
    cpu_s = time.process_time()
    resources = Resources(
        None, cpus_per_trial=1, gpus_per_trial=0, max_concurrent=None, device="cpu", threads=1, workers=0
    )
    with ray_cluster(resources):
        if not run_study(opened, resources, console, trainable=train_stand_in):
            raise SystemExit("the study was interrupted")
    cpu_s, trials_s, searched_mib = time.process_time() - cpu_s, age_s() - console.begun_s, peak_mib()
    report_s, report_cpu_s = time.monotonic(), time.process_time()
    from tune_cmx.evidence.report.write import write_report  # as the command does, only now

    write_report(opened.folder)
    row = {
        "case": f"{arguments.searcher}, {arguments.screen}",
        "variant": arguments.variant,
        "trials": arguments.trials,
        "reports": console.reports,
        "first_trial_s": console.begun_s,
        "trials_s": trials_s,
        "ms_per_trial": 1000 * trials_s / arguments.trials,
        "driver_cpu_ms_per_trial": 1000 * cpu_s / arguments.trials,
        "driver_peak_mib": searched_mib,
        "report_s": time.monotonic() - report_s,
        "report_cpu_s": time.process_time() - report_cpu_s,
        "load": os.getloadavg()[1],
    }
    print(json.dumps(row))


def measure_start(trials: int, folder: Path) -> dict[str, Any]:
    """Seconds from the command `search` to the first trial at work, in a worker that has loaded everything."""
    space = write_space(folder / "space.yaml", trials, searcher="random", variant="promote")
    code = "from tune_cmx.cli import main; main()"
    words = ["search", str(space), "--data", str(synthetic(folder)), "--output-dir", str(folder), "--device", "cpu"]
    began = time.monotonic()
    with (folder / "log").open("wb") as log:
        process = subprocess.Popen([sys.executable, "-c", code, *words], stdout=log, stderr=log)
        try:
            while not any((folder / STUDY / "trials").glob("search-*/.lock")):  # a trial holds its record
                if process.poll() is not None:
                    raise SystemExit((folder / "log").read_text())
                time.sleep(0.05)
            first_trial_s, start_cpu_s = time.monotonic() - began, tree_cpu_s(process.pid)
        finally:
            process.send_signal(signal.SIGINT)
            process.wait(120)
    return {
        "case": "command",
        "variant": "promote",
        "trials": trials,
        "first_trial_s": first_trial_s,
        "start_cpu_s": start_cpu_s,
        "load": os.getloadavg()[1],
    }


def tree_cpu_s(pid: int) -> float:
    """CPU seconds of a process and of all that it began, as far as they live."""
    spent: dict[int, float] = {}
    parents: dict[int, int] = {}
    for stat in Path("/proc").glob("[0-9]*/stat"):
        with suppress(OSError):  # it has ended
            fields = stat.read_text().rpartition(")")[2].split()
            parents[int(stat.parent.name)] = int(fields[1])
            spent[int(stat.parent.name)] = (int(fields[11]) + int(fields[12])) / TICKS
    tree = {pid}
    while more := {child for child, parent in parents.items() if parent in tree} - tree:
        tree |= more
    return sum(spent.get(one, 0.0) for one in tree)


def synthetic(folder: Path) -> Path:
    """The smallest data that can be split."""
    place = folder / "data"
    return place if place.exists() else synthesize(place, images=24, size=64, sequences=6, seed=0)


def overhead(arguments: argparse.Namespace) -> None:
    """Measure studies of the stand-in one after the other, each in a process of its own, and the command's start."""
    rows: list[dict[str, Any]] = []
    for trials in arguments.start:
        with tempfile.TemporaryDirectory() as folder:
            rows.append(measure_start(trials, Path(folder)))
            show(rows[-1])
    for case in arguments.cases:
        searcher, variant, screen = case.split(":")
        for trials in arguments.trials:
            with tempfile.TemporaryDirectory() as folder:
                synthetic(Path(folder))
                flags = ["--trials", str(trials), "--searcher", searcher, "--variant", variant, "--screen", screen]
                command = [sys.executable, __file__, "study", folder, *flags]
                done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True)
                rows.append(json.loads(done.stdout.splitlines()[-1]))
                show(rows[-1])
    path = ROOT / "benchmarks" / "overhead.csv"
    packages = ", ".join(f"{name} {version(name)}" for name in ("ray", "torch", "optuna"))
    with path.open("w", newline="", encoding="utf-8") as file:
        file.write(f"# {arguments.date}; Python {sys.version.split()[0]}, {packages}; {os.cpu_count()} CPU cores\n")
        columns = list(dict.fromkeys(name for row in reversed(rows) for name in row))
        writer = csv.DictWriter(file, columns, lineterminator="\n")
        writer.writeheader()
        for row in rows:
            writer.writerow({name: rounded(value) for name, value in row.items()})


def rounded(value: Any) -> Any:
    """A measured number without digits that mean nothing."""
    return (
        float(f"{value:.3g}")
        if isinstance(value, float) and value < 1000
        else value
        if isinstance(value, int | str)
        else round(value)
    )


def show(row: dict[str, Any]) -> None:
    """A row as soon as it is there."""
    print(", ".join(f"{name} {rounded(value)}" for name, value in row.items()), flush=True)


def main() -> None:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    commands = parser.add_subparsers(required=True)
    table = commands.add_parser(
        "overhead", help="what a search costs beside its training", epilog="example: overhead --trials 100 --start 4"
    )
    table.add_argument("--trials", type=int, nargs="+", default=[100, 300, 1000])
    table.add_argument(
        "--cases",
        nargs="+",
        default=["random:promote:lines", "random:stop:lines", "grid:promote:table", "tpe:promote:lines"],
        help="searcher:variant:screen, the screen lines or a table that redraws itself",
    )
    table.add_argument("--start", type=int, nargs="*", default=[4, 1000], help="trials of which the command is begun")
    table.add_argument("--date", required=True)
    table.set_defaults(run=overhead)
    study = commands.add_parser("study", help="one row of it, in this process", epilog="example: study /tmp/one")
    study.add_argument("folder")
    study.add_argument("--trials", type=int, default=100)
    study.add_argument("--searcher", choices=tuple(SEARCHERS), default="random")
    study.add_argument("--variant", choices=("promote", "stop"), default="promote")
    study.add_argument("--screen", choices=("lines", "table"), default="lines")
    study.set_defaults(run=measure_study)
    import benchmark_training  # beside this file, and so found where this is what is run

    benchmark_training.add_command(commands)
    arguments = parser.parse_args()
    arguments.run(arguments)


if __name__ == "__main__":
    main()
