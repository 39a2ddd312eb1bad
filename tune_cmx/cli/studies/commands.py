"""The commands `list`, `show`, `compare` and `delete`. What they need of pandas and matplotlib is loaded by a call."""

from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from tune_cmx.cli.objects.compared import Compared
from tune_cmx.cli.objects.deleted import Deleted
from tune_cmx.cli.objects.listed import Listed
from tune_cmx.cli.objects.shown import Shown
from tune_cmx.cli.options.json_output import Json, prints

StudyFolder = Annotated[str, typer.Argument(help="Study folder, as in `runs/demo`, or its URI.", show_default=False)]


class Keep(StrEnum):
    """What stays."""

    BEST = "best"


@prints(Listed)
def list_runs(
    runs: Annotated[Path, typer.Argument(help="Folder that holds studies and runs.")] = Path("runs"),
    as_json: Json = False,
) -> None:
    """List the studies and single runs below a folder: status, selected configuration, baseline, size.

    Studies of version 0.1.0 are listed too. A damaged folder is listed with what is wrong.

    Example: `tune-cmx list runs`
    """
    from tune_cmx.cli.studies.list_runs import list_folder

    list_folder(runs.resolve(), as_json=as_json)


@prints(Shown)
def show(study: StudyFolder, as_json: Json = False) -> None:
    """Show one study: question, status, confirmed configurations against the baseline, hours, report, next command.

    The figures are those of the report's first screen.

    Example: `tune-cmx show runs/demo`
    """
    from tune_cmx.cli.studies.show import show_study

    show_study(study, as_json=as_json)


@prints(Compared)
def compare(
    studies: Annotated[list[str], typer.Argument(help="Two or more study folders, or their URIs.", show_default=False)],
    as_json: Json = False,
) -> None:
    """Show the confirmed configurations of several studies side by side, and where their protocols differ.

    Each verdict is against the baseline of its own study. Across studies nothing is ranked, and nothing is called
    better: such a difference is descriptive.

    Example: `tune-cmx compare runs/cssa-stages runs/gaff`
    """
    from tune_cmx.cli.studies.side_by_side import compare_studies

    compare_studies(studies, as_json=as_json)


@prints(Deleted)
def delete(
    study: Annotated[Path, typer.Argument(help="Study folder, as in `runs/demo`.", show_default=False)],
    keep: Annotated[
        Keep | None,
        typer.Option(
            "--keep",
            metavar="best",
            help="Keep what report and `best` need: study.json, report, metrics, detections, and the weights of the "
            "median runs of the selected configuration and the baseline. Default: keep nothing.",
        ),
    ] = None,
    yes: Annotated[bool, typer.Option("--yes", help="Do not ask. Needed where there is no terminal.")] = False,
    as_json: Json = False,
) -> None:
    """Remove a study, or all of it that report and `best` do not need. It says what goes, and asks.

    `--keep best` removes checkpoints, model folders and TensorBoard events of the other runs. Afterwards `report` works
    as before, `robustness` and `board` do not.

    Examples:

    `tune-cmx delete runs/demo --keep best`

    `tune-cmx delete runs/demo --yes`
    """
    from tune_cmx.cli.studies.delete import delete_study

    delete_study(study, keep_best=keep is not None, yes=yes, as_json=as_json)
