"""A page as one HTML file: pictures inside, nothing fetched."""

import base64
import io
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

import jinja2
import PIL.Image
from markdown_it import MarkdownIt
from markdown_it.common.utils import escapeHtml
from markdown_it.renderer import RendererHTML
from markdown_it.token import Token
from markdown_it.utils import EnvType, OptionsDict
from markupsafe import Markup

from tune_cmx.evidence.report.inline import inline_parser
from tune_cmx.evidence.report.page_parts import Contents, Heading, Image, Part, Table, anchors

COLOURS = {
    "supported": ("SUPPORTED", "EQUIVALENT"),
    "contradicted": ("CONTRADICTED",),
    "open": ("INCONCLUSIVE", "DESCRIPTIVE_ONLY"),
    "refused": ("NOT_COMPARABLE", "SELECTION_BIASED", "INSUFFICIENT_REPLICATION"),
    "blocked": ("BLOCKED", "DATA_ERROR"),
}
VERDICTS = {verdict: colour for colour, verdicts in COLOURS.items() for verdict in verdicts}
"""How each verdict is coloured; it always stands there as a word too."""
VERDICT = re.compile(rf"\b({'|'.join(VERDICTS)})\b")
BREAKABLE = re.compile(r"(?<=[A-Za-z0-9])([_.])(?=[A-Za-z])")
"""Where a long name, as of a setting, may go on in the next line."""
LONG_TABLE = 24
"""Rows; a longer table does not fit on one sheet of paper."""
CSS_DPI = 96
ENLARGED = 1.2
"""Pictures on screen: type of 8 points is then as high as the text of tables."""
WIDE = 6
"""Inches; a wider picture has panels side by side, and is not made narrower than they can be read."""


@dataclass(frozen=True)
class Picture:
    """With its size on screen, in pixels of 1/96 inch."""

    source: str
    width: int
    height: int
    is_wide: bool


@dataclass(frozen=True)
class Section:
    """A heading, and what stands under it up to the next."""

    heading: Heading
    anchor: str
    parts: Sequence[Part]


def html_text(title: str, parts: Iterable[Part], place: Path) -> str:
    """The whole file.

    Args:
        title: Of the browser's window.
        parts: Of the page; the first is a heading.
        place: The folder in which its pictures lie.
    """
    inline = _inline_parser()

    def picture(part: Image) -> Picture:
        content = (place / part.path).read_bytes()
        with PIL.Image.open(io.BytesIO(content)) as opened:
            (width, height), kind = opened.size, opened.get_format_mimetype()
            inches = width / opened.info.get("dpi", (CSS_DPI, CSS_DPI))[0]
        source = f"data:{kind};base64,{base64.b64encode(content).decode('ascii')}"
        shown = round(inches * CSS_DPI * ENLARGED)
        return Picture(source, shown, round(shown * height / width), inches > WIDE)

    environment = jinja2.Environment(
        loader=jinja2.PackageLoader("tune_cmx.evidence.report"),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters["inline"] = lambda text: Markup(inline.renderInline(text))
    environment.filters["picture"] = picture
    environment.filters["kind"] = lambda part: type(part).__name__.lower()
    environment.filters["column_classes"] = _column_classes
    template = environment.get_template("report.html.jinja")
    sections = _sections(parts)
    with_contents = [place for place, one in enumerate(sections) if Contents() in one.parts]
    contents_in = with_contents[0] if with_contents else 0
    return template.render(title=title, sections=sections, contents_in=contents_in, long_table=LONG_TABLE)


def _column_classes(table: Table) -> list[str]:
    """For each column `number`, `word`, or `word long`."""
    kinds = ["word" if column in table.word_columns else "number" for column in range(len(table.header))]
    return [f"{kind} long" if column in table.long_columns else kind for column, kind in enumerate(kinds)]


def _sections(parts: Iterable[Part]) -> list[Section]:
    anchor, found = anchors(), list[tuple[Heading, list[Part]]]()
    for part in parts:
        if isinstance(part, Heading):
            found.append((part, []))
        else:
            found[-1][1].append(part)
    return [Section(heading, anchor(heading.text), own) for heading, own in found]


def _inline_parser() -> MarkdownIt:
    parser = inline_parser()
    parser.add_render_rule("text", _text_html)
    return parser


def _text_html(renderer: RendererHTML, tokens: Sequence[Token], place: int, options: OptionsDict, env: EnvType) -> str:
    del renderer, options, env
    return "".join(
        f'<b class="verdict {VERDICTS[piece]}">{_breakable(piece)}</b>' if piece in VERDICTS else _breakable(piece)
        for piece in VERDICT.split(tokens[place].content)
    )


def _breakable(text: str) -> str:
    return BREAKABLE.sub(r"\1<wbr>", escapeHtml(text))
