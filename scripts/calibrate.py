"""Simulations that show whether the shipped statistics keep what they promise; each prints a Markdown page.

python scripts/calibrate.py two-stage --date 2026-11-23 > benchmarks/two_stage.md
python scripts/calibrate.py claims --date 2026-11-24 > benchmarks/calibration.md
"""

import argparse
import math
import platform
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import scipy
from calibrate_claims import claims_page
from numpy.typing import NDArray

from tune_cmx.evidence.report.page import Page
from tune_cmx.stein import estimate, fix_seeds, seeds_wanted, t_quantile

Differences = NDArray[np.float64]
PILOT = 4
SD = 0.4
"""Of a paired difference between two arms, in points of mAP."""
EFFECT = 0.3
"""The true difference; coverage does not hang on it."""
MOST = 4000
"""Seeds drawn at the most where nothing bounds them."""


@dataclass(frozen=True)
class Outcome:
    """One study's interval."""

    mean: float
    half_width: float
    seeds: int

    @property
    def covers(self) -> bool:
        """Whether the true difference lies inside."""
        return abs(self.mean - EFFECT) <= self.half_width


Rule = Callable[[np.random.Generator, float, int | None], Outcome]


def two_stage(draw: np.random.Generator, half_width: float, most: int | None) -> Outcome:
    """The shipped rule, one arm against the baseline."""
    pilot = draw.normal(EFFECT, SD, PILOT)
    seeds = min(seeds_wanted(pilot.tolist(), half_width), most or MOST)
    return _shipped(pilot, draw.normal(EFFECT, SD, seeds - PILOT))


def two_stage_of_three(draw: np.random.Generator, half_width: float, most: int | None) -> Outcome:
    """The shipped rule, the first of three arms that share their baseline's runs and one number of seeds."""
    runs = draw.normal(0, SD / math.sqrt(2), (4, PILOT))  # differences of two such runs have the sd wanted
    values = [dict(enumerate(row.tolist())) for row in runs]
    fixed = fix_seeds(
        {str(arm): values[arm] for arm in (1, 2, 3)},
        values[0],
        pilot_seeds=range(PILOT),
        half_width=half_width,
        max_seeds=most or MOST,
    )
    return _shipped(EFFECT + runs[1] - runs[0], draw.normal(EFFECT, SD, fixed.seeds - PILOT))


def until_narrow(draw: np.random.Generator, half_width: float, most: int | None) -> Outcome:
    """Seeds added one by one until the usual t interval is narrow enough."""
    values = draw.normal(EFFECT, SD, PILOT).tolist()
    while (found := _usual(np.asarray(values))).half_width > half_width and len(values) < (most or MOST):
        values.append(draw.normal(EFFECT, SD))
    return found


def pilot_then_usual(draw: np.random.Generator, half_width: float, most: int | None) -> Outcome:
    """The number from the pilot, but the usual t interval of all runs."""
    pilot = draw.normal(EFFECT, SD, PILOT)
    seeds = min(seeds_wanted(pilot.tolist(), half_width), most or MOST)
    return _usual(np.concatenate([pilot, draw.normal(EFFECT, SD, seeds - PILOT)]))


RULES: dict[str, Rule] = {
    "two-stage, shipped": two_stage,
    "two-stage, shipped, one of three arms": two_stage_of_three,
    "seeds added until narrow enough": until_narrow,
    "number from the pilot, usual t interval": pilot_then_usual,
}


def _shipped(pilot: Differences, later: Differences) -> Outcome:
    found = estimate(pilot.tolist(), later.tolist())
    low, high = found.interval()
    return Outcome(found.mean, (high - low) / 2, found.n)


def _usual(values: Differences) -> Outcome:
    n = len(values)
    return Outcome(float(values.mean()), t_quantile(0.975, n - 1) * float(values.std(ddof=1)) / math.sqrt(n), n)


def two_stage_rows(replications: int, seed: int) -> list[list[str]]:
    """Coverage, seeds and widths of each rule at each setting."""
    rows = []
    for half_width in (0.5, 0.25):
        for most in (12, None):
            for name, rule in RULES.items():
                draw = np.random.default_rng(seed)
                found = [rule(draw, half_width, most) for _ in range(replications)]
                seeds = np.array([outcome.seeds for outcome in found])
                # At the number that the pilot wants, widths are the wanted one but for rounding.
                reached = np.mean([outcome.half_width <= half_width * (1 + 1e-9) for outcome in found])
                covered = np.mean([outcome.covers for outcome in found])
                bound = "none" if most is None else str(most)
                figures = [f"{100 * covered:.1f}", f"{seeds.mean():.1f}", f"{np.percentile(seeds, 95):.0f}"]
                rows.append([f"{half_width:g}", bound, name, *figures, f"{100 * reached:.0f}"])
    return rows


def two_stage_page(replications: int, seed: int, date: str) -> str:
    """The calibration of confirmation by precision."""
    page = Page()
    page.heading("Coverage of confirmation by precision", level=1)
    error = 100 * math.sqrt(0.95 * 0.05 / replications)
    page.paragraph(
        f"`python scripts/calibrate.py two-stage --replications {replications} --seed {seed} --date {date}`; "
        f"Python {platform.python_version()}, numpy {np.__version__}, scipy {scipy.__version__}."
    )
    page.paragraph(
        f"Normal paired differences with sd {SD:g} points, a pilot of {PILOT} seeds, and the half-width of the 95 % "
        f"interval that is wanted. Coverage is the share of {replications:,} simulated studies whose interval holds "
        f"the true difference; it should be 95 % (± {2 * error:.1f} of chance). The first two rules run the shipped "
        "`tune_cmx/stein.py`; the last two are the usual ways that it avoids."
    )
    header = ["half-width", "max seeds", "rule", "coverage, %", "seeds, mean", "seeds, 95th percentile", "reached, %"]
    page.table(header, two_stage_rows(replications, seed), left=3)
    page.paragraph(
        "Reached: studies whose interval is as narrow as wanted; a maximum leaves some wider, and they say so."
    )
    return page.text()


def main(arguments: Sequence[str] | None = None) -> None:
    """Print one calibration."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    kinds = parser.add_subparsers(dest="kind", required=True)
    pages = {
        "two-stage": (two_stage_page, 20_000, "confirmation by precision: coverage of Stein's rule"),
        "claims": (claims_page, 2_000, "verdicts: false ones, power, coverage; about four minutes"),
    }
    for name, (_, replications, help_text) in pages.items():
        kind = kinds.add_parser(name, help=help_text)
        kind.add_argument("--replications", type=int, default=replications)
        kind.add_argument("--seed", type=int, default=0)
        kind.add_argument("--date", required=True, help="of the run, as it stands in the page")
    chosen = parser.parse_args(arguments)
    print(pages[chosen.kind][0](chosen.replications, chosen.seed, chosen.date), end="")


if __name__ == "__main__":
    main()
