"""The work of `tune-cmx delete`."""

import shlex
import sys
from pathlib import Path

import typer
from rich.markup import escape

from tune_cmx.cli.objects.deleted import Deleted, KeptRun
from tune_cmx.cli.options.json_output import print_object
from tune_cmx.cli.output import bytes_text, say
from tune_cmx.cli.studies.removal import Removal, plan_removal, refuse_running, remove
from tune_cmx.counting import count
from tune_cmx.errors import ConfigError
from tune_cmx.state.locks import locked

SHOWN = 10
"""Places that are named one by one."""


def delete_study(study: Path, *, keep_best: bool, yes: bool, as_json: bool) -> None:
    """Say what is to be removed of a study, ask, and remove it."""
    folder = study.absolute()
    planned = plan_removal(folder, keep_best=keep_best)
    content = _described(planned)
    _say_what(planned, content)
    if planned.places and _agreed(folder, yes):
        with locked(folder) as alone:
            if not alone:
                refuse_running(folder)
            remove(planned)
        content = content.model_copy(update={"removed": True})
        again = f"; to write the report again: tune-cmx report {escape(shlex.quote(str(study)))}"
        say(f"removed{again if keep_best else ''}")
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
