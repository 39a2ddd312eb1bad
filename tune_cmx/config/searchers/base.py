"""What every searcher has: options as the file gives them, and how its trials are drawn."""

from typing import Annotated, Any, ClassVar

from pydantic import Field

from tune_cmx.config.domains import Domains
from tune_cmx.config.section import Section


class Searcher(Section):
    """The options of a searcher. A new one is a subclass, in a file of its own, and a line in `SEARCHERS`."""

    kind: str
    """Name of the searcher."""

    title: ClassVar[str]
    """As the report prints it."""
    exhaustive: ClassVar[bool] = False
    """Whether it trains every combination of the choices."""
    one_by_one: ClassVar[str | None] = None
    """For a searcher that draws each trial from the results so far: its Ray searcher, as `module:class`, which takes
    what `search.runner` gives it. None: `draw` gives all trials before the first one starts."""

    def draw(self, domains: Domains, seed: int, section: str) -> list[dict[str, Any]]:
        """The searched values of all trials, no two alike; none where they are drawn one by one.

        Args:
            domains: The space.
            seed: Of all draws: the same seed gives the same trials.
            section: The key of the domains in the file, for messages.

        Raises:
            ConfigError: The searcher cannot draw from these domains, or not so many trials.
        """
        raise NotImplementedError

    def optimised(self, metric: str) -> tuple[str, ...]:
        """What the search optimises, first the metric that trials are selected on."""
        return (metric,)


class DrawnSearcher(Searcher):
    """A searcher that draws a given number of trials."""

    trials: Annotated[int, Field(ge=1, le=100_000)]
    """Number of trials to draw."""
