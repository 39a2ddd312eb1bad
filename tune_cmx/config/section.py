"""What every part of a configuration is."""

from typing import Any

from pydantic import BaseModel, ConfigDict


def as_tuple(value: Any) -> Any:
    """YAML and JSON have lists where these models have tuples; nothing else is converted."""
    return tuple(value) if isinstance(value, list) else value


class Section(BaseModel):
    """A part of the configuration."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True, allow_inf_nan=False)
