"""`tune-cmx robustness`: what trained detectors lose when one modality is missing, shifted or delayed."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from itertools import groupby
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.markup import escape
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn
from rich.table import Table

from tune_cmx.cli.options.corruptions import asked_corruptions, refuse_unseen, refuse_without_sequences
from tune_cmx.cli.options.flags import (
    CORRUPTIONS,
    DATA,
    Data,
    Device,
    Labels,
    Sequences,
    Threads,
    Workers,
    data_settings,
    device_named,
    loaders,
)
from tune_cmx.cli.options.measured_runs import MeasuredRuns, config_of, measured_runs
from tune_cmx.cli.output import out, say, warn
from tune_cmx.cli.prepare import prepare_data
from tune_cmx.config.trial import DataConfig, TrialConfig
from tune_cmx.counting import count
from tune_cmx.errors import ConfigError, TrialError, TuneCmxError
from tune_cmx.old_form import TRIALS
from tune_cmx.state.data_files import SPLIT_FILE

if TYPE_CHECKING:
    from tune_cmx.data.corruption.kinds import Corruption
    from tune_cmx.data.prepare import Prepared

CSV = "robustness.csv"


def robustness(
    study: Annotated[
        str, typer.Argument(help="Folder or URI of a study, for all its confirmation runs; or one run folder.")
    ],
    missing: Annotated[
        list[str] | None,
        typer.Option(
            "--missing", help="Remove this modality, as in `thermal`. Repeatable.", rich_help_panel=CORRUPTIONS
        ),
    ] = None,
    shifted: Annotated[
        list[str] | None,
        typer.Option(
            "--shifted",
            help="Shift this modality by pixels of the stored image, right and down, as in `thermal=4,0`. Repeatable.",
            rich_help_panel=CORRUPTIONS,
        ),
    ] = None,
    delayed: Annotated[
        list[str] | None,
        typer.Option(
            "--delayed",
            help="Delay this modality by video frames, as in `event=2`. Repeatable.",
            rich_help_panel=CORRUPTIONS,
        ),
    ] = None,
    split: Annotated[
        str | None,
        typer.Option(
            "--split",
            help="Split to score on: val or test. Default: the split of the reported results.",
            rich_help_panel=DATA,
        ),
    ] = None,
    data: Data = None,
    labels: Labels = None,
    sequences: Sequences = None,
    device: Device = None,
    threads: Threads = None,
    workers: Workers = None,
) -> None:
    """Measure what trained detectors lose when one modality is missing, shifted or delayed. The boxes do not move.

    Default corruptions: each modality of the model is removed, then shifted right by 2, 4, 8 and 16 pixels. Where
    sequences are known, it is also delayed by 1, 2 and 4 frames. Stored results are reused.

    Examples:

    `tune-cmx robustness runs/cssa-stages`

    `tune-cmx robustness runs/cssa-stages --missing thermal --shifted thermal=4,0 --delayed event=2`

    `tune-cmx robustness runs/trial --split val --data DATA`
    """
    asked = asked_corruptions(missing or [], shifted or [], delayed or [])
    if split not in (None, "val", "test"):
        raise ConfigError(f"--split: needs val or test; got '{split}'")
    place = measured_runs(study)
    configs = {trial.name: config for trial in place.trials if (config := config_of(trial)) is not None}
    if not configs:
        raise ConfigError(f"{place.folder}: no config.json of its runs can be read; restore one")
    refuse_unseen(asked, configs.values())
    chosen = device_named(device, here=True)
    moved = data_settings(data, labels, None, None, None, sequences, None)
    prepared = _prepared(place, next(iter(configs.values())).data, moved)
    refuse_without_sequences(asked, prepared)
    import torch

    if threads:
        torch.set_num_threads(threads)
    parts = {trial.name: split or trial.reported_on or "val" for trial in place.trials}
    try:
        failed = _measure(place, configs, parts, prepared, asked, chosen, loaders(workers, chosen))
    except KeyboardInterrupt as error:
        out.print(
            "[yellow]interrupted[/yellow]; what was measured is kept; run the same command to resume", soft_wrap=True
        )
        raise typer.Exit(130) from error
    _show(place, parts, failed)
    _write(place)
    if failed:
        raise TrialError(
            f"{len(failed)} of {count(len(place.trials), 'run')} could not be measured; the warnings above say why"
        )


def _prepared(place: MeasuredRuns, config: DataConfig, moved: Mapping[str, Any]) -> "Prepared":
    """The data as they were divided for training.

    Raises:
        ConfigError: The split of the training is not there.
        DataError: The data are not there, or are others.
    """
    if not (place.data / SPLIT_FILE).is_file():
        raise ConfigError(f"{place.data}: no {SPLIT_FILE}, so the training images are not known; restore that folder")
    update = {path.removeprefix("data."): value for path, value in moved.items()}
    return prepare_data(config.model_copy(update={**update, "split": None}), place.data)


def _measure(
    place: MeasuredRuns,
    configs: Mapping[str, TrialConfig],
    parts: Mapping[str, str],
    prepared: "Prepared",
    asked: "Sequence[Corruption]",
    device: str,
    workers: int,
) -> set[str]:
    """Measure run by run; the names of those that could not be."""
    from tune_cmx.data.corruption.kinds import usual_corruptions
    from tune_cmx.data.corruption.robustness_file import ROBUSTNESS
    from tune_cmx.training.corruption_scores import measure_robustness
    from tune_cmx.training.run_folder import RunFolder

    wanted: dict[str, list[Corruption]] = {}
    for name, config in configs.items():
        modalities = config.model.modalities()
        usual = usual_corruptions(modalities, delays=prepared.data.sequences_known)
        wanted[name] = [one for one in asked or usual if one.modality in modalities]
    failed: set[str] = set()
    with _progress(sum(1 + len(each) for each in wanted.values())) as (show, advance):
        for trial in place.trials:
            show(trial.name)
            try:
                if place.mirror is not None:
                    place.mirror.pull(f"{TRIALS}/{trial.name}")  # with its weights
                made = measure_robustness(
                    RunFolder(trial.folder),
                    prepared,
                    wanted.get(trial.name, ()),
                    parts[trial.name],
                    device=device,
                    workers=workers,
                    progress=advance,
                )
            except TuneCmxError as error:
                if not place.study:
                    raise
                warn(f"{trial.name}: {error}")
                failed.add(trial.name)
                continue
            there = 1 + len(wanted[trial.name]) - made
            say(f"{escape(trial.name)}: {count(made, 'evaluation')} made, {there} taken from before")
            if place.mirror is not None:
                place.mirror.push(f"{TRIALS}/{trial.name}/{ROBUSTNESS}")
    return failed


@contextmanager
def _progress(total: int) -> Iterator[tuple[Callable[[str], None], Callable[[], None]]]:
    """What shows the run at work, and what counts an evaluation."""
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns, console=out, transient=True, disable=not out.is_terminal) as progress:
        task = progress.add_task("evaluating", total=total)
        yield lambda name: progress.update(task, description=escape(name)), lambda: progress.advance(task)


def _show(place: MeasuredRuns, parts: Mapping[str, str], failed: set[str]) -> None:
    """A table for each part of the split that was measured, and where weights do not give the recorded value."""
    from tune_cmx.evidence.report.sections.modality_loss import (
        HEADER,
        LEFT,
        corrupted_arms,
        gap_words,
        stored_robustness,
    )

    measured = [trial for trial in place.trials if trial.name not in failed]
    for part in sorted({parts[trial.name] for trial in measured}):
        here = [trial for trial in measured if parts[trial.name] == part]
        rows, _ = corrupted_arms(here, part)
        say(f"on {part}: mAP in points, and points lost against the same weights clean; means over seeds ± sd")
        for arm, of_arm in groupby(rows, key=lambda row: row.arm):
            table = Table(
                title=escape(place.label(arm)), title_justify="left", box=None, pad_edge=False, header_style="bold"
            )
            for place_of, heading in enumerate(HEADER[1:], start=1):
                table.add_column(heading, justify="left" if place_of < LEFT else "right", no_wrap=True)
            for row in of_arm:
                table.add_row(*map(escape, row.cells("")[1:]))
            out.print("", table, sep="\n", soft_wrap=not out.is_terminal)
        out.print()
        for trial in here:
            words = gap_words(trial, part, stored_robustness(trial)[part])
            if words:
                warn(words)


def _write(place: MeasuredRuns) -> None:
    """The study's CSV, and the last line."""
    from tune_cmx.data.corruption.robustness_file import ROBUSTNESS
    from tune_cmx.evidence.report.sections.modality_loss import robustness_table
    from tune_cmx.state.json_file import write_atomically

    path = place.folder / ROBUSTNESS
    if place.study:
        path = place.folder / CSV
        write_atomically(path, robustness_table(place.trials).to_csv(index=False))
        if place.mirror is not None:
            place.mirror.push(CSV)
            say(f"copied to {escape(place.mirror.uri.partition('?')[0])}; here:")
        study = place.mirror.uri if place.mirror is not None else str(place.folder)
        say(f"in the report: tune-cmx report {escape(study)}")
    out.print(f"[bold]results: {escape(str(path))}[/bold]", soft_wrap=True)
