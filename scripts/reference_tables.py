"""Markdown tables of the fields of typed models, for `reference.py`."""

import json
from collections.abc import Iterable, Sequence
from typing import Any, Literal, get_args, get_origin

import annotated_types
from pydantic import BaseModel
from pydantic.fields import FieldInfo

from tune_cmx.config.parse import dump
from tune_cmx.config.section import Unit

FIELD_HEADER = ("field", "meaning", "unit", "default", "allowed")


def table(header: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """A Markdown table; a pipe within a cell is escaped."""
    lines = [header, ["---"] * len(header), *rows]
    cells = [[" ".join(cell.split()).replace("|", "\\|") for cell in line] for line in lines]
    return "\n".join(f"| {' | '.join(line)} |" for line in cells) + "\n"


def fields_table(model: type[BaseModel], prefix: str = "", known: dict[str, str] | None = None) -> str:
    """A row for each field of a model, sections left out.

    Args:
        model: The typed model.
        prefix: Of the paths, such as `schedule.`.
        known: What is allowed, by path, where the type does not say it.
    """
    given = known or {}
    rows = [
        field_row(f"{prefix}{name}", field, given.get(f"{prefix}{name}"))
        for name, field in model.model_fields.items()
        if inner_model(field) is None
    ]
    return table(FIELD_HEADER, rows)


def field_row(path: str, field: FieldInfo, allowed: str | None) -> list[str]:
    """Path, meaning, unit, default and allowed values of a field."""
    unit = next((str(entry) for entry in _metadata(field) if isinstance(entry, Unit)), "")
    return [f"`{path}`", field.description or "", unit, default_text(field), allowed or allowed_text(field)]


def inner_model(field: FieldInfo) -> type[BaseModel] | None:
    """The model of a field that is a section of its own; None for a value or a list."""
    kinds = [field.annotation, *(get_args(field.annotation) if get_origin(field.annotation) is not tuple else ())]
    return next((kind for kind in kinds if isinstance(kind, type) and issubclass(kind, BaseModel)), None)


def default_text(field: FieldInfo) -> str:
    """As it would stand in YAML; `-` where the meaning says what none comes to."""
    if field.is_required():
        return "required"
    value = field.get_default(call_default_factory=True)
    if isinstance(value, BaseModel):
        value = dump(value)
    if value in (None, (), {}, []):
        return "-"
    return f"`{value if isinstance(value, str) else json.dumps(value)}`"


def allowed_text(field: FieldInfo) -> str:
    """The values that the type allows, in words."""
    found = [_kind_text(kind, field) for kind in _kinds(field.annotation)]
    nullable = type(None) in get_args(field.annotation) and not field.is_required() and field.default is not None
    return ", or ".join(dict.fromkeys(text for text in found if text)) + (", or null" if nullable else "")


def _kinds(annotation: Any) -> list[Any]:
    origin = get_origin(annotation)
    if origin in (tuple, dict, Literal):
        return [annotation]
    if hasattr(annotation, "__metadata__"):
        return _kinds(annotation.__origin__)
    arguments = get_args(annotation)
    return [kind for argument in arguments for kind in _kinds(argument)] if arguments else [annotation]


def _kind_text(kind: Any, field: FieldInfo) -> str:
    origin = get_origin(kind)
    if origin is Literal:
        return ", ".join(f"`{json.dumps(value) if isinstance(value, bool) else value}`" for value in get_args(kind))
    if origin is tuple:
        inner = get_args(kind)
        names = {int: "whole numbers", float: "numbers", str: "texts"}
        many = "" if inner[-1] is Ellipsis else f"{len(inner)} "
        return f"list of {many}{names.get(inner[0], 'entries')}"
    if kind in (int, float):
        return ("whole number" if kind is int else "number") + _range_text(field)
    simple = {bool: "`true`, `false`", str: "text", type(None): "", Any: "see its meaning"}
    return simple.get(kind, "mapping" if origin is dict else getattr(kind, "__name__", str(kind)))


def _metadata(field: FieldInfo) -> list[Any]:
    """What is annotated, also of the parts of a union."""
    found = list(field.metadata)
    for kind in get_args(field.annotation):
        for entry in getattr(kind, "__metadata__", ()):
            found += getattr(entry, "metadata", None) or [entry]
    return found


def _range_text(field: FieldInfo) -> str:
    low = high = ""
    for entry in _metadata(field):
        if isinstance(entry, annotated_types.Ge):
            low = f"from {entry.ge:g}"
        if isinstance(entry, annotated_types.Gt):
            low = f"above {entry.gt:g}"
        if isinstance(entry, annotated_types.Le):
            high = f"to {_whole(entry.le)}"
        if isinstance(entry, annotated_types.Lt):
            high = f"below {_whole(entry.lt)}"
    return f" {low}{', ' if low.startswith('above') and high else ' '}{high}".rstrip() if low or high else ""


def _whole(value: Any) -> str:
    return str(int(value)) if value == int(value) else f"{value:g}"
