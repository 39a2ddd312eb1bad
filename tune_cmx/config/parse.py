"""YAML and JSON -> mapping -> TrialConfig; each error names file, line, key and the nearest known key.

PyYAML reads `1e-4` as text, `no` as false, `010` as eight, `1:30` as ninety, and silently keeps the last of two equal
keys. This loader reads the first as a number and the next three as text, and refuses a key that is given twice.
"""

import json
import re
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, TypeVar

import yaml
from pydantic import BaseModel, ValidationError

from tune_cmx.config.paths import Lines, Origins, place_of
from tune_cmx.config.section import RENAMED
from tune_cmx.config.trial import TrialConfig
from tune_cmx.config.wording import field_at, problem, section_of
from tune_cmx.errors import ConfigError
from tune_cmx.registry import lookup, suggestion

PRESETS: Mapping[str, Mapping[str, Any]] = {
    # The two schedules of the published ablation.
    "aggressive": {"epochs": 15, "batch_size": 16, "lr": 0.02, "optimizer": "sgd", "momentum": 0.9},
    "conservative": {"epochs": 25, "batch_size": 2, "lr": 0.005, "optimizer": "sgd", "momentum": 0.9},
}

_VERBS = ("must ", "can only ", "needs ", "is ", "leaves ")
"""What follows a field's name where an error of a section is about that field."""
Model = TypeVar("Model", bound=BaseModel)


class _StrictLoader(yaml.SafeLoader):
    """Numbers and booleans as in YAML 1.2, and dates as text."""

    yaml_implicit_resolvers = {
        first: [
            (tag, pattern)
            for tag, pattern in resolvers
            if tag.removeprefix("tag:yaml.org,2002:") not in ("bool", "float", "int", "timestamp")
        ]
        for first, resolvers in yaml.SafeLoader.yaml_implicit_resolvers.items()
    }


_StrictLoader.add_implicit_resolver("tag:yaml.org,2002:bool", re.compile(r"^(?:true|True|false|False)$"), list("tTfF"))
_StrictLoader.add_implicit_resolver(
    "tag:yaml.org,2002:float",
    re.compile(
        r"^[-+]?(?:\d+\.\d*(?:[eE][-+]?\d+)?|\.\d+(?:[eE][-+]?\d+)?|\d+[eE][-+]?\d+|\.(?:inf|Inf|INF))$|^\.(?:nan|NaN|NAN)$"
    ),
    list("-+0123456789."),
)
_StrictLoader.add_implicit_resolver(
    "tag:yaml.org,2002:int", re.compile(r"^[-+]?(?:0|[1-9][0-9]*)$"), list("-+0123456789")
)


def load_mapping(path: Path) -> tuple[dict[str, Any], Lines]:
    """A YAML or JSON file's mapping, and the line of each of its keys by dotted path.

    Raises:
        ConfigError: The file is missing, is no mapping, has a syntax error or a key twice.
    """
    try:
        text = path.read_text(encoding="utf-8")
    except OSError as error:
        raise ConfigError(f"{path}: cannot be read: {error.strerror}") from error
    except UnicodeDecodeError as error:
        raise ConfigError(f"{path}: not UTF-8 text: {error}") from error
    lines: Lines = {}
    content = _load(text, str(path), lines)
    if not isinstance(content, dict):
        found = "nothing" if content is None else f"a {type(content).__name__}"
        raise ConfigError(f"{path}: needs a mapping of keys to values; got {found}")
    return content, lines


def parse_value(text: str, *, source: str) -> Any:
    """A value as YAML reads it, for settings on the command line.

    Raises:
        ConfigError: The text is not valid YAML, or has a key twice.
    """
    return _load(text, source, {})


def _load(text: str, source: str, lines: Lines) -> Any:
    """The text's one document; `lines` receives the line of each key."""
    try:
        loader = _StrictLoader(text)
        try:
            root = loader.get_single_node()
            if root is None:
                return None
            _walk(root, None, lines, source)
            return loader.construct_document(root)
        finally:
            loader.dispose()
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        place = f"{source}:{mark.line + 1}" if mark else source
        what = ", ".join(part for part in (error.context, error.problem) if part)
        raise ConfigError(f"{place}: not valid YAML: {what}") from error
    except yaml.YAMLError as error:
        raise ConfigError(f"{source}: not valid YAML: {' '.join(str(error).split())}") from error
    except RecursionError as error:
        raise ConfigError(f"{source}: not valid YAML: nested too deep, or an alias within its own anchor") from error


def _walk(node: yaml.Node, prefix: str | None, lines: Lines, source: str) -> None:
    """Note the line of each key; refuse a key that is given twice."""
    if isinstance(node, yaml.SequenceNode):
        for index, item in enumerate(node.value):
            place = str(index) if prefix is None else f"{prefix}.{index}"
            lines[place] = item.start_mark.line + 1
            _walk(item, place, lines, source)
    if not isinstance(node, yaml.MappingNode):
        return
    for key_node, value_node in node.value:
        key = str(key_node.value) if prefix is None else f"{prefix}.{key_node.value}"
        line = key_node.start_mark.line + 1
        if key in lines:
            raise ConfigError(f"{source}:{line}: {key} is given twice, first in line {lines[key]}; keep one")
        lines[key] = line
        _walk(value_node, key, lines, source)


def read_trial(path: Path) -> TrialConfig:
    """The trial that a run folder's `config.json` (or the same as YAML) describes."""
    content, lines = load_trial(path)
    return parse_trial(content, source=str(path), lines=lines)


def load_trial(path: Path) -> tuple[dict[str, Any], Lines]:
    """As `load_mapping`, of a trial. A `config.json` names every field. One without `compute` is from a version that
    always trained in float32."""
    content, lines = load_mapping(path)
    if "report_split" in content:
        content.setdefault("compute", {"precision": "fp32", "channels_last": False})
    return content, lines


def parse_trial(
    content: Mapping[str, Any], *, source: str, lines: Lines | None = None, origins: Origins | None = None
) -> TrialConfig:
    """A nested mapping as a TrialConfig, its schedule's preset filled in.

    Args:
        content: Nested mapping; numpy scalars become Python numbers.
        source: What to name in an error: a file, or where the values come from.
        lines: The file's lines by dotted key.
        origins: Where each value comes from, if not from the key of its path.

    Raises:
        ConfigError: A key is unknown or a value not allowed.
    """
    plain = _plain(content)
    schedule = plain.get("schedule")
    if isinstance(schedule, dict) and schedule.get("preset") is not None:
        key = "schedule.preset"
        place = origins.place(key) if origins else place_of(key, source, lines or {})
        preset = lookup(PRESETS, str(schedule["preset"]), f"{place}: unknown preset")
        plain["schedule"] = {**preset, **schedule}
    return validate(TrialConfig, plain, source=source, lines=lines, origins=origins)


def _plain(value: Any) -> Any:
    """Nested containers and numpy scalars as plain Python values."""
    if isinstance(value, Mapping):
        return {str(key): _plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(item) for item in value]
    return value.tolist() if hasattr(value, "tolist") else value


def validate(
    model: type[Model],
    content: Any,
    *,
    source: str,
    lines: Lines | None = None,
    prefix: str = "",
    origins: Origins | None = None,
) -> Model:
    """`content` as `model`, or a ConfigError that names source, line, key, value and what is allowed."""
    try:
        return model.model_validate(content)
    except ValidationError as error:
        items: list[dict[str, Any]] = [dict(item) for item in error.errors()]
        renamed = {RENAMED.get(str(item["loc"][-1])) for item in items if item["type"] == "extra_forbidden"}
        told = [item for item in items if item["type"] != "missing" or item["loc"][-1] not in renamed]

        def place(parts: list[str]) -> str:
            key = ".".join([prefix, *parts] if prefix else parts)
            return origins.place(key) if origins else place_of(key, source, lines or {})

        raise ConfigError("\n".join(_message(model, item, place) for item in told)) from error


def _message(model: type[BaseModel], item: dict[str, Any], place_at: Callable[[list[str]], str]) -> str:
    parts = [str(part) for part in item["loc"]]
    place = place_at(parts)
    if item["type"] == "extra_forbidden":
        known = _known_keys(model, parts[:-1])
        new = RENAMED.get(parts[-1])
        if new in known:
            return f"{place}: this key is now called '{new}'; rename it"
        return f"{place}: unknown key. Known: {', '.join(known)}.{suggestion(parts[-1], known)}"
    if item["type"] == "missing":
        return f"{place}: is missing"
    text = problem(item, model, parts)
    field, _, rest = text.partition(" ")
    if item["type"] == "value_error" and rest.startswith(_VERBS) and _is_field(model, parts, field.split(".")):
        return f"{place_at([*parts, *field.split('.')])}: {rest}"
    return f"{place}: {text}"


def _is_field(model: type[BaseModel], section: list[str], path: list[str]) -> bool:
    """Whether a section has a field at a path."""
    above = field_at(model, section)
    inside = not section or (above is not None and section_of(above) is not None)
    return inside and field_at(model, [*section, *path]) is not None


def _known_keys(model: type[BaseModel], parts: list[str]) -> list[str]:
    """The field names of the section that the path leads to."""
    section: type[BaseModel] = model
    for part in parts:
        field = section.model_fields.get(part)
        if field is None:
            continue
        section = section_of(field) or section
    return list(section.model_fields)


def flatten(content: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """A nested mapping's leaves by dotted path; an empty mapping is a leaf."""
    flat: dict[str, Any] = {}
    for key, value in content.items():
        path = f"{prefix}.{key}" if prefix else str(key)
        if isinstance(value, Mapping) and value:
            flat.update(flatten(value, path))
        else:
            flat[path] = value
    return flat


def dump(config: BaseModel) -> dict[str, Any]:
    """A configuration as JSON: lists in place of tuples, all defaults included."""
    content: dict[str, Any] = json.loads(config.model_dump_json())
    return content
