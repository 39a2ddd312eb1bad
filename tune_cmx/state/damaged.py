"""Read a damaged state file as far as possible: a report of a study needs what is left of it."""

import json
from collections.abc import Mapping
from typing import Any

from pydantic import ValidationError

from tune_cmx.state.json_file import Model


def parsed_as_far(
    model: type[Model], content: Mapping[str, Any], place: str, problems: list[str], least: Mapping[str, Any]
) -> Model:
    """The model without the values that are not allowed.

    Args:
        model: What to read.
        content: The file's; it is not changed.
        place: The file, for `problems`.
        problems: Receives a sentence for each value that is left out.
        least: Values for required fields that are missing or left out.
    """
    kept: dict[str, Any] = json.loads(json.dumps(content))
    while True:
        try:
            return model.model_validate_json(json.dumps({**least, **kept}))
        except ValidationError as error:
            first = error.errors()[0]  # one at a time: where an entry of a list goes, those after it move up
            _leave_out(kept, [*first["loc"]], first["type"] == "missing", place, problems)


def _leave_out(content: Any, path: list[int | str], missing: bool, place: str, problems: list[str]) -> None:
    """Remove the value at the path; if a field is missing, remove the part that needs it."""
    wrong = path[:-1] if missing else path
    while True:
        *above, last = wrong
        holder = _at(content, above)
        if isinstance(holder, dict) and last in holder:
            found = holder.pop(last)
            break
        if isinstance(holder, list) and isinstance(last, int) and last < len(holder):
            found = holder.pop(last)
            break
        wrong = above  # a part of the path that is no key: a variant of a union
    key = ".".join(map(str, wrong))
    why = f" (it lacks {path[-1]})" if missing else ""
    problems.append(f"{place}: {key} cannot be {found!r:.40}{why}; it is left out")


def _at(content: Any, path: list[int | str]) -> Any:
    for part in path:
        if isinstance(content, dict):
            content = content.get(str(part))
        elif isinstance(content, list) and isinstance(part, int) and part < len(content):
            content = content[part]
        else:
            return None
    return content
