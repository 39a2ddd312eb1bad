"""Detection grids: images on every band with ground truth and detections, as pictures of a page's width."""

import io
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import cache, lru_cache

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from tune_cmx.evidence.report.figures import BLACK, STAMP

TARGET, FOUND = "#e69f00", "#56b4e9"
"""Told apart by colour-blind readers too (Okabe and Ito), and light enough for dark images."""
IGNORED = "#bbbbbb"
WHITE = "#ffffff"
DPI = 115
"""Of the file: a grid then fills the report's column, and the width of the paper."""
WIDTH, HEIGHT = 984, 1340
"""Pixels of a grid, the height at most, so that it fits on one sheet of paper."""
PANEL = (324, 256)
"""Width and height in pixels, at most."""
MOST_BYTES = 380_000
"""Of all grids together."""
QUALITIES = (90, 80, 70, 60, 50, 40, 30, 20)
GAP = 4
DASH = 6
"""Pixels of a dash of an ignore region's outline, and of the space behind it."""
TYPE, SMALL_TYPE, LABEL = 13, 11, 14
"""Pixels: of letters, and the height of a box's label."""

Panel = tuple[str, Image.Image]
Box = tuple[float, float, float, float]
"""x, y, width, height in pixels of the image."""


@dataclass(frozen=True)
class Mark:
    """A box, and what is written at it."""

    box: Box
    words: str


@dataclass(frozen=True)
class Strip:
    """A configuration's detections on an image."""

    caption: str
    found: Sequence[Mark]


@dataclass(frozen=True)
class Shown:
    """An image ready to be drawn: its strips are below each other, one panel a band."""

    caption: str
    panels: Sequence[Panel]
    targets: Sequence[Mark]
    ignored: Sequence[Mark]
    """Ignore regions, drawn dashed."""
    strips: Sequence[Strip]


@dataclass(frozen=True)
class Grid:
    """An encoded JPEG, and how many images it shows."""

    jpeg: bytes
    images: int


def draw_grids(images: Sequence[Shown], stamps: Sequence[str], legend: tuple[str, str], ignored: str) -> list[Grid]:
    """The images in their order, as many on a grid as fit on paper, at the highest quality that is small enough.

    Args:
        images: To be drawn.
        stamps: Sentences that every picture needs.
        legend: What the two colours mean, ground truth first.
        ignored: What a dashed grey box means; it is written where there is one.
    """
    head = [_words(stamp, colour=STAMP) for stamp in stamps]
    head += [_words(words, mark=colour) for colour, words in zip((TARGET, FOUND), legend, strict=True)]
    head += [_words(ignored, mark=IGNORED)] if any(image.ignored for image in images) else []
    groups = list(_groups([_block(image) for image in images], HEIGHT - sum(one.height for one in head)))
    grids = [_stacked([*head, *blocks]) for blocks in groups]
    files: list[bytes] = []
    for quality in QUALITIES:
        files = [_jpeg(grid, quality) for grid in grids]
        if sum(map(len, files)) <= MOST_BYTES:
            break
    return [Grid(file, len(blocks)) for file, blocks in zip(files, groups, strict=True)]


def _groups(blocks: Iterable[Image.Image], height: int) -> Iterator[list[Image.Image]]:
    """As many as are together no higher than that, and at least one."""
    group: list[Image.Image] = []
    for block in blocks:
        if group and sum(one.height for one in [*group, block]) > height:
            yield group
            group = []
        group.append(block)
    if group:
        yield group


def _block(image: Shown) -> Image.Image:
    """One image: its caption, then each arm's caption above its panels."""
    panels = _fitted(image.panels)
    scale = panels[0][1].width / image.panels[0][1].width
    rows = [Image.new("RGB", (WIDTH, 3 * GAP), WHITE), _words(image.caption, bold=True)]
    for strip in image.strips:
        row = Image.new("RGB", (WIDTH, panels[0][1].height), WHITE)
        for place, (name, panel) in enumerate(panels):
            drawn = _marked(name, panel, scale, image, strip.found, with_words=place == 0)
            row.paste(drawn, (place * (panel.width + GAP), 0))
        rows += [_words(strip.caption), row]
    return _stacked(rows)


def _fitted(panels: Sequence[Panel]) -> list[Panel]:
    """Of one size, so that together they are not wider than a grid."""
    width, height = panels[0][1].size
    scale = min(PANEL[0] / width, PANEL[1] / height, ((WIDTH + GAP) // len(panels) - GAP) / width)
    size = max(round(width * scale), 1), max(round(height * scale), 1)
    return [(name, panel.resize(size, Image.Resampling.LANCZOS)) for name, panel in panels]


def _marked(
    name: str, panel: Image.Image, scale: float, image: Shown, found: Sequence[Mark], *, with_words: bool
) -> Image.Image:
    """A panel with boxes. Targets are drawn outside their box, so that a matching detection does not hide them."""
    drawn = panel.copy()
    pen = ImageDraw.Draw(drawn)
    for mark in image.ignored:
        _dashed(pen, _corners(mark.box, scale))
    for mark in image.targets:
        left, top, right, bottom = _corners(mark.box, scale)
        pen.rectangle((left - 4, top - 4, right + 4, bottom + 4), outline=BLACK, width=4)
        pen.rectangle((left - 3, top - 3, right + 3, bottom + 3), outline=TARGET, width=2)
    for mark in found:
        left, top, right, bottom = _corners(mark.box, scale)
        pen.rectangle((left - 1, top - 1, right + 1, bottom + 1), outline=BLACK, width=4)
        pen.rectangle((left, top, right, bottom), outline=FOUND, width=2)
    for mark in image.targets if with_words else ():
        left, _, _, bottom = _corners(mark.box, scale)
        _label(drawn, (left - 3, bottom + 3), mark.words, TARGET)
    for mark in found if with_words else ():
        left, top, _, _ = _corners(mark.box, scale)
        _label(drawn, (left, top - LABEL), mark.words, FOUND)
    _label(drawn, (0, drawn.height), name, WHITE)
    return drawn


def _dashed(pen: ImageDraw.ImageDraw, corners: Box) -> None:
    """The outline of a box, grey on black, in dashes."""
    left, top, right, bottom = corners
    for y in (top, bottom):
        for start in np.arange(left, right, 2 * DASH).tolist():
            ends = (start, y, min(start + DASH, right), y)
            pen.line(ends, fill=BLACK, width=4)
            pen.line(ends, fill=IGNORED, width=2)
    for x in (left, right):
        for start in np.arange(top, bottom, 2 * DASH).tolist():
            ends = (x, start, x, min(start + DASH, bottom))
            pen.line(ends, fill=BLACK, width=4)
            pen.line(ends, fill=IGNORED, width=2)


def _corners(box: Box, scale: float) -> Box:
    x, y, width, height = (side * scale for side in box)
    return x, y, x + width, y + height


def _label(panel: Image.Image, place: tuple[float, float], words: str, colour: str) -> None:
    """Black on a coloured ground, moved into the panel where it would reach out of it."""
    if not words:
        return
    font = _font(SMALL_TYPE)
    width = font.getlength(words) + 4
    left = max(min(place[0], panel.width - width), 0)
    top = max(min(place[1], panel.height - LABEL), 0)
    pen = ImageDraw.Draw(panel)
    pen.rectangle((left, top, left + width, top + LABEL), fill=colour)
    pen.text((left + 2, top), words, fill=BLACK, font=font)


@cache
def _font(size: int) -> ImageFont.FreeTypeFont | ImageFont.ImageFont:
    return ImageFont.load_default(size)


@lru_cache(maxsize=64)  # the same captions stand at every image
def _words(text: str, *, colour: str = BLACK, bold: bool = False, mark: str | None = None) -> Image.Image:
    """Text in lines of the grid's width, behind a box in the colour `mark`, if any."""
    font = _font(TYPE)
    height = round(1.45 * TYPE)
    indent = 2 * TYPE if mark else 0
    lines = [""]
    for word in text.split():
        longer = f"{lines[-1]} {word}".strip()
        if lines[-1] and font.getlength(longer) > WIDTH - indent:
            lines.append(word)
        else:
            lines[-1] = longer
    shown = Image.new("RGB", (WIDTH, height * len(lines)), WHITE)
    pen = ImageDraw.Draw(shown)
    if mark:
        pen.rectangle((1, 3, 1.5 * TYPE, height - 5), outline=BLACK, width=4)
        pen.rectangle((2, 4, 1.5 * TYPE - 1, height - 6), outline=mark, width=2)
    for place, line in enumerate(lines):
        pen.text((indent, place * height + 1), line, fill=colour, font=font, stroke_width=0.3 if bold else 0)
    return shown


def _stacked(images: Sequence[Image.Image]) -> Image.Image:
    whole = Image.new("RGB", (WIDTH, sum(image.height for image in images)), WHITE)
    top = 0
    for image in images:
        whole.paste(image, (0, top))
        top += image.height
    return whole


def _jpeg(grid: Image.Image, quality: int) -> bytes:
    """Colours at full resolution, or thin lines lose theirs."""
    file = io.BytesIO()
    grid.save(file, "JPEG", quality=quality, subsampling="4:4:4", optimize=True, dpi=(DPI, DPI))
    return file.getvalue()
