"""What commands say: sentences, warnings, amounts, and the one message of an error."""

import sys
from collections.abc import Collection, Sequence

from rich.console import Console
from rich.markup import escape

out = Console(file=sys.stdout, highlight=False)  # bound now: Ray's own lines are redirected away while it runs

_HOUR_S, _MINUTE_S = 3600, 60
_WIDE = 1000
"""Letters of a line of a table that is no terminal's."""


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


def table_of(header: Sequence[str], rows: Sequence[Sequence[str]], right: Collection[int] = ()) -> None:
    """A table, its cells taken as they are, not as markup; in a file or a pipe no cell is wrapped.

    Args:
        header: A name for each column.
        rows: A cell for each column.
        right: Places of the columns that are set to the right.
    """
    from rich.table import Table

    table = Table(box=None, pad_edge=False, header_style="bold")
    for place, name in enumerate(header):
        table.add_column(escape(name), justify="right" if place in right else "left", overflow="fold")
    for row in rows:
        table.add_row(*map(escape, row))
    console = out if out.is_terminal else Console(file=out.file, highlight=False, width=_WIDE)
    console.print("", table, "", sep="\n")


def complain(text: str) -> None:
    """The one message that a command ends with, on stderr."""
    Console(stderr=True, highlight=False).print(f"[bold red]error:[/bold red] {escape(text)}", soft_wrap=True)


def time_text(seconds: float) -> str:
    """`50 s`, `3 min 20 s`, `4.2 h`, `53 h`."""
    whole = round(seconds)
    if whole < _MINUTE_S:
        return f"{whole} s"
    if whole < _HOUR_S:
        return f"{whole // _MINUTE_S} min {whole % _MINUTE_S} s"
    return f"{hours_text(seconds)} h"


def hours_text(seconds: float) -> str:
    """Hours to two digits, or whole ones: `0.042`, `4.2`, `53`."""
    hours = seconds / _HOUR_S
    if hours >= 9.95:
        return f"{hours:.0f}"
    return f"{hours:.1f}" if hours >= 0.995 else f"{hours:.2g}"


def bytes_text(size: float) -> str:
    """`17 kB`, `41 MB`, `3.2 GB`, as disks are sold."""
    for unit, large in (("TB", 1e12), ("GB", 1e9), ("MB", 1e6)):
        if size >= large:
            return f"{size / large:.3g} {unit}"
    return f"{size / 1e3:.3g} kB"
