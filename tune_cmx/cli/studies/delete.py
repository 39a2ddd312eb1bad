"""The command `delete`."""

import shlex
import sys
from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer
from rich.markup import escape

from tune_cmx.cli.options.json_output import Json, Printed, print_object, prints
from tune_cmx.cli.output import bytes_text, say
from tune_cmx.cli.studies.removal import Removal, plan_removal, refuse_running, remove
from tune_cmx.counting import count
from tune_cmx.errors import ConfigError
from tune_cmx.state.locks import locked

SHOWN = 10
"""Places that are named one by one."""


class Keep(StrEnum):
    """What stays."""

    BEST = "best"


class KeptRun(Printed):
    """A run whose weights stay."""

    configuration: str
    """Id of its configuration."""
    run: str
    """Its run folder."""


class Deleted(Printed):
    """What was removed, or would be."""

    folder: str
    """The study folder."""
    removed: bool
    """Whether it was removed. false: the question was answered with no."""
    places: tuple[str, ...]
    """What is removed: files, folders and links, from the study folder on."""
    bytes_freed: int
    """Space that this frees. A file with another name elsewhere frees none."""
    bytes_kept: int
    """Space that stays in use."""
    kept_runs: tuple[KeptRun, ...]
    """Runs whose weights stay."""
    left: tuple[str, ...]
    """What stays although it is in the folder, a sentence each."""


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
    folder = study.absolute()
    planned = plan_removal(folder, keep_best=keep is not None)
    content = _described(planned)
    _say_what(planned, content)
    if planned.places and _agreed(folder, yes):
        with locked(folder) as alone:
            if not alone:
                refuse_running(folder)
            remove(planned)
        content = content.model_copy(update={"removed": True})
        say(
            f"removed; to write the report again: tune-cmx report {escape(shlex.quote(str(study)))}"
            if keep
            else "removed"
        )
    if as_json:
        print_object(content)
    if planned.places and not content.removed:
        say("nothing was removed")
        raise typer.Exit(1)


def _say_what(planned: Removal, content: Deleted) -> None:
    if not planned.places:
        say(f"{escape(content.folder)}: nothing to remove")
        return
    paths = count(len(planned.places), "path")
    say(f"{escape(content.folder)}: {paths} to be removed, which frees {bytes_text(content.bytes_freed)}:")
    for place in content.places[:SHOWN]:
        say(f"  {escape(place)}")
    if content.places[SHOWN:]:
        say(f"  and {len(content.places) - SHOWN} more")
    for kept in content.kept_runs:
        say(f"weights kept: {escape(kept.run)}")
    for left in content.left:
        say(f"left: {escape(left)}")
    say(f"stays: {bytes_text(content.bytes_kept)}")


def _agreed(folder: Path, yes: bool) -> bool:
    if yes:
        return True
    if not sys.stdin.isatty():
        raise ConfigError(f"{folder}: nothing was removed; there is no terminal to ask on: add --yes")
    return typer.confirm("Remove them for good?", err=True)


def _described(planned: Removal) -> Deleted:
    def within(place: Path) -> str:
        return place.relative_to(planned.folder).as_posix()

    return Deleted(
        folder=str(planned.folder),
        removed=False,
        places=tuple(map(within, planned.places)),
        bytes_freed=planned.freed,
        bytes_kept=planned.kept,
        kept_runs=tuple(KeptRun(configuration=run.arm, run=within(run.folder)) for run in planned.kept_runs),
        left=planned.left,
    )
