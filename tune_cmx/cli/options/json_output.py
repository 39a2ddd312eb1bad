"""`--json`: one typed object on standard output, and messages on stderr."""

import sys
from collections.abc import Callable
from typing import Annotated, TypeVar

import typer
from pydantic import BaseModel, ConfigDict

from tune_cmx.cli.options.flags import OUTPUT
from tune_cmx.cli.output import out

Command = TypeVar("Command", bound=Callable[..., None])


class Printed(BaseModel):
    """What a command prints with --json, or a part of it. Keys stay; a later version may add some."""

    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True)


def _messages_to_stderr(context: typer.Context, as_json: bool) -> bool:
    if as_json:
        before = out.file
        context.call_on_close(lambda: setattr(out, "file", before))
        out.file = sys.stderr
    return as_json


Json = Annotated[
    bool,
    typer.Option(
        "--json",
        callback=_messages_to_stderr,
        is_eager=True,  # before other options say anything
        help="Print one JSON object, and messages on stderr.",
        rich_help_panel=OUTPUT,
    ),
]


def prints(model: type[Printed]) -> Callable[[Command], Command]:
    """Mark a command with the object that its --json prints, for the reference."""

    def mark(command: Command) -> Command:
        command.__dict__["printed"] = model
        return command

    return mark


def print_object(content: Printed) -> None:
    """Print the object on standard output; a number that is not finite is null."""
    typer.echo(content.model_dump_json(indent=1))
