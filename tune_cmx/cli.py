"""The command line: `tune-cmx check | search | train | report | describe | data synth`."""

import dataclasses
import json
import shlex
import shutil
import sys
import tempfile
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, Any, Literal

import typer
from rich.console import Console
from rich.markup import escape
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn

from tune_cmx import __version__
from tune_cmx.config.parse import PRESETS, dump, flatten, load_mapping, parse_trial, parse_value, read_trial
from tune_cmx.config.study import CONTROL, Study, differing, put, read_study
from tune_cmx.config.trial import DataConfig, TrialConfig
from tune_cmx.errors import ConfigError, DataError, TrialError, TuneCmxError
from tune_cmx.registry import lookup

app = typer.Typer(
    no_args_is_help=True,
    add_completion=False,
    rich_markup_mode="markdown",
    help="Search over fusion in RGB + thermal + event detectors, against an FRM+FFM control trained in the same way.",
    pretty_exceptions_enable=False,
)
data_app = typer.Typer(no_args_is_help=True, help="Data sets.")
app.add_typer(data_app, name="data")
out = Console(file=sys.stdout, highlight=False)  # bound now: Ray's own lines are redirected away while it runs

Space = Annotated[Path, typer.Argument(help="A search-space file, as in `search_spaces/`.", show_default=False)]
Data = Annotated[Path | None, typer.Option("--data", help="Folder of rgb/, thermal/, event/, or of .npy files.")]
Labels = Annotated[
    Path | None, typer.Option("--labels", help="Folder of YOLO labels; else `labels/` beside the images.")
]
Split = Annotated[
    Path | None, typer.Option("--split", help="JSON with frame ids under train, val, test; taken as it is.")
]
SplitBy = Annotated[
    str | None,
    typer.Option("--split-by", help="sequence | block | frame; `frame` leaks and is stamped on every table."),
]
Classes = Annotated[str | None, typer.Option("--classes", help="Class names, comma-separated; else classes.txt.")]
Sequences = Annotated[
    str | None,
    typer.Option("--sequences", help="CSV (id, sequence), or a regular expression with `(?P<sequence>...)`."),
]
Bands = Annotated[
    str | None, typer.Option("--bands", help="Channels of .npy files by modality: `rgb=0,1,2 thermal=3 event=4`.")
]
Sets = Annotated[list[str] | None, typer.Option("--set", help="`path=value` of the configuration; may be repeated.")]
Device = Annotated[str | None, typer.Option("--device", help="As torch names it; else cuda where there is one.")]
Workers = Annotated[int, typer.Option("--workers", min=0, help="Loader processes a trial; 0 loads in the trial's own.")]


def _words_given() -> list[str]:
    """The words of the command line, the command first; `scripts/search.py` leaves its own out."""
    words = sys.argv[1:]
    return words if words[:1] == ["search"] else ["search", *words]


def main(arguments: list[str] | None = None) -> None:
    """Run a command; what a user can cause ends with one message and exit code 2, a failed trial with 1."""
    try:
        app(arguments, prog_name="tune-cmx")
    except TuneCmxError as error:
        _complain(str(error))
        sys.exit(1 if isinstance(error, TrialError) else 2)
    except OSError as error:
        if error.filename is None:
            raise
        _complain(f"{error.filename}: {error.strerror}")
        sys.exit(2)


def _complain(text: str) -> None:
    Console(stderr=True, highlight=False).print(f"[bold red]error:[/bold red] {escape(text)}", soft_wrap=True)


def _say(text: str) -> None:
    """A sentence: wrapped between words on a terminal, one line in a file or a pipe."""
    out.print(text, soft_wrap=not out.is_terminal)


def _warn(text: str) -> None:
    _say(f"[yellow]warning:[/yellow] {escape(text)}")


def _count(number: int, noun: str) -> str:
    return f"{number} {noun}" if number == 1 else f"{number} {noun}s"


@app.callback(invoke_without_command=True)
def _top(version: Annotated[bool, typer.Option("--version", help="Print the version and exit.")] = False) -> None:
    if version:
        out.print(f"tune-cmx {__version__}")
        raise typer.Exit


# ---------------------------------------------------------------- settings from flags


def _data_settings(
    data: Path | None,
    labels: Path | None,
    split: Path | None,
    split_by: str | None,
    classes: str | None,
    sequences: str | None,
    bands: str | None,
) -> dict[str, Any]:
    """The flags about data as configuration paths; paths are made absolute, as a trial runs elsewhere."""
    given = {
        "data.root": data and str(data.resolve()),
        "data.labels": labels and str(labels.resolve()),
        "data.split": split and str(split.resolve()),
        "data.split_by": split_by,
        "data.classes": classes and [name.strip() for name in classes.split(",")],
        "data.sequences": str(Path(sequences).resolve()) if sequences and Path(sequences).is_file() else sequences,
        "data.bands": bands and _bands(bands),
    }
    return {path: value for path, value in given.items() if value}


def _bands(text: str) -> dict[str, list[int]]:
    try:
        pairs = [part.split("=") for part in text.split()]
        bands = {name: [int(channel) for channel in channels.split(",")] for name, channels in pairs}
    except ValueError as error:
        raise ConfigError(f"--bands: needs modality=channels, as in 'rgb=0,1,2 thermal=3'; got '{text}'") from error
    if len(bands) < len(pairs):
        raise ConfigError(f"--bands: names a modality twice; got '{text}'")
    return bands


def _sets(items: list[str] | None) -> dict[str, Any]:
    """`--set path=value`, the value as YAML reads it."""
    settings: dict[str, Any] = {}
    for item in items or []:
        path, equals, value = item.partition("=")
        if not equals or not path:
            raise ConfigError(f"--set: needs path=value, as in schedule.epochs=3; got '{item}'")
        settings[path] = parse_value(value, source=f"--set {path}")
    return settings


@contextmanager
def _audit_progress() -> Iterator[Callable[[int, int], None]]:
    columns = (TextColumn("reading frames"), BarColumn(), MofNCompleteColumn())
    with Progress(*columns, console=out, transient=True, disable=not out.is_terminal) as progress:
        task = progress.add_task("audit", total=None)
        yield lambda done, total: progress.update(task, completed=done, total=total)


def _prepare(config: DataConfig, folder: Path) -> Any:
    from tune_cmx.data.prepare import prepare

    if config.split is not None and not Path(config.split).is_file():
        raise ConfigError(f"{config.split}: no such split file; JSON with frame ids under train, val and test")
    with _audit_progress() as progress:
        try:
            prepared = prepare(config, folder, progress=progress)
        except DataError as error:
            if config.root is None or config.root in str(error):
                raise
            raise DataError(f"{config.root}: {error}") from error
    summary = prepared.summary()
    parts = ", ".join(
        f"{part} {_count(count['frames'], 'frame')} with {count['boxes']} boxes"
        for part, count in summary["counts"].items()
    )
    _say(f"data: {escape(str(prepared.data.root))}, split by {summary['how']} ({summary['hash']}): {parts}")
    for warning in summary["warnings"]:
        _warn(warning)
    return prepared


@contextmanager
def _prepared_for(config: DataConfig, folder: Path, *, begun: bool) -> Iterator[Any]:
    """The data in `folder/data`; of something new they are put there only once the block has found no fault.

    So what an earlier attempt left is not taken for this one's, and a fault leaves nothing behind.
    """
    place = folder / "data"
    if begun:
        yield _prepare(config, place)
        return
    with tempfile.TemporaryDirectory() as first:
        prepared = _prepare(config, Path(first))
        yield prepared
        place.mkdir(parents=True, exist_ok=True)
        for file in Path(first).iterdir():
            shutil.copyfile(file, place / file.name)


def _share(device: str | None, gpus_per_trial: float | None, *, here: bool) -> tuple[str, float]:
    """What a trial computes on and its share of a card; the share alone says that it wants one."""
    if gpus_per_trial is not None and not 0 <= gpus_per_trial <= 1:
        raise ConfigError(f"--gpus-per-trial: from 0 to 1, as a trial trains on one card; got {gpus_per_trial:g}")
    if device is None and gpus_per_trial is not None:
        device = "cuda" if gpus_per_trial > 0 else "cpu"
    chosen = _device(device, here=here)
    share = float(chosen == "cuda") if gpus_per_trial is None else gpus_per_trial
    if chosen.startswith("cuda:"):
        raise ConfigError(f"--device: Ray picks the card of each trial; take cuda in place of {chosen}")
    if (chosen == "cuda") != (share > 0):
        raise ConfigError(f"--device {chosen} and --gpus-per-trial {share:g} contradict each other; leave one out")
    return chosen, share


def _device(name: str | None, *, here: bool) -> str:
    """The device by name; `here`: it is this process that needs it."""
    import torch

    chosen = name or ("cuda" if torch.cuda.is_available() else "cpu")
    try:
        kind = torch.device(chosen).type
    except RuntimeError as error:
        raise ConfigError(f"--device: torch knows no '{chosen}'; as in cpu, cuda or cuda:1") from error
    if here and kind == "cuda" and not torch.cuda.is_available():
        raise ConfigError(f"--device: '{chosen}', but torch finds no GPU here; take cpu")
    return chosen


# ---------------------------------------------------------------- commands


@app.command()
def check(
    space: Space,
    data: Data = None,
    labels: Labels = None,
    split: Split = None,
    split_by: SplitBy = None,
    classes: Classes = None,
    sequences: Sequences = None,
    bands: Bands = None,
    sets: Sets = None,
) -> None:
    """Build every arm's model on the CPU, set it against the control, audit the data: before GPU time is spent.

    Example: `tune-cmx check search_spaces/cssa_stages.yaml --data DATA`
    """
    settings = _data_settings(data, labels, split, split_by, classes, sequences, bands)
    study = read_study(space, overrides={**settings, **_sets(sets)})
    if study.arms[CONTROL].config.data.root is None:
        _show_check(study, None)
    else:
        with tempfile.TemporaryDirectory() as folder:
            _show_check(study, _prepare(study.arms[CONTROL].config.data, Path(folder)))
    arms = _count(len(study.searched), "arm")
    _say(f"[green]{escape(str(space))}: the control and {arms} can be built and compared[/green]")


def _show_check(study: Study, prepared: Any) -> None:
    from rich.table import Table

    from tune_cmx.notes import together
    from tune_cmx.search.check import build_arms
    from tune_cmx.search.plan import rungs_text, size_text

    table = Table(box=None, pad_edge=False, header_style="bold")
    table.add_column("arm", overflow="fold")
    for heading in ("parameters", "active", "epochs"):
        table.add_column(heading, justify="right")
    warnings: list[tuple[str, str]] = []
    for arm in build_arms(study, prepared):
        name = f"{arm.label} (control)" if arm.id == CONTROL else arm.label
        table.add_row(escape(name), f"{arm.total:,}", f"{arm.active:,}", str(arm.epochs))
        warnings += [(arm.label, warning) for warning in arm.warnings]
    _say(escape(study.question))
    out.print("", table, "", sep="\n", soft_wrap=not out.is_terminal)
    for warning in together(warnings):
        _warn(warning)
    for text in (size_text(study), rungs_text(study)):
        _say(text)


@app.command()
def search(
    space: Space,
    data: Data = None,
    labels: Labels = None,
    output_dir: Annotated[
        Path, typer.Option("--output-dir", help="The study goes into a folder of its name here.")
    ] = Path("runs"),
    split: Split = None,
    split_by: SplitBy = None,
    classes: Classes = None,
    sequences: Sequences = None,
    bands: Bands = None,
    resume: Annotated[bool, typer.Option("--resume", help="Take up the study of that name in --output-dir.")] = False,
    retry_failed: Annotated[
        bool, typer.Option("--retry-failed", help="With --resume: failed trials go on from their last checkpoint.")
    ] = False,
    gpus_per_trial: Annotated[
        float | None, typer.Option(help="0.5 puts two trials on a card; else 1, or 0 without GPU.")
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
    device: Device = None,
    workers: Workers = 0,
    sets: Sets = None,
) -> None:
    """Search, confirm finalists and control on fresh seeds, and write the report.

    Examples:

    `tune-cmx search search_spaces/demo.yaml --data runs/synthetic`

    `tune-cmx search search_spaces/cssa_stages.yaml --data DATA --gpus-per-trial 0.5`

    `tune-cmx search search_spaces/cssa_stages.yaml --resume`
    """
    settings = _data_settings(data, labels, split, split_by, classes, sequences, bands)
    overrides = {**settings, **_sets(sets)}
    study = read_study(space, overrides=overrides)
    folder = (output_dir / study.file.study).resolve()
    before = _earlier_session(folder, resume)
    if before and "data.root" not in overrides:
        kept = before["arms"][CONTROL]["config"]["data"]
        data_of_before = {f"data.{key}": kept[key] for key in kept if kept[key] is not None}
        del data_of_before["data.augment"]
        data_of_before.pop("data.split", None)
        overrides = {**data_of_before, **overrides}
        study = read_study(space, overrides=overrides)
    from tune_cmx.search.runner import Resources, run_study
    from tune_cmx.search.study_folder import SPACE_FILE, open_folder

    chosen, share = _share(device, gpus_per_trial, here=address is None)
    resources = Resources(
        address=address,
        cpus_per_trial=cpus_per_trial,
        gpus_per_trial=share,
        max_concurrent=max_concurrent,
        device=chosen,
        threads=max(1, int(cpus_per_trial)),
        workers=workers,
    )
    with _prepared_for(study.arms[CONTROL].config.data, folder, begun=before is not None) as prepared:
        _show_check(study, prepared)
    if before is None:
        (folder / SPACE_FILE).unlink(missing_ok=True)  # of an attempt that never came to a study
    opened = open_folder(folder, study, dataclasses.replace(prepared, folder=folder / "data"), space)
    from tune_cmx.search.console import StudyConsole

    console = StudyConsole(out, study.file.early_stopping.metric)
    if retry_failed:
        opened.retry_failed()
    done = run_study(opened, resources, console, before_s=before.get("seconds", 0.0) if before else 0.0)
    _write_report(folder)
    if not done:
        again = ["tune-cmx", *(word for word in _words_given() if word != "--resume"), "--resume"]
        out.print(f"[yellow]interrupted[/yellow]; take it up with: {escape(shlex.join(again))}", soft_wrap=True)
        raise typer.Exit(130)


def _earlier_session(folder: Path, resume: bool) -> dict[str, Any] | None:
    """The study's file from before; there must be one to resume, and none to start."""
    path = folder / "study.json"
    if resume and not path.exists():
        raise ConfigError(f"{folder}: no study to resume; leave --resume out, or name its --output-dir")
    if not resume and path.exists():
        raise ConfigError(f"{folder}: a study of that name is there; add --resume, or take another --output-dir")
    return _read_json(path) if resume else None


def _read_json(path: Path) -> dict[str, Any]:
    try:
        content: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise ConfigError(f"{path}: not valid JSON: {error}; restore it, or take another --output-dir") from error
    return content


def _write_report(folder: Path) -> None:
    from tune_cmx.evidence.report import write_report

    path = write_report(folder)
    failed = sum('"status": "failed"' in file.read_text() for file in (folder / "records").glob("*/trial.json"))
    if failed:
        _say(f"[red]{_count(failed, 'trial')} failed[/red]: the report says why; tracebacks in error.txt of each")
        _say("to let them go on from their last checkpoint: the same command with --resume --retry-failed")
    out.print(f"curves: tensorboard --logdir {escape(str(folder / 'records'))}", soft_wrap=True)
    out.print(f"[bold]report: {escape(str(path))}[/bold]", soft_wrap=True)


@app.command()
def report(study: Annotated[Path, typer.Argument(help="A study's folder, as in `runs/demo`.")]) -> None:
    """Write a study's report again, from its records alone.

    Example: `tune-cmx report runs/demo`
    """
    _write_report(study.resolve())


Config = Annotated[Path | None, typer.Option("--config", help="A trial's config.json; other flags go before it.")]
Backbone = Annotated[str | None, typer.Option(help="mit_b0 .. mit_b5, mit_nano.")]
FusionType = Annotated[
    str | None, typer.Option("--fusion-type", help="frm_ffm, cssa, se_gated (also called gaff), add, concat.")
]
Stages = Annotated[str | None, typer.Option(help="Where the fusion stands, as in 2,3; frm_ffm elsewhere.")]
Threshold = Annotated[float | None, typer.Option(help="CSSA's switching threshold.")]
NoCssa = Annotated[bool, typer.Option("--no-cssa", help="States that no CSSA is in the model.")]
Streams = Annotated[str | None, typer.Option(help="Modalities of the two streams, or of one: 'rgb | thermal+event'.")]


def _trial_config(
    config: Path | None,
    settings: Mapping[str, Any],
    *,
    preset: str | None = None,
    fusion_type: str | None = None,
    stages: str | None = None,
    threshold: float | None = None,
    no_cssa: bool = False,
) -> TrialConfig:
    """A trial from a file and flags; a flag goes before the file."""
    content, lines = load_mapping(config) if config else ({}, {})
    given = {
        **({} if preset is None else {f"schedule.{key}": value for key, value in _preset(preset).items()}),
        **_fusion(fusion_type, stages, threshold),
        **{path: value for path, value in settings.items() if value is not None},
    }
    if no_cssa and fusion_type == "cssa":
        raise ConfigError("--no-cssa and --fusion-type cssa contradict each other; leave one out")
    for path, value in sorted(given.items(), key=lambda item: item[0].count(".")):  # a section before its parts
        put(content, path, value)
        lines = {key: line for key, line in lines.items() if key != path and not key.startswith(f"{path}.")}
    parsed = parse_trial(content, source=str(config or "flags"), lines=lines)
    if no_cssa and any(stage.kind == "cssa" for stage in parsed.model.fusion.stage_fusions()):
        raise ConfigError(f"--no-cssa, but {config or 'the configuration'} has CSSA; leave one out")
    return parsed


def _preset(name: str) -> dict[str, Any]:
    return {"preset": name, **lookup(PRESETS, name, "--preset: unknown preset")}


def _fusion(fusion_type: str | None, stages: str | None, threshold: float | None) -> dict[str, Any]:
    """The flags about fusion as a configuration path."""
    if fusion_type is None:
        if stages is not None or threshold is not None:
            raise ConfigError("--stages and --threshold go with --fusion-type, as in --fusion-type cssa --stages 2,3")
        return {}
    fusion: dict[str, Any] = {"kind": "se_gated" if fusion_type == "gaff" else fusion_type}
    if stages is not None:
        fusion |= {"stages": _stages(stages), "elsewhere": "frm_ffm"}
    if threshold is not None:
        if fusion_type != "cssa":
            raise ConfigError(f"--threshold is CSSA's; --fusion-type is {fusion_type}")
        fusion |= {"options": {"switching_threshold": threshold}}
    return {"model.fusion": fusion}


def _stages(text: str) -> list[int]:
    try:
        return [int(stage) for stage in text.split(",")]
    except ValueError as error:
        raise ConfigError(f"--stages: needs whole numbers of 1..4, as in 2,3; got '{text}'") from error


@app.command()
def train(
    config: Config = None,
    data: Data = None,
    labels: Labels = None,
    output_dir: Annotated[
        Path, typer.Option("--output-dir", help="The trial's record; taken up where it is unfinished.")
    ] = Path("runs/trial"),
    backbone: Backbone = None,
    epochs: Annotated[int | None, typer.Option(help="Length of the schedule.")] = None,
    batch_size: Annotated[int | None, typer.Option("--batch-size", help="Frames a step.")] = None,
    lr: Annotated[float | None, typer.Option(help="Learning rate.")] = None,
    preset: Annotated[str | None, typer.Option(help=f"Schedule: {' | '.join(PRESETS)}.")] = None,
    fusion_type: FusionType = None,
    stages: Stages = None,
    threshold: Threshold = None,
    no_cssa: NoCssa = False,
    streams: Streams = None,
    image_size: Annotated[int | None, typer.Option("--image-size", help="Shorter side in pixels.")] = None,
    seed: Annotated[int | None, typer.Option(help="Of everything random.")] = None,
    test: Annotated[bool, typer.Option("--test", help="Report on test in place of val, once, at the end.")] = False,
    split: Split = None,
    split_by: SplitBy = None,
    classes: Classes = None,
    sequences: Sequences = None,
    bands: Bands = None,
    device: Device = None,
    threads: Annotated[int | None, typer.Option(min=1, help="torch's threads on the CPU.")] = None,
    workers: Workers = 0,
    sets: Sets = None,
) -> None:
    """Train one configuration without Ray; a record that is unfinished goes on from its last epoch.

    Examples:

    `tune-cmx train --data IMAGES --labels LABELS --backbone mit_b1 --epochs 15 --batch-size 16 --lr 0.02
    --fusion-type frm_ffm --no-cssa --output-dir DIR`

    `tune-cmx train --config runs/demo/records/TRIAL/config.json --output-dir runs/again`
    """
    settings = {
        "model.backbone": backbone,
        "schedule.epochs": epochs,
        "schedule.batch_size": batch_size,
        "schedule.lr": lr,
        "model.streams": streams,
        "model.detector.image_size": image_size,
        "seed": seed,
        "report_split": "test" if test else None,
        **_data_settings(data, labels, split, split_by, classes, sequences, bands),
        **_sets(sets),
    }
    parsed = _trial_config(
        config,
        settings,
        preset=preset,
        fusion_type=fusion_type,
        stages=stages,
        threshold=threshold,
        no_cssa=no_cssa,
    )
    folder = output_dir.resolve()
    begun = _earlier_trial(folder, parsed)
    chosen = _device(device, here=True)
    import torch

    from tune_cmx.search.check import build_for
    from tune_cmx.training.protocol import protocol, protocol_hash
    from tune_cmx.training.record import TrialRecord
    from tune_cmx.training.run import run_trial

    if threads:
        torch.set_num_threads(threads)
    with _prepared_for(parsed.data, folder, begun=begun) as prepared:
        build_for(parsed.model, prepared)
    hashes = prepared.hashes()
    fields = protocol(parsed, (), hashes)
    record = TrialRecord.plan(
        folder, parsed, arm="single", phase="single", protocol_hash=protocol_hash(fields), **hashes
    )
    for epoch in run_trial(record, prepared, device=chosen, workers=workers):
        shown = {name: epoch.metrics[name] for name in ("train/loss", "val/mAP", "val/mAP_50", "val/mAP_75")}
        values = "  ".join(f"{name} {value:.2f}" for name, value in shown.items())
        out.print(f"epoch {epoch.epoch} of {epoch.epochs}  {values}  {epoch.seconds:.0f} s", soft_wrap=True)
    out.print(f"[bold]results: {folder / 'final_results.json'}[/bold]", soft_wrap=True)


def _earlier_trial(folder: Path, config: TrialConfig) -> bool:
    """Whether the trial was begun before; another one, or one that failed, is in the way."""
    if not (folder / "trial.json").exists():
        return False
    kept = read_trial(folder / "config.json")
    there = f"{folder}: holds another trial:"
    if kept.seed != config.seed:
        raise ConfigError(f"{there} its seed is {kept.seed}, not {config.seed}; take another --output-dir")
    if kept.placeless() != config.placeless():
        changed = differing(kept, config)
        more = f" (and {len(changed) - 1} more)" if changed[1:] else ""
        then, here = (flatten(dump(each)).get(changed[0]) for each in (kept, config))
        raise ConfigError(f"{there} its {changed[0]} is {then}, not {here}{more}; take another --output-dir")
    state = _read_json(folder / "trial.json")
    if state["status"] == "failed":
        raise ConfigError(f"{folder}: this trial failed: {state['reason']}; delete it, or take another --output-dir")
    return True


@app.command()
def describe(
    config: Config = None,
    backbone: Backbone = None,
    fusion_type: FusionType = None,
    stages: Stages = None,
    threshold: Threshold = None,
    streams: Streams = None,
    image_size: Annotated[int | None, typer.Option("--image-size", help="Shorter side in pixels.")] = None,
    frame: Annotated[str, typer.Option(help="Rows x columns that the FLOPs are counted for.")] = "320x416",
    num_classes: Annotated[int, typer.Option("--num-classes", min=1)] = 1,
    sets: Sets = None,
) -> None:
    """Parameters by part, counted from the built model, FLOPs, and an audit of one training step.

    Examples:

    `tune-cmx describe --backbone mit_b1`

    `tune-cmx describe --backbone mit_b1 --fusion-type cssa --stages 2,3`
    """
    settings = {
        "model.backbone": backbone,
        "model.streams": streams,
        "model.detector.image_size": image_size,
        **_sets(sets),
    }
    parsed = _trial_config(config, settings, fusion_type=fusion_type, stages=stages, threshold=threshold)
    from tune_cmx.models.describe import audit, flops, parameters
    from tune_cmx.search.check import DEFAULT_BANDS, build_plain

    height, width = _frame(frame)
    detector = build_plain(parsed.model, DEFAULT_BANDS, num_classes)
    model = parsed.model
    kinds = [f"{kind.kind}" for kind in model.fusion.stage_fusions()] if len(model.stream_modalities()) > 1 else []
    fused = f", fusion {' / '.join(kinds)} at stages 1..4, carry {model.carry}" if kinds else ", one stream"
    out.print(f"{model.backbone}, {model.streams}{fused}, {_classes(num_classes)} and background", soft_wrap=True)
    for part, count in parameters(detector).items():
        out.print(f"{part:<14}{count:>14,}")
    out.print(f"{'GFLOPs':<14}{flops(detector, height, width):>14,.1f}  forward, one image of {height}x{width}")
    for warning in audit(detector, detector.backbone.encoder.bands):
        _warn(warning)


def _classes(number: int) -> str:
    return "1 class" if number == 1 else f"{number} classes"


def _frame(text: str) -> tuple[int, int]:
    try:
        height, width = (int(side) for side in text.lower().split("x"))
    except ValueError as error:
        raise ConfigError(f"--frame: needs rows x columns, as in 320x416; got '{text}'") from error
    if height % 32 or width % 32 or min(height, width) < 32:
        raise ConfigError(f"--frame: both sides must be multiples of 32, as the network pads them; got '{text}'")
    return height, width


@data_app.command()
def synth(
    folder: Annotated[Path, typer.Argument(help="Where to write; made if absent.")],
    frames: Annotated[int, typer.Option(min=3)] = 240,
    size: Annotated[int, typer.Option(min=32, help="Side of the frames in pixels.")] = 96,
    sequences: Annotated[int, typer.Option(min=3)] = 24,
    seed: Annotated[int, typer.Option()] = 0,
    form: Annotated[
        Literal["folders", "npy"], typer.Option(help="Folders rgb/, thermal/, event/, or .npy files of five bands.")
    ] = "folders",
) -> None:
    """Make a small RGB + thermal + event set in which a third of the objects shows in one modality only.

    Example: `tune-cmx data synth runs/synthetic`
    """
    from tune_cmx.data.synthetic import synthesize

    path = synthesize(folder, frames=frames, size=size, sequences=sequences, seed=seed, form=form)
    out.print(f"{frames} frames in {sequences} sequences: {escape(str(path))}", soft_wrap=True)
