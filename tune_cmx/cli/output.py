"""What commands say: sentences, warnings, and the one message of an error."""

import sys
from collections.abc import Sequence

from rich.console import Console
from rich.markup import escape

out = Console(file=sys.stdout, highlight=False)  # bound now: Ray's own lines are redirected away while it runs


def say(text: str) -> None:
    """A sentence: wrapped between words on a terminal, one line in a file or a pipe."""
    out.print(text, soft_wrap=not out.is_terminal)


def warn(text: str) -> None:
    """A warning; its text is taken as it is, not as markup."""
    say(f"[yellow]warning:[/yellow] {escape(text)}")


LISTED = 20
"""Entries that are named one by one."""


def warn_each(what: str, entries: Sequence[str]) -> None:
    """A warning for each entry; of many the rest is counted, as study.json has them all."""
    for entry in entries[:LISTED]:
        warn(f"{what}: {entry}")
    if entries[LISTED:]:
        warn(f"{what}: {len(entries) - LISTED} more, in study.json")


def complain(text: str) -> None:
    """The one message that a command ends with, on stderr."""
    Console(stderr=True, highlight=False).print(f"[bold red]error:[/bold red] {escape(text)}", soft_wrap=True)
