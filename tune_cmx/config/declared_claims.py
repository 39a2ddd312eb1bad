"""The claims that a search-space file states before its study runs."""

from collections.abc import Mapping
from typing import Any, Literal

from pydantic import field_validator, model_validator

from tune_cmx.config.section import RENAMED, Section
from tune_cmx.metrics import SPLITS, scored

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
