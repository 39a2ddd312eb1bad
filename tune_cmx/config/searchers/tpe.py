"""Options of TPE, the tree-structured Parzen estimator (arXiv:2304.11127); `search/optuna/tpe.py` draws its trials."""

from typing import Annotated, Any, ClassVar, Literal

from pydantic import BeforeValidator, Field, model_validator

from tune_cmx.config.domains import Choice, Domains, grid, refuse_outside
from tune_cmx.config.searchers.base import DrawnSearcher
from tune_cmx.config.section import Section, Unit, as_tuple
from tune_cmx.errors import ConfigError
from tune_cmx.metrics import find, selectable
from tune_cmx.registry import suggestion


def possible_objectives() -> dict[str, Literal["max", "min"]]:
    """What a search may optimise: selection metrics, the model's parameters, milliseconds of its forward pass."""
    found = {name: find(name) for name in (*selectable(), "parameters", "milliseconds")}
    return {name: "max" if known[1].better == "higher" else "min" for name, known in found.items() if known is not None}


class Prior(Section):
    """A result from elsewhere, given to the searcher before it begins."""

    values: Annotated[dict[str, Any], Field(min_length=1)]
    """The searched values by dotted path."""
    value: Annotated[float, Unit("mAP points")]
    """The selection metric that they reached after full training, in points."""


class TpeSearcher(DrawnSearcher):
    """Each trial is drawn where a model of the earlier results expects good ones."""

    kind: Literal["tpe"] = "tpe"
    """Name of the searcher."""
    objectives: Annotated[tuple[str, ...], BeforeValidator(as_tuple)] = ()
    """Several objectives at once, the selection metric first. Default: the selection metric alone."""
    startup_trials: Annotated[int, Field(ge=1, le=100_000)] = 10
    """Trials drawn at random before TPE's model decides."""
    priors: Annotated[tuple[Prior, ...], BeforeValidator(as_tuple)] = ()
    """Results from elsewhere, with which the searcher begins. They are never replicates of a configuration."""
    continues: str | None = None
    """Folder of an earlier study; the searcher begins with its finished trials. Default: none."""

    title: ClassVar[str] = "TPE"
    one_by_one: ClassVar[str | None] = "tune_cmx.search.optuna.tpe:TpeSearch"

    @model_validator(mode="after")
    def _objectives_that_differ(self) -> "TpeSearcher":
        if self.objectives and self.priors:
            raise ValueError("priors have one value, and go with a single objective; leave priors or objectives out")
        known = possible_objectives()
        for name in self.objectives:
            if name not in known:
                near = suggestion(name, known)
                raise ValueError(f"objectives: unknown objective '{name}'. Known: {', '.join(known)}.{near}")
        if len(self.objectives) == 1 or len(set(self.objectives)) < len(self.objectives):
            raise ValueError(
                f"objectives: two or more different ones, or none for the selection metric alone; "
                f"got {', '.join(self.objectives)}"
            )
        return self

    def draw(self, domains: Domains, seed: int, section: str) -> list[dict[str, Any]]:  # noqa: ARG002
        """Nothing; but what this searcher could not draw is refused now."""
        choices = {path: domain for path, domain in domains.items() if isinstance(domain, Choice)}
        size = len(grid(choices)) if len(choices) == len(domains) else None
        if size is not None and size < self.trials:
            raise ConfigError(f"searcher.trials: the space has only {size} different trials; got {self.trials}")
        for number, prior in enumerate(self.priors, 1):
            refuse_outside(domains, prior.values, f"searcher.priors, number {number}")
        return []

    def optimised(self, metric: str) -> tuple[str, ...]:
        """The objectives, or the selection metric alone."""
        return self.objectives or (metric,)
