"""The object that `check --json` prints, and what it says of the data."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

from tune_cmx.cli.options.json_output import Printed
from tune_cmx.config.study import Study

if TYPE_CHECKING:
    from tune_cmx.data.prepare import Prepared
    from tune_cmx.search.planning.checked_models import Checked


class PartOfData(Printed):
    """A part of the split."""

    images: int
    """Images."""
    boxes: int
    """Boxes, ignore regions left out."""
    ignored: int
    """Ignore regions."""


class DataUsed(Printed):
    """The data, as they are read and split."""

    root: str
    """Folder or URI of the data set."""
    layout: str
    """Title of its layout."""
    split_how: str
    """How images are split: official, sequence, block, frame or given."""
    split_hash: str
    """Hash of the split."""
    parts: dict[str, PartOfData]
    """By part: train, val and test."""
    notes: tuple[str, ...]
    """What was not read, and other choices of the reader."""
    warnings: tuple[str, ...]
    """What is odd in the split or the data."""


class CheckedConfiguration(Printed):
    """A configuration whose model was built."""

    id: str
    """Its id in study.json."""
    name: str
    """Its name for people."""
    parameters: int
    """Parameters of the model."""
    active: int
    """Parameters that received a gradient in one training step on noise."""
    gflops: float | None
    """GFLOPs of one forward of one image. null: no data are named."""
    epochs: int
    """Epochs of its schedule."""
    warnings: tuple[str, ...]
    """What the audit of its model found."""


class CheckedStudy(Printed):
    """A search space whose models can be built and compared."""

    space: str
    """The search-space file."""
    study: str
    """Name of the study."""
    question: str
    """Its question."""
    configurations: tuple[CheckedConfiguration, ...]
    """The baseline and the configurations. Of a search over ranges: each choice and range end."""
    equivalent: tuple[tuple[str, ...], ...]
    """Groups of equivalent configurations, by id."""
    warnings: tuple[str, ...]
    """Warnings on the study, such as a factor without effect."""
    data: DataUsed | None
    """The data. null: none are named."""


def data_used(prepared: "Prepared") -> DataUsed:
    """The data in the form that is printed."""
    summary = prepared.summary()
    counts = {part: (found["images"], found["boxes"], found["ignored"]) for part, found in summary["counts"].items()}
    return DataUsed(
        root=str(prepared.data.root),
        layout=prepared.data.reader.title,
        split_how=summary["how"],
        split_hash=summary["hash"],
        parts={part: PartOfData(images=one, boxes=two, ignored=three) for part, (one, two, three) in counts.items()},
        notes=tuple(prepared.data.remarks),
        warnings=tuple(warning["text"] for warning in summary["warnings"]),
    )


def checked_object(
    space: str, study: Study, checked: "Checked", warnings: Sequence[str], prepared: "Prepared | None"
) -> CheckedStudy:
    """The object of `check`."""
    return CheckedStudy(
        space=space,
        study=study.file.study,
        question=study.question,
        configurations=tuple(
            CheckedConfiguration(
                id=arm.id,
                name=arm.label,
                parameters=arm.parameters["total"],
                active=arm.parameters["active"],
                gflops=arm.gflops,
                epochs=arm.epochs,
                warnings=tuple(map(str, arm.warnings)),
            )
            for arm in checked.arms
        ),
        equivalent=tuple(map(tuple, checked.equivalent)),
        warnings=tuple(warnings),
        data=None if prepared is None else data_used(prepared),
    )
