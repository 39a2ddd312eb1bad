"""`final_results.json`: what a trained trial reached. One model, in the form that the group's scripts read."""

from collections.abc import Mapping
from typing import Any

from tune_cmx.state.json_file import State

RESULTS_FILE = "final_results.json"


class PartResults(State):
    """Results on one class, or on the images of one condition."""

    mAP: float | None = None
    """In points. None: there is no box."""
    mAP_50: float | None = None
    """In points. None: there is no box."""
    boxes: int
    """Boxes to find."""
    images: int | None = None
    """Images of the condition. None: the part is a class."""


class TrainingTotals(State):
    """What the training took."""

    total_time_hours: float | None = None
    """Training time over all sessions, in hours."""


class ModelSize(State):
    """How large the model is."""

    total_params: int | None = None
    """Parameters."""
    total_params_M: float | None = None
    """The same in millions."""


class FinalResults(State):
    """The content of `final_results.json`. Null stands for a metric that is undefined, as without boxes of a size."""

    experiment_id: str | None = None
    """The trial's name."""
    config: dict[str, Any] = {}
    """The whole configuration, or what an imported run says of it."""
    results: dict[str, float | None] = {}
    """Metrics on the reported split, by name; scored ones in points."""
    split: str | None = None
    """The reported split. None: the source of an imported run does not name it."""
    results_by_split: dict[str, dict[str, float | None]] = {}
    """Metrics by split and name."""
    by_class: dict[str, PartResults] = {}
    """On the reported split, by the class's name. Empty: an earlier version wrote the file, or an import."""
    by_condition: dict[str, PartResults] = {}
    """On the reported split, by condition. Empty: the data name none."""
    training: TrainingTotals = TrainingTotals()
    """What the training took."""
    model: ModelSize = ModelSize()
    """How large the model is."""

    @property
    def on_splits(self) -> Mapping[str, Mapping[str, float | None]]:
        """Metrics by split and name, also where the file has the reported split only."""
        if not self.split or not self.results or self.split in self.results_by_split:
            return self.results_by_split
        return {**self.results_by_split, self.split: self.results}
