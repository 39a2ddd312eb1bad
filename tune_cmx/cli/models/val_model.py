"""What `tune-cmx val` gives of a model folder: every metric on a data set."""

import math
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rich.markup import escape
from rich.table import Table

from tune_cmx.cli.models.named import named_detector
from tune_cmx.cli.options.flags import loaders
from tune_cmx.cli.options.json_output import Printed, print_object
from tune_cmx.cli.output import LISTED, out, say, warn
from tune_cmx.cli.progress import counted
from tune_cmx.config.parse import dump
from tune_cmx.config.trial import DataConfig
from tune_cmx.counting import count
from tune_cmx.metrics import METRICS

if TYPE_CHECKING:
    from tune_cmx.inference.labelled_set import LabelledSet, Scored
    from tune_cmx.inference.trained_detector import TrainedDetector

_EQUAL = 1e-6
"""Points by which a metric on the same images and device may differ from the recorded one."""


class Value(Printed):
    """A metric on the scored images."""

    value: float | None
    """In points. null: not defined, as without boxes of a size."""
    low: float | None
    """Lower end of the 95 % test-set bootstrap interval. null: there is none."""
    high: float | None
    """Upper end. null: there is none."""
    recorded: float | None
    """The value that model.json has for this split. null: other images, or none."""


class Part(Printed):
    """Results on one class, or on the images of one sequence or condition."""

    mAP: float | None
    """In points. null: there is no box."""
    mAP_50: float | None
    """In points. null: there is no box."""
    boxes: int
    """Boxes to find."""
    images: int | None
    """Images of the part. null: the part is a class."""


class Validated(Printed):
    """A detector on some images of a data set."""

    model: str
    """The folder of the model."""
    data: str
    """The folder of the data."""
    data_fingerprint: str
    """Hash of the content of its images and labels."""
    same_data: bool
    """Whether they are the data of the training."""
    split: str
    """val, test, all, or the split file."""
    images: int
    """Images scored."""
    boxes: int
    """Boxes to find."""
    interval_over: str
    """What was drawn for the intervals: images or sequences."""
    units: int
    """How many of them there are."""
    metrics: dict[str, Value]
    """By name."""
    by_class: dict[str, Part]
    """By name of the class."""
    by_sequence: dict[str, Part]
    """By name of the sequence; empty where sequences are not known."""
    by_condition: dict[str, Part]
    """By condition, such as day; empty where conditions are not known."""
    milliseconds: float
    """Time of the detector for an image, in ms."""
    device: str
    """On which it computed."""


def val_model(
    model: Path,
    settings: Mapping[str, Any],
    split: str,
    *,
    device: str | None,
    threads: int | None,
    workers: int | None,
    as_json: bool,
) -> None:
    """Score the detector of a model folder, and show or print what it gives.

    Args:
        model: A model folder, or a run folder that has one.
        settings: Fields of the data's configuration that flags set, by name.
        split: val, test, all, or the path of a split file.
        device: By the flag.
        threads: By the flag.
        workers: By the flag.
        as_json: Print one object in place of tables.

    Raises:
        ConfigError, DataError: The model, the data or the split cannot be used.
    """
    detector = named_detector(model, device, threads)
    from tune_cmx.evidence.results.run_intervals import run_intervals
    from tune_cmx.inference.labelled_set import images_to_score, open_labelled, score_detector

    config = DataConfig.model_validate({**dump(detector.config.data), "split": None, **settings})
    with counted("reading images") as progress:
        labelled = open_labelled(config, detector, progress)
    ids, remarks = images_to_score(detector, labelled, split)
    for remark in remarks:
        warn(remark)
    scored = score_detector(detector, labelled, ids, workers=loaders(workers, str(detector.device)))
    intervals = run_intervals(scored.detections, scored.truth)
    found = _validated(str(model), detector, labelled, split, scored, intervals)
    if as_json:
        print_object(found)
    else:
        _show(found)


def _validated(
    model: str,
    detector: "TrainedDetector",
    labelled: "LabelledSet",
    split: str,
    scored: "Scored",
    intervals: Mapping[str, Any],
) -> Validated:
    from tune_cmx.evaluation import objects_of
    from tune_cmx.inference.labelled_set import same_data

    same = same_data(detector, labelled)
    recorded = detector.state.metrics.get(split, {}) if same and detector.state is not None else {}
    values = {}
    for name, value in scored.metrics.items():
        low, high = intervals[name].ci95 or (None, None) if name in intervals else (None, None)
        before = recorded[name].value if name in recorded else None
        values[name] = Value(value=_number(value), low=low, high=high, recorded=before)
    one = next(iter(intervals.values()), None)
    return Validated(
        model=model,
        data=str(labelled.data.root),
        data_fingerprint=labelled.audit.fingerprint,
        same_data=same,
        split=split,
        images=len(scored.truth["images"]),
        boxes=len(objects_of(scored.truth)),
        interval_over="images" if one is None else one.unit,
        units=len(scored.truth["images"]) if one is None else one.units,
        metrics=values,
        by_class=_parts(scored.by_class),
        by_sequence=_parts(scored.by_sequence),
        by_condition=_parts(scored.by_condition),
        milliseconds=scored.milliseconds,
        device=str(detector.device),
    )


def _parts(found: Mapping[str, Mapping[str, float]]) -> dict[str, Part]:
    return {
        name: Part(
            mAP=_number(one["mAP"]),
            mAP_50=_number(one["mAP_50"]),
            boxes=int(one["boxes"]),
            images=int(one["images"]) if "images" in one else None,
        )
        for name, one in found.items()
    }


def _number(value: float) -> float | None:
    return None if math.isnan(value) else value


def _show(found: Validated) -> None:
    over = f"{count(found.units, found.interval_over[:-1])}"
    table = Table(box=None, pad_edge=False, header_style="bold")
    for heading in ("metric", "points", "95 % interval over images", "recorded"):
        table.add_column(heading, justify="left" if heading == "metric" else "right")
    for name, one in found.metrics.items():
        ends = "-" if one.low is None or one.high is None else f"{one.low:.2f} to {one.high:.2f}"
        table.add_row(METRICS[name].title, _text(one.value), ends, _text(one.recorded))
    out.print(table, soft_wrap=not out.is_terminal)
    if all(one.low is None for one in found.metrics.values()):
        say(f"no test-set bootstrap interval: {over}; at least 10 are needed")
    else:
        say(f"interval: test-set bootstrap over {over}, the detector held fixed")
    for what, parts in (
        ("class", found.by_class),
        ("condition", found.by_condition),
        ("sequence", found.by_sequence),
    ):
        _show_parts(what, parts)
    pairs = [(one.value, one.recorded) for one in found.metrics.values() if None not in (one.value, one.recorded)]
    gap = max((abs(float(here or 0) - float(then or 0)) for here, then in pairs), default=None)
    if gap is not None and gap > _EQUAL:
        warn(
            f"the metrics differ from the recorded ones by up to {gap:.2g} points; another device or version can do it"
        )
    elif gap is not None:
        say("the metrics are those that were recorded")
    mean = found.metrics["mAP"]
    out.print(
        f"[bold]{escape(found.split)} of {escape(found.data)}: {count(found.images, 'image')}, "
        f"{count(found.boxes, 'box')}; mAP {_text(mean.value)}; {found.milliseconds:.3g} ms an image on {found.device}"
        "[/bold]",
        soft_wrap=True,
    )


def _show_parts(what: str, parts: Mapping[str, Part]) -> None:
    if not parts:
        return
    with_images = any(part.images is not None for part in parts.values())
    table = Table(box=None, pad_edge=False, header_style="bold")
    table.add_column(what)
    for heading in ("mAP", "mAP@50", "boxes", *(["images"] if with_images else [])):
        table.add_column(heading, justify="right")
    for name, part in list(parts.items())[:LISTED]:
        cells = [_text(part.mAP), _text(part.mAP_50), str(part.boxes), *([str(part.images)] if with_images else [])]
        table.add_row(escape(name), *cells)
    out.print("", table, sep="\n", soft_wrap=not out.is_terminal)
    if parts.keys() - set(list(parts)[:LISTED]):
        say(f"{len(parts) - LISTED} more: --json prints all")
    out.print()


def _text(value: float | None) -> str:
    return "-" if value is None else f"{value:.2f}"
