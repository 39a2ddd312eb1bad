"""Dotted paths, as in `model.fusion.stages`, and the nested mappings that they stand for."""

import re
from collections.abc import Mapping
from typing import Any

from tune_cmx.errors import ConfigError

Lines = dict[str, int]
"""Line in the file by dotted key."""


class FieldError(ConfigError):
    """What is wrong with one field of a configuration; who knows the file adds its line."""

    def __init__(self, field: str, text: str) -> None:
        super().__init__(f"{field}: {text}")
        self.field, self.text = field, text


def place_of(key: str, source: str, lines: Lines, shown: str | None = None) -> str:
    """`file:line: key`, with the line of the key, or of the nearest key above it that the file has.

    Args:
        key: Dotted. An entry of a list is shown by its number, counted from 1: `claims[1].metric`.
        source: The file.
        lines: Of its keys.
        shown: What to show in place of the key.
    """
    name = re.sub(r"\.(\d+)(?=\.|$)", lambda found: f"[{int(found[1]) + 1}]", shown or key)
    parts = key.split(".") if key else []
    for end in range(len(parts), 0, -1):
        line = lines.get(".".join(parts[:end]))
        if line is not None:
            return f"{source}:{line}: {name}"
    return f"{source}: {name}" if name else source


class Origins:
    """Where in a file each value of a configuration comes from, for messages."""

    def __init__(self, source: str, lines: Lines) -> None:
        self._source, self._lines = source, lines
        self._keys: dict[str, tuple[str, str]] = {}

    def put(self, path: str, key: str, at: str | None = None) -> None:
        """A value comes from a key of the file, and is written at another; what was below it is replaced."""
        self._keys = {known: keys for known, keys in self._keys.items() if not below(known, path)}
        self._keys[path] = (key, at or key)

    def place(self, path: str) -> str:
        """File, line and key of a field, or of the nearest field above it."""
        parts = path.split(".")
        for end in range(len(parts), 0, -1):
            above = ".".join(parts[:end])
            if above in self._keys:
                key, at = self._keys[above]
                rest = path[len(above) :]
                return place_of(at + rest, self._source, self._lines, key + rest)
        fixed = f"fixed.{path}"
        known = any(below(key, f"fixed.{parts[0]}") for key in self._lines)
        return place_of(fixed if path and known else path, self._source, self._lines)


def below(path: str, above: str) -> bool:
    """Whether a path is another one or leads through it."""
    return path == above or path.startswith(above + ".")


def get(content: Mapping[str, Any], path: str) -> Any:
    """The value at a dotted path; None where there is none."""
    value: Any = content
    for part in path.split("."):
        if not isinstance(value, Mapping) or part not in value:
            return None
        value = value[part]
    return value


def put(content: dict[str, Any], path: str, value: Any) -> None:
    """Set the value at a dotted path, the mappings above it made where they are absent."""
    *parents, last = path.split(".")
    for part in parents:
        inner = content.setdefault(part, {})
        if not isinstance(inner, dict):
            raise ConfigError(f"{path}: {part} is {inner!r}, not a mapping, so nothing can be set below it")
        content = inner
    content[last] = value
