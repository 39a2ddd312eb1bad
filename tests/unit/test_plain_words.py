"""The texts are short and use one word for one thing: docs/design.md has the words."""

import ast
import re
from pathlib import Path

import pytest
from markdown_it import MarkdownIt

ROOT = Path(__file__).parents[2]
PAGES = sorted(
    path
    for pattern in ("README.md", "CHANGELOG.md", "CONTRIBUTING.md", "docs/**/*.md", "benchmarks/README.md")
    for path in ROOT.glob(pattern)
)
CODE = sorted((ROOT / "tune_cmx").rglob("*.py"))
MEAN, LONGEST = 18, 40
"""Words in a sentence."""
OLD = {
    r"tak(?:e|es|ing) (?:it |them |a \w+ )?up|took up|taken up": "resume",
    r"first[- ]ranked": "selected",
    r"hangs? on": "depends on",
    r"but for": "except",
    r"twins?": "equivalent configurations",
    r"(?<!model )cards?": "GPU",
    r"disturb(?:s|ed|ance|ances)": "corruption",
    r"held folder": "shared folder",
    r"go(?:es)? on with": "selected, continue",
    r"(?:is|are|was|were) told": "say who tells",
    r"is none of": "unknown, must be one of",
    r"record folder": "run folder",
    r"c(?:a|o)me down": "is lower, is halved",
    r"to be had": "available",
}
"""Words that the project no longer uses, and what stands for them."""


def _sentences(text: str) -> list[str]:
    """The sentences of paragraphs and lists, in words; code spans count one word, tables and headings none."""
    found = []
    depth = 0
    heading = False
    for token in MarkdownIt("commonmark").enable("table").parse(text):
        depth += {"table_open": 1, "table_close": -1}.get(token.type, 0)
        heading = token.type == "heading_open" or (heading and token.type != "heading_close")
        if token.type != "inline" or depth or heading:
            continue
        words = "".join(
            {"text": part.content, "code_inline": "code", "softbreak": " "}.get(part.type, "")
            for part in token.children or []
        )
        found += [part for part in re.split(r"(?<=[.!?:])\s+", words) if len(part.split()) > 2]
    return found


def _old_words(text: str) -> list[str]:
    return [
        f"{match.group(0)!r}: use {new}"
        for old, new in OLD.items()
        for match in re.finditer(rf"\b(?:{old})\b", text, re.I)
    ]


@pytest.mark.parametrize("page", PAGES, ids=lambda path: str(path.relative_to(ROOT)))
def test_a_page_has_short_sentences(page: Path) -> None:
    lengths = {sentence: len(sentence.split()) for sentence in _sentences(page.read_text(encoding="utf-8"))}
    assert {sentence: n for sentence, n in lengths.items() if n > LONGEST} == {}
    assert sum(lengths.values()) <= MEAN * max(len(lengths), 1)


@pytest.mark.parametrize("page", PAGES, ids=lambda path: str(path.relative_to(ROOT)))
def test_a_page_uses_the_words_of_the_project(page: Path) -> None:
    text = re.sub(r"```.*?```|`[^`]*`", " ", page.read_text(encoding="utf-8"), flags=re.DOTALL)
    assert _old_words(text) == []


def test_messages_and_docstrings_use_the_words_of_the_project() -> None:
    found = {}
    for path in CODE:
        strings = [
            node.value
            for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
            if isinstance(node, ast.Constant) and isinstance(node.value, str)
        ]
        if old := [word for text in strings for word in _old_words(text)]:
            found[str(path.relative_to(ROOT))] = old
    assert found == {}


def test_the_rules_find_what_they_are_for() -> None:
    assert [
        len(text.split()) for text in _sentences("One two three. `a b c` four five\n\n| a b c |\n|---|\n| d e f |\n")
    ] == [
        3,
        3,
    ]
    assert _old_words("The first-ranked trial is taken up.") == [
        "'taken up': use resume",
        "'first-ranked': use selected",
    ]
