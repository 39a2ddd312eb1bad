"""Independent draws from each domain."""

import json
from typing import Any, ClassVar, Literal

import numpy as np

from tune_cmx.config.domains import Domains, sample_all
from tune_cmx.config.searchers.base import DrawnSearcher
from tune_cmx.errors import ConfigError

_DRAWS = 100
"""Draws for each trial wanted, before the space counts as exhausted."""


class RandomSearcher(DrawnSearcher):
    """Independent draws from each domain, without repetition."""

    kind: Literal["random"] = "random"
    """Name of the searcher."""

    title: ClassVar[str] = "random"

    def draw(self, domains: Domains, seed: int, section: str) -> list[dict[str, Any]]:  # noqa: ARG002
        """The first different draws of a generator with this seed."""
        generator = np.random.default_rng(seed)
        found: dict[str, dict[str, Any]] = {}
        for _ in range(_DRAWS * self.trials):
            values = sample_all(domains, generator)
            found.setdefault(json.dumps(values, sort_keys=True), values)
            if len(found) == self.trials:
                return list(found.values())
        raise ConfigError(f"searcher.trials: the space has only about {len(found)} different trials; got {self.trials}")
