"""The keys of a search-space file: fixed values, typed domains, baseline, and how to search, stop and confirm."""

from collections.abc import Mapping
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BeforeValidator, Field, SerializeAsAny, field_validator, model_validator

from tune_cmx.config.searchers import SEARCHERS, GridSearcher, Searcher, read_searcher
from tune_cmx.config.section import RENAMED, Section, as_tuple
from tune_cmx.metrics import SPLITS, scored, selectable

DEFAULT_SEEDS = 6
MOST_RUNGS = 24
"""More are never set: over GPU-seconds, whose end is not known beforehand, the rungs have to end somewhere."""


def _selectable(metric: str) -> str:
    if metric not in selectable():
        raise ValueError(f"must be one of {', '.join(selectable())}; got '{metric}'")
    return metric


class EarlyStopping(Section):
    """ASHA (arXiv:1810.05934) on the mean of the last epochs' validation metric.

    benchmarks/replay.md holds what the defaults cost and how well they choose, and how other settings do.
    """

    kind: Literal["asha", "none"] = "asha"
    variant: Literal["promote", "stop"] = "promote"
    """`promote` pauses trials at a rung and takes the upper ones up again; `stop` ends the lower ones as they come."""
    first: Literal["new", "promotion"] = "new"
    """`promote` only: what a free place goes to. With `new`, what is kept hardly hangs on the order of arrival."""
    brackets: Annotated[int, Field(ge=1)] = 1
    """Trials are dealt to this many brackets, each beginning one rung later."""
    metric: Annotated[str, AfterValidator(_selectable)] = "val/mAP"
    """What trials are stopped and selected on."""
    smooth_epochs: Annotated[int, Field(ge=1)] = 5
    """Epochs in the running mean, which never reaches back beyond half of those trained: early values still rise."""
    reduction_factor: Annotated[float, Field(gt=1)] = 2.3
    """About one in this many goes on from a rung."""
    compare_at: Literal["epoch", "fraction", "gpu_seconds"] = "epoch"
    grace: Annotated[float, Field(gt=0)] = 2
    """The first rung, in the unit of `compare_at`."""
    spacing: Annotated[float, Field(gt=1)] | None = 1.65
    """Each rung lies this many times later than the one before; null: reduction_factor times, as ASHA is published."""
    last: Annotated[float, Field(gt=0, le=1)] = 0.6
    """The search trains no trial beyond this share of its schedule, for finalists are trained in full on fresh seeds
    anyway; 1: the upper ones in full. Over GPU-seconds, whose end is not known beforehand, always 1."""

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

    @model_validator(mode="after")
    def _keys_where_they_belong(self) -> "EarlyStopping":
        if self.variant == "stop" and "first" in self.model_fields_set:
            raise ValueError("first goes with variant: promote, and only there")
        if self.compare_at == "gpu_seconds" and "last" in self.model_fields_set and self.last < 1:
            raise ValueError(f"last goes with compare_at: epoch or fraction, and only there; got {self.last:g}")
        if self.compare_at == "fraction":
            self.refuse_empty_brackets(1.0)
            if self.last < self.grace:
                raise ValueError(
                    f"last must be at least grace, the first rung; got last {self.last:g}, grace {self.grace:g}"
                )
        return self

    def rungs(self, full: float) -> list[float]:
        """The points of comparison: grace · spacing^k up to `last`, rounded where epochs are compared.

        Args:
            full: The end of a schedule in the unit of `compare_at`; infinite for GPU-seconds.

        Returns:
            Ascending. Where `last` is below 1, the search ends for every trial at the last one.
        """
        spacing = self.spacing or self.reduction_factor
        points = [self.grace * spacing**k for k in range(MOST_RUNGS)]
        if self.compare_at == "epoch":
            points = sorted({float(int(point + 0.5)) for point in points})
        end = self.last * full * (1 + 1e-9) if self.last < 1 else full * (1 - 1e-9)
        return [point for point in points if point < end]

    def refuse_empty_brackets(self, full: float) -> None:
        """Raise where a bracket would be without a rung.

        Args:
            full: The end of a schedule in the unit of `compare_at`.

        Raises:
            ValueError: There are more brackets than rungs.
        """
        points = self.rungs(full)
        if self.kind == "asha" and self.brackets > max(1, len(points)):
            where = ", ".join(f"{point:g}" for point in points) or "none"
            raise ValueError(
                f"brackets must be at most {max(1, len(points))}, one for each rung to begin at ({where}); "
                f"got {self.brackets}"
            )


class Confirm(Section):
    """Finalists and baseline trained in full on fresh seeds: a given number, or as many as a precision takes."""

    finalists: Annotated[int, Field(ge=1)] = 3
    seeds: Annotated[int, Field(ge=1)] | None = None
    """Fresh seeds; 6 where no half_width is given."""
    half_width: Annotated[float, Field(gt=0)] | None = None
    """Of the 95 % interval of a finalist's difference from the baseline, in points: Stein's two-stage rule."""
    pilot_seeds: Annotated[int, Field(ge=2)] = 4
    """Seeds of the first stage, whose standard deviation fixes the number of all."""
    max_seeds: Annotated[int, Field(ge=2)] = 12

    @model_validator(mode="after")
    def _seeds_or_precision(self) -> "Confirm":
        if self.half_width is None:
            extra = sorted({"pilot_seeds", "max_seeds"} & self.model_fields_set)
            if extra:
                raise ValueError(f"{' and '.join(extra)} go with half_width, and only there")
        elif self.seeds is not None:
            raise ValueError("seeds and half_width are two ways to say how many seeds; keep one")
        elif self.max_seeds < self.pilot_seeds:
            raise ValueError(f"max_seeds must be at least pilot_seeds, {self.pilot_seeds}; got {self.max_seeds}")
        return self

    @property
    def first_seeds(self) -> int:
        """Seeds that are trained whatever comes out: all of them, or the pilot."""
        return self.pilot_seeds if self.half_width is not None else self.seeds or DEFAULT_SEEDS


RUN_RESULTS = ("hours", "gpu_hours", "seconds", "params_total")
"""What a claim may be about besides the scored metrics: what each confirmed run of a study holds, without a split."""
_CLAIM_NEEDS: Mapping[str, tuple[str, ...]] = {
    "equivalence": ("treatment", "baseline", "margin"),
    "best": ("treatment",),
    "value": ("treatment",),
}


class Claim(Section):
    """A sentence to be tested on the records; docs/design.md says what each kind asks."""

    kind: Literal["superiority", "equivalence", "best", "ratio", "value"]
    metric: str
    text: str | None = None
    treatment: Any = None
    baseline: Any = None
    among: Any = None
    factor: Any = None
    margin: float | None = None
    match_on: Any = None
    value: float | None = None
    tolerance: float | None = None

    @model_validator(mode="after")
    def _says_enough(self) -> "Claim":
        for key in _CLAIM_NEEDS.get(self.kind, ("treatment", "baseline")):
            if getattr(self, key) in (None, "", {}):
                raise ValueError(f"a claim of kind {self.kind} needs {key}")
        return self

    @field_validator("treatment", "baseline")
    @classmethod
    def _not_renamed(cls, side: Any) -> Any:
        if isinstance(side, str) and side in RENAMED:
            raise ValueError(f"'{side}' is now called '{RENAMED[side]}'; rename it")
        return side

    @field_validator("metric")
    @classmethod
    def _known_metric(cls, metric: str) -> str:
        split, _, name = metric.rpartition("/")
        if metric not in RUN_RESULTS and (split not in ("", *SPLITS) or name not in scored()):
            raise ValueError(
                f"must be one of {', '.join(scored())}, each of a split as in test/mAP, or {', '.join(RUN_RESULTS)}; "
                f"got '{metric}'"
            )
        return metric


class PhaseFile(Section):
    """One phase of a search: what it varies around the arms that the phase before it kept."""

    name: Annotated[str, Field(pattern=r"^[a-z0-9][a-z0-9_-]*$")]
    fixed: dict[str, Any] = {}
    """By dotted path: what other phases search and this one holds still."""
    search: Annotated[dict[str, Any], Field(min_length=1)]
    keep: Annotated[int, Field(ge=1)] = 2
    """How many of its arms, the upper ones, the next phase starts from."""


class StudyFile(Section):
    """The keys of a search-space file."""

    study: Annotated[str, Field(pattern=r"^[a-z0-9][a-z0-9_-]*$")]
    fixed: dict[str, Any] = {}
    search: dict[str, Any] = {}
    phases: Annotated[tuple[PhaseFile, ...], BeforeValidator(as_tuple)] = ()
    """In place of `search`: several searches, each around what the one before it kept."""
    baseline: Annotated[dict[str, Any], Field(min_length=1)]
    searcher: Annotated[SerializeAsAny[Searcher], BeforeValidator(read_searcher)] = GridSearcher()
    early_stopping: EarlyStopping = EarlyStopping()
    confirm: Confirm = Confirm()
    claims: Annotated[tuple[Claim, ...], BeforeValidator(as_tuple)] = ()
    allow_differences: Annotated[tuple[str, ...], BeforeValidator(as_tuple)] = ()
    """Fields outside the factors in which arms may differ from the baseline; the report names them."""
    seed: Annotated[int, Field(ge=0)] = 0

    @model_validator(mode="before")
    @classmethod
    def _promote_before_drawing(cls, content: Any) -> Any:
        """A searcher that draws one by one learns from promoted trials. If all had to begin first, it would draw them
        all without any result."""
        sections = [content.get(key, {}) for key in ("searcher", "early_stopping")] if isinstance(content, dict) else []
        if not sections or not all(isinstance(section, dict) for section in sections):
            return content  # refused elsewhere
        kind, stopping = sections[0].get("kind"), sections[1]
        model = SEARCHERS.get(kind) if isinstance(kind, str) else None
        if model is None or model.one_by_one is None:
            return content
        if stopping.get("variant", "promote") != "promote" or stopping.get("kind", "asha") == "none":
            return content
        if stopping.get("first", "promotion") != "promotion":
            raise ValueError(
                f"early_stopping.first must be promotion with searcher {kind}, which learns nothing otherwise"
            )
        return {**content, "early_stopping": {**stopping, "first": "promotion"}}

    @model_validator(mode="after")
    def _one_search(self) -> "StudyFile":
        if bool(self.search) == bool(self.phases):
            raise ValueError("needs search, or phases that each have one; not both, not neither")
        names = [phase.name for phase in self.phases]
        if len(set(names)) < len(names):
            raise ValueError(f"phases: a name stands twice: {', '.join(names)}")
        if self.phases and not self.searcher.exhaustive:
            raise ValueError(f"phases are grids, one after the other; got searcher {self.searcher.kind}")
        first = self.searcher.optimised(self.early_stopping.metric)[0]
        if first != self.early_stopping.metric:
            raise ValueError(
                f"searcher.objectives: the first must be early_stopping.metric, {self.early_stopping.metric}; "
                f"got {first}"
            )
        return self
