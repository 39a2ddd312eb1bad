"""An image on all its bands with the boxes that were detected."""

from collections.abc import Mapping
from functools import cache

from PIL import Image, ImageDraw, ImageFont

from tune_cmx.data.band_pictures import band_panels
from tune_cmx.data.pixels import Pixels
from tune_cmx.inference.prediction import Prediction

_BOX, _DARK = "#56b4e9", "#000000"
"""As the detections in a report's detection grid: told apart by colour-blind readers too."""
_LETTERS = 13
"""Height of letters in pixels."""


def picture(pixels: Mapping[str, Pixels], found: Prediction, least_score: float) -> Image.Image:
    """The bands side by side, each with the boxes; the first one also has class and score.

    Args:
        pixels: H×W×bands by modality.
        found: The detections.
        least_score: Weaker detections are not drawn.
    """
    panels = band_panels(pixels)
    width, height = panels[0][1].size
    sheet = Image.new("RGB", (width * len(panels), height))
    for place, (name, panel) in enumerate(panels):
        pen = ImageDraw.Draw(panel)
        for box, score, label in zip(found.boxes.tolist(), found.scores.tolist(), found.classes, strict=True):
            if score < least_score:
                continue
            left, top, right, bottom = box
            pen.rectangle((left - 1, top - 1, right + 1, bottom + 1), outline=_DARK, width=4)
            pen.rectangle((left, top, right, bottom), outline=_BOX, width=2)
            if place == 0:
                _write(pen, left, top, f"{label} {score:.2f}")
        _write(pen, 0, height, name)
        sheet.paste(panel, (place * width, 0))
    return sheet


def _write(pen: ImageDraw.ImageDraw, left: float, bottom: float, words: str) -> None:
    """Words above a point, or below the picture's edge where there is no room."""
    top = max(bottom - _LETTERS - 3, 0)
    font = _font()
    pen.rectangle((left, top, left + font.getlength(words) + 4, top + _LETTERS + 2), fill=_BOX)
    pen.text((left + 2, top), words, fill=_DARK, font=font)


@cache
def _font() -> ImageFont.FreeTypeFont | ImageFont.ImageFont:
    return ImageFont.load_default(_LETTERS)
