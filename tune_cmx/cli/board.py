"""`tune-cmx board`: TensorBoard on a study's run folders."""

from pathlib import Path
from threading import Event
from typing import Annotated

import typer
from rich.markup import escape

from tune_cmx.cli.earlier import study_copy
from tune_cmx.cli.output import out
from tune_cmx.errors import ConfigError
from tune_cmx.old_form import trials_folder
from tune_cmx.state.study_state import STUDY_FILE
from tune_cmx.state.trial_state import TRIAL_FILE

_MARKS = (STUDY_FILE, TRIAL_FILE)
"""Of a study, and of one trial by itself."""


def board(
    study: Annotated[
        str, typer.Argument(help="Folder of a study, of several studies or of one run; or a study's URI.")
    ],
    port: Annotated[
        int | None,
        typer.Option(
            min=0, max=65535, metavar="PORT", help="Port to listen on (0 = any). Default: 6006 or the next free one."
        ),
    ] = None,
    host: Annotated[
        str, typer.Option(help="Address to listen on. 0.0.0.0 admits other machines, without a password.")
    ] = "127.0.0.1",
) -> None:
    """Show a study in TensorBoard: curves, factors, precision-recall curves, images. Ctrl-C ends it.

    Example: `tune-cmx board runs/demo`
    """
    folder = study_copy(study)[0] if "://" in study else Path(study).resolve()
    logdir = logdir_of(folder)
    from tensorboard import program  # type: ignore[import-untyped]

    server = program.TensorBoard()
    try:
        given = () if port is None else ("--port", str(port))
        server.configure((None, "--logdir", str(logdir), "--host", host, *given))
        address = server.launch()
    except (program.TensorBoardServerException, ValueError, SystemExit) as error:
        place = f"--host {host}" if port is None else f"--port {port}, --host {host}"
        # where the address is none of this machine, werkzeug prints why and exits
        reason = "see above" if isinstance(error, SystemExit) else " ".join(str(error).split())
        raise ConfigError(f"{place}: TensorBoard cannot listen there: {reason}; choose another") from error
    try:
        if "://" in study:
            out.print(
                "this is a copy of the storage; start the command again to see later results",
                soft_wrap=True,
            )
        said = f"[bold]TensorBoard of {escape(str(logdir))}: {escape(address)}[/bold]  (Ctrl-C ends it)"
        out.print(said, soft_wrap=True)
        Event().wait()
    except KeyboardInterrupt:
        out.print("TensorBoard ended")


def logdir_of(folder: Path) -> Path:
    """Where TensorBoard is to look.

    Args:
        folder: A study's, a trial's, or one that holds some of these.

    Raises:
        ConfigError: It holds none.
    """
    if (folder / STUDY_FILE).exists():
        return trials_folder(folder)
    if any((place / mark).exists() for mark in _MARKS for place in (folder, *folder.glob("*/"))):
        return folder
    what = "no study is in it" if folder.is_dir() else "there is no such folder"
    raise ConfigError(f"{folder}: {what}; name a study's folder, as in runs/demo, or one of studies, as in runs")
