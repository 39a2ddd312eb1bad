"""The keys of a search-space file: fixed values, typed domains, baseline, and how to search, stop and confirm."""

from typing import Annotated, Any

from pydantic import BeforeValidator, Field, SerializeAsAny, model_validator

from tune_cmx.config.declared_claims import Claim
from tune_cmx.config.early_stopping import EarlyStopping
from tune_cmx.config.searchers import SEARCHERS, GridSearcher, Searcher, read_searcher
from tune_cmx.config.section import Section, as_tuple

__all__ = ["Claim", "Confirm", "EarlyStopping", "PhaseFile", "StudyFile"]

DEFAULT_SEEDS = 6


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
