"""Dotted paths, as in `model.fusion.stages`, and the nested mappings that they stand for."""

from collections.abc import Mapping
from typing import Any

from tune_cmx.errors import ConfigError


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
