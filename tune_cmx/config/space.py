"""The keys of a search-space file: fixed values, typed domains, baseline, and how to search, stop and confirm."""

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

from pydantic import BeforeValidator, Field, SerializeAsAny, model_validator

from tune_cmx.config.claims.declared import Claim
from tune_cmx.config.early_stopping import EarlyStopping
from tune_cmx.config.parse import load_mapping, validate
from tune_cmx.config.paths import Lines
from tune_cmx.config.searchers import SEARCHERS, GridSearcher, Searcher, read_searcher
from tune_cmx.config.section import Section, Unit, as_tuple

__all__ = ["Claim", "Confirm", "EarlyStopping", "PhaseFile", "Space", "StudyFile", "read_space"]

DEFAULT_SEEDS = 6
MOST_STUDY_SEED = 10**9
"""Seeds of the confirmation lie above it, and must be seeds of a trial too."""
_NAME = r"^[a-z0-9][a-z0-9_-]*$"


class Confirm(Section):
    """The confirmation: finalists and baseline are trained in full on fresh seeds."""

    finalists: Annotated[int, Field(ge=1, le=1000)] = 3
    """Configurations to confirm, the best of the search. Those that claims name are confirmed as well."""
    seeds: Annotated[int, Field(ge=1, le=1000)] | None = None
    """Fresh seeds for each configuration. Default: 6, if `half_width` is not given."""
    half_width: Annotated[float, Field(gt=0, le=100), Unit("mAP points")] | None = None
    """In place of `seeds`: the wanted half-width of the 95 % interval of a difference from the baseline. Stein's
    two-stage rule then sets the number of seeds."""
    pilot_seeds: Annotated[int, Field(ge=2, le=1000)] = 4
    """Seeds of the first stage, whose standard deviation sets the number of seeds. Only with `half_width`."""
    max_seeds: Annotated[int, Field(ge=2, le=1000)] = 12
    """Most seeds for each configuration. Only with `half_width`."""

    @model_validator(mode="after")
    def _seeds_or_precision(self) -> "Confirm":
        if self.half_width is None:
            extra = sorted({"pilot_seeds", "max_seeds"} & self.model_fields_set)
            if extra:
                raise ValueError(f"{' and '.join(extra)} can only be given with half_width")
        elif self.seeds is not None:
            raise ValueError("seeds and half_width both set the number of seeds; keep one")
        elif self.max_seeds < self.pilot_seeds:
            raise ValueError(f"max_seeds must be at least pilot_seeds, {self.pilot_seeds}; got {self.max_seeds}")
        return self

    @property
    def first_seeds(self) -> int:
        """Seeds that are trained in any case: all of them, or the pilot's."""
        return self.pilot_seeds if self.half_width is not None else self.seeds or DEFAULT_SEEDS


class PhaseFile(Section):
    """One phase of a search: what it varies around the configurations that the phase before it kept."""

    name: Annotated[str, Field(pattern=_NAME)]
    """Name of the phase: lower-case letters, digits, `-` and `_`."""
    fixed: dict[str, Any] = {}
    """Values, by dotted path, of fields that other phases search and this one does not."""
    search: Annotated[dict[str, Any], Field(min_length=1)]
    """What this phase varies: domains by dotted path."""
    keep: Annotated[int, Field(ge=1, le=1000)] = 2
    """Number of its best configurations from which the next phase starts."""


class StudyFile(Section):
    """The keys of a search-space file."""

    study: Annotated[str, Field(pattern=_NAME)]
    """Name of the study and of its folder: lower-case letters, digits, `-` and `_`."""
    fixed: dict[str, Any] = {}
    """Values of trial fields that no trial varies, nested or by dotted path."""
    search: dict[str, Any] = {}
    """What the search varies: domains by dotted path, or `arms`, a choice of listed changes of the baseline."""
    phases: Annotated[tuple[PhaseFile, ...], BeforeValidator(as_tuple)] = ()
    """In place of `search`: several grid searches, each around the configurations that the one before kept."""
    baseline: Annotated[dict[str, Any], Field(min_length=1)]
    """What the other configurations are compared with: a value, by dotted path, for each searched field. A mapping
    here replaces the whole mapping under `fixed`."""
    searcher: Annotated[SerializeAsAny[Searcher], BeforeValidator(read_searcher)] = GridSearcher()
    """How trials are drawn. Default: {kind: grid}."""
    early_stopping: EarlyStopping = EarlyStopping()
    """When the search stops weak trials."""
    confirm: Confirm = Confirm()
    """How many configurations are confirmed, and on how many seeds."""
    claims: Annotated[tuple[Claim, ...], BeforeValidator(as_tuple)] = ()
    """Sentences to test; the configurations that they name are always confirmed."""
    allow_differences: Annotated[tuple[str, ...], BeforeValidator(as_tuple)] = ()
    """Unsearched fields in which the baseline may differ from the others; the report names them."""
    loggers: Annotated[tuple[str, ...], BeforeValidator(as_tuple)] = ("tensorboard",)
    """What the trials log to besides their run folders: tensorboard, mlflow, or a logger of another package. It
    changes no result."""
    seed: Annotated[int, Field(ge=0, le=MOST_STUDY_SEED)] = 0
    """Random seed of the search: of the draws and of each search trial. Confirmation seeds start 1000 above it."""

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
            raise ValueError("needs either search or phases")
        names = [phase.name for phase in self.phases]
        if len(set(names)) < len(names):
            raise ValueError(f"phases: a name is given twice: {', '.join(names)}")
        if self.phases and not self.searcher.exhaustive:
            raise ValueError(f"phases need searcher grid; got {self.searcher.kind}")
        first = self.searcher.optimised(self.early_stopping.metric)[0]
        if first != self.early_stopping.metric:
            raise ValueError(
                f"searcher.objectives: the first must be early_stopping.metric, {self.early_stopping.metric}; "
                f"got {first}"
            )
        return self


@dataclass(frozen=True)
class Space:
    """A search-space file whose keys are checked; its configurations are not drawn yet."""

    path: Path
    file: StudyFile
    lines: Lines

    @property
    def name(self) -> str:
        """The study's name."""
        return self.file.study


def read_space(path: Path) -> Space:
    """Parse a search-space file.

    Raises:
        ConfigError: The file cannot be read, or a key in it is unknown, doubled or not allowed.
    """
    content, lines = load_mapping(path)
    return Space(path, validate(StudyFile, content, source=str(path), lines=lines), lines)
