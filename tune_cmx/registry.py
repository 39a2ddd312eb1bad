"""Look a name up in a table, with an error that helps."""

import difflib
from collections.abc import Iterable, Mapping
from typing import TypeVar

from tune_cmx.errors import ConfigError

Entry = TypeVar("Entry")


def nearest(name: str, known: Iterable[str]) -> str | None:
    """The known name that is most like this one; None where none is near."""
    return next(iter(difflib.get_close_matches(name, list(known), n=1, cutoff=0.6)), None)


def suggestion(name: str, known: Iterable[str]) -> str:
    """The words `" Did you mean 'x'?"` for the nearest known name, or nothing where none is near."""
    near = nearest(name, known)
    return f" Did you mean '{near}'?" if near else ""


def lookup(table: Mapping[str, Entry], name: str, what: str) -> Entry:
    """The table's entry of that name.

    Args:
        table: Entries by name.
        name: The name asked for.
        what: Where the name stands and what it names, as in `model.fusion: unknown fusion`.

    Raises:
        ConfigError: No such entry; the message lists the names and suggests the nearest.
    """
    if name in table:
        return table[name]
    raise ConfigError(f"{what} '{name}'. Known: {', '.join(sorted(table))}.{suggestion(name, table)}")
