"""The table of searchers. A new one is a file beside this one and a line here, or an entry point of another package."""

from collections.abc import Mapping
from typing import Any

from pydantic import ValidationError
from pydantic_core import InitErrorDetails, PydanticCustomError

from tune_cmx.config.searchers.base import DrawnSearcher, Searcher
from tune_cmx.config.searchers.grid import GridSearcher
from tune_cmx.config.searchers.random import RandomSearcher
from tune_cmx.config.searchers.tpe import TpeSearcher
from tune_cmx.registry import Table, suggestion, undescribed

__all__ = ["SEARCHERS", "DrawnSearcher", "GridSearcher", "RandomSearcher", "Searcher", "TpeSearcher", "read_searcher"]


def _not_a_searcher(name: str, entry: Any) -> str | None:
    """What is wrong with the object of another package's entry point."""
    wrong = undescribed(entry, Searcher)
    if wrong is not None:
        return wrong
    kind, title = entry.model_fields["kind"].default, getattr(entry, "title", None)
    if kind != name:
        return f"{entry.__qualname__}.kind needs the default '{name}', the entry point's name; got {kind!r}"
    if not isinstance(title, str) or entry.draw is Searcher.draw:
        return f"{entry.__qualname__} needs a title, which the report prints, and a method draw"
    if entry.one_by_one is not None:
        return f"{entry.__qualname__}.one_by_one must be None: a searcher of another package draws all trials at once"
    return None


SEARCHERS: Table[type[Searcher]] = Table(
    "tune_cmx.searchers", {"grid": GridSearcher, "random": RandomSearcher, "tpe": TpeSearcher}, _not_a_searcher
)
DEFAULT = "grid"
"""Where the file names no kind."""


def read_searcher(content: Any) -> Searcher:
    """The options of the searcher that `kind` names, with its defaults for what is left out.

    Raises:
        ValidationError: The kind or a key is unknown, or a value is not allowed.
    """
    if isinstance(content, Searcher):
        return content
    if not isinstance(content, Mapping):
        raise ValueError(f"needs a mapping, as in {{kind: {DEFAULT}}}; got {content!r}")
    kind = content.get("kind", DEFAULT)
    model = SEARCHERS.get(kind) if isinstance(kind, str) else None
    if model is None:
        hint = suggestion(str(kind), SEARCHERS)
        raise _refused("kind", f"unknown searcher {kind!r}. Known: {', '.join(SEARCHERS)}.{hint}", kind)
    for key, value in content.items():
        if key not in model.model_fields:
            raise _refused(str(key), _misplaced(str(key), kind, model), value)
    return model.model_validate({"kind": kind, **content})


def _misplaced(key: str, kind: str, model: type[Searcher]) -> str:
    """What to do about a key that this searcher does not have."""
    others = [name for name, other in SEARCHERS.items() if key in other.model_fields]
    if others:
        return f"searcher {kind} does not take it; {' and '.join(others)} {'do' if others[1:] else 'does'}"
    return f"unknown key. Known: {', '.join(model.model_fields)}.{suggestion(key, model.model_fields)}"


def _refused(key: str, text: str, value: Any) -> ValidationError:
    """An error at one key of the section."""
    error = PydanticCustomError("value_error", "{text}", {"text": text})
    return ValidationError.from_exception_data("Searcher", [InitErrorDetails(type=error, loc=(key,), input=value)])
