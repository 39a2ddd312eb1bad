"""When the search stops a trial before its schedule ends."""

from typing import Annotated, Literal

from pydantic import AfterValidator, Field, model_validator

from tune_cmx.config.section import Section
from tune_cmx.metrics import selectable

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
