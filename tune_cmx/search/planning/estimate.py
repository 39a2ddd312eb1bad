"""The cost of a study before it runs: its search and confirmation are simulated many times, and nothing is trained.

The scheduler and the choice of finalists are the shipped ones; only the learning curves are simulated. The number of
epochs depends on them very little.
"""

import copy
import math
import statistics
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from tune_cmx.config.arms import BASELINE, Arm
from tune_cmx.config.domains import Choice, grid, sample_all
from tune_cmx.config.phases import SearchPhase
from tune_cmx.config.space import EarlyStopping
from tune_cmx.config.study import Study
from tune_cmx.search.finalists import SearchResult, finalists
from tune_cmx.search.planning.costs import Costs
from tune_cmx.search.planning.simulate import Course, Simulation, simulate
from tune_cmx.search.planning.study_size import most_epochs, schedule_end

Values = NDArray[np.float64]
REPETITIONS = 100
_IN_FULL = EarlyStopping(kind="none")
SESSION_S, PHASE_S = 20.0, 4.0
"""The command's own imports, Ray's start and end, and the report; and what each search, and the confirmation, adds:
for two idle x86-64 CPU cores. On busy ones it is several times as much (benchmarks/plan.md)."""
REPORT_S = 0.1
"""A reserve for an epoch's report to Ray, and for what the driver writes down of it, before the next epoch."""
_SPREAD = _HOPED = 0.7
"""Standard deviation of the arms' levels, in points; and by how much an arm that a claim names is hoped to be better:
it is a finalist more often than another, and costs nothing more then."""
_RECORD_BYTES, _IMAGE_BYTES = 60_000, 2_000
"""A run folder without its checkpoint, with what Ray keeps of the trial; the detections on an image."""


@dataclass(frozen=True)
class Places:
    """Where trials run."""

    count: int
    """Trials at a time."""
    share: float
    """GPUs that each holds; on the CPU, cores."""
    gpu: bool


@dataclass(frozen=True)
class Amount:
    """A study, or a part of it, in numbers."""

    search_trials: float
    search_epochs: float
    confirm_trials: float
    confirm_epochs: float
    busy_s: float
    """Summed over the places."""
    wall_s: float
    disk_bytes: float
    """At its fullest, checkpoints that a trial needs to go on included."""

    @property
    def epochs(self) -> float:
        """Of search and confirmation."""
        return self.search_epochs + self.confirm_epochs


@dataclass(frozen=True)
class Estimate:
    """What a study will take."""

    expected: Amount
    """The mean over the repetitions."""
    epochs_span: tuple[int, int]
    """In which nine of ten repetitions end."""
    worst: Amount
    """Nothing stopped, the longest arms confirmed, on the most seeds."""
    grid: Amount | None
    """Every arm that there could be, in full, on as many seeds as the confirmation has, with the baseline; None where
    a domain is a range."""


def estimate(study: Study, costs: Costs, places: Places, *, repetitions: int = REPETITIONS, seed: int = 0) -> Estimate:
    """Play a study through.

    Args:
        study: Parsed; its arms are left as they are.
        costs: What a trial takes.
        places: How many run at a time.
        repetitions: Of the search, on other curves each time.
        seed: Of the curves.
    """
    play = _Play(study, costs, places)
    generator = np.random.default_rng(seed)
    runs = [play.once(generator) for _ in range(repetitions)]
    low, high = np.quantile([run.epochs for run in runs], [0.05, 0.95])
    worst = _over([play.once(generator, worst=True), *runs], np.max)
    return Estimate(_over(runs, np.mean), (math.floor(low), math.ceil(high)), worst, play.grid())


def _over(amounts: Sequence[Amount], what: Callable[..., Values]) -> Amount:
    """Mean or maximum, field by field."""
    return Amount(*what([list(vars(amount).values()) for amount in amounts], axis=0).tolist())


@dataclass(frozen=True)
class _ArmCost:
    """What a trial of an arm takes, whatever its curve."""

    epoch_s: float
    complete_bytes: float
    """What a complete trial leaves."""
    state_bytes: float
    """What a trial that is not complete holds beside that."""


class _Play:
    """A study that is played through again and again."""

    def __init__(self, study: Study, costs: Costs, places: Places) -> None:
        self._costs, self._places = costs, places
        self._study = replace(study, arms=copy.deepcopy(study.arms))  # phases add to them
        self._stopping, self._full = study.file.early_stopping, schedule_end(study)
        self._claimed = study.claimed()
        self._drawn: dict[tuple[str, ...], list[Arm]] = {}
        """By the phase and what the one before it kept."""
        self._arm_costs: dict[str, _ArmCost] = {}

    def once(self, generator: np.random.Generator, *, worst: bool = False) -> Amount:
        """One course of the study; at worst nothing is stopped, and what takes longest is confirmed on most seeds."""
        confirm, smooth = self._study.file.confirm, self._stopping.smooth_epochs
        done: dict[str, SearchResult] = {}
        parts: list[Simulation] = []
        disk = 0.0
        kept: list[str] = []
        for phase in self._study.phases:
            arms = self._arms(phase, kept, generator)
            fresh = [arm for arm in arms if arm.id not in done]
            courses = [self._course(arm, generator, most=worst) for arm in fresh]
            stopping = _IN_FULL if worst else self._stopping
            found = self._simulate(courses, stopping)
            stay = {arm.id for arm in fresh} if worst and self._stopping.kind != "none" else found.cut_short
            disk += sum(self._disk(arm, complete=arm.id not in stay) for arm in fresh)
            done |= {result.arm: result for result in found.results}
            parts.append(found)
            kept = finalists([done[arm.id] for arm in arms], smooth, phase.keep)
        if worst:
            unclaimed = [name for name in done if name not in self._claimed]
            chosen = sorted(unclaimed, key=self._in_full_s, reverse=True)[: confirm.finalists]
        else:
            chosen = finalists(list(done.values()), smooth, confirm.finalists)
        claimed = [name for name in self._claimed if name in done]
        seeds = confirm.max_seeds if worst and confirm.half_width is not None else confirm.first_seeds
        names = list(dict.fromkeys([BASELINE, *chosen, *claimed]))
        return self._amount(parts, names, seeds, disk)

    def grid(self) -> Amount | None:
        """Every arm in full on the confirmation's seeds."""
        searched = [self._study.arms[name] for name in self._study.searched]
        if len(self._study.phases) == 1 and self._study.file.searcher.exhaustive:
            count = len(searched)
        else:
            count = 1
            for phase in self._study.phases:
                choices = {path: domain for path, domain in phase.domains.items() if isinstance(domain, Choice)}
                if len(choices) < len(phase.domains):
                    return None
                count *= len(grid(choices))
        seeds, baseline = self._study.file.confirm.first_seeds, self._study.baseline
        epochs = count * statistics.fmean(arm.config.schedule.epochs for arm in searched)
        busy_s = count * statistics.fmean(self._in_full_s(arm.id) for arm in searched)
        disk = count * statistics.fmean(self._disk(arm, complete=True) for arm in searched)
        trials = float(seeds * (count + 1))
        busy_s = seeds * (busy_s + self._in_full_s(BASELINE))
        return Amount(
            search_trials=trials,
            search_epochs=seeds * (epochs + baseline.config.schedule.epochs),
            confirm_trials=0,
            confirm_epochs=0,
            busy_s=busy_s,
            wall_s=busy_s / self._places.count + SESSION_S + PHASE_S,
            disk_bytes=seeds * (disk + self._disk(baseline, complete=True)),
        )

    def _arms(self, phase: SearchPhase, kept: Sequence[str], generator: np.random.Generator) -> list[Arm]:
        """What a phase trains, drawn once."""
        key = (phase.name, *kept)
        if key not in self._drawn:
            study = self._study
            searcher = study.file.searcher
            start = [study.arms[name] for name in kept]
            if searcher.one_by_one is not None:
                self._drawn[key] = self._at_random(phase, generator)
            else:
                self._drawn[key] = study.draw(phase, start)
        return self._drawn[key]

    def _at_random(self, phase: SearchPhase, generator: np.random.Generator) -> list[Arm]:
        """Random draws in place of those that depend on what trials reach."""
        (trials,) = self._study.trials_planned()
        drawn: dict[str, Arm] = {}
        for _ in range(10 * trials):
            arm = self._study.arm(sample_all(phase.domains, generator))
            if arm.id != BASELINE:
                drawn[arm.id] = arm
            if len(drawn) == trials:
                break
        return list(drawn.values())

    def _course(self, arm: Arm, generator: np.random.Generator, *, most: bool = False, seed: int = 0) -> Course:
        """A trial of an arm; `most`: as long as the search trains it at most."""
        epochs = arm.config.schedule.epochs
        values = _curve(epochs, generator, _HOPED if arm.id in self._claimed else 0.0)
        cost, times = self._cost(arm), self._costs.times
        return Course(
            name=arm.id if not seed else f"{arm.id} {seed}",
            arm=arm.id,
            values=values[: most_epochs(self._stopping, epochs)] if most else values,
            epoch_s=cost.epoch_s,
            start_s=times.start_s + (times.process_s if self._places.gpu else 0.0),  # on the CPU a process is kept
            end_s=times.image_s * self._costs.images,
        )

    def _cost(self, arm: Arm) -> _ArmCost:
        """Looked up once: it is asked for in every repetition."""
        if arm.id not in self._arm_costs:
            costs, config = self._costs, arm.config
            self._arm_costs[arm.id] = _ArmCost(
                epoch_s=costs.epoch_s(config) + REPORT_S,
                complete_bytes=_RECORD_BYTES + costs.weights_bytes(config) + costs.images * _IMAGE_BYTES,
                state_bytes=costs.state_bytes(config),
            )
        return self._arm_costs[arm.id]

    def _in_full_s(self, name: str) -> float:
        arm = self._study.arms[name]
        return arm.config.schedule.epochs * self._cost(arm).epoch_s + self._costs.times.start_s

    def _simulate(self, courses: Sequence[Course], stopping: EarlyStopping) -> Simulation:
        places = self._places
        return simulate(
            courses, stopping, full=self._full, slots=places.count, share=places.share, seed=self._study.file.seed
        )

    def _disk(self, arm: Arm, *, complete: bool) -> float:
        """What a trial leaves, or holds where it is not complete."""
        cost = self._cost(arm)
        return cost.complete_bytes + (0 if complete else cost.state_bytes)

    def _amount(self, searches: Sequence[Simulation], names: Sequence[str], seeds: int, disk: float) -> Amount:
        """The search's parts, the confirmation of these arms, and what is spent beside both."""
        arms = [self._study.arms[name] for name in names]
        generator = np.random.default_rng(0)
        courses = [self._course(arm, generator, seed=1 + seed) for seed in range(seeds) for arm in arms]
        confirmed = self._simulate(courses, _IN_FULL)
        parts = [*searches, confirmed]
        largest = max(self._disk(arm, complete=False) for arm in arms)
        process_s = 0.0 if self._places.gpu else self._costs.times.process_s
        checked_s = self._costs.check_s * len(self._study.arms)
        return Amount(
            search_trials=sum(len(part.results) for part in searches),
            search_epochs=sum(part.epochs for part in searches),
            confirm_trials=len(courses),
            confirm_epochs=confirmed.epochs,
            busy_s=sum(part.busy_s for part in parts),
            wall_s=SESSION_S + checked_s + sum(part.wall_s + PHASE_S + process_s for part in parts),
            # an unfinished checkpoint and the one before it
            disk_bytes=disk
            + seeds * sum(self._disk(arm, complete=True) for arm in arms)
            + 2 * self._places.count * largest,
        )


def _curve(epochs: int, generator: np.random.Generator, above: float) -> list[float]:
    """A learning curve in points, its level so far above the others' mean: a rise that slows down, with noise.

    Of the form of benchmarks/replay_model.json at noise 0.4; how steep it is does not move the epochs of a search.
    """
    epoch = np.arange(1, epochs + 1)
    gap = 20 * (epoch**-0.666 - epochs**-0.666)
    noise = generator.normal(0, 0.28, epochs) * (1 + 2 * gap / max(gap[0], 1e-9))
    level, steepness = generator.normal(above, _SPREAD), math.exp(generator.normal(0, 0.06))
    values: list[float] = (level - steepness * gap + noise).tolist()
    return values
