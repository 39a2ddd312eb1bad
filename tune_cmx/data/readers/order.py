"""The order of names, and a short list of them."""

import re
from collections.abc import Iterable


def listed(names: Iterable[str], most: int = 5) -> str:
    """The first few names, and how many more there are."""
    names = list(names)
    more = f" and {len(names) - most} more" if len(names) > most else ""
    return ", ".join(names[:most]) + more


def natural_order(name: str) -> tuple[tuple[str | int, ...], str]:
    """A sorting key that puts image_9 before image_10.

    Where sequences are not known, the order of names is taken for the order in time.
    """
    parts = re.split(r"([0-9]+)", name)
    return tuple(int(part) if index % 2 else part for index, part in enumerate(parts)), name
