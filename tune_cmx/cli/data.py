"""Commands on data sets: `data inspect` and `data synth`."""

import shlex
from collections.abc import Sequence as SequenceOf
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.markup import escape
from rich.table import Table

from tune_cmx.cli.objects.inspected import InspectedData, inspected_object
from tune_cmx.cli.options.flags import (
    Bands,
    Classes,
    Labels,
    LabelsFrom,
    Layout,
    Sequences,
    data_settings,
)
from tune_cmx.cli.options.json_output import Json, print_object, prints
from tune_cmx.cli.output import out, say, warn
from tune_cmx.cli.progress import counted
from tune_cmx.counting import count
from tune_cmx.errors import DataError

if TYPE_CHECKING:
    from tune_cmx.data.inspection import Inspection, PixelFacts
    from tune_cmx.data.readers import PairedData
    from tune_cmx.data.readers.base import Sign

PROBLEMS_SHOWN, CLASSES_SHOWN = 5, 40

app = typer.Typer(no_args_is_help=True, help="Look at data sets, and make synthetic ones.")


@app.command()
@prints(InspectedData)
def inspect(
    folder: Annotated[str, typer.Argument(help="Folder of a data set, or s3://bucket/folder.", show_default=False)],
    layout: Layout = None,
    labels: Labels = None,
    labels_from: LabelsFrom = None,
    classes: Classes = None,
    sequences: Sequences = None,
    bands: Bands = None,
    as_json: Json = False,
) -> None:
    """Say what a folder holds and how it is read: layout, modalities, classes, official split, sequences.

    Every label is read, and the pixels of 32 images. Exit code 2 if something cannot be read.

    Examples:

    `tune-cmx data inspect LLVIP`

    `tune-cmx data inspect DroneVehicle --labels-from rgb --classes "freight car=truck"`
    """
    from tune_cmx.config.parse import validate
    from tune_cmx.config.trial import DataConfig
    from tune_cmx.data.inspection import inspect as inspected
    from tune_cmx.data.prepare import open_configured
    from tune_cmx.data.readers import signs

    settings = data_settings(folder, labels, None, None, classes, sequences, bands, layout, labels_from)
    content = {path.removeprefix("data."): value for path, value in settings.items()}
    data = open_configured(validate(DataConfig, content, source="flags", prefix="data"))
    with counted("reading labels") as progress:
        found = inspected(data, progress=progress)
    layouts = signs(data.root)
    if as_json:
        print_object(inspected_object(data, found, layouts))
    else:
        _show(data, found, layouts)
    if found.problems:
        shown = "\n".join(f"  {problem}" for problem in found.problems[:PROBLEMS_SHOWN])
        more = len(found.problems) - PROBLEMS_SHOWN
        raise DataError(
            f"{data.root}: {count(len(found.problems), 'problem')}:\n{shown}" + (f"\n  and {more} more" * (more > 0))
        )
    given = {
        "--layout": layout,
        "--labels": labels,
        "--labels-from": labels_from,
        "--classes": classes,
        "--sequences": sequences,
        "--bands": bands,
    }
    flags = "".join(f" {name} {shlex.quote(str(value))}" for name, value in given.items() if value is not None)
    place = f"--data {shlex.quote(folder)}{flags}"
    if {"rgb", "thermal"} <= data.bands.keys():
        say(f"next: tune-cmx check search_spaces/fusion_showdown.yaml {escape(place)}")
    else:
        say(f"next: tune-cmx train {escape(place)} --epochs 1 --batch-size 2 --output-dir runs/first")


def _show(data: "PairedData", found: "Inspection", layouts: "SequenceOf[tuple[str, Sign]]") -> None:
    others = [(name, sign) for name, sign in layouts if name != data.layout]
    own = next((sign for name, sign in layouts if name == data.layout), None)
    sure = "as --layout or data.yaml says" if own is None else f"{own.certainty.name.lower()}: {own.text}"
    say(f"{escape(str(data.root))}: [bold]{data.reader.title}[/bold] (layout {data.layout}, {escape(sure)})")
    for name, sign in others:
        say(f"  it could also be {name} ({sign.certainty.name.lower()}: {escape(sign.text)}); --layout chooses")
    _tables(data, found)
    for remark in data.remarks:
        say(f"note: {escape(remark)}")
    if not data.sequences_known:
        warn("sequences are not known: a video may be in two parts of a split; name them in sequences.csv")


def _tables(data: "PairedData", found: "Inspection") -> None:
    table = Table(box=None, show_header=False, pad_edge=False)
    table.add_column(style="bold")
    table.add_column()
    table.add_row("images", f"{len(data.images)}, each with {', '.join(data.bands)}")
    for modality, facts in found.pixels.items():
        table.add_row(modality, _pixel_text(facts))
    boxes = sum(found.class_boxes.values())
    empty = f"; {count(found.without_boxes, 'image')} without a box" if found.without_boxes else ""
    if found.without_label:
        empty += f", {found.without_label} of them without a label"
    ignored = f"; {count(found.ignored, 'ignore region')}" if found.ignored else ""
    table.add_row("boxes", f"{boxes}{empty}{ignored}")
    named = [f"{name} {number}" for name, number in found.class_boxes.items()]
    more = f" and {len(named) - CLASSES_SHOWN} more" if len(named) > CLASSES_SHOWN else ""
    table.add_row("classes", escape(", ".join(named[:CLASSES_SHOWN]) + more))
    table.add_row("official split", _split_text(data, found))
    if found.sequences is not None:
        number, shortest, longest = found.sequences
        table.add_row("sequences", f"{number}, of {shortest} to {count(longest, 'image')}")
    if found.conditions:
        table.add_row("conditions", escape(", ".join(f"{name} {images}" for name, images in found.conditions.items())))
    out.print(table)
    out.print(f"pixels: of {count(found.sampled, 'image')}, spread over the set; labels: of all images", soft_wrap=True)


def _pixel_text(facts: "PixelFacts") -> str:
    sizes = ", ".join(f"{width}×{height}" for height, width in facts.sizes[:3])
    more = f" and {len(facts.sizes) - 3} more sizes" if len(facts.sizes) > 3 else ""
    return (
        f"{count(facts.bands, 'band')}, {' and '.join(facts.types)}, {sizes}{more} pixels, "
        f"values {facts.low:g} to {facts.high:g}"
    )


def _split_text(data: "PairedData", found: "Inspection") -> str:
    if not found.parts:
        return "none; train, val and test are drawn"
    shown = ", ".join(f"{part} {images}" for part, images in found.parts.items())
    outside = len(data.images) - sum(found.parts.values())
    if not outside and len(found.parts) == 1:
        return f"{shown}; train, val and test are drawn from it"
    return shown + (f"; {count(outside, 'image')} in no part" if outside else "")


@app.command()
def synth(
    folder: Annotated[Path, typer.Argument(help="Folder to write; made if absent.")],
    images: Annotated[int, typer.Option(min=3, help="Number of images.")] = 240,
    size: Annotated[int, typer.Option(min=32, help="Height and width of the images in pixels.")] = 96,
    sequences: Annotated[int, typer.Option(min=3, help="Number of sequences.")] = 24,
    seed: Annotated[int, typer.Option(help="Random seed.")] = 0,
    form: Annotated[str, typer.Option(help="Layout of the image files: folders or npy.")] = "folders",
) -> None:
    """Make a small synthetic RGB + thermal + event data set. One modality alone shows a third of the objects.

    Example: `tune-cmx data synth runs/synthetic`
    """
    from tune_cmx.data.synthetic import synthesize

    path = synthesize(folder, images=images, size=size, sequences=sequences, seed=seed, form=form)
    out.print(f"{images} images in {sequences} sequences: {escape(str(path))}", soft_wrap=True)
