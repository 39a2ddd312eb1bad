"""Every combination of the choices."""

from typing import Any, ClassVar, Literal

from tune_cmx.config.domains import Choice, Domains, grid
from tune_cmx.config.searchers.base import Searcher
from tune_cmx.errors import ConfigError


class GridSearcher(Searcher):
    """Every combination of the choices, each once."""

    kind: Literal["grid"] = "grid"
    """Name of the searcher."""

    title: ClassVar[str] = "grid"
    exhaustive: ClassVar[bool] = True

    def draw(self, domains: Domains, seed: int, section: str) -> list[dict[str, Any]]:  # noqa: ARG002
        """All combinations, in the order of the file."""
        choices: dict[str, Choice] = {}
        for path, domain in domains.items():
            if not isinstance(domain, Choice):
                raise ConfigError(
                    f"{section}.{path}: a grid needs {{choice: [...]}}; or take searcher: {{kind: random, trials: N}}"
                )
            choices[path] = domain
        return grid(choices)
