"""Flags that commands share, and the settings they come to."""

from pathlib import Path
from typing import Annotated, Any

import typer

from tune_cmx.config.parse import parse_value
from tune_cmx.errors import ConfigError
from tune_cmx.machine import cores_here

MOST_LOADERS = 8
"""With more of them the trial's own process, which takes what they read, is the bottleneck."""

DATA, MODEL, SCHEDULE, CONFIGURATION = "Data", "Model", "Schedule", "Configuration"
RESOURCES, RESUME, OUTPUT, CORRUPTIONS = "Resources", "Resume", "Output", "Corruptions"
"""Groups of flags in the help."""

Space = Annotated[Path, typer.Argument(help="Search-space file, as in `search_spaces/demo.yaml`.", show_default=False)]
Data = Annotated[
    str | None,
    typer.Option(
        "--data",
        help="Folder of a data set in any known layout, or s3://bucket/folder; see `tune-cmx data inspect`. Default: "
        "data.root of the configuration.",
        rich_help_panel=DATA,
    ),
]
Labels = Annotated[
    Path | None,
    typer.Option(
        "--labels",
        help="Folder of labels (YOLO text or VOC XML), or a COCO JSON file. Default: where the layout has them.",
        rich_help_panel=DATA,
    ),
]
Layout = Annotated[
    str | None,
    typer.Option(
        "--layout",
        help="Layout of the data, such as folders or llvip. Default: the one that is recognised.",
        rich_help_panel=DATA,
    ),
]
LabelsFrom = Annotated[
    str | None,
    typer.Option(
        "--labels-from",
        help="Modality whose labels are the ground truth, where several have their own: rgb or thermal.",
        rich_help_panel=DATA,
    ),
]
Split = Annotated[
    Path | None,
    typer.Option(
        "--split",
        help="JSON file with image ids under train, val and test. Default: a new split, by --split-by.",
        rich_help_panel=DATA,
    ),
]
SplitBy = Annotated[
    str | None,
    typer.Option(
        "--split-by",
        help="How images are split: official, sequence, block or frame. `frame` leaks between neighbouring images, and "
        "every table says so. Default: the official split if there is one, otherwise by sequence or block.",
        rich_help_panel=DATA,
    ),
]
Classes = Annotated[
    str | None,
    typer.Option(
        "--classes",
        help="Class names, comma-separated; or new names, as in `rider=person,dog=` (an empty name leaves a class "
        "out). Default: as the labels or classes.txt name them.",
        rich_help_panel=DATA,
    ),
]
Sequences = Annotated[
    str | None,
    typer.Option(
        "--sequences",
        help="CSV file with columns id and sequence, or a regular expression with `(?P<sequence>...)` for image names. "
        "Default: sequences.csv, if there is one.",
        rich_help_panel=DATA,
    ),
]
Bands = Annotated[
    str | None,
    typer.Option(
        "--bands",
        help="Channels of .npy files by modality. Default: `rgb=0,1,2 thermal=3 event=4`.",
        rich_help_panel=DATA,
    ),
]
Sets = Annotated[
    list[str] | None,
    typer.Option(
        "--set",
        help="Set a field of the configuration, as in `schedule.epochs=3`. Repeatable.",
        metavar="PATH=VALUE",
        rich_help_panel=CONFIGURATION,
    ),
]
Device = Annotated[
    str | None,
    typer.Option(
        "--device",
        help="Device that computes: cpu, cuda or cuda:1. Default: cuda if there is a GPU, otherwise cpu.",
        rich_help_panel=RESOURCES,
    ),
]
SharedCache = Annotated[
    bool,
    typer.Option(
        "--shared-cache",
        help="Keep decoded images in memory that all trials of a machine share. This does not change any result.",
        rich_help_panel=RESOURCES,
    ),
]
Threads = Annotated[
    int | None,
    typer.Option(
        "--threads",
        min=1,
        metavar="N",
        help="Number of torch threads on the CPU. Default: one a core.",
        rich_help_panel=RESOURCES,
    ),
]
Workers = Annotated[
    int | None,
    typer.Option(
        "--workers",
        min=0,
        metavar="N",
        help="Number of loader processes of each training process (0 = it loads its images itself). Default: on a GPU "
        f"one a core of the trial, at most {MOST_LOADERS}; on the CPU 0.",
        rich_help_panel=RESOURCES,
    ),
]
GPUS_PER_TRIAL = (
    "GPU share of each trial, from 0 to 1: 0.5 puts two trials on a GPU, `auto` as many as fit into its memory. "
)


def data_settings(
    data: str | None,
    labels: Path | None,
    split: Path | None,
    split_by: str | None,
    classes: str | None,
    sequences: str | None,
    bands: str | None,
    layout: str | None = None,
    labels_from: str | None = None,
) -> dict[str, Any]:
    """The flags about data as configuration paths; paths are made absolute, as a trial runs elsewhere."""
    given = {
        "data.root": data and (data if "://" in data else str(Path(data).resolve())),
        "data.labels": labels and str(labels.resolve()),
        "data.split": split and str(split.resolve()),
        "data.split_by": split_by,
        "data.layout": layout,
        "data.labels_from": labels_from,
        "data.classes": classes and class_names(classes),
        "data.sequences": str(Path(sequences).resolve()) if sequences and Path(sequences).is_file() else sequences,
        "data.bands": bands and bands_given(bands),
    }
    return {path: value for path, value in given.items() if value}


def class_names(text: str) -> list[str] | dict[str, str | None]:
    """The content of --classes: names in their order, or new names by class."""
    names = [name.strip() for name in text.split(",")]
    if "=" not in text:
        return names
    pairs = [name.partition("=") for name in names]
    wrong = next((name for name, (old, equals, _) in zip(names, pairs, strict=True) if not equals or not old), None)
    if wrong is not None:
        raise ConfigError(f"--classes: needs old=new for each class, as in rider=person,dog=; got '{wrong}'")
    return {old.strip(): new.strip() or None for old, _, new in pairs}


def bands_given(text: str) -> dict[str, list[int]]:
    """The content of --bands: channels by modality."""
    try:
        pairs = [part.split("=") for part in text.split()]
        bands = {name: [int(channel) for channel in channels.split(",")] for name, channels in pairs}
    except ValueError as error:
        raise ConfigError(f"--bands: needs modality=channels, as in 'rgb=0,1,2 thermal=3'; got '{text}'") from error
    if len(bands) < len(pairs):
        raise ConfigError(f"--bands: names a modality twice; got '{text}'")
    return bands


def set_settings(items: list[str] | None) -> dict[str, Any]:
    """`--set path=value`, the value as YAML reads it."""
    settings: dict[str, Any] = {}
    for item in items or []:
        path, equals, value = item.partition("=")
        if not equals or not path:
            raise ConfigError(f"--set: needs path=value, as in schedule.epochs=3; got '{item}'")
        settings[path] = parse_value(value, source=f"--set {path}")
    return settings


MEASURED = "auto"
"""As --gpus-per-trial: the share follows from the memory that the largest trial takes."""


def share_of_gpu(device: str | None, given: str | None, *, here: bool) -> tuple[str, float]:
    """What a trial computes on and its share of a GPU, a whole one if it is yet to be measured.

    The share alone says that the trial wants a GPU.
    """
    import torch

    gpus_per_trial = None if given is None else share_given(given)
    if device is None and gpus_per_trial is not None:
        device = "cuda" if gpus_per_trial > 0 else "cpu"
        if here and device == "cuda" and not torch.cuda.is_available():
            raise ConfigError(f"--gpus-per-trial {given}: torch finds no GPU here; leave it out to train on the CPU")
    chosen = device_named(device, here=here)
    share = float(chosen == "cuda") if gpus_per_trial is None else gpus_per_trial
    if chosen.startswith("cuda:"):
        raise ConfigError(f"--device: Ray picks the GPU of each trial; take cuda in place of {chosen}")
    if (chosen == "cuda") != (share > 0):
        raise ConfigError(f"--device {chosen} and --gpus-per-trial {share:g} contradict each other; leave one out")
    return chosen, share


def share_given(text: str) -> float:
    try:
        share = 1.0 if text == MEASURED else float(text)
    except ValueError as error:
        raise ConfigError(f"--gpus-per-trial: needs a number from 0 to 1, or {MEASURED}; got '{text}'") from error
    if not 0 <= share <= 1:
        raise ConfigError(
            f"--gpus-per-trial: from 0 to 1, as a process trains on one GPU; got {share:g}; for a trial over several "
            "GPUs set schedule.processes in the file"
        )
    return share


def loaders(given: int | None, device: str, cores: float | None = None, *, processes: int = 1) -> int:
    """Loader processes: as given, or as many as keep a GPU busy from the cores of a process that trains.

    Args:
        given: By the flag.
        device: As torch names it.
        cores: Of each process that trains; None: they share this machine's.
        processes: That train on this machine.
    """
    if given is not None or device.startswith("cpu"):
        return given or 0
    return max(1, min(MOST_LOADERS, int(cores_here() / processes if cores is None else cores)))


def device_named(name: str | None, *, here: bool) -> str:
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
