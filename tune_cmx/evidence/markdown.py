"""Markdown that reads well as plain text: tables with aligned columns, each under the study's stamps."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field


@dataclass
class Page:
    """A Markdown text in the making.

    `stamps` are sentences that no table may stand without.
    """

    stamps: Sequence[str] = ()
    parts: list[str] = field(default_factory=list)

    def heading(self, text: str, level: int = 2) -> None:
        self.parts.append(f"{'#' * level} {text}")

    def paragraph(self, text: str) -> None:
        self.parts.append(text)

    def bullets(self, items: Iterable[str]) -> None:
        self.parts.append("\n".join(f"- {item}" for item in items))

    def numbered(self, items: Iterable[str]) -> None:
        self.parts.append("\n".join(f"{place}. {item}" for place, item in enumerate(items, 1)))

    def image(self, path: str, text: str) -> None:
        self.parts.append(f"![{text}]({path})")

    def table(self, header: Sequence[str], rows: Sequence[Sequence[str]], left: int = 1) -> None:
        """Add a table; the first `left` columns hold words, the others numbers, set to the right."""
        self.parts.extend(f"> **{stamp}**" for stamp in self.stamps)
        cells = [[_escaped(cell) for cell in row] for row in (header, *rows)]
        widths = [max(3, *(len(row[column]) for row in cells)) for column in range(len(header))]
        ruler = ["-" * width if column < left else "-" * (width - 1) + ":" for column, width in enumerate(widths)]
        lines = [_line(row, widths, left) for row in (cells[0], ruler, *cells[1:])]
        self.parts.append("\n".join(lines))

    def text(self) -> str:
        """The whole page."""
        return "\n\n".join(self.parts) + "\n"


def _line(row: Sequence[str], widths: Sequence[int], left: int) -> str:
    cells = [
        cell.ljust(width) if column < left else cell.rjust(width)
        for column, (cell, width) in enumerate(zip(row, widths, strict=True))
    ]
    return f"| {' | '.join(cells)} |"


def _escaped(cell: str) -> str:
    return " ".join(str(cell).replace("|", "\\|").split())
