"""A model's score on one split."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import nn

from tune_cmx.data.dataset import PairedDataset, build_loader
from tune_cmx.evaluation import evaluate
from tune_cmx.models.detector import Detector
from tune_cmx.training.loop import detect


@dataclass(frozen=True)
class Score:
    """A model on one split."""

    metrics: Mapping[str, float]
    """In points."""
    milliseconds: float
    """Of the detector, an image."""
    gates: Mapping[str, float]
    """Statistics of the fusions' gates: fractions by names such as `stage1_from_aux`."""
    detections: list[dict[str, Any]]
    """COCO results."""

    def row(self) -> dict[str, float]:
        """As the validation's columns of `metrics.csv`."""
        metrics = {f"val/{name}": value for name, value in self.metrics.items()}
        gates = {f"gates/{name}": value for name, value in self.gates.items()}
        return {**metrics, "val/milliseconds": self.milliseconds, **gates}


def score_images(
    model: nn.Module,
    images: PairedDataset,
    truth: Mapping[str, Any],
    device: torch.device,
    *,
    at_once: int,
    workers: int,
) -> Score:
    """Score a detector on images.

    Args:
        model: On the device; put into evaluation mode.
        images: Each once, in their order.
        truth: In the format of COCO; an image's number is its place in `images`.
        device: Where the model is.
        at_once: Images in memory at a time.
        workers: Loader processes; 0 loads here.
    """
    assert isinstance(model, Detector)
    loader = build_loader(images, batch_size=at_once, shuffle=False, seed=0, epoch=0, workers=workers)
    found, milliseconds = detect(model, loader, device)
    return Score(evaluate(found, truth), milliseconds, model.backbone.encoder.take_statistics(), found)
