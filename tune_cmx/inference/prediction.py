"""The detections in one image."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from tune_cmx.errors import TrialError
from tune_cmx.evaluation import to_detections


@dataclass(frozen=True)
class Prediction:
    """N detections in one image, the highest score first."""

    boxes: NDArray[np.float32]
    """N×4: x1, y1, x2, y2 in pixels of the image given."""
    scores: NDArray[np.float32]
    """N, from 0 to 1."""
    class_ids: NDArray[np.int64]
    """N, from 0."""
    classes: tuple[str, ...]
    """N names of classes."""
    height: int
    """Of the image, in pixels."""
    width: int
    """Of the image, in pixels."""

    def __len__(self) -> int:
        return len(self.scores)

    @classmethod
    def of(cls, found: Mapping[str, Tensor], names: Sequence[str], height: int, width: int) -> "Prediction":
        """From what the network gives of one image.

        Args:
            found: `boxes`, `scores` and `labels`, which are class numbers from 1.
            names: Of the classes, by id from 0.
            height: Of the image, in pixels.
            width: Of the image, in pixels.

        Raises:
            TrialError: A box or a score is not finite.
        """
        on_cpu = {name: tensor.detach().cpu() for name, tensor in found.items()}
        if not (on_cpu["boxes"].isfinite().all() and on_cpu["scores"].isfinite().all()):
            raise TrialError("a box or a score that the model gives is not finite; are its weights damaged?")
        ids = on_cpu["labels"].numpy() - 1
        return cls(
            boxes=on_cpu["boxes"].float().numpy(),
            scores=on_cpu["scores"].float().numpy(),
            class_ids=ids,
            classes=tuple(names[id] for id in ids.tolist()),
            height=height,
            width=width,
        )

    def to_coco(self, image_id: int) -> list[dict[str, Any]]:
        """COCO results: image_id, category_id (from 1), bbox (x, y, width, height in pixels) and score.

        Args:
            image_id: The image's number in the ground truth.
        """
        return to_detections(image_id, self.boxes, self.scores, self.class_ids + 1)
