"""The claims that a search-space file states before its study runs."""

from collections.abc import Mapping
from typing import Annotated, Any, Literal

from pydantic import Field, field_validator, model_validator

from tune_cmx.config.section import RENAMED, Section, Unit
from tune_cmx.metrics import SPLITS, of_runs, scored

_CLAIM_NEEDS: Mapping[str, tuple[str, ...]] = {
    "equivalence": ("treatment", "baseline", "margin"),
    "best": ("treatment",),
    "value": ("treatment",),
}
_KEYS_OF_KIND: Mapping[str, tuple[str, ...]] = {
    "superiority": ("baseline", "margin"),
    "equivalence": ("baseline", "margin"),
    "best": ("among",),
    "ratio": ("baseline", "value", "tolerance"),
    "value": ("value", "tolerance"),
}
"""Keys that only some kinds take."""
_KEYS_OF_ALL = ("metric", "treatment", "factor", "match_on", "direction", "id", "text")


def foreign_key(claim: Mapping[str, Any]) -> str | None:
    """Says which key the claim's kind does not take, and which kinds take it; None: it has no such key."""
    kind = claim["kind"]
    special = {key for keys in _KEYS_OF_KIND.values() for key in keys}
    for key, value in claim.items():
        if key in special and key not in _KEYS_OF_KIND[kind] and value is not None:
            takers = [other for other, keys in _KEYS_OF_KIND.items() if key in keys]
            taken_by = f"{', '.join(takers)} {'takes' if len(takers) == 1 else 'take'} it"
            own = ", ".join((*_KEYS_OF_ALL[:2], *_KEYS_OF_KIND[kind], *_KEYS_OF_ALL[2:]))
            return f"a claim of kind {kind} does not take '{key}' ({taken_by}). Keys of {kind}: {own}"
    return None


class Claim(Section):
    """A sentence that the study tests on its confirmation runs; docs/reference/claims.md explains each kind."""

    kind: Literal["superiority", "equivalence", "best", "ratio", "value"]
    """What is claimed."""
    metric: str
    """The metric: a scored metric with its split, as in test/mAP, or a result of a run, such as hours."""
    direction: Literal["higher", "lower"] | None = None
    """Which way the metric is better. Default: from the table of metrics, which must not contradict it."""
    id: str | None = None
    """A name for the claim. It changes nothing."""
    text: str | None = None
    """The sentence, for the report. Default: made of the other keys."""
    treatment: Any = None
    """The configurations that the claim is about: `baseline`, field: value pairs, or `{best_of: PATTERN}`, the best of
    the search whose id matches the pattern. An id is made of the searched values, in the order of the file: the last
    part of each path, then its value, as in `kind-cssa-stages-3+4-switching-threshold-0.5`. It is also the name of
    the run folders. In a pattern, `*` stands for any letters: `{best_of: "kind-cssa-*"}`."""
    baseline: Any = None
    """What they are compared with: `baseline`, or field: value pairs. For `superiority`, `equivalence` and
    `ratio`."""
    among: Any = None
    """For `best`: the field whose other values are the rivals. Default: all other configurations."""
    factor: Any = None
    """Fields in which the two sides may differ: a name or a list. Default: all searched fields."""
    margin: Annotated[float, Field(gt=0, le=1e9), Unit("that of the metric")] | None = None
    """For `equivalence` and `superiority`: the largest difference that still counts as equal."""
    match_on: Any = None
    """Fields by which runs are paired: a name or a list. Default: the seed."""
    value: Annotated[float, Unit("that of the metric")] | None = None
    """For `value` and `ratio`: the claimed number."""
    tolerance: Annotated[float, Field(gt=0, le=1e9), Unit("that of the metric")] | None = None
    """For `value` and `ratio`: how far the true number may be from `value`."""

    @model_validator(mode="after")
    def _says_enough(self) -> "Claim":
        for key in _CLAIM_NEEDS.get(self.kind, ("treatment", "baseline")):
            if getattr(self, key) in (None, "", {}):
                raise ValueError(f"a claim of kind {self.kind} needs {key}")
        refused = foreign_key(self.model_dump())
        if refused is not None:
            raise ValueError(refused)
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
        if metric not in of_runs() and (split not in ("", *SPLITS) or name not in scored()):
            raise ValueError(
                f"must be one of {', '.join(scored())}, each of a split as in test/mAP, or {', '.join(of_runs())}; "
                f"got '{metric}'"
            )
        return metric
