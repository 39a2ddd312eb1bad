"""The object that `data inspect --json` prints."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

from tune_cmx.cli.options.json_output import Printed

if TYPE_CHECKING:
    from tune_cmx.data.inspection import Inspection
    from tune_cmx.data.readers import PairedData
    from tune_cmx.data.readers.base import Sign


class LayoutFound(Printed):
    """A layout that the folder could have."""

    layout: str
    """Its name, as --layout takes it."""
    certainty: str
    """How sure that is: certain, likely or possible."""
    sign: str
    """What shows it."""


class Modality(Printed):
    """The images of one modality, as the sampled ones show it."""

    bands: int
    """Bands of an image."""
    types: tuple[str, ...]
    """Number types of the files."""
    sizes: tuple[tuple[int, int], ...]
    """Heights and widths in pixels, the commonest first."""
    low: float
    """Lowest value."""
    high: float
    """Highest value."""


class SequenceSizes(Printed):
    """The sequences of the set."""

    number: int
    """Sequences."""
    shortest: int
    """Images of the shortest one."""
    longest: int
    """Images of the longest one."""


class InspectedData(Printed):
    """What a folder of data holds."""

    folder: str
    """The folder."""
    layout: str
    """The layout in which it is read."""
    title: str
    """Title of that layout."""
    certainty: str | None
    """How sure that is. null: --layout or data.yaml says it."""
    others: tuple[LayoutFound, ...]
    """Other layouts that it could have."""
    images: int
    """Images, each with all modalities."""
    modalities: dict[str, Modality]
    """By modality."""
    sampled: int
    """Images whose pixels were read."""
    class_boxes: dict[str, int]
    """Boxes by class."""
    ignored: int
    """Ignore regions."""
    without_boxes: int
    """Images without a box."""
    parts: dict[str, int]
    """Images by part of the official split. Empty: there is none."""
    sequences: SequenceSizes | None
    """The sequences. null: they are not known."""
    conditions: dict[str, int]
    """Images by condition. Empty: none is known."""
    notes: tuple[str, ...]
    """What was not read, and other choices of the reader."""
    problems: tuple[str, ...]
    """What is wrong with labels and sampled images. With one or more the exit code is 2."""


def inspected_object(data: "PairedData", found: "Inspection", signs: "Sequence[tuple[str, Sign]]") -> InspectedData:
    """The object of `data inspect`.

    Args:
        data: The set.
        found: What was read of it.
        signs: The layouts that the folder could have.
    """
    layouts = [LayoutFound(layout=name, certainty=sign.certainty.name.lower(), sign=sign.text) for name, sign in signs]
    return InspectedData(
        folder=str(data.root),
        layout=data.layout,
        title=data.reader.title,
        certainty=next((one.certainty for one in layouts if one.layout == data.layout), None),
        others=tuple(one for one in layouts if one.layout != data.layout),
        images=len(data.images),
        modalities={
            name: Modality(bands=one.bands, types=one.types, sizes=one.sizes, low=float(one.low), high=float(one.high))
            for name, one in found.pixels.items()
        },
        sampled=found.sampled,
        class_boxes=dict(found.class_boxes),
        ignored=found.ignored,
        without_boxes=found.without_boxes,
        parts=dict(found.parts),
        sequences=_sequences(found.sequences),
        conditions=dict(found.conditions),
        notes=tuple(data.remarks),
        problems=found.problems,
    )


def _sequences(found: tuple[int, int, int] | None) -> SequenceSizes | None:
    return None if found is None else SequenceSizes(number=found[0], shortest=found[1], longest=found[2])
