"""The calibration of claims: how often the shipped gate is wrong, and how often it finds what is there.

`python scripts/calibrate.py claims` prints its page. Runs are simulated; rows, pairing, tests, Holm's correction and
verdicts are those of `tune_cmx.evidence.claims.evaluate.evaluate_claim`.
"""

import math
import platform
from dataclasses import dataclass, field
from itertools import product
from typing import Any

import numpy as np
import scipy

from tune_cmx.evidence.claims.evaluate import evaluate_claim
from tune_cmx.evidence.claims.run_table import Table
from tune_cmx.evidence.report.page import Page

SDS = (0.2, 0.4, 0.66)
SEEDS = (3, 5, 8)
COMPARISONS = (1, 12)
EFFECT = 1.0
LEVEL = 80.0
"""Mean mAP of an arm."""
SHARED = 0.5
"""Share of the run-to-run variance that a seed brings to every arm alike, where arms share their seeds."""
FALSE_AT_MOST = 5.0
COVERAGE = (93.0, 98.0)


@dataclass(frozen=True)
class Setting:
    """One kind of study."""

    paired: bool
    comparisons: int
    sd: float
    seeds: int


@dataclass
class Tally:
    """What many studies of one setting gave."""

    studies: int = 0
    false: int = 0
    """Studies without a difference in which some arm's claim was SUPPORTED."""
    found: int = 0
    """Studies with a difference in which its claim was SUPPORTED."""
    covered: list[bool] = field(default_factory=list)

    @property
    def row(self) -> list[str]:
        """Percent: false SUPPORTED, coverage, power."""
        false, power = (100 * count / self.studies for count in (self.false, self.found))
        return [f"{false:.1f}", f"{100 * float(np.mean(self.covered)):.1f}", f"{power:.0f}"]


def simulate(setting: Setting, studies: int, draw: np.random.Generator) -> Tally:
    """Studies without a difference and, of the same runs, studies whose first arm lies `EFFECT` higher."""
    tally = Tally(studies)
    for _ in range(studies):
        values = _values(setting, draw)
        answers = _answers(setting, values, range(1, setting.comparisons + 1))
        tally.false += any(answer["verdict"] == "SUPPORTED" for answer in answers)
        for answer in answers:
            low, high = answer["numbers"]["ci95"]
            tally.covered.append(bool(low <= 0 <= high))
        values[1] += EFFECT
        tally.found += _answers(setting, values, [1])[0]["verdict"] == "SUPPORTED"
    return tally


def _values(setting: Setting, draw: np.random.Generator) -> np.ndarray[Any, Any]:
    """Runs by arm, the baseline first."""
    shape = (setting.comparisons + 1, setting.seeds)
    if not setting.paired:
        return LEVEL + draw.normal(0, setting.sd, shape)
    of_seed = draw.normal(0, setting.sd * math.sqrt(SHARED), (1, setting.seeds))
    return LEVEL + of_seed + draw.normal(0, setting.sd * math.sqrt(1 - SHARED), shape)


def _answers(setting: Setting, values: np.ndarray[Any, Any], arms: Any) -> list[dict[str, Any]]:
    """The claim that each of the arms is above the baseline."""
    rows = [
        {"arm": f"arm-{arm}", "seed": seed if setting.paired else 1000 * arm + seed, "epochs": 15, "mAP": value}
        for arm, runs in enumerate(values.tolist())
        for seed, value in enumerate(runs)
    ]
    table = Table(rows)
    claim = {"kind": "superiority", "metric": "mAP", "baseline": "arm-0"}
    return [evaluate_claim({**claim, "treatment": f"arm-{arm}"}, table) for arm in arms]


def calibrate(studies: int, seed: int) -> dict[Setting, Tally]:
    """Every setting, each with its own stream of random numbers."""
    settings = [Setting(*values) for values in product((True, False), COMPARISONS, SDS, SEEDS)]
    streams = np.random.SeedSequence(seed).spawn(len(settings))
    return {
        setting: simulate(setting, studies, np.random.default_rng(stream))
        for setting, stream in zip(settings, streams, strict=True)
    }


def claims_page(studies: int, seed: int, date: str) -> str:
    """The calibration of verdicts and intervals, with a sentence for each bound."""
    found = calibrate(studies, seed)
    page = Page()
    page.heading("Calibration of claims", level=1)
    page.paragraph(
        f"`python scripts/calibrate.py claims --replications {studies} --seed {seed} --date {date}`; "
        f"Python {platform.python_version()}, numpy {np.__version__}, scipy {scipy.__version__}."
    )
    page.paragraph(
        f"Each row is {studies:,} simulated studies of one baseline and 1 or 12 arms, normal runs, through the shipped "
        "`evaluate_claim`. Every arm's claim is that it is above the baseline. Paired: arms share their seeds, and "
        f"half of the run-to-run variance is the seed's, alike in all arms. Welch: no seed is shared. The sd is of one "
        "arm's runs."
    )
    page.paragraph(
        f"False SUPPORTED: studies without any difference in which at least one claim was SUPPORTED; at most "
        f"{FALSE_AT_MOST:g} % is wanted. Coverage: 95 % intervals that hold the true difference, over all arms; "
        f"{COVERAGE[0]:g} to {COVERAGE[1]:g} % is wanted. Power: studies in which the one arm that truly lies "
        f"{EFFECT:g} point higher was SUPPORTED, corrected for all comparisons of the study."
    )
    header = ["seeds are", "comparisons", "sd", "seeds", "false SUPPORTED, %", "coverage, %", "power, %"]
    page.table(header, [[*_labels(setting), *tally.row] for setting, tally in found.items()], left=1)
    page.paragraph(verdict_words(found))
    return page.text()


def verdict_words(found: dict[Setting, Tally]) -> str:
    """What the figures mean, and which settings miss a bound."""
    false = {setting: float(tally.row[0]) for setting, tally in found.items()}
    covered = {setting: float(tally.row[1]) for setting, tally in found.items()}
    missed = [
        ", ".join(_labels(setting))
        for setting in found
        if false[setting] > FALSE_AT_MOST or not COVERAGE[0] <= covered[setting] <= COVERAGE[1]
    ]
    words = (
        f"A study whose arms do not differ claims a gain in {min(false.values()):g} to {max(false.values()):g} % of "
        f"cases, however many arms it confirms, and its intervals hold the truth in {min(covered.values()):g} to "
        f"{max(covered.values()):g} %. "
    )
    if missed:
        return f"{words}BOUNDS MISSED at {'; '.join(missed)}."
    advice = "With three seeds and twelve arms little is found: confirm fewer arms, on more seeds."
    return f"{words}All bounds are kept. {advice}"


def _labels(setting: Setting) -> list[str]:
    how = "shared, paired" if setting.paired else "own, Welch"
    return [how, str(setting.comparisons), f"{setting.sd:g}", str(setting.seeds)]
