"""The page on the command line, for `reference.py`."""

from typing import Any, get_args, get_origin

import typer
from pydantic import BaseModel
from reference_tables import table

from tune_cmx.cli import app
from tune_cmx.config.wording import allowed_text, section_of

INTRO = """# Command line

`tune-cmx COMMAND --help` prints the same. A message ends with exit code 2 where an input is wrong, and with 1 where a
trial failed.

With `--json` a command prints one JSON object on standard output. Messages and progress go to stderr. Keys keep their
names and meanings; a later version may add keys. In the tables below `[]` stands for each entry of a list, and `{}` for
each value of a mapping.
"""
_KINDS = {"Path": "path", "str": "text", "int": "whole number", "float": "number", "bool": "flag"}


def commands_page() -> str:
    """Each command with its options, by group."""
    group = typer.main.get_command(app)
    return "\n".join([INTRO, *_commands(group, "tune-cmx")])


def _commands(group: Any, prefix: str) -> list[str]:
    found = []
    for name, command in group.commands.items():
        if getattr(command, "commands", None):
            found += _commands(command, f"{prefix} {name}")
        else:
            found.append(_command(command, f"{prefix} {name}"))
    return found


def _command(command: Any, name: str) -> str:
    arguments = [entry for entry in command.params if entry.param_type_name == "argument"]
    options = [entry for entry in command.params if entry.param_type_name != "argument" and not entry.hidden]
    words = " ".join(entry.name.upper() for entry in arguments)
    parts = [f"## `{name}`\n", f"{_help(command.help)}\n", f"```bash\n{name} {words} [OPTIONS]\n```\n"]
    if arguments:
        parts.append(
            table(("argument", "meaning"), [[f"`{entry.name.upper()}`", entry.help or ""] for entry in arguments])
        )
    panels = dict.fromkeys(entry.rich_help_panel or "Options" for entry in options)
    for panel in panels:
        rows = [_option(entry) for entry in options if (entry.rich_help_panel or "Options") == panel]
        parts += [f"**{panel}**\n", table(("option", "value", "default", "meaning"), rows)]
    printed = getattr(command.callback, "printed", None)
    if printed is not None:
        rows = _keys(printed)
        parts += ["**Keys of the object that `--json` prints**\n", table(("key", "value", "meaning"), rows)]
    return "\n".join(parts)


def _keys(model: type[BaseModel], prefix: str = "") -> list[list[str]]:
    """A row for each key, those of inner objects below theirs."""
    rows = []
    for name, field in model.model_fields.items():
        inner = section_of(field)
        outer = get_origin(field.annotation)
        many = "[]" if outer is tuple else "{}" if outer is dict else ""
        kind = {"": "object", "[]": "list of objects", "{}": "mapping of objects"}[many] if inner else ""
        rows.append([f"`{prefix}{name}`", kind or allowed_text(field), field.description or ""])
        rows += _keys(inner, f"{prefix}{name}{many}.") if inner else []
    return rows


def _option(entry: Any) -> list[str]:
    names = ", ".join(f"`{name}`" for name in (*entry.opts, *entry.secondary_opts))
    value = "" if entry.is_flag else _value_text(entry)
    if entry.is_flag:
        default = "on" if entry.default is True else None
    else:
        default = None if entry.default in (None, [], ()) else entry.default
    return [names, value, "-" if default is None else f"`{default}`", entry.help or ""]


def _value_text(entry: Any) -> str:
    kind = entry.type_descriptor.annotation
    inner = [part for part in get_args(kind) if part is not type(None)] if get_origin(kind) else [kind]
    name = getattr(inner[0], "__name__", str(inner[0]))
    low, high = entry.min, entry.max
    limits = f", from {low:g}" if low is not None else ""
    limits += f" to {high:g}" if high is not None else ""
    return f"{_KINDS.get(name, name)}{limits}{'; may be repeated' if entry.multiple else ''}"


def _help(text: str | None) -> str:
    return "\n".join(line.strip() for line in (text or "").splitlines()).replace("\f", "").strip()
