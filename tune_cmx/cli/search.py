"""The command `search`."""

import dataclasses
import os
import shlex
import sys
from collections.abc import Mapping
from contextlib import AbstractContextManager, ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.markup import escape

from tune_cmx.cli.earlier import data_of_session, earlier_session, study_place
from tune_cmx.cli.options.flags import (
    GPUS_PER_TRIAL,
    MEASURED,
    OUTPUT,
    RESOURCES,
    RESUME,
    Bands,
    Classes,
    Data,
    Device,
    Labels,
    LabelsFrom,
    Layout,
    Sequences,
    Sets,
    SharedCache,
    Space,
    Split,
    SplitBy,
    Workers,
    data_settings,
    loaders,
    set_settings,
    share_of_gpu,
)
from tune_cmx.cli.options.streams import study_on_data
from tune_cmx.cli.options.warm_start import WarmStarts, warm_started
from tune_cmx.cli.output import out, say, warn
from tune_cmx.cli.prepare import prepared_for
from tune_cmx.cli.study import begin_check, show_check, show_report
from tune_cmx.cli.torch_process import Ask, torch_process
from tune_cmx.config.space import read_space
from tune_cmx.config.study import Study
from tune_cmx.errors import ConfigError
from tune_cmx.state.study_state import STUDY_FILE, StudyState

if TYPE_CHECKING:
    from tune_cmx.data.prepare import Prepared
    from tune_cmx.search.cluster import Resources
    from tune_cmx.search.planning.checked_models import Checked
    from tune_cmx.storage import Mirror


def search(
    space: Space,
    data: Data = None,
    labels: Labels = None,
    split: Split = None,
    split_by: SplitBy = None,
    classes: Classes = None,
    sequences: Sequences = None,
    bands: Bands = None,
    layout: Layout = None,
    labels_from: LabelsFrom = None,
    sets: Sets = None,
    warm_start: WarmStarts = None,
    gpus_per_trial: Annotated[
        str | None,
        typer.Option(metavar="SHARE", help=f"{GPUS_PER_TRIAL}Default: 1, or 0 on the CPU.", rich_help_panel=RESOURCES),
    ] = None,
    cpus_per_trial: Annotated[
        float,
        typer.Option(
            min=0.01,
            metavar="CORES",
            help="Number of CPU cores of each trial; rounded down, also its torch threads.",
            rich_help_panel=RESOURCES,
        ),
    ] = 1,
    max_concurrent: Annotated[
        int | None,
        typer.Option(
            min=1,
            metavar="N",
            help="Number of trials at a time, at most. Default: as many as fit.",
            rich_help_panel=RESOURCES,
        ),
    ] = None,
    device: Device = None,
    workers: Workers = None,
    shared_cache: SharedCache = False,
    address: Annotated[
        str | None,
        typer.Option(
            envvar="RAY_ADDRESS",
            help="Address of a running Ray cluster, or `auto`. Default: this machine alone.",
            rich_help_panel=RESOURCES,
        ),
    ] = None,
    wait_for_nodes: Annotated[
        float,
        typer.Option(
            min=0,
            metavar="MINUTES",
            help="Minutes to wait for a node that can hold a trial. Needs --address.",
            rich_help_panel=RESOURCES,
        ),
    ] = 0,
    resume: Annotated[
        bool,
        typer.Option("--resume", help="Resume the study of that name in --output-dir.", rich_help_panel=RESUME),
    ] = False,
    resume_or_start: Annotated[
        bool,
        typer.Option(
            "--resume-or-start",
            help="Resume the study if it exists, otherwise start it (for schedulers that requeue jobs).",
            rich_help_panel=RESUME,
        ),
    ] = False,
    retry_failed: Annotated[
        bool,
        typer.Option(
            "--retry-failed",
            help="Resume failed trials too, from their last checkpoints. Needs --resume or --resume-or-start.",
            rich_help_panel=RESUME,
        ),
    ] = False,
    output_dir: Annotated[
        str,
        typer.Option(
            "--output-dir",
            help="Folder that receives the study's folder: a path, or s3://bucket/folder.",
            rich_help_panel=OUTPUT,
        ),
    ] = "runs",
) -> None:
    """Search, confirm the finalists and the baseline on fresh seeds, and write the report.

    Examples:

    `tune-cmx search search_spaces/demo.yaml --data runs/synthetic`

    `tune-cmx search search_spaces/cssa_stages.yaml --data DATA --gpus-per-trial 0.5`

    `tune-cmx search search_spaces/cssa_stages.yaml --resume`
    """
    _refuse_idle(
        {
            "--retry-failed": ("--resume", retry_failed and not (resume or resume_or_start)),
            "--wait-for-nodes": ("--address", wait_for_nodes > 0 and address is None),
        }
    )
    given = read_space(space)
    folder, mirror = study_place(output_dir, given.name)
    before = earlier_session(folder, resume=resume, resume_or_start=resume_or_start)
    overrides = data_settings(data, labels, split, split_by, classes, sequences, bands, layout, labels_from)
    overrides |= set_settings(sets)
    if before and "data.root" not in overrides:
        overrides = {**data_of_session(before), **overrides}
    study, opened = study_on_data(given, overrides, before)
    study = warm_started(study, warm_start, before)
    processes = _processes(study, gpus_per_trial)
    if address is None:  # before Ray is imported; it would listen on every interface of the machine
        os.environ.setdefault("RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER", "0")
    with ExitStack() as stack:
        with torch_process() as ask:
            answer = ask(share_of_gpu, device, gpus_per_trial, here=address is None)
            from tune_cmx.search.cluster import Resources

            chosen, share = answer()
            resources = Resources(
                address=address,
                cpus_per_trial=cpus_per_trial,
                gpus_per_trial=share,
                max_concurrent=max_concurrent,
                device=chosen,
                threads=max(1, int(cpus_per_trial)),
                workers=loaders(workers, chosen, cpus_per_trial),
                shared_cache=shared_cache,
                processes=processes,
                measure_share=gpus_per_trial == MEASURED,
                wait_s=60 * wait_for_nodes,
            )
            to_prepare = prepared_for(study.baseline.config.data, folder, opened, begun=before is not None)
            prepared, found = _checked(stack, study, to_prepare, resources, ask)
        done = _run(study, resources, (folder, mirror, space), prepared, found, before, retry_failed=retry_failed)
    show_report(folder, mirror)
    if not done:
        again = ["tune-cmx", *(word for word in _words_given() if word != "--resume"), "--resume"]
        out.print(f"[yellow]interrupted[/yellow]; resume it with: {escape(shlex.join(again))}", soft_wrap=True)
        raise typer.Exit(130)


def _processes(study: Study, gpus_per_trial: str | None) -> int:
    """Processes of each trial; several take a whole GPU each."""
    processes = study.baseline.config.schedule.processes
    if processes > 1 and gpus_per_trial not in (None, "0", "1"):
        raise ConfigError(
            f"--gpus-per-trial {gpus_per_trial}: schedule.processes is {processes}, and each process takes a whole "
            "GPU; leave --gpus-per-trial out"
        )
    return processes


def _checked(
    stack: ExitStack, study: Study, data: "AbstractContextManager[Prepared]", resources: "Resources", ask: Ask
) -> "tuple[Prepared, Checked]":
    """The prepared data and the checked models; Ray starts while the models are built, and stays on the stack."""
    from tune_cmx.data.shared.image_cache import images_kept
    from tune_cmx.search.cluster import ray_cluster

    with data as prepared:
        checked = begin_check(study, prepared, ask)
        if resources.shared_cache and resources.address is None:  # between two trials somebody must hold the images
            lack = stack.enter_context(images_kept(prepared.data, prepared.audit))
            if lack:
                warn(lack)
        stack.enter_context(ray_cluster(resources, say))
        found = checked()
        show_check(study, found)
    return prepared, found


def _run(
    study: Study,
    resources: "Resources",
    places: "tuple[Path, Mirror | None, Path]",
    prepared: "Prepared",
    found: "Checked",
    before: StudyState | None,
    *,
    retry_failed: bool,
) -> bool:
    """Run the study in its folder; False if it was interrupted.

    Args:
        study: Parsed.
        resources: What each trial gets.
        places: The study's folder, its mirror on storage or None, and the search-space file.
        prepared: The data.
        found: What the check of the models found.
        before: The study's `study.json` if the study is resumed.
        retry_failed: Whether failed trials are resumed too.
    """
    from tune_cmx.search.console import StudyConsole
    from tune_cmx.search.runner import run_study
    from tune_cmx.search.study_folder import SPACE_FILE, open_folder

    folder, mirror, space = places
    if before is None:
        (folder / SPACE_FILE).unlink(missing_ok=True)  # of an attempt that never came to a study
    opened = open_folder(folder, study, dataclasses.replace(prepared, folder=folder / "data"), space, mirror)
    opened.built = {arm.id: arm for arm in found.arms}
    opened.state = opened.state.with_fields(folder / STUDY_FILE, equivalent=found.equivalent)
    if retry_failed:
        opened.retry_failed()
    console = StudyConsole(out, study.file.early_stopping.metric)
    return run_study(opened, resources, console, before_s=(before.seconds or 0.0) if before else 0.0)


def _refuse_idle(flags: Mapping[str, tuple[str, bool]]) -> None:
    """Raise ConfigError for a flag that does nothing without another one."""
    for flag, (other, idle) in flags.items():
        if idle:
            raise ConfigError(f"{flag} does nothing without {other}; add it, or leave {flag} out")


def _words_given() -> list[str]:
    """The words of the command line, `search` first; `scripts/search.py` has no such word."""
    words = sys.argv[1:]
    return words if words[:1] == ["search"] else ["search", *words]
