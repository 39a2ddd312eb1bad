"""One page as Markdown, HTML and LaTeX: what is escaped, embedded, linked, and left out."""

import base64
import html.parser
import re
from pathlib import Path

import PIL.Image
import pytest

from tune_cmx.evidence.report.html import html_text
from tune_cmx.evidence.report.latex import escaped, latex, latex_tables
from tune_cmx.evidence.report.page import Page

VOID = {"meta", "img", "wbr"}


class Reader(html.parser.HTMLParser):
    """Text, addresses and tags; every tag must close in its order."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.words, self.links, self.sources, self.ids = [""], list[str](), list[str](), list[str]()
        self._open: list[str] = []
        self.feed(text)
        assert not self._open

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        given = {name: value or "" for name, value in attrs}
        self.links += [given["href"]] if "href" in given else []
        self.sources += [given["src"]] if "src" in given else []
        self.ids += [given["id"]] if "id" in given else []
        if tag not in VOID:
            self._open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self._open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.words.append(data)


@pytest.fixture
def page() -> Page:
    found = Page(stamps=["neighbouring frames leak"])
    found.heading("A study", level=1)
    found.heading("Answer")
    found.paragraph("p <0.001 & `a_b` is **bold**: SUPPORTED <script>alert(1)</script>")
    found.bullets(["one", "two `x`"])
    found.heading("Arms")
    found.paragraph("On test, in points:")
    found.table(
        ["arm", "mAP ±", "interval"], [["[stages 1](../trials/s-1/)", "31.0", "-2.64 to 15.03"], ["b", "-", "-"]]
    )
    found.heading("Arms")
    found.table(["run", "value"], [["x|y", "1"]], in_paper=False)
    return found


def test_html_is_well_formed_and_says_the_text(page: Page, tmp_path: Path) -> None:
    text = html_text("A study", page.parts, tmp_path)
    read = Reader(text)
    words = " ".join("".join(read.words).split())
    assert "p <0.001 & a_b is bold: SUPPORTED <script>alert(1)</script>" in words
    assert '<b class="verdict supported">SUPPORTED</b>' in text
    assert "<script" not in text
    assert "neighbouring frames leak" in words


def test_html_links_rows_to_records_and_contents_to_headings(page: Page, tmp_path: Path) -> None:
    read = Reader(html_text("A study", page.parts, tmp_path))
    assert "../trials/s-1/" in read.links
    inside = [link[1:] for link in read.links if link.startswith("#")]
    assert inside == ["answer", "arms", "arms-1"]
    assert set(inside) <= set(read.ids)
    assert len(read.ids) == len(set(read.ids))


def test_contents_are_where_the_page_has_them_and_list_what_follows(page: Page, tmp_path: Path) -> None:
    page.contents()
    page.heading("Runs")
    page.paragraph("One.")
    html = html_text("A study", page.parts, tmp_path)
    assert [link for link in Reader(html).links if link.startswith("#")] == ["#runs"]
    assert html.index('id="answer"') < html.index("<nav") < html.index('id="runs"')
    assert "\n\nContents: [Runs](#runs).\n\n## Runs\n" in page.text()
    assert "Contents" not in latex_tables(page.parts)


def test_html_embeds_pictures_and_fetches_nothing(page: Page, tmp_path: Path) -> None:
    PIL.Image.new("RGB", (650, 300), "white").save(tmp_path / "curves.png", dpi=(130, 130))
    page.image("curves.png", "Curves <of> trials")
    text = html_text("A study", page.parts, tmp_path)
    (source,) = Reader(text).sources
    kind, _, content = source.partition(",")
    assert kind == "data:image/png;base64"
    assert base64.b64decode(content) == (tmp_path / "curves.png").read_bytes()
    assert not re.search(r"https?:|url\(|@import|src=\"(?!data:)", text)


def test_a_cell_with_a_long_text_is_no_number(tmp_path: Path) -> None:
    page = Page()
    page.heading("A", level=1)
    page.table(["arm", "n", "why"], [["a", "3", "a reason that takes more than a few words"]])
    assert '<td class="word long">a reason' in html_text("A", page.parts, tmp_path)
    assert r"\begin{tabular}{@{}lrl@{}}" in latex_tables(page.parts)


@pytest.mark.parametrize(
    ("text", "tex"),
    [
        ("a_b 50 % & #1 $x {y}", r"a\_b 50 \% \& \#1 \$x \{y\}"),
        ("± − × ≤ ° – …", r"$\pm$ $-$ $\times$ $\leq$ $^\circ$ -- \ldots{}"),
        (
            "p <0.001 | > \\ ^ ~",
            r"p \textless{}0.001 \textbar{} \textgreater{} \textbackslash{} \textasciicircum{} \textasciitilde{}",
        ),
        ("café Łódź ß", r"caf\'{e} \L{}\'{o}d\'{z} \ss{}"),
        ("“q” ‘r’", "``q'' `r'"),
        ("中\u200b", "[U+4E2D][U+200B]"),
        ("tab\there", "tab here"),
    ],
)
def test_latex_escapes(text: str, tex: str) -> None:
    assert escaped(text) == tex


def test_markdown_inside_a_line_becomes_latex() -> None:
    assert latex("`a_b` **5 %** *x* [stage_1](../trials/a_b/)") == r"\texttt{a\_b} \textbf{5 \%} \emph{x} stage\_1"


def test_every_ascii_letter_is_taken_literally() -> None:
    """What TeX would read as a command, a comment or a column is escaped; the rest stands as it is."""
    special = set("\\{}$&#^_~%<>|")
    assert all(escaped(letter) == letter for letter in map(chr, range(32, 127)) if letter not in special)
    assert all(escaped(letter).startswith("\\") for letter in special)


def test_tables_for_a_paper(page: Page) -> None:
    tex = latex_tables(page.parts)
    assert tex.count(r"\begin{table}") == tex.count(r"\end{table}") == 1
    assert r"\caption{Arms. On test, in points. \textbf{neighbouring frames leak.}}" in tex
    assert r"\label{tab:arms}" in tex
    assert r"stages 1 & 31.0 & $-$2.64 to 15.03 \\" in tex
    assert r"b & -- & -- \\" in tex
    assert all(rule in tex for rule in (r"\toprule", r"\midrule", r"\bottomrule"))
    assert "../records" not in tex


def test_a_long_table_is_divided_and_a_wide_one_set_smaller() -> None:
    page = Page()
    page.heading("Runs")
    page.table(["arm", "n"], [[f"arm {n}", str(n)] for n in range(85)])
    page.table([f"column {n}" for n in range(10)], [["switching_threshold 0.5, stages 1+2+3+4", *["10.25 ± 0.11"] * 9]])
    tex = latex_tables(page.parts)
    assert re.findall(r"\\label\{(.*?)\}", tex) == ["tab:runs", "tab:runs-1", "tab:runs-2", "tab:runs-3"]
    assert tex.count("(continued)") == 2
    assert tex.count(r"\small") == 3
    assert r"\scriptsize" in tex
    assert r"\parbox[t]{6em}{\raggedright\strut switching\_\allowbreak threshold" in tex


def test_markdown_keeps_its_form(page: Page) -> None:
    assert page.text().startswith("# A study\n\n## Answer\n\np <0.001 & `a_b` is **bold**")
    assert "- one\n- two `x`\n" in page.text()
    assert "> **neighbouring frames leak**\n\n| arm " in page.text()
    assert "| x\\|y |     1 |" in page.text()
