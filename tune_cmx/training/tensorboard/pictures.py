"""A few images, small, on every band, with ground truth and detections."""

import io
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from PIL import Image, ImageDraw
from torch import Tensor

from tune_cmx.data.band_pictures import band_panels
from tune_cmx.data.dataset import PairedDataset
from tune_cmx.evaluation import objects_of

FRAMES = 3
_SIDE = 160
"""Longer side of one panel in pixels."""
_QUALITY = 35
_LEAST_SCORE, _MOST = 0.5, 10
"""Detections below the score, or beyond the best so many, would hide the others."""
_TRUTH, _FOUND, _NAME, _IGNORED = (0, 230, 0), (255, 70, 255), (255, 255, 255), (150, 150, 150)


@dataclass(frozen=True)
class Picture:
    """An encoded JPEG."""

    jpeg: bytes
    width: int
    height: int


@dataclass(frozen=True)
class _Frame:
    """An image that is ready to draw on."""

    panels: list[Image.Image]
    scale: float
    truth: list[list[float]]
    ignored: list[list[float]]


class Pictures:
    """The same images of one split each time.

    Args:
        dataset: Of that split, without augmentation.
        truth: Its ground truth in the format of COCO.
    """

    def __init__(self, dataset: PairedDataset, truth: Mapping[str, Any]) -> None:
        self._dataset = dataset
        filled = sorted({box["image_id"] for box in objects_of(truth)}) or range(len(dataset))
        count = min(FRAMES, len(filled))
        self._shown = [filled[(2 * place + 1) * len(filled) // (2 * count)] for place in range(count)]
        self._frames: dict[int, _Frame] = {}

    def draw(self, detections: Sequence[Mapping[str, Any]]) -> dict[str, Picture]:
        """By image id: its bands side by side, ground truth green, ignore regions grey, detections magenta.

        The first band has the detections' scores.

        Args:
            detections: COCO results of the whole split.
        """
        pictures = {}
        for index in self._shown:
            mine = [d for d in detections if d["image_id"] == index and d["score"] >= _LEAST_SCORE]
            best = sorted(mine, key=lambda detection: -detection["score"])[:_MOST]
            pictures[self._dataset.ids[index]] = self._drawn(self._frame(index), best)
        return pictures

    def _frame(self, index: int) -> _Frame:
        if index not in self._frames:
            image, target = self._dataset[index]
            height, width = int(image.shape[1]), int(image.shape[2])
            scale = _SIDE / max(height, width)
            size = max(round(width * scale), 1), max(round(height * scale), 1)
            bands = self._panels(image)
            panels = [_named(name, band.resize(size, Image.Resampling.BILINEAR)) for name, band in bands]
            self._frames[index] = _Frame(panels, scale, target["boxes"].tolist(), target["ignore"].tolist())
        return self._frames[index]

    def _panels(self, image_CHW: Tensor) -> list[tuple[str, Image.Image]]:
        bands, first = {}, 0
        for modality in self._dataset.modalities:
            count = len(self._dataset.data.bands[modality])
            bands[modality] = image_CHW[first : first + count].numpy().transpose(1, 2, 0)
            first += count
        return band_panels(bands)

    def _drawn(self, frame: _Frame, found: Sequence[Mapping[str, Any]]) -> Picture:
        width, height = frame.panels[0].size
        sheet = Image.new("RGB", (width * len(frame.panels), height))
        for place, panel in enumerate(frame.panels):
            drawn = panel.copy()
            pen = ImageDraw.Draw(drawn)
            for boxes, colour in ((frame.ignored, _IGNORED), (frame.truth, _TRUTH)):
                for box in boxes:
                    pen.rectangle([side * frame.scale for side in box], outline=colour)
            for detection in found:
                x, y, w, h = (side * frame.scale for side in detection["bbox"])
                pen.rectangle([x, y, x + w, y + h], outline=_FOUND)
                if place == 0:
                    _write(pen, (x + 2, y), f"{detection['score']:.2f}", _FOUND)
            sheet.paste(drawn, (place * width, 0))
        file = io.BytesIO()
        sheet.save(file, "JPEG", quality=_QUALITY, subsampling="4:2:0", optimize=True)
        return Picture(file.getvalue(), sheet.width, sheet.height)


def _named(name: str, panel: Image.Image) -> Image.Image:
    _write(ImageDraw.Draw(panel), (2, panel.height - 12), name, _NAME)
    return panel


def _write(pen: ImageDraw.ImageDraw, place: tuple[float, float], text: str, colour: tuple[int, int, int]) -> None:
    pen.text(place, text, fill=colour, stroke_width=1, stroke_fill=(0, 0, 0), font_size=9)
