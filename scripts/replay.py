"""What a search costs, and how good its winner is, on simulated learning curves in place of training.

The scheduler, the choice of finalists and the choice of the winner are the package's own; only the curves
(replay_curves.py) and the loop that hands out places as Ray's controller does (tune_cmx/search/planning/simulate.py)
are stand-ins.

python scripts/replay.py --date 2026-11-29
"""

import argparse
import csv
import math
import multiprocessing
import platform
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any, Literal

import numpy as np
from ray.tune.schedulers import ASHAScheduler
from replay_curves import EPOCHS, NOISES, Model, Values, draw_curves, read_model

from tune_cmx.config.space import Confirm, EarlyStopping
from tune_cmx.evidence.report.page import Page
from tune_cmx.search.finalists import finalists, rank, winner
from tune_cmx.search.planning.simulate import METRIC, Course, Simulation, simulate, simulate_under

Order = Literal["random", "worst"]
ROOT = Path(__file__).parents[1]
AT_ONCE, CLOSE = 4, 0.3
SHIPPED, GRID = "shipped default", "grid, one seed"
IN_FULL = EarlyStopping(kind="none", smooth_epochs=1)
BATCH = 100
"""Replays that a process takes at a time."""


@dataclass(frozen=True)
class Setting:
    """How to search and confirm."""

    name: str
    stopping: EarlyStopping = IN_FULL
    count: int = 0
    """Finalists; none: the search's first is the winner."""
    seeds: int = 2
    """Fresh seeds on which each finalist is trained in full."""
    baseline: bool = False
    """Whether the baseline's confirmation is counted too."""
    ray_grace: int = 0
    """Above 0: Ray's own ASHAScheduler instead, with this grace and reduction factor 3; a reference, for this package
    compares nothing at epoch 1."""
    equivalent_once: bool = False
    """Of two configurations that are the same function, train the first."""
    everywhere: bool = False
    """In every table, not only in that of noise 0.4 and random order."""


@dataclass(frozen=True)
class Outcome:
    """One replay."""

    cost: float
    near_best: bool
    near_grid: bool


def search(setting: Setting, values: Values, order: Sequence[int]) -> Simulation:
    """Train the configurations in the order of their arrival, as the scheduler lets them."""
    courses = [Course(str(number), str(number), values[number].tolist()) for number in order]
    if setting.ray_grace:
        scheduler = ASHAScheduler("epoch", METRIC, "max", EPOCHS, setting.ray_grace, 3)
        return simulate_under(scheduler, courses, smooth_epochs=setting.stopping.smooth_epochs, slots=AT_ONCE)
    return simulate(courses, setting.stopping, full=EPOCHS, slots=AT_ONCE, ahead=0)


def replay(setting: Setting, model: Model, noise: str, order: Order, seed: tuple[int, int]) -> Outcome:
    """One study on the curves of a seed; every setting meets the same ones."""
    draw = np.random.default_rng([*seed, round(10 * float(noise))])
    more = np.random.default_rng([*seed, round(10 * float(noise)), 1])
    curves = draw_curves(model, noise, draw, more, setting.seeds)
    arrival = draw.permutation(len(model.means)) if order == "random" else np.argsort(curves.true, kind="stable")
    if setting.equivalent_once:
        first = set(np.unique(model.function, return_index=True)[1].tolist())
        arrival = np.array([one for one in arrival if one in first])
    searched = search(setting, curves.runs[0], arrival.tolist())
    results, epochs, smooth = searched.results, searched.epochs, setting.stopping.smooth_epochs
    best = rank(results, smooth)[0].arm
    if setting.count:
        chosen = finalists(results, smooth, setting.count)
        confirmed = {arm: curves.runs[1:, int(arm)].tolist() for arm in chosen}
        best = winner(confirmed, [result for result in results if result.arm in chosen], smooth) or best
        epochs += (len(chosen) + setting.baseline) * setting.seeds * EPOCHS
    reached, grid = curves.true[int(best)], curves.true[int(np.argmax(curves.runs[0, :, -1]))]
    return Outcome(
        epochs / (len(model.means) * EPOCHS),
        bool(reached >= curves.true.max() - CLOSE),
        bool(reached >= grid - CLOSE),
    )


def settings() -> list[Setting]:
    """The lines of the table: first what a user gets, last the default varied in one thing each."""
    published: dict[str, Any] = {"reduction_factor": 3, "spacing": None, "last": 1, "smooth_epochs": 3}
    default, confirm = EarlyStopping(), Confirm()
    count = confirm.finalists
    keys = default.model_dump()

    def varied(**changed: Any) -> EarlyStopping:
        return EarlyStopping(**{**keys, **changed})

    bare: dict[str, Any] = {**published, "variant": "stop", "smooth_epochs": 1}
    return [
        Setting(SHIPPED, default, count, seeds=confirm.first_seeds, baseline=True, everywhere=True),
        Setting(GRID, everywhere=True),
        Setting("ASHA 3, grace 1, no confirmation (Ray's)", ray_grace=1, everywhere=True),
        Setting("ASHA 3, grace 2, no confirmation", EarlyStopping(**bare), everywhere=True),
        Setting("stop, 3, mean of 3", EarlyStopping(**{**published, "variant": "stop"}), 3, everywhere=True),
        Setting(
            "promote, 3, mean of 3, promotions first",
            EarlyStopping(**{**published, "first": "promotion"}),
            3,
            everywhere=True,
        ),
        Setting("promote, 3, mean of 3, new first", EarlyStopping(**published), 3),
        Setting("promote, 4, mean of 3, new first", EarlyStopping(**{**published, "reduction_factor": 4}), 3),
        Setting("promote, 3, mean of 3, ends at 8", EarlyStopping(**{**published, "spacing": 2, "last": 0.6}), 3),
        Setting("default", default, count, everywhere=True),
        Setting("default, promotions first", varied(first="promotion"), count, everywhere=True),
        Setting("default, mean of 3", varied(smooth_epochs=3), count),
        Setting("default, reduction factor 2", varied(reduction_factor=2), count),
        Setting("default, reduction factor 2.6", varied(reduction_factor=2.6), count),
        Setting("default, trained to the end", varied(last=1), count),
        Setting("default, 2 finalists", default, 2),
        Setting("default, 4 finalists", default, 4),
        Setting("default, no equivalent configurations", default, count, equivalent_once=True, everywhere=True),
    ]


@dataclass(frozen=True)
class Task:
    """A part of a line of the table."""

    model: Path
    setting: Setting
    noise: str
    order: Order
    seed: int
    numbers: range


def work(task: Task) -> tuple[Task, list[Outcome]]:
    """Run a part."""
    model = read_model(task.model)
    return task, [replay(task.setting, model, task.noise, task.order, (task.seed, number)) for number in task.numbers]


def run_all(model: Path, replays: int, processes: int, seed: int) -> dict[tuple[str, Order, str], list[Outcome]]:
    """All lines at all noises and orders; shows the progress on stderr."""
    orders: tuple[Order, ...] = ("random", "worst")
    tasks = [
        Task(model, setting, noise, order, seed, range(start, min(start + BATCH, replays)))
        for noise in NOISES
        for order in orders
        for setting in settings()
        if setting.everywhere or (noise, order) == ("0.4", "random")
        for start in range(0, replays, BATCH)
    ]
    found: dict[tuple[str, Order, str], list[Outcome]] = {}
    began = time.monotonic()
    with multiprocessing.get_context("spawn").Pool(processes) as pool:
        for done, (task, outcomes) in enumerate(pool.imap(work, tasks), 1):
            found.setdefault((task.noise, task.order, task.setting.name), []).extend(outcomes)
            if done % 20 == 0 or done == len(tasks):
                print(f"\r{done} of {len(tasks)} parts, {time.monotonic() - began:.0f} s", end="", file=sys.stderr)
    print(file=sys.stderr)
    return found


def rows(found: Mapping[tuple[str, Order, str], Sequence[Outcome]]) -> Iterator[dict[str, Any]]:
    """A line of figures for each noise, order and setting."""
    counted = {setting.name: counted_runs(setting) for setting in settings()}
    for (noise, order, name), outcomes in found.items():
        best, grid = (np.mean([getattr(one, key) for one in outcomes]) for key in ("near_best", "near_grid"))
        costs = [one.cost for one in outcomes]
        yield {
            "noise": noise,
            "order": order,
            "setting": name,
            "counted": counted[name],
            "replays": len(outcomes),
            "cost": float(np.mean(costs)),
            "cost_se": float(np.std(costs)) / math.sqrt(len(costs)),
            "near_best": float(best),
            "near_best_se": math.sqrt(best * (1 - best) / len(outcomes)),
            "near_grid": float(grid),
            "near_grid_se": math.sqrt(grid * (1 - grid) / len(outcomes)),
        }


def counted_runs(setting: Setting) -> str:
    """Which runs the cost of a setting counts."""
    if not setting.count:
        return "search"
    return f"search + {setting.count} finalists{' + baseline' if setting.baseline else ''}, {setting.seeds} seeds"


def page_of(lines: Sequence[Mapping[str, Any]], replays: int, date: str) -> str:
    """The table as a Markdown page."""
    default = EarlyStopping()
    page = Page()
    page.heading("What a search costs, and how good its winner is", level=1)
    page.paragraph(
        f"`python scripts/replay.py --replays {replays} --date {date}`, {date}, two x86-64 CPU cores, "
        f"Python {platform.python_version()}, ray {version('ray')}, numpy {np.__version__}. "
        "The shipped scheduler, driven through its Ray interface, and the shipped choice of finalists and winner, on "
        "simulated learning curves (benchmarks/replay_model.json): 88 configurations of 15 epochs, 4 trials at a time."
    )
    page.paragraph(_shipped(lines))
    page.paragraph(
        "Cost: epochs of the runs in column 'counted', as a share of the grid's 88 · 15. Only the shipped default "
        f"counts what a user gets: {Confirm().first_seeds} seeds and the baseline. The other lines compare ways to "
        "search, so they confirm on 2 seeds and leave the baseline out. Near best: the winner's true value is within "
        f"{CLOSE} mAP points of the best. Near grid: it is at most {CLOSE} below the one that a one-seed grid picks. "
        "± is the standard error. Worst order: ascending true value. Every setting meets the same curves. The "
        "defaults were chosen on other curves. No configuration's true value is known: the curves are a model, and so "
        "are these figures."
    )
    page.paragraph(
        f"Default: promote, {default.first} first, rungs at {_rungs(default)}, the last one the end of the search, "
        f"reduction factor {default.reduction_factor:g}, mean of at most the last {default.smooth_epochs} epochs and "
        f"half of those trained, {Confirm().finalists} finalists. 'No equivalent configurations' leaves out one of two "
        "configurations that are the same function. The software names these before the start. The other lines count "
        "all 88."
    )
    for noise in dict.fromkeys(line["noise"] for line in lines):
        for order in dict.fromkeys(line["order"] for line in lines):
            page.heading(f"Noise {noise}, {order} order of arrival")
            page.table(
                ["setting", "counted", "hours of the grid, %", "near best", "near grid"],
                [
                    [
                        str(line["setting"]),
                        str(line["counted"]),
                        f"{100 * line['cost']:.1f} ± {100 * line['cost_se']:.1f}",
                        f"{line['near_best']:.3f} ± {line['near_best_se']:.3f}",
                        f"{line['near_grid']:.3f} ± {line['near_grid_se']:.3f}",
                    ]
                    for line in lines
                    if line["noise"] == noise and line["order"] == order
                ],
            )
    return page.text()


def _shipped(lines: Sequence[Mapping[str, Any]]) -> str:
    """What a user gets, at the middle noise."""
    middle = [line for line in lines if line["noise"] == NOISES[1] and line["order"] == "random"]
    line = next(line for line in middle if line["setting"] == SHIPPED)
    grid = next((line for line in middle if line["setting"] == GRID), None)
    against = "" if grid is None else f" (the grid: {100 * grid['near_best']:.1f} %)"
    return (
        f"The shipped default ({line['counted']}) takes {100 * line['cost']:.1f} % of the hours of a one-seed grid at "
        f"noise {line['noise']}. Its winner is within {CLOSE} mAP points of the best in "
        f"{100 * line['near_best']:.1f} % of {line['replays']:,} replays{against}."
    )


def _rungs(stopping: EarlyStopping) -> str:
    return ", ".join(f"{point:g}" for point in stopping.rungs(EPOCHS))


def main() -> None:
    """Run the table and write replay.md and replay.csv."""
    parser = argparse.ArgumentParser(
        description="Replay searches on simulated learning curves: cost and quality of the shipped scheduler.",
        epilog="example: python scripts/replay.py --replays 200 --output-dir .",
    )
    parser.add_argument("--replays", type=int, default=2000, help="studies a line of the table (default: 2000)")
    parser.add_argument("--processes", type=int, default=2, help="processes (default: 2)")
    parser.add_argument("--seed", type=int, default=1, help="of the curves (default: 1)")
    parser.add_argument("--model", type=Path, default=ROOT / "benchmarks" / "replay_model.json", help="the curves")
    parser.add_argument("--output-dir", type=Path, default=ROOT / "benchmarks", help="where replay.md and .csv go")
    parser.add_argument("--date", default=time.strftime("%Y-%m-%d"), help="the date on the page (default: today)")
    options = parser.parse_args()
    if options.replays < 1 or options.processes < 1:
        parser.error(f"--replays and --processes: at least 1; got {options.replays} and {options.processes}")
    lines = list(rows(run_all(options.model, options.replays, options.processes, options.seed)))
    page = page_of(lines, options.replays, options.date)
    (options.output_dir / "replay.md").write_text(page, encoding="utf-8")
    with (options.output_dir / "replay.csv").open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, list(lines[0]), lineterminator="\n")
        writer.writeheader()
        writer.writerows(
            {key: round(value, 5) if isinstance(value, float) else value for key, value in line.items()}
            for line in lines
        )
    print(page)


if __name__ == "__main__":
    main()
