"""The Markdown that stands inside a line: `code`, **bold**, *italics*, [text](address); nothing else means anything."""

from collections.abc import Sequence
from functools import cache

from markdown_it import MarkdownIt
from markdown_it.token import Token


def inline_parser() -> MarkdownIt:
    """A parser of its own, so that render rules may be added to it."""
    return MarkdownIt("zero").enable(["backticks", "emphasis", "link", "escape", "newline"])


@cache
def _plain_parser() -> MarkdownIt:
    return inline_parser()


def inline_tokens(text: str) -> Sequence[Token]:
    """The text's tokens, in their order."""
    return [token for line in _plain_parser().parseInline(text) for token in line.children or []]
