"""JSON files of a run folder or a study folder: written whole, read strictly."""

import json
import math
import os
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any, TypeVar

from pydantic import BaseModel, ConfigDict, ValidationError

from tune_cmx.errors import DataError
from tune_cmx.retry import on_disk


class State(BaseModel):
    """A part of a state file. A key that this version does not know is kept when the file is written again."""

    model_config = ConfigDict(
        frozen=True, extra="allow", strict=True, allow_inf_nan=False, use_attribute_docstrings=True
    )

    def as_json(self) -> dict[str, Any]:
        """The file's content: the fields that were read or set, unknown keys included."""
        return self.model_dump(mode="json", exclude_unset=True)


Model = TypeVar("Model", bound=State)


def write_atomically(path: Path, content: str | bytes, *, retry_s: float | None = None) -> None:
    """Write a temporary file and rename it: a reader sees the old content or the new, never a part.

    Args:
        path: In a folder that exists.
        content: Text is written as UTF-8.
        retry_s: How long to retry on a disk that fails, in seconds. None: `RETRY_S`.

    Raises:
        TrialError: The disk still fails; the old content is unchanged.
    """
    partial = path.with_name(f".{path.name}.{os.getpid()}.partial")

    def attempt() -> None:
        try:
            with partial.open("wb") as file:
                file.write(content.encode() if isinstance(content, str) else content)
                file.flush()
                os.fsync(file.fileno())
            partial.replace(path)
        except OSError:
            with suppress(OSError):
                partial.unlink(missing_ok=True)  # on a full disk it takes room from others
            raise

    on_disk(path, attempt, retry_s)


def write_json(path: Path, content: Any, *, retry_s: float | None = None) -> None:
    """JSON with nan as null, written atomically."""
    write_atomically(path, json.dumps(_without_nan(content), indent=1) + "\n", retry_s=retry_s)


def _without_nan(content: Any) -> Any:
    if isinstance(content, Mapping):
        return {key: _without_nan(value) for key, value in content.items()}
    if isinstance(content, list | tuple):
        return [_without_nan(value) for value in content]
    return None if isinstance(content, float) and not math.isfinite(content) else content


def read_model(model: type[Model], path: Path, *, retry_s: float | None = None) -> Model:
    """A state file as its model.

    Raises:
        DataError: Not JSON, or a value that its field does not allow; file, field and value are named.
        OSError: There is no such file.
    """
    return parsed(model, json_object(path, on_disk(path, path.read_bytes, retry_s)), path)


def json_object(path: Path, text: str | bytes) -> dict[str, Any]:
    """The object that a JSON file holds.

    Raises:
        DataError: Not JSON, or no object.
    """
    try:
        content = json.loads(text)
    except ValueError as error:
        raise DataError(f"{path}: not valid JSON: {error}; restore it from a copy, or delete its folder") from error
    if not isinstance(content, dict):
        raise DataError(f"{path}: needs a JSON object; got {type(content).__name__}")
    return content


def parsed(model: type[Model], content: Mapping[str, Any], place: Path | str) -> Model:
    """Content, as JSON holds it, as its model.

    Raises:
        DataError: A value that its field does not allow; place, field and value are named.
    """
    try:
        return model.model_validate_json(json.dumps(_without_nan(content)))
    except ValidationError as error:
        raise DataError("\n".join(_message(place, dict(item)) for item in error.errors())) from error


def changed(state: Model, fields: Mapping[str, Any], place: Path | str) -> Model:
    """The state with some fields set.

    Raises:
        DataError: A value that its field does not allow.
        TypeError: The model has no such field.
    """
    refuse_unknown(type(state), fields)
    return parsed(type(state), {**state.as_json(), **fields}, place)


def refuse_unknown(model: type[State], fields: Mapping[str, Any]) -> None:
    """Raise TypeError where code, not a file, names a field that the model does not have."""
    unknown = sorted(fields.keys() - model.model_fields.keys())
    if unknown:
        raise TypeError(f"{model.__name__} has no field {unknown[0]}; it has {', '.join(model.model_fields)}")


def _message(place: Path | str, item: dict[str, Any]) -> str:
    key = ".".join(str(part) for part in item["loc"])
    if item["type"] == "missing":
        return f"{place}: {key}: is missing; restore the file from a copy, or delete its folder"
    return f"{place}: {key}: {item['msg'].removeprefix('Value error, ')}; got {item['input']!r:.80}"
