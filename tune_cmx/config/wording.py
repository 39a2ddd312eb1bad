"""What a field allows, in words: the same in messages and in docs/reference."""

from collections.abc import Mapping, Sequence
from typing import Any, Literal, get_args, get_origin

import annotated_types
from pydantic import BaseModel
from pydantic.fields import FieldInfo

_TYPES: Mapping[str, str] = {
    "int_type": "a whole number",
    "int_parsing": "a whole number",
    "int_from_float": "a whole number",
    "float_type": "a number",
    "float_parsing": "a number",
    "finite_number": "a finite number",
    "bool_type": "true or false",
    "string_type": "text",
    "tuple_type": "a list, as in [1, 2]",
    "list_type": "a list, as in [1, 2]",
    "dict_type": "a mapping, as in {key: value}",
    "model_type": "a mapping, as in {key: value}",
    "model_attributes_type": "a mapping, as in {key: value}",
}
_BOUNDS: Mapping[str, tuple[str, str]] = {
    "greater_than_equal": ("ge", "at least"),
    "greater_than": ("gt", "above"),
    "less_than_equal": ("le", "at most"),
    "less_than": ("lt", "below"),
}
"""Errors of pydantic on a range, with the key of the bound and its word."""


def problem(item: Mapping[str, Any], model: type[BaseModel], parts: Sequence[str]) -> str:
    """An error of pydantic in words: what is allowed, and what was found.

    Args:
        item: As `ValidationError.errors` gives it.
        model: What the content was validated as.
        parts: The path in it.
    """
    kind, ctx = item["type"], item.get("ctx", {})
    if kind == "value_error":
        return str(item["msg"]).removeprefix("Value error, ")
    found = f"; got {item['input']!r}"
    field = field_at(model, parts)
    limits = range_text(field) if field else ""
    limits = limits if " below " in limits or " to " in limits else ""  # one end alone is said below
    if kind in _BOUNDS:
        key, word = _BOUNDS[kind]
        return f"must be{limits or f' {word} {ctx[key]:g}'}{found}"
    if kind in _TYPES:
        return f"must be {_TYPES[kind]}{limits if 'number' in _TYPES[kind] else ''}{found}"
    if kind == "literal_error":
        return f"must be {ctx['expected']}{found}"
    text = str(item["msg"])
    for technical, plain in (("String should", "must"), ("Dictionary should", "must"), ("Input should", "must"),
                             ("Tuple should", "must")):  # fmt: skip
        text = text.replace(technical, plain)
    return f"{text}{found}"


def field_at(model: type[BaseModel], parts: Sequence[str]) -> FieldInfo | None:
    """The field at a path; None where there is none, as for an entry of a list."""
    field, section = None, model
    for part in parts:
        if field is not None and part.isdigit() and section is not model:
            field = None
            continue
        field = section.model_fields.get(part)
        if field is None:
            return None
        section = section_of(field) or section
    return field


def section_of(field: FieldInfo) -> type[BaseModel] | None:
    """The model of a section, or of each entry of a list of sections; None for a plain value."""
    kinds = [field.annotation, *get_args(field.annotation)]
    return next((kind for kind in kinds if isinstance(kind, type) and issubclass(kind, BaseModel)), None)


def allowed_text(field: FieldInfo) -> str:
    """The values that the type allows, for the reference."""
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
        return ", ".join(f"`{str(value).lower() if isinstance(value, bool) else value}`" for value in get_args(kind))
    if origin is tuple:
        inner = get_args(kind)
        names = {int: "whole numbers", float: "numbers", str: "texts"}
        many = "" if inner[-1] is Ellipsis else f"{len(inner)} "
        return f"list of {many}{names.get(inner[0], 'entries')}"
    if kind in (int, float):
        return ("whole number" if kind is int else "number") + range_text(field)
    simple = {bool: "`true`, `false`", str: "text", type(None): "", Any: "see its meaning"}
    return simple.get(kind, "mapping" if origin is dict else getattr(kind, "__name__", str(kind)))


def metadata(field: FieldInfo) -> list[Any]:
    """What is annotated, also of the parts of a union."""
    found = list(field.metadata)
    for kind in get_args(field.annotation):
        for entry in getattr(kind, "__metadata__", ()):
            found += getattr(entry, "metadata", None) or [entry]
    return found


def range_text(field: FieldInfo) -> str:
    """The range of a number, with a space before it; nothing where there is no range."""
    low = high = ""
    for entry in metadata(field):
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
