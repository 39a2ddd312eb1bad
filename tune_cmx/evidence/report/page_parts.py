"""What a page is made of, whatever it is written as. Texts are Markdown: `code`, **bold**, [text](address)."""

import re
from collections.abc import Callable
from dataclasses import dataclass

LONG_CELL = 24
"""Letters; a longer cell may be set in several lines."""
ADDRESS = re.compile(r"\]\([^)]*\)")
"""Of a link, which takes no room."""


@dataclass(frozen=True)
class Heading:
    text: str
    level: int


@dataclass(frozen=True)
class Paragraph:
    text: str


@dataclass(frozen=True)
class Bullets:
    items: tuple[str, ...]
    numbered: bool = False


@dataclass(frozen=True)
class Table:
    """The first `left` columns hold words, the others numbers."""

    header: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]
    left: int
    stamps: tuple[str, ...]
    """Sentences that the table may not stand without."""
    in_paper: bool
    """Whether tables.tex has it."""

    @property
    def long_columns(self) -> frozenset[int]:
        """Those with a cell that is more than a name or a number."""
        return frozenset(
            column
            for column in range(len(self.header))
            if any(len(re.sub(ADDRESS, "", row[column])) > LONG_CELL for row in self.rows)
        )

    @property
    def word_columns(self) -> frozenset[int]:
        """Those set to the left."""
        return frozenset(range(self.left)) | self.long_columns


@dataclass(frozen=True)
class Image:
    path: str
    """From the page's folder."""
    text: str


@dataclass(frozen=True)
class Contents:
    """The place of the list of contents: the headings of level 2 that follow it."""


Part = Heading | Paragraph | Bullets | Table | Image | Contents


def anchors() -> Callable[[str], str]:
    """A function that gives each heading of a page its own short name: the heading in lower case, with hyphens."""
    seen: dict[str, int] = {}

    def anchor(heading: str) -> str:
        words = "".join(letter if letter.isalnum() or letter in "-_" else " " for letter in heading.lower()).split()
        name = "-".join(words) or "part"
        seen[name] = seen.get(name, 0) + 1
        return name if seen[name] == 1 else f"{name}-{seen[name] - 1}"

    return anchor
