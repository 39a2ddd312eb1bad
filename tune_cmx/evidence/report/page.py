"""A page in the making, and the page as Markdown that reads well as plain text."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

from tune_cmx.evidence.report.page_parts import Bullets, Contents, Heading, Image, Paragraph, Part, Table, anchors


@dataclass
class Page:
    """Parts in their order; their texts are Markdown.

    `stamps` are sentences that no table may stand without.
    """

    stamps: Sequence[str] = ()
    parts: list[Part] = field(default_factory=list)

    def heading(self, text: str, level: int = 2) -> None:
        self.parts.append(Heading(text, level))

    def paragraph(self, text: str) -> None:
        self.parts.append(Paragraph(text))

    def bullets(self, items: Iterable[str]) -> None:
        self.parts.append(Bullets(tuple(items)))

    def numbered(self, items: Iterable[str]) -> None:
        self.parts.append(Bullets(tuple(items), numbered=True))

    def image(self, path: str, text: str) -> None:
        """Add a picture that lies beside the page."""
        self.parts.append(Image(path, text))

    def contents(self) -> None:
        """Add the list of contents."""
        self.parts.append(Contents())

    def table(self, header: Sequence[str], rows: Sequence[Sequence[str]], left: int = 1, in_paper: bool = True) -> None:
        """Add a table; the first `left` columns hold words, the others numbers, set to the right.

        `in_paper`: False keeps it out of tables.tex, as tables of single runs.
        """
        cells = tuple(tuple(str(cell) for cell in row) for row in rows)
        self.parts.append(Table(tuple(header), cells, left, tuple(self.stamps), in_paper))

    def text(self) -> str:
        """The page as Markdown."""
        return "\n\n".join(text for part in self.parts if (text := _markdown(part, self.parts))) + "\n"


def _markdown(part: Part, parts: Sequence[Part]) -> str:
    match part:
        case Heading(text, level):
            return f"{'#' * level} {text}"
        case Paragraph(text):
            return text
        case Bullets(items, numbered):
            return "\n".join(f"{f'{place}.' if numbered else '-'} {item}" for place, item in enumerate(items, 1))
        case Image(path, text):
            return f"![{text}]({path})"
        case Contents():
            return f"Contents: {', '.join(_contents(parts))}."
        case Table():
            return "\n\n".join([*(f"> **{stamp}**" for stamp in part.stamps), _table(part)])


def _contents(parts: Sequence[Part]) -> list[str]:
    """Links to the headings of level 2 below the contents."""
    anchor, found, is_below = anchors(), [], False
    for part in parts:
        is_below = is_below or isinstance(part, Contents)
        if isinstance(part, Heading):
            name = anchor(part.text)
            found += [f"[{part.text}](#{name})"] if is_below and part.level == 2 else []
    return found


def _table(table: Table) -> str:
    cells = [[_escaped(cell) for cell in row] for row in (table.header, *table.rows)]
    widths = [max(3, *(len(row[column]) for row in cells)) for column in range(len(table.header))]
    ruler = ["-" * width if column < table.left else "-" * (width - 1) + ":" for column, width in enumerate(widths)]
    return "\n".join(_line(row, widths, table.left) for row in (cells[0], ruler, *cells[1:]))


def _line(row: Sequence[str], widths: Sequence[int], left: int) -> str:
    cells = [
        cell.ljust(width) if column < left else cell.rjust(width)
        for column, (cell, width) in enumerate(zip(row, widths, strict=True))
    ]
    return f"| {' | '.join(cells)} |"


def _escaped(cell: str) -> str:
    return " ".join(cell.replace("|", "\\|").split())
