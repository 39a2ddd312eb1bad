"""The keys of a search-space file: fixed values, typed domains, control, and how to search, stop and confirm."""

import json
import math
from collections.abc import Mapping
from typing import Annotated, Any, Literal

import numpy as np
from pydantic import BeforeValidator, Field, model_validator

from tune_cmx.config.parse import Lines, validate
from tune_cmx.config.trial import Section, as_tuple
from tune_cmx.errors import ConfigError

SELECTION_METRICS = ("val/mAP", "val/mAP_50", "val/mAP_75")
"""What a search may select on: validation metrics that every data set with boxes defines."""


class Choice(Section):
    """One of several values."""

    choice: Annotated[tuple[Any, ...], BeforeValidator(as_tuple), Field(min_length=1)]


class Uniform(Section):
    """A number between two ends."""

    uniform: Annotated[tuple[float, float], BeforeValidator(as_tuple)]


class LogUniform(Section):
    """A number between two ends above 0, its logarithm uniform."""

    loguniform: Annotated[tuple[float, float], BeforeValidator(as_tuple)]


class Integer(Section):
    """A whole number from one end to the other, both included."""

    int: Annotated[tuple[int, int], BeforeValidator(as_tuple)]


Domain = Choice | Uniform | LogUniform | Integer
_DOMAINS: Mapping[str, type[Domain]] = {"choice": Choice, "uniform": Uniform, "loguniform": LogUniform, "int": Integer}


class Searcher(Section):
    """How trials are drawn."""

    kind: Literal["grid", "random"] = "grid"
    trials: Annotated[int, Field(ge=1)] | None = None
    """How many draws; `random` only."""

    @model_validator(mode="after")
    def _trials_where_needed(self) -> "Searcher":
        if (self.kind == "random") != (self.trials is not None):
            raise ValueError("trials: N goes with kind: random, and only there")
        return self


class EarlyStopping(Section):
    """ASHA (arXiv:1810.05934) on the mean of the last epochs' validation metric."""

    kind: Literal["asha", "none"] = "asha"
    metric: Literal["val/mAP", "val/mAP_50", "val/mAP_75"] = "val/mAP"
    """What trials are stopped and selected on."""
    smooth_epochs: Annotated[int, Field(ge=1)] = 3
    """Epochs in the running mean; the first ones average what there is."""
    reduction_factor: Annotated[float, Field(gt=1)] = 3
    """About one in this many goes on from a rung."""
    compare_at: Literal["epoch", "fraction", "gpu_seconds"] = "epoch"
    grace: Annotated[float, Field(gt=0)] = 2
    """The first rung, in the unit of `compare_at`."""

    @model_validator(mode="after")
    def _grace_in_its_unit(self) -> "EarlyStopping":
        if self.compare_at == "epoch" and (self.grace < 2 or self.grace != int(self.grace)):
            raise ValueError(
                f"grace must be a whole number of epochs, at least 2, with compare_at: epoch; got {self.grace:g}"
            )
        if self.compare_at == "fraction" and self.grace >= 1:
            raise ValueError(
                f"grace must be below 1, the whole schedule, with compare_at: fraction; got {self.grace:g}"
            )
        return self


class Confirm(Section):
    """Finalists and control trained in full on fresh seeds."""

    finalists: Annotated[int, Field(ge=1)] = 3
    seeds: Annotated[int, Field(ge=1)] = 6


METRICS = ("mAP", "mAP_50", "mAP_75", "mAP_small", "mAP_medium", "mAP_large")
OTHER_RESULTS = ("hours", "seconds", "params_total")
"""What a claim may be about: what the rows of a study's confirmed runs hold."""
_CLAIM_NEEDS: Mapping[str, tuple[str, ...]] = {
    "equivalence": ("treatment", "control", "margin"),
    "best": ("treatment",),
    "value": ("treatment",),
}


class Claim(Section):
    """A sentence to be tested on the records; docs/design.md says what each kind asks."""

    kind: Literal["superiority", "equivalence", "best", "ratio", "value"]
    metric: str
    text: str | None = None
    treatment: Any = None
    control: Any = None
    among: Any = None
    factor: Any = None
    margin: float | None = None
    match_on: Any = None
    value: float | None = None
    tolerance: float | None = None

    @model_validator(mode="after")
    def _says_enough(self) -> "Claim":
        for key in _CLAIM_NEEDS.get(self.kind, ("treatment", "control")):
            if getattr(self, key) in (None, "", {}):
                raise ValueError(f"a claim of kind {self.kind} needs {key}")
        split, _, name = self.metric.rpartition("/")
        if self.metric not in OTHER_RESULTS and (split not in ("", "val", "test") or name not in METRICS):
            raise ValueError(
                f"metric must be {', '.join(METRICS)}, each of a split as in test/mAP, or {', '.join(OTHER_RESULTS)}; "
                f"got '{self.metric}'"
            )
        return self


class StudyFile(Section):
    """The keys of a search-space file."""

    study: Annotated[str, Field(pattern=r"^[a-z0-9][a-z0-9_-]*$")]
    fixed: dict[str, Any] = {}
    search: Annotated[dict[str, Any], Field(min_length=1)]
    control: Annotated[dict[str, Any], Field(min_length=1)]
    searcher: Searcher = Searcher()
    early_stopping: EarlyStopping = EarlyStopping()
    confirm: Confirm = Confirm()
    claims: Annotated[tuple[Claim, ...], BeforeValidator(as_tuple)] = ()
    allow_differences: Annotated[tuple[str, ...], BeforeValidator(as_tuple)] = ()
    """Fields outside the factors in which arms may differ from the control; the report names them."""
    seed: Annotated[int, Field(ge=0)] = 0


def parse_domain(key: str, value: Any, source: str, lines: Lines) -> Domain:
    place = f"{source}:{lines.get(f'search.{key}', '?')}: search.{key}"
    if not isinstance(value, Mapping) or len(value) != 1 or next(iter(value)) not in _DOMAINS:
        raise ConfigError(
            f"{place}: needs one of {{{', '.join(_DOMAINS)}}} with a list, as in {{choice: [0.3, 0.5]}}; got {value}"
        )
    kind = next(iter(value))
    domain = validate(_DOMAINS[kind], value, source=source, lines=lines, prefix=f"search.{key}")
    if not isinstance(domain, Choice):
        low, high = next(iter(domain.model_dump().values()))
        if not low < high:
            raise ConfigError(f"{place}: {kind} needs its lower end first; got [{low}, {high}]")
        if kind == "loguniform" and low <= 0:
            raise ConfigError(f"{place}: loguniform needs a lower end above 0; got {low}")
    elif len({json.dumps(item, sort_keys=True, default=str) for item in domain.choice}) < len(domain.choice):
        raise ConfigError(f"{place}: a value stands twice in choice: {list(domain.choice)}")
    return domain


def sample(domain: Domain, generator: np.random.Generator) -> Any:
    if isinstance(domain, Choice):
        return domain.choice[int(generator.integers(len(domain.choice)))]
    if isinstance(domain, Uniform):
        return float(generator.uniform(*domain.uniform))
    if isinstance(domain, LogUniform):
        low, high = domain.loguniform
        return float(math.exp(generator.uniform(math.log(low), math.log(high))))
    low_int, high_int = domain.int
    return int(generator.integers(low_int, high_int, endpoint=True))


def ends(domain: Domain) -> tuple[Any, ...]:
    """Each choice, or the two ends of a range."""
    if isinstance(domain, Choice):
        return domain.choice
    both: tuple[Any, ...] = next(iter(domain.model_dump().values()))
    return both
