"""The command `search`."""

import dataclasses
import os
import shlex
import sys
from collections.abc import Mapping
from contextlib import ExitStack
from typing import Annotated

import typer
from rich.markup import escape

from tune_cmx.cli.earlier import data_of_session, earlier_session, study_place
from tune_cmx.cli.options.flags import (
    MEASURED,
    Bands,
    Classes,
    Data,
    Device,
    Labels,
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
from tune_cmx.cli.options.warm_start import WarmStarts, warm_started
from tune_cmx.cli.output import out, say, warn
from tune_cmx.cli.prepare import prepared_for
from tune_cmx.cli.study import begin_check, show_check, show_report
from tune_cmx.cli.torch_process import torch_process
from tune_cmx.config.study import read_study
from tune_cmx.errors import ConfigError


def search(
    space: Space,
    data: Data = None,
    labels: Labels = None,
    output_dir: Annotated[
        str, typer.Option("--output-dir", help="The study goes into a folder of its name here; or s3://bucket/folder.")
    ] = "runs",
    split: Split = None,
    split_by: SplitBy = None,
    classes: Classes = None,
    sequences: Sequences = None,
    bands: Bands = None,
    resume: Annotated[bool, typer.Option("--resume", help="Take up the study of that name in --output-dir.")] = False,
    resume_or_start: Annotated[
        bool,
        typer.Option(
            "--resume-or-start", help="--resume if the study has begun: for what starts a job again by itself."
        ),
    ] = False,
    retry_failed: Annotated[
        bool, typer.Option("--retry-failed", help="With --resume: failed trials go on from their last checkpoint.")
    ] = False,
    gpus_per_trial: Annotated[
        str | None,
        typer.Option(help="0.5 puts two trials on a GPU, `auto` as many as fit its memory; else 1, or 0 without GPU."),
    ] = None,
    cpus_per_trial: Annotated[
        float, typer.Option(min=0.01, help="Also the trial's torch threads, rounded down to at least 1.")
    ] = 1,
    max_concurrent: Annotated[
        int | None, typer.Option(min=1, help="Trials at a time; else what the machine holds.")
    ] = None,
    address: Annotated[
        str | None, typer.Option(envvar="RAY_ADDRESS", help="A running Ray cluster; else this machine.")
    ] = None,
    wait_for_nodes: Annotated[
        float, typer.Option(min=0, help="With --address: minutes to wait for a node that holds a trial.")
    ] = 0,
    device: Device = None,
    workers: Workers = None,
    shared_cache: SharedCache = False,
    sets: Sets = None,
    warm_start: WarmStarts = None,
) -> None:
    """Search, confirm finalists and baseline on fresh seeds, and write the report.

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
    settings = data_settings(data, labels, split, split_by, classes, sequences, bands)
    overrides = {**settings, **set_settings(sets)}
    study = read_study(space, overrides=overrides)
    folder, mirror = study_place(output_dir, study.file.study)
    before = earlier_session(folder, resume=resume, resume_or_start=resume_or_start)
    if before and "data.root" not in overrides:
        overrides = {**data_of_session(before), **overrides}
        study = read_study(space, overrides=overrides)
    study = warm_started(study, warm_start, before)
    if address is None:  # before Ray is imported; it would listen on every interface of the machine
        os.environ.setdefault("RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER", "0")
    processes = study.baseline.config.schedule.processes
    if processes > 1 and gpus_per_trial not in (None, "0", "1"):
        raise ConfigError(
            f"--gpus-per-trial {gpus_per_trial}: schedule.processes is {processes}, and each takes a whole GPU; leave "
            "the flag out"
        )
    with ExitStack() as stack:
        with torch_process() as ask:
            answer = ask(share_of_gpu, device, gpus_per_trial, here=address is None)
            from tune_cmx.data.image_cache import images_kept
            from tune_cmx.search.cluster import Resources, ray_cluster
            from tune_cmx.search.console import StudyConsole
            from tune_cmx.search.runner import run_study
            from tune_cmx.search.study_folder import SPACE_FILE, open_folder

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
            with prepared_for(study.baseline.config.data, folder, begun=before is not None) as prepared:
                checked = begin_check(study, prepared, ask)
                if shared_cache and address is None:  # where no trial runs, as between two, somebody must hold them
                    lack = stack.enter_context(images_kept(prepared.data, prepared.audit))
                    if lack:
                        warn(lack)
                stack.enter_context(ray_cluster(resources, say))  # it begins while the models are built
                found = checked()
                show_check(study, found)
        if before is None:
            (folder / SPACE_FILE).unlink(missing_ok=True)  # of an attempt that never came to a study
        opened = open_folder(folder, study, dataclasses.replace(prepared, folder=folder / "data"), space, mirror)
        opened.built = {arm.id: arm for arm in found.arms}
        opened.progress["equivalent"] = found.equivalent
        console = StudyConsole(out, study.file.early_stopping.metric)
        if retry_failed:
            opened.retry_failed()
        done = run_study(opened, resources, console, before_s=(before.seconds or 0.0) if before else 0.0)
    show_report(folder, mirror)
    if not done:
        again = ["tune-cmx", *(word for word in _words_given() if word != "--resume"), "--resume"]
        out.print(f"[yellow]interrupted[/yellow]; take it up with: {escape(shlex.join(again))}", soft_wrap=True)
        raise typer.Exit(130)


def _refuse_idle(flags: Mapping[str, tuple[str, bool]]) -> None:
    """A flag that would do nothing without another one is a mistake."""
    for flag, (other, idle) in flags.items():
        if idle:
            raise ConfigError(f"{flag} does nothing without {other}; add it, or leave {flag} out")


def _words_given() -> list[str]:
    """The words of the command line, the command first; `scripts/search.py` leaves its own out."""
    words = sys.argv[1:]
    return words if words[:1] == ["search"] else ["search", *words]
