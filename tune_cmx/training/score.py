"""What is found out about a model on one part of the split."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Score:
    """A model on one part of the split."""

    metrics: Mapping[str, float]
    """In points."""
    milliseconds: float
    """Of the detector, an image."""
    gates: Mapping[str, float]
    """What the fusions say of themselves: fractions by names such as `stage1_from_aux`."""
    detections: list[dict[str, Any]]
    """COCO results."""

    def row(self) -> dict[str, float]:
        """As the validation's columns of `metrics.csv`."""
        metrics = {f"val/{name}": value for name, value in self.metrics.items()}
        gates = {f"gates/{name}": value for name, value in self.gates.items()}
        return {**metrics, "val/milliseconds": self.milliseconds, **gates}
