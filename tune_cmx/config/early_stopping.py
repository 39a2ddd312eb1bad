"""When the search stops a trial before its schedule ends."""

from typing import Annotated, Any, Literal

from pydantic import AfterValidator, Field, model_validator

from tune_cmx.config.section import MOST_EPOCHS, Section, Unit
from tune_cmx.metrics import selectable

MOST_RUNGS = 24
"""Most rungs of a search. Over GPU-seconds the end is not known beforehand, so the rungs must end somewhere."""


_GRACE_FRACTION = 0.2
"""The first rung where fractions of schedules are compared: two epochs of ten."""


def _selectable(metric: str) -> str:
    if metric not in selectable():
        raise ValueError(f"must be one of {', '.join(selectable())}; got '{metric}'")
    return metric


class EarlyStopping(Section):
    """ASHA (arXiv:1810.05934) on the running mean of the validation metric.

    benchmarks/replay.md shows what the defaults cost and how well they choose, and the same for other settings.
    """

    kind: Literal["asha", "none"] = "asha"
    """`asha`: stop weak trials early. `none`: train every trial in full."""
    variant: Literal["promote", "stop"] = "promote"
    """`promote`: pause trials at each rung and resume the best ones. `stop`: stop the weak ones as they arrive."""
    first: Literal["new", "promotion"] = "new"
    """What a worker that becomes free runs first: a new trial, or a paused trial that was promoted. Only for
    `variant: promote`. TPE needs and sets `promotion`."""
    brackets: Annotated[int, Field(ge=1, le=MOST_RUNGS)] = 1
    """Number of brackets. Each trial is assigned to one at random. The first bracket compares at every rung; each
    further one begins one rung later, so that its trials are stopped later."""
    metric: Annotated[str, AfterValidator(_selectable)] = "val/mAP"
    """Validation metric on which trials are stopped and selected; docs/reference/metrics.md lists the choices."""
    smooth_epochs: Annotated[int, Field(ge=1, le=MOST_EPOCHS), Unit("epochs")] = 5
    """Trials are compared by the mean of the metric over this many last epochs, but at most over the later half of
    the epochs trained."""
    reduction_factor: Annotated[float, Field(gt=1, le=100)] = 2.3
    """About one trial in this many continues at a rung."""
    compare_at: Literal["epoch", "fraction", "gpu_seconds"] = "epoch"
    """Where trials are compared: at equal epochs, equal fractions of their schedules, or equal GPU-seconds."""
    grace: Annotated[float, Field(gt=0, le=1e9), Unit("that of compare_at")] = 2
    """The first rung. With `compare_at: epoch` a whole number of at least 2. With `fraction` below 1 and at least 2
    epochs of the shortest schedule; its default there is 0.2."""
    spacing: Annotated[float, Field(gt=1, le=100)] | None = 1.65
    """Ratio of two neighbouring rungs. With null it is `reduction_factor`, as ASHA is published."""
    last: Annotated[float, Field(gt=0, le=1)] = 0.6
    """Share of a schedule. Below 1, the search trains every trial to the last rung at or below this share, and no
    further: with 15 epochs and 0.6 to epoch 9. Finalists are trained in full later. With `compare_at: gpu_seconds` it
    is 1."""

    @model_validator(mode="before")
    @classmethod
    def _default_grace(cls, content: Any) -> Any:
        if isinstance(content, dict) and content.get("compare_at") == "fraction":
            return {"grace": _GRACE_FRACTION, **content}
        return content

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
            raise ValueError("first can only be given with variant: promote")
        if self.compare_at == "gpu_seconds" and "last" in self.model_fields_set and self.last < 1:
            raise ValueError(f"last can only be given with compare_at: epoch or fraction; got {self.last:g}")
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
        """Refuse a bracket without a rung.

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
