"""The command line, `tune-cmx`: one file a group of commands."""

import sys
from typing import Annotated

import typer

from tune_cmx import __version__
from tune_cmx.cli import board, claims, data, describe, imports, plan, robustness, search, study, trial
from tune_cmx.cli.models.best import best
from tune_cmx.cli.models.predict import predict
from tune_cmx.cli.models.val import val
from tune_cmx.cli.options.renamed import refuse_renamed_flags
from tune_cmx.cli.output import complain, out
from tune_cmx.cli.studies.commands import compare, delete, list_runs, show
from tune_cmx.errors import TrialError, TuneCmxError

app = typer.Typer(
    no_args_is_help=True,
    add_completion=False,
    rich_markup_mode="markdown",
    help="Search over fusion in RGB + thermal + event detectors, against an FRM+FFM baseline trained in the same way.",
    pretty_exceptions_enable=False,
)
for command in (study.check, plan.plan, search.search, study.report, board.board, trial.train, describe.describe):
    app.command()(command)
app.command()(robustness.robustness)
app.command()(claims.claims)
app.command()(best)
app.command()(predict)
app.command("import")(imports.import_results)
app.command("list")(list_runs)
app.command()(show)
app.command()(compare)
app.command()(delete)
app.command()(val)
app.add_typer(data.app, name="data")


def main(arguments: list[str] | None = None) -> None:
    """Run a command; what a user can cause ends with one message and exit code 2, a failed trial with 1."""
    try:
        refuse_renamed_flags(sys.argv[1:] if arguments is None else arguments)
        app(arguments, prog_name="tune-cmx")
    except TuneCmxError as error:
        complain(str(error))
        sys.exit(1 if isinstance(error, TrialError) else 2)
    except OSError as error:
        if error.filename is None:
            raise
        complain(f"{error.filename}: {error.strerror}")
        sys.exit(2)


@app.callback(invoke_without_command=True)
def _top(version: Annotated[bool, typer.Option("--version", help="Print the version and exit.")] = False) -> None:
    if version:
        out.print(f"tune-cmx {__version__}")
        raise typer.Exit
