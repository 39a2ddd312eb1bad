"""Commands on a study that train nothing: `check`, `report`."""

import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.markup import escape

from tune_cmx.cli.earlier import study_copy
from tune_cmx.cli.objects.checked import CheckedStudy, checked_object
from tune_cmx.cli.options.flags import (
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
    data_settings,
    set_settings,
)
from tune_cmx.cli.options.json_output import Json, print_object, prints
from tune_cmx.cli.options.streams import streams_line, study_on_data
from tune_cmx.cli.output import out, say, warn
from tune_cmx.cli.prepare import prepare_data
from tune_cmx.cli.torch_process import Ask, torch_process
from tune_cmx.config.searchers import TpeSearcher
from tune_cmx.config.space import read_space
from tune_cmx.config.study import Study
from tune_cmx.counting import count
from tune_cmx.errors import DataError

if TYPE_CHECKING:
    from tune_cmx.data.prepare import Prepared
    from tune_cmx.search.planning.checked_models import Checked
    from tune_cmx.storage import Mirror


@prints(CheckedStudy)
def check(
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
    as_json: Json = False,
) -> None:
    """Find what would fail, before it costs GPU time: build every model on the CPU and audit the data.

    Example: `tune-cmx check search_spaces/cssa_stages.yaml --data DATA`
    """
    overrides = data_settings(data, labels, split, split_by, classes, sequences, bands, layout, labels_from)
    study, opened = study_on_data(read_space(space), {**overrides, **set_settings(sets)})
    with torch_process() as ask, tempfile.TemporaryDirectory() as folder:
        prepared = None if opened is None else prepare_data(study.baseline.config.data, Path(folder), opened)
        checked = begin_check(study, prepared, ask)()
        if as_json:
            print_object(checked_object(str(space), study, checked, _warnings(study, checked), prepared))
        else:
            show_check(study, checked)
    drawn = study.file.searcher.one_by_one is not None
    arms = "each choice and range end" if drawn else count(len(study.searched), "configuration")
    say(f"[green]{escape(str(space))}: the baseline and {arms} can be built and compared[/green]")


def begin_check(study: Study, prepared: "Prepared | None", ask: Ask) -> "Callable[[], Checked]":
    """Start to build every configuration's model; call the result to wait for `search.check.Checked`.

    Args:
        study: Parsed.
        prepared: The data; None where none are named.
        ask: Where the models are built.

    Raises:
        DataError: No training image has a box, or no validation image.
        ConfigError: What the search begins with cannot be read, or a model cannot be built.
    """
    searcher = study.file.searcher
    if isinstance(searcher, TpeSearcher):  # what it begins with lies outside the file
        from tune_cmx.search.optuna.priors import observations_of

        observations_of(searcher, study.phases[0].domains, searcher.optimised(study.file.early_stopping.metric))
    counts = None if prepared is None else prepared.summary()["counts"]
    if prepared is not None and counts is not None and not counts["train"]["boxes"]:
        raise DataError(
            f"{prepared.data.root}: no training image has a box, so nothing can be learnt; split the images in another "
            "way, with --split FILE or --split-by"
        )
    if prepared is not None and counts is not None and not counts["val"]["boxes"]:
        raise DataError(
            f"{prepared.data.root}: no validation image has a box, so {study.file.early_stopping.metric} is not "
            "defined; split the images in another way, with --split FILE or --split-by"
        )
    return ask(checked_study, study, prepared)


def show_check(study: Study, checked: "Checked") -> None:
    """Print what the check found."""
    from rich.table import Table

    from tune_cmx.search.planning.study_size import rungs_text, size_text

    table = Table(box=None, pad_edge=False, header_style="bold")
    table.add_column("configuration", overflow="fold")
    for heading in ("parameters", "active", "epochs"):
        table.add_column(heading, justify="right")
    for arm in checked.arms:
        table.add_row(
            escape(arm.label), f"{arm.parameters['total']:,}", f"{arm.parameters['active']:,}", str(arm.epochs)
        )
    if streams := streams_line(study):
        say(escape(streams))
    say(escape(study.question))
    out.print("", table, "", sep="\n", soft_wrap=not out.is_terminal)
    for warning in _warnings(study, checked):
        warn(warning)
    for text in (size_text(study), rungs_text(study)):
        say(text)


def _warnings(study: Study, checked: "Checked") -> list[str]:
    """What the check warns of; the same finding of several configurations is one warning."""
    from tune_cmx.model_audit import merged

    found = [(arm.label, warning) for arm in checked.arms for warning in arm.warnings]
    one_run = "confirm.seeds is 1: one run a configuration allows no test and no claim; set confirm.seeds to 3 or more"
    return [*merged(found), *checked.equivalent_texts, *([one_run] if study.file.confirm.first_seeds == 1 else [])]


def checked_study(study: Study, prepared: "Prepared | None") -> "Checked":
    """What `search.check.check_study` finds; named here so that only the process that builds models loads torch."""
    from tune_cmx.search.check import check_study

    return check_study(study, prepared)


def report(study: Annotated[str, typer.Argument(help="Study folder, as in `runs/demo`, or its URI.")]) -> None:
    """Write the report of a study again, from its folder.

    Example: `tune-cmx report runs/demo`
    """
    show_report(*study_copy(study) if "://" in study else (Path(study).resolve(), None))


def show_report(folder: Path, mirror: "Mirror | None") -> None:
    """Write the report, and say where it and the curves are; `mirror` copies it to storage."""
    from tune_cmx.evidence.report.write import write_report
    from tune_cmx.evidence.results.reading import read_study

    path = write_report(folder)
    failed = sum(trial.status == "failed" for trial in read_study(folder).trials)
    if failed:
        say(f"[red]{count(failed, 'trial')} failed[/red]: the report says why; see error.txt in each run folder")
        say("to resume them from their last checkpoints: run the same command with --resume --retry-failed")
    if mirror is not None:
        mirror.push("report")
        say(f"report copied to {escape(mirror.uri.partition('?')[0])}/report; on this machine:")
    out.print(f"curves: tune-cmx board {escape(str(folder))}", soft_wrap=True)
    out.print(f"[bold]report: {escape(str(path.with_suffix('.html')))}[/bold]", soft_wrap=True)
