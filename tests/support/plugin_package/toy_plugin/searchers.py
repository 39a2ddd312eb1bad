"""A searcher: points on a line."""

from typing import Any, ClassVar, Literal

import numpy as np

from tune_cmx.config.domains import Choice, Domains
from tune_cmx.config.searchers import DrawnSearcher
from tune_cmx.errors import ConfigError


class LineSearcher(DrawnSearcher):
    """Points at equal distances, from the lower ends of all ranges to their upper ends."""

    kind: Literal["toy_line"] = "toy_line"
    """Name of the searcher."""

    title: ClassVar[str] = "line"

    def draw(self, domains: Domains, seed: int, section: str) -> list[dict[str, Any]]:  # noqa: ARG002
        for path, domain in domains.items():
            if isinstance(domain, Choice):
                raise ConfigError(f"{section}.{path}: searcher toy_line needs ranges; use searcher: {{kind: grid}}")
        places = np.linspace(0, 1, self.trials)
        ends = {path: domain.ends for path, domain in domains.items()}
        return [{path: float(low + place * (high - low)) for path, (low, high) in ends.items()} for place in places]
