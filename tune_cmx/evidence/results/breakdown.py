"""Final results by class and by condition, as `final_results.json` has them."""

from tune_cmx.state.json_file import State


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


class Breakdown(State):
    """The split that `final_results.json` reports, in parts. Its other keys are read elsewhere."""

    by_class: dict[str, PartResults] = {}
    """By the class's name. Empty: the trial has no results, or an earlier version wrote them."""
    by_condition: dict[str, PartResults] = {}
    """By condition. Empty: the data name none."""
