"""What every part of a configuration is."""

from collections.abc import Mapping
from typing import Any

from pydantic import BaseModel, ConfigDict

RENAMED: Mapping[str, str] = {"control": "baseline"}
"""Keys of older files, and the word for that side in a claim, with what they are called now. A search space with an
old one is refused by an error that names the new one."""


def as_tuple(value: Any) -> Any:
    """YAML and JSON have lists where these models have tuples; nothing else is converted."""
    return tuple(value) if isinstance(value, list) else value


class Section(BaseModel):
    """A part of the configuration."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True, allow_inf_nan=False)
