"""The simulated learning curves of scripts/replay.py, as benchmarks/replay_model.json defines them."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

Values = NDArray[np.float64]
EPOCHS = 15
NOISES: tuple[str, ...] = ("0.2", "0.4", "0.6")


@dataclass(frozen=True)
class Model:
    """The distribution of learning curves that replay_model.json defines."""

    means: Values
    function: NDArray[np.int64]
    """Which function each configuration is; the inter_shared equivalent configurations are one."""
    noise: Mapping[str, Mapping[str, float]]


@dataclass(frozen=True)
class Curves:
    """One drawing."""

    true: Values
    """True value of each configuration."""
    runs: Values
    """[run, configuration, epoch]; run 0 is the search's, the others are those of fresh seeds."""


def read_model(path: Path) -> Model:
    """Read replay_model.json."""
    content = json.loads(path.read_text(encoding="utf-8"))
    functions: dict[str, int] = {}
    names = [
        json.dumps({key: value for key, value in one.items() if key != "inter_shared"}, sort_keys=True)
        for one in content["configurations"]
    ]
    return Model(
        means=np.array([one["mean"] for one in content["configurations"]]),
        function=np.array([functions.setdefault(name, len(functions)) for name in names]),
        noise=content["noise"],
    )


def draw_curves(
    model: Model, noise: str, draw: np.random.Generator, more: np.random.Generator | None = None, seeds: int = 2
) -> Curves:
    """Draw true values, and one run of the search and some of fresh seeds for each configuration.

    Args:
        model: The distribution.
        noise: One of `NOISES`.
        draw: Of everything but the third and later fresh seeds.
        more: Of those, so that a setting with more seeds meets the curves of one with two.
        seeds: Fresh seeds, at least 2.
    """
    size = len(model.means)
    sd = model.noise[noise]
    epoch = np.arange(1, EPOCHS + 1)
    gap = 20.19 * (epoch**-0.666 - EPOCHS**-0.666)
    true = model.means + draw.normal(0, 0.25, model.function.max() + 1)[model.function]
    of_configuration = draw.normal(0, sd["config_sd"], size)
    runs = []
    for number in range(1 + seeds):
        source = draw if number <= 2 or more is None else more
        offset = source.normal(0, sd["half_sd"], size)
        slow = np.exp(of_configuration + source.normal(0, sd["run_sd"], size))
        jitter = source.normal(0, 1, (size, EPOCHS)) * sd["half_sd"] * (1 + 2 * gap / gap[0])
        runs.append((true + offset)[:, None] - gap * slow[:, None] + jitter)
    return Curves(true, np.array(runs))
