"""A small study, uninterrupted and then with 25 kills at random moments: both must come to the same end.

Killed are the worker that trains, the driver, with Ctrl-C too, and Ray's local cluster; where a file system may be
mounted, the disk that holds the study is full for a while. Where the driver has ended it is started again with
--resume-or-start, as a user or a queue would do. Linux only: locks and processes are read from /proc.

python scripts/chaos.py
python scripts/chaos.py --variant stop --kills 10 --seed 3
python scripts/chaos.py --searcher tpe --folder /tmp/chaos
python scripts/chaos.py --at-a-time 2 --victims worker,driver
"""

import argparse
import os
import random
import shutil
import signal
import statistics
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

from chaos_disk import FILLER, fill, small_disk
from chaos_study import SEARCHERS, Finished, Study, holders, same, sound, space_file

from tune_cmx.data.synthetic import synthesize
from tune_cmx.evidence.report.page import Page
from tune_cmx.search.trials import WORKER_LOSSES

VICTIMS = ("worker", "driver", "Ctrl-C", "cluster", "disk")
OFTEN = {"worker": 4, "driver": 3, "Ctrl-C": 2, "cluster": 2, "disk": 2}
STUCK_S, ENDING_S = 240.0, 120.0
"""How long no epoch may be finished; how long a driver may take to end, whose cluster was killed."""
UNEXPECTED = 5
"""So many ends of the driver that nothing explains end the run."""


@dataclass
class Kill:
    """One blow, and what came of it."""

    victim: str
    at_s: float
    epochs: int
    """Finished before it."""
    recovered_s: float | None = None
    """Until the next epoch was finished, or the study."""


@dataclass
class Chaos:
    """Corrupts a study."""

    study: Study
    random: random.Random
    victims: Sequence[str]
    start_s: float
    """From a driver's start to its first epoch."""
    epoch_s: float
    began: float = field(default_factory=time.monotonic)
    kills: list[Kill] = field(default_factory=list)
    problems: list[str] = field(default_factory=list)
    _losses: Counter[tuple[str, int]] = field(default_factory=Counter)
    _unexpected: int = 0

    def run(self, kills: int, epochs: int) -> None:
        """Start the study, strike so many times before it has finished so many epochs, and see it to its end."""
        moments = sorted(self.random.randrange(epochs) for _ in range(kills))
        every = self.random.sample(list(self.victims), len(self.victims))
        often = [OFTEN[victim] for victim in self.victims]
        victims = (every + self.random.choices(self.victims, often, k=kills))[:kills]
        self.random.shuffle(victims)
        self.study.start()
        previous = -1
        for moment, victim in zip(moments, victims, strict=True):
            # in the middle of an epoch, or of the start that follows the kill before
            seconds = self.random.uniform(0, self.start_s if moment == previous else 2 * self.epoch_s)
            going = self._go_on(until=moment) and self._go_on(until=moment + 2, seconds=seconds)
            if not going:
                self.problems.append(f"the study was over after {len(self.kills)} kills of {kills}")
                return
            previous = moment
            self._strike(victim)
        self._go_on()

    def _go_on(self, *, until: int | None = None, seconds: float | None = None) -> bool:
        """Wait for so many epochs, for so many seconds, or for the study's end; False at its end."""
        began = time.monotonic()
        seen, since = -1, began
        while True:
            code, epochs, now = self.study.ended(), self.study.epochs(), time.monotonic()
            seen, since = (epochs, now) if epochs != seen else (seen, since)
            if self.kills and self.kills[-1].recovered_s is None and (epochs > self.kills[-1].epochs or code == 0):
                self.kills[-1].recovered_s = now - self.began - self.kills[-1].at_s
            if code == 0:
                return False
            if (until is not None and epochs >= until) or (seconds is not None and now - began >= seconds):
                return True
            if code is not None:
                self._unexplained(f"the driver ended by itself with exit code {code}")
            elif now - since > STUCK_S:
                self._unexplained(f"no epoch was finished for {STUCK_S:.0f} s")
                since = now
            time.sleep(0.05)

    def _unexplained(self, what: str) -> None:
        last = f"after kill {len(self.kills)}, {self.kills[-1].victim}" if self.kills else "before any kill"
        self.problems.append(f"{what} {last}")
        print(f"     {self.problems[-1]}", flush=True)
        self._unexpected += 1
        if self._unexpected == UNEXPECTED:
            raise SystemExit(f"{self.study.log}: the driver does not come up again")
        self.study.end()
        self.study.start()

    def _strike(self, victim: str) -> None:
        finished, epochs, at_s = Finished(self.study), self.study.epochs(), time.monotonic() - self.began
        strikes = {"worker": self._worker, "driver": self._driver, "Ctrl-C": self._interrupt}
        told = {**strikes, "cluster": self._cluster, "disk": self._disk}[victim]()
        self.problems += [f"after kill {len(self.kills) + 1}, {told}: {lost}" for lost in finished.lost(self.study)]
        self.kills.append(Kill(victim, at_s, epochs))
        print(f"{len(self.kills):3d}  {at_s:6.1f} s  {epochs:4d} epochs  {told}", flush=True)
        if victim in ("driver", "Ctrl-C", "cluster") and self.study.ended() != 0:
            self.study.start()

    def _worker(self) -> str:
        """A process that trains; no trial so often that it would be given up."""
        deadline = time.monotonic() + STUCK_S
        while time.monotonic() < deadline:
            epochs = {name: len(record.rows()) for name, record in self.study.records().items()}
            for pid, name in holders(self.study).items():
                if self._losses[name, epochs[name]] < WORKER_LOSSES:
                    self._losses[name, epochs[name]] += 1
                    return _kill(pid, f"worker of {name} in epoch {epochs[name] + 1}")
            time.sleep(0.02)
        return "no worker to kill"

    def _driver(self) -> str:
        assert self.study.driver is not None
        told = _kill(self.study.driver.pid, "driver")
        self.study.driver.wait()
        return told

    def _interrupt(self) -> str:
        assert self.study.driver is not None
        self.study.driver.send_signal(signal.SIGINT)
        return f"Ctrl-C, {self._end_of_driver()}"

    def _cluster(self) -> str:
        """One of the two processes without which there is no cluster; none is there yet while the driver starts."""
        parts = {
            pid: part
            for pid, command in self.study.processes().items()
            for part in ("raylet", "gcs_server")
            if command.partition(" ")[0].endswith(f"/{part}")
        }
        if not parts:
            return f"no cluster yet, {self._driver()}"
        pid = self.random.choice(sorted(parts))
        return f"{_kill(pid, parts[pid])}, {self._end_of_driver()}"

    def _end_of_driver(self) -> str:
        assert self.study.driver is not None
        began = time.monotonic()
        try:
            code = self.study.driver.wait(ENDING_S)
        except subprocess.TimeoutExpired:
            self.problems.append(f"at kill {len(self.kills) + 1} the driver ran on for {ENDING_S:.0f} s")
            return f"driver ran on; {self._driver()}"
        return f"driver ended after {time.monotonic() - began:.0f} s with exit code {code}"

    def _disk(self) -> str:
        """Full to the last byte, for some seconds."""
        seconds = self.random.uniform(2, 8)
        fill(self.study.folder, seconds)
        return f"disk full for {seconds:.1f} s"


def _kill(pid: int, who: str) -> str:
    with suppress(ProcessLookupError):
        os.kill(pid, signal.SIGKILL)
    return f"SIGKILL to the {who}"


def uninterrupted(study: Study) -> tuple[float, float, float]:
    """Run it; seconds from the start to the first epoch, of an epoch, and in all."""
    began = time.monotonic()
    study.start()
    while study.epochs() < 1 and study.ended() is None:
        time.sleep(0.05)
    start_s = time.monotonic() - began
    assert study.driver is not None
    if code := study.driver.wait():
        raise SystemExit(f"{study.log}: the uninterrupted study ended with exit code {code}")
    total_s = time.monotonic() - began
    return start_s, sum(record.state().seconds for record in study.records().values()) / study.epochs(), total_s


def table(chaos: Chaos, alone: Study, alone_s: float) -> str:
    """What was done and what it cost, as Markdown."""
    page = Page()
    rows = []
    for victim in VICTIMS:
        kills = [kill for kill in chaos.kills if kill.victim == victim]
        waits = [kill.recovered_s for kill in kills if kill.recovered_s is not None]
        if waits:  # another may have come before the next epoch
            rows.append([victim, str(len(kills)), f"{statistics.median(waits):.0f} s", f"{max(waits):.0f} s"])
    page.table(["killed", "times", "until the next epoch, median", "longest"], rows)
    study = chaos.study
    sessions = [sum(len(record.state().lineage) for record in one.records().values()) for one in (alone, study)]
    total_s = time.monotonic() - chaos.began
    page.table(
        ["study", "wall time", "trials", "sessions of trials", "epochs"],
        [
            ["uninterrupted", f"{alone_s:.0f} s", str(len(alone.records())), str(sessions[0]), str(alone.epochs())],
            ["killed", f"{total_s:.0f} s", str(len(study.records())), str(sessions[1]), str(study.epochs())],
        ],
    )
    return page.text()


def run(arguments: argparse.Namespace, folder: Path, ray: Path) -> int:
    """Both studies; how many differences there are."""
    data = synthesize(folder / "data", images=24, size=64, sequences=6, seed=0)
    space = space_file(folder / "space.yaml", arguments.variant, arguments.searcher)
    alone = Study(folder / "alone", space, data, arguments.at_a_time, ray)
    alone.folder.mkdir()
    study = Study(folder / "killed", space, data, arguments.at_a_time, ray)
    try:
        start_s, epoch_s, alone_s = uninterrupted(alone)
        epochs = alone.epochs()
        print(f"uninterrupted: {epochs} epochs in {alone_s:.0f} s, the first after {start_s:.0f} s", flush=True)
        with small_disk(study.folder) as mounted:
            victims = [victim for victim in arguments.victims if victim != "disk" or mounted]
            generator = random.Random(arguments.seed)
            chaos = Chaos(study, generator, victims, start_s, epoch_s)
            try:
                chaos.run(arguments.kills, int(epochs * (0.8 if arguments.at_a_time == 1 else 0.7)))
                one = arguments.at_a_time == 1
                problems = [*chaos.problems, *sound(study), *same(study, alone, order=one)]
                print(f"\n{table(chaos, alone, alone_s)}")
            finally:
                study.end()
                if arguments.folder:
                    shutil.copytree(study.folder, folder / "killed.kept", ignore=shutil.ignore_patterns(FILLER))
    finally:
        alone.end()
    for problem in problems:
        print(problem)
    print(f"{len(chaos.kills)} kills, {len(problems)} differences")
    return len(problems)


def victims_named(text: str) -> list[str]:
    """Of the command line."""
    names = text.split(",")
    if unknown := sorted(set(names) - set(VICTIMS)):
        raise argparse.ArgumentTypeError(f"knows {', '.join(VICTIMS)}; got {', '.join(unknown)}")
    return names


def main(words: Sequence[str] | None = None) -> int:
    """The command line; 0 where nothing differs."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--kills", type=int, default=25, help="how many (25)")
    parser.add_argument("--seed", type=int, default=0, help="of moments and victims (0)")
    parser.add_argument("--variant", choices=["promote", "stop"], default="promote", help="of ASHA (promote)")
    parser.add_argument("--searcher", choices=list(SEARCHERS), default="grid", help="(grid)")
    parser.add_argument("--at-a-time", type=int, default=1, help="trials; with 1 the decisions must be the same (1)")
    parser.add_argument("--victims", type=victims_named, default=list(VICTIMS), help=f"of {','.join(VICTIMS)} (all)")
    parser.add_argument("--folder", type=Path, help="new; keeps both studies (else a temporary one)")
    arguments = parser.parse_args(words)
    signal.signal(signal.SIGTERM, lambda *_: sys.exit("ended by SIGTERM"))  # so that nothing is left behind
    short = Path(tempfile.mkdtemp(prefix="tc", dir="/tmp"))
    try:
        folder = arguments.folder.resolve() if arguments.folder else short / "studies"
        folder.mkdir(parents=True)
        (short / "ray").mkdir()
        return min(1, run(arguments, folder, short / "ray"))
    finally:
        shutil.rmtree(short, ignore_errors=True)


if __name__ == "__main__":
    sys.exit(main())
