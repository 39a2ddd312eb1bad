"""The command `plan`."""

import math
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.markup import escape

from tune_cmx.cli.objects.planned import PlannedStudy, planned_object
from tune_cmx.cli.options.flags import (
    GPUS_PER_TRIAL,
    MEASURED,
    RESOURCES,
    Bands,
    Classes,
    Data,
    Labels,
    LabelsFrom,
    Layout,
    Sequences,
    Sets,
    Space,
    Split,
    SplitBy,
    Workers,
    data_settings,
    loaders,
    set_settings,
    share_given,
)
from tune_cmx.cli.options.json_output import Json, print_object, prints
from tune_cmx.cli.options.streams import streams_line, study_on_data
from tune_cmx.cli.output import bytes_text, hours_text, out, say, time_text, warn
from tune_cmx.cli.prepare import prepare_data
from tune_cmx.config.space import read_space
from tune_cmx.config.study import Study
from tune_cmx.counting import count
from tune_cmx.errors import ConfigError
from tune_cmx.machine import cores_here

if TYPE_CHECKING:
    from tune_cmx.data.prepare import Prepared
    from tune_cmx.search.planning.costs import Costs, Probed, Times
    from tune_cmx.search.planning.estimate import Amount, Estimate, Places

_GIB = 2**30


@prints(PlannedStudy)
def plan(
    space: Space,
    data: Data = None,
    gpus: Annotated[
        int | None,
        typer.Option(
            "--gpus",
            min=0,
            metavar="N",
            help="Number of GPUs for the study (0 = CPU). Default: all GPUs of this machine.",
            rich_help_panel=RESOURCES,
        ),
    ] = None,
    gpus_per_trial: Annotated[
        str | None, typer.Option(metavar="SHARE", help=f"{GPUS_PER_TRIAL}Default: 1.", rich_help_panel=RESOURCES)
    ] = None,
    cpus_per_trial: Annotated[
        float,
        typer.Option(
            min=0.01,
            metavar="CORES",
            help="Number of CPU cores of each trial; without GPUs.",
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
    earlier: Annotated[
        list[Path] | None,
        typer.Option(
            "--from",
            help="Take times from this folder of a study or of runs. Repeatable. Default: times are measured.",
            rich_help_panel="Times",
        ),
    ] = None,
    probe: Annotated[
        bool,
        typer.Option(
            "--probe/--no-probe",
            help="Measure the time of a few training steps if --from gives none.",
            rich_help_panel="Times",
        ),
    ] = True,
    labels: Labels = None,
    split: Split = None,
    split_by: SplitBy = None,
    classes: Classes = None,
    sequences: Sequences = None,
    bands: Bands = None,
    layout: Layout = None,
    labels_from: LabelsFrom = None,
    workers: Workers = None,
    sets: Sets = None,
    as_json: Json = False,
) -> None:
    """Estimate trials, epochs, hours and disk of a study before it runs.

    Three columns: what to expect, the worst case, and the whole grid trained in full.

    Examples:

    `tune-cmx plan search_spaces/cssa_stages.yaml --data DATA --gpus 4 --gpus-per-trial 0.5`

    `tune-cmx plan search_spaces/cssa_stages.yaml --data DATA --gpus 4 --from runs/an-earlier-study`
    """
    settings = data_settings(data, labels, split, split_by, classes, sequences, bands, layout, labels_from)
    study, opened = study_on_data(read_space(space), {**settings, **set_settings(sets)})
    from tune_cmx.search.planning.estimate import estimate

    if gpus_per_trial == MEASURED:
        _refuse_without_gpu()
    share = None if gpus_per_trial is None else share_given(gpus_per_trial)
    places = _places(study, gpus, share, cpus_per_trial, max_concurrent)
    with tempfile.TemporaryDirectory() as folder:
        prepared = prepare_data(study.baseline.config.data, Path(folder), opened)
        if gpus_per_trial == MEASURED:
            places = _places(study, gpus, _measured(study, prepared), cpus_per_trial, max_concurrent)
        costs = _costs(study, prepared, places, earlier or [], probe=probe, threads=cpus_per_trial, workers=workers)
    found = estimate(study, costs, places)
    if as_json:
        print_object(planned_object(str(space), study, found, places, costs.times, prepared))
    else:
        show_estimate(study, found, places, costs.times)


def _places(
    study: Study, gpus: int | None, gpus_per_trial: float | None, cpus_per_trial: float, max_concurrent: int | None
) -> "Places":
    """Where trials run, and how many at a time."""
    import torch

    from tune_cmx.search.planning.estimate import Places

    number = torch.cuda.device_count() if gpus is None else gpus
    processes = study.baseline.config.schedule.processes
    if not number:
        if gpus_per_trial:
            raise ConfigError(f"--gpus-per-trial {gpus_per_trial:g} needs GPUs: name them with --gpus")
        share = cpus_per_trial * processes
        fitting = int(cores_here() / share + 1e-9)
    elif gpus_per_trial == 0:
        raise ConfigError(
            f"--gpus-per-trial 0: trials would use none of the {count(number, 'GPU')}; leave it out, or set --gpus 0"
        )
    else:
        share = float(processes) if processes > 1 else gpus_per_trial or 1.0
        fitting = int(number / share + 1e-9) if share >= 1 else number * int(1 / share + 1e-9)
    if fitting < 1:
        have, flag = (count(number, "GPU"), "--gpus") if number else ("the cores here", "--cpus-per-trial")
        raise ConfigError(f"{flag}: a trial needs {share:g} of {have}, so none can run; lower what a trial needs")
    return Places(min(fitting, max_concurrent or fitting), share, gpu=number > 0)


def _refuse_without_gpu() -> None:
    import torch

    if not torch.cuda.is_available():
        raise ConfigError(
            f"--gpus-per-trial {MEASURED}: this machine has no GPU to measure the memory on; give a share, as in "
            "--gpus-per-trial 0.5, or leave it out"
        )


def _measured(study: Study, prepared: "Prepared") -> float:
    """The share of a GPU that a trial needs, by the GPU here."""
    from tune_cmx.search.planning.gpu_share import share_here

    found = share_here(study, prepared)
    say(f"memory: {round(1 / found)} trials fit a GPU")
    return found


def _costs(
    study: Study,
    prepared: "Prepared",
    places: "Places",
    earlier: list[Path],
    *,
    probe: bool,
    threads: float,
    workers: int | None,
) -> "Costs":
    """What a trial takes: by earlier trials where there are any, else by a probe."""
    import torch

    from tune_cmx.search.planning.costs import Costs, earlier_times, probed_times, seconds_to_check
    from tune_cmx.search.planning.model_sizes import ModelSizes

    device = "cuda" if places.gpu else "cpu"
    configs = [arm.config for arm in study.arms.values()] + [config for _, config in study.range_ends()]
    sizes = ModelSizes(prepared)
    times, left_out = earlier_times(earlier, prepared, configs, device, sizes) if earlier else (None, "")
    if times is None and not probe:
        trials = f"trial of --from says how long an epoch takes: {left_out}" if earlier else "earlier study is named"
        raise ConfigError(f"--no-probe: no {trials}; name one with --from, or leave --no-probe out")
    if times is None:
        if left_out:
            warn(f"--from: no trial says how long an epoch takes: {left_out}. A probe measures it instead.")
        if places.gpu and not torch.cuda.is_available():
            warn(
                "this machine has no GPU to probe. The hours are those of this CPU, far more than on a GPU; name a "
                "study that ran on a GPU with --from"
            )
        here = "cuda" if places.gpu and torch.cuda.is_available() else "cpu"
        beside = max(1, int(1 / places.share + 1e-9)) if places.gpu else min(places.count, 4)
        say("probe: a few training steps of the baseline and of the largest and smallest configuration")
        times = probed_times(
            configs,
            prepared,
            here,
            sizes,
            side_by_side=beside,
            threads=max(1, int(threads)),
            workers=loaders(workers, here, threads),
        )
    check_s = seconds_to_check(study.baseline.config.model, prepared)
    return Costs(sizes, times, images=len(prepared.split.test), check_s=check_s)


def show_estimate(study: Study, found: "Estimate", places: "Places", times: "Times") -> None:
    """A table, and what it comes to in a sentence."""
    from rich.table import Table

    from tune_cmx.search.planning.study_size import rungs_text

    unit = "GPU-hours" if places.gpu else "core-hours"
    columns = {"expected": found.expected, "worst case": found.worst, "whole grid": found.grid}
    shown = {name: amount for name, amount in columns.items() if amount is not None}
    table = Table(box=None, pad_edge=False, header_style="bold")
    table.add_column("")
    for name in shown:
        table.add_column(name, justify="right")
    rows: dict[str, Callable[[Amount], str]] = {
        "trials": lambda amount: f"{amount.search_trials + amount.confirm_trials:.0f}",
        "epochs of the search": lambda amount: "-" if amount is found.grid else f"{amount.search_epochs:.0f}",
        "epochs of the confirmation": lambda amount: "-" if amount is found.grid else f"{amount.confirm_epochs:.0f}",
        "epochs in total": lambda amount: f"{amount.epochs:.0f}",
        unit: lambda amount: hours_text(amount.busy_s * places.share),
        f"wall time, {count(places.count, 'trial')} at a time": lambda amount: time_text(amount.wall_s),
        "disk": lambda amount: bytes_text(amount.disk_bytes),
    }
    for heading, text in rows.items():
        table.add_row(heading, *(text(amount) for amount in shown.values()))
    if streams := streams_line(study):
        say(escape(streams))
    say(escape(study.question))
    out.print("", table, "", sep="\n", soft_wrap=not out.is_terminal)
    say(rungs_text(study))
    say(f"times: {escape(times.source)}")
    for line in _probed_lines(study, times.probed, gpu=places.gpu):
        say(escape(line))
    say(_sum_up(study, found, places, unit))


def _probed_lines(study: Study, probed: "Sequence[Probed]", *, gpu: bool) -> list[str]:
    """Seconds and memory of each configuration that was probed, and how many trials the memory here is enough for."""
    import torch

    from tune_cmx.training.memory import USABLE, gpu_total

    if not probed:
        return []
    lines = []
    for one in probed:
        name = next((arm.label for arm in study.arms.values() if arm.config == one.config), "an end of a range")
        images = count(one.config.schedule.batch_size, "image")
        lines.append(f"probe: {name}: {one.step_s:.3g} s per step of {images}, peak memory {one.peak / _GIB:.3g} GiB")
    here = "cuda" if gpu and torch.cuda.is_available() else "cpu"
    if gpu and here == "cpu":
        return [*lines, "memory: measured on this CPU; run plan on a machine with a GPU to see how many trials fit one"]
    total = gpu_total(here)
    fitting = math.floor(USABLE * total / max(one.peak for one in probed))
    place = f"{USABLE:.0%} of the {total / _GIB:.1f} GiB of {'one GPU' if here == 'cuda' else 'this machine'}"
    return [*lines, f"memory: {count(fitting, 'trial')} like the largest fit into {place}"]


def _sum_up(study: Study, found: "Estimate", places: "Places", unit: str) -> str:
    expected, grid = found.expected, found.grid
    low, high = found.epochs_span
    against = ""
    if grid is not None:
        seeds = count(study.file.confirm.first_seeds, "seed")
        against = f", {expected.busy_s / grid.busy_s:.0%} of the whole grid on {seeds}"
    span = f"{expected.epochs:.0f} epochs" if low == high else f"{expected.epochs:.0f} epochs ({low} to {high})"
    return (
        f"[bold]plan: {study.file.study} takes about {span} and {time_text(expected.wall_s)}, "
        f"{count(places.count, 'trial')} at a time: {hours_text(expected.busy_s * places.share)} {unit}{against}. "
        f"Worst case: {time_text(found.worst.wall_s)} and {hours_text(found.worst.busy_s * places.share)} {unit}[/bold]"
    )
