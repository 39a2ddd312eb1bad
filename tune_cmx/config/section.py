"""What every part of a configuration is."""

from collections.abc import Mapping
from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field

RENAMED: Mapping[str, str] = {"control": "baseline"}
"""Keys of older files, and the word for that side in a claim, with what they are called now. A search space with an
old one is refused by an error that names the new one."""


def as_tuple(value: Any) -> Any:
    """YAML and JSON have lists where these models have tuples; nothing else is converted."""
    return tuple(value) if isinstance(value, list) else value


class Unit(str):
    """The unit of a field, for the reference: `Annotated[int, Unit("px")]`."""


MOST_EPOCHS = 10_000
"""No schedule is longer."""
TrialSeed = Annotated[int, Field(ge=0, lt=2**32)]
"""What torch, numpy and Python all take."""


class Section(BaseModel):
    """A part of the configuration. The text below a field is its meaning in docs/reference."""

    model_config = ConfigDict(
        frozen=True, extra="forbid", strict=True, allow_inf_nan=False, use_attribute_docstrings=True
    )
