"""Markdown tables of the fields of typed models, for `reference.py`."""

import json
from collections.abc import Iterable, Sequence
from typing import get_args, get_origin

from pydantic import BaseModel
from pydantic.fields import FieldInfo

from tune_cmx.config.parse import dump
from tune_cmx.config.section import Unit
from tune_cmx.config.wording import allowed_text, metadata

DEFAULT_IN_MEANING = ("model.streams",)
"""Fields whose default follows from the data."""
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
    unit = next((str(entry) for entry in metadata(field) if isinstance(entry, Unit)), "")
    default = "-" if path in DEFAULT_IN_MEANING else default_text(field)
    return [f"`{path}`", field.description or "", unit, default, allowed or allowed_text(field)]


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
