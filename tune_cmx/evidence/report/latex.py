"""A page's tables for a paper: plain LaTeX with the package booktabs, every text escaped."""

import re
import unicodedata
from collections.abc import Iterable, Sequence

from tune_cmx.evidence.report.inline import inline_tokens
from tune_cmx.evidence.report.page_parts import Heading, Paragraph, Part, Table, anchors

HEAD = "% Needs \\usepackage{booktabs}.\n"
EMPTY = "% No table here: those of this report are of single runs; see report.html and trials.csv.\n"
NAMED = dict(zip("\\~^<>|", ("backslash", "asciitilde", "asciicircum", "less", "greater", "bar"), strict=True))
SIGNS = {"±": r"\pm", "×": r"\times", "·": r"\cdot", "−": "-", "≤": r"\leq", "≥": r"\geq", "≈": r"\approx"}
OTHER_SIGNS = {"≠": r"\neq", "†": r"\dagger", "→": r"\to", "∞": r"\infty", "°": r"^\circ", "²": "^2", "³": "^3"}
GREEK = {"µ": r"\mu", "μ": r"\mu", "Δ": r"\Delta", "σ": r"\sigma", "α": r"\alpha"}
LETTERS = dict(zip("ßøØæÆœŒłŁ", ("ss", "o", "O", "ae", "AE", "oe", "OE", "l", "L"), strict=True))
PUNCTUATION = {"–": "--", "—": "---", "…": r"\ldots{}", "‘": "`", "’": "'", "“": "``", "”": "''", "\u00a0": "~"}
ACCENTS = dict(
    zip("\u0300\u0301\u0302\u0303\u0308\u030a\u0327\u030c\u0304\u0306\u0307\u030b", "`'^~\"rcv=u.H", strict=True)
)
ESCAPES = {
    **{letter: f"\\{letter}" for letter in "&%$#_{}"},
    **{letter: rf"\text{name}{{}}" for letter, name in NAMED.items()},
    **{letter: f"${command}$" for letter, command in {**SIGNS, **OTHER_SIGNS, **GREEK}.items()},
    **{letter: rf"\{name}{{}}" for letter, name in LETTERS.items()},
    **PUNCTUATION,
}
COMMANDS = {"strong_open": r"\textbf{", "strong_close": "}", "em_open": r"\emph{", "em_close": "}", "softbreak": " "}
"""Of Markdown's tokens; links keep their text alone."""
SIZES = ((r"\small", 36, 4), (r"\footnotesize", 39, 3), (r"\scriptsize", 42, 2))
"""Font sizes with the width of article's lines in their em, of 345 points less some room, and the points on each side
of a column. Computer Modern is relatively wider the smaller it is."""
LONGEST = 40
"""Rows on a page; a longer table is divided."""
MOST_LETTERS = (40, 30, 24, 20, 16, 12)
"""Letters a line to which columns of words are narrowed, step by step, until the table fits."""


def latex_tables(parts: Iterable[Part]) -> str:
    """Every table that the page marks for a paper.

    The caption is the heading above the table, with the paragraph before it where that one ends in a colon; the label
    is `tab:` with the heading.
    """
    label, heading, before, found = anchors(), "", None, [HEAD]
    for part in parts:
        if isinstance(part, Heading):
            heading = part.text
        if isinstance(part, Table) and part.in_paper:
            lead = before.text[:-1] if isinstance(before, Paragraph) and before.text.endswith(":") else ""
            pieces = [part.rows[start : start + LONGEST] for start in range(0, len(part.rows), LONGEST)] or [()]
            for place, rows in enumerate(pieces):
                caption = ". ".join(text for text in (heading, lead) if text) + (" (continued)" if place else "") + "."
                found.append(_table(part, rows, caption, f"tab:{label(heading)}"))
        before = part
    return "\n".join(found if len(found) > 1 else [HEAD, EMPTY])


def latex(text: str) -> str:
    """The text, with the Markdown in it, as LaTeX."""
    found = []
    for token in inline_tokens(text):
        if token.type == "code_inline":
            found.append(rf"\texttt{{{escaped(token.content)}}}")
        elif token.type == "text":
            found.append(escaped(token.content))
        else:
            found.append(COMMANDS.get(token.type, ""))
    return "".join(found)


def escaped(text: str) -> str:
    """Plain text as LaTeX; a letter that article's fonts lack stands there by its number."""
    return "".join(_letter(letter) for letter in text)


def _letter(letter: str) -> str:
    if letter in ESCAPES:
        return ESCAPES[letter]
    if letter.isascii():
        return letter if letter.isprintable() else " "
    base, *marks = list(unicodedata.normalize("NFD", letter))
    if base.isascii() and len(marks) == 1 and marks[0] in ACCENTS:
        return f"\\{ACCENTS[marks[0]]}{{{base}}}"
    return f"[U+{ord(letter):04X}]"


def _table(table: Table, rows: Sequence[Sequence[str]], caption: str, label: str) -> str:
    size, space, widths = _layout(table)
    sides = "".join("l" if column in table.word_columns else "r" for column in range(len(table.header)))
    stamps = "".join(rf" \textbf{{{latex(stamp)}.}}" for stamp in table.stamps)
    lines = [
        r"\begin{table}[htbp]",
        rf"\centering{size}\setlength{{\tabcolsep}}{{{space}pt}}\setlength{{\belowcaptionskip}}{{4pt}}",
        rf"\caption{{{latex(caption)}{stamps}}}",
        rf"\label{{{label}}}",
        rf"\begin{{tabular}}{{@{{}}{sides}@{{}}}}",
        r"\toprule",
        _line([latex(name) for name in table.header], widths, sides, "b"),
        r"\midrule",
        *(_line([_cell(text, side) for text, side in zip(row, sides, strict=True)], widths, sides) for row in rows),
        r"\bottomrule",
        r"\end{tabular}",
        r"\end{table}",
    ]
    return "\n".join(lines) + "\n"


def _line(cells: Sequence[str], widths: Sequence[int | None], sides: str, hang: str = "t") -> str:
    done = []
    for cell, width, side in zip(cells, widths, sides, strict=True):
        text = cell
        if width is not None:
            ragged = r"\raggedright" if side == "l" else r"\raggedleft"
            names_broken = text.replace(r"\_", r"\_\allowbreak ")
            text = rf"\parbox[{hang}]{{{width / 2:g}em}}{{{ragged}\strut {names_broken}\strut}}"
        done.append(text)
    return " & ".join(done) + r" \\"


def _cell(cell: str, side: str) -> str:
    """In a column of numbers a hyphen that means minus is a minus, and one that means nothing a dash."""
    if cell == "-":
        return "--"
    text = latex(cell)
    return text if side == "l" else re.sub(r"(?<![\w.}])-(?=\.?\d)", "$-$", text)


def _layout(table: Table) -> tuple[str, int, list[int | None]]:
    """The largest font in which the table fits, the points beside each column, and the letters a line of each column.

    Half an em a letter, which is what digits take; None: a column that needs one line only.
    """
    columns = range(len(table.header))
    whole = [max(_letters(row[column]) for row in (table.header, *table.rows)) for column in columns]
    narrow = whole
    for most in (None, *MOST_LETTERS):
        narrow = [min(whole[column], _narrowed(table, column, most)) for column in columns] if most else whole
        for size, line, space in SIZES:
            if sum(narrow) / 2 + len(narrow) * 2 * space / 8 <= line:
                return size, space, _boxes(narrow, whole)
    return SIZES[-1][0], SIZES[-1][2], _boxes(narrow, whole)


def _boxes(narrow: Sequence[int], whole: Sequence[int]) -> list[int | None]:
    return [own if own < full else None for own, full in zip(narrow, whole, strict=True)]


def _narrowed(table: Table, column: int, most: int) -> int:
    """Letters a line: of words as many as given, of numbers so many that no cell but the header is divided.

    No word is divided, but at a low line.
    """
    cells = [row[column] for row in table.rows]
    if column not in table.word_columns:
        return max(map(_letters, [*cells, *table.header[column].split()]))
    pieces = [piece for cell in (table.header[column], *cells) for piece in re.split(r"\s|(?<=_)", cell)]
    return max(most, *map(_letters, pieces))


def _letters(cell: str) -> int:
    """Capitals take half as much again."""
    return len(cell) + sum(letter.isupper() for letter in cell) // 2
