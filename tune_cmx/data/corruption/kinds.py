"""What can go wrong with one modality when a detector is used: it is missing, shifted or delayed.

This file imports no torch.
"""

from collections.abc import Iterable, Mapping, Sequence
from typing import Annotated, Any, Literal

from pydantic import Field, TypeAdapter, ValidationError, field_validator, model_validator

from tune_cmx.config.section import Section
from tune_cmx.config.trial import MODALITIES
from tune_cmx.data.readers import PairedData, PairedImage
from tune_cmx.errors import DataError

SHIFTS_PX = (2, 4, 8, 16)
DELAYS = (1, 2, 4)
"""The default strengths: pixels to the right, and positions in the video."""


class _OfModality(Section):
    modality: str

    @field_validator("modality")
    @classmethod
    def _known(cls, name: str) -> str:
        if name not in MODALITIES:
            raise ValueError(f"unknown modality '{name}'. Known: {', '.join(MODALITIES)}")
        return name


class Missing(_OfModality):
    """The modality shows its bands' training means and nothing else."""

    kind: Literal["missing"] = "missing"

    @property
    def strength(self) -> tuple[int, ...]:
        """A sorting key within a kind, the weakest corruption first."""
        return ()

    def __str__(self) -> str:
        return "missing"


class Shifted(_OfModality):
    """The modality is moved by pixels of the stored image; the uncovered border shows its training means."""

    kind: Literal["shifted"] = "shifted"
    right: int
    down: int = 0
    """Negative: to the left, and up."""

    @property
    def strength(self) -> tuple[int, ...]:
        """As for `Missing`."""
        return abs(self.right) + abs(self.down), self.right, self.down

    @model_validator(mode="after")
    def _moves(self) -> "Shifted":
        if not self.right and not self.down:
            raise ValueError("a shift by 0,0 changes nothing; give pixels to the right and down, as in 4,0")
        return self

    def __str__(self) -> str:
        sides = ((self.right, "right", "left"), (self.down, "down", "up"))
        return "shifted " + ", ".join(f"{abs(by)} px {to if by > 0 else back}" for by, to, back in sides if by)


class Delayed(_OfModality):
    """The modality shows an earlier image of the video, the first one at the start of the video."""

    kind: Literal["delayed"] = "delayed"
    frames: Annotated[int, Field(ge=1)]
    """How many images of the video earlier."""

    @property
    def strength(self) -> tuple[int, ...]:
        """As for `Missing`."""
        return (self.frames,)

    def __str__(self) -> str:
        return f"delayed by {self.frames} frame{'s' if self.frames > 1 else ''}"


Corruption = Missing | Shifted | Delayed
_ANY: TypeAdapter[Corruption] = TypeAdapter(Annotated[Corruption, Field(discriminator="kind")])


def read_corruption(content: Any) -> Corruption:
    """A corruption from its fields.

    Raises:
        DataError: The kind is unknown, or a field is missing or out of range.
    """
    try:
        return _ANY.validate_python(content)
    except ValidationError as error:
        first = error.errors()[0]
        field = "".join(f"{part}: " for part in first["loc"][1:2])  # after the kind
        raise DataError(field + first["msg"].removeprefix("Value error, ")) from error


def usual_corruptions(modalities: Iterable[str], *, delays: bool) -> list[Corruption]:
    """Each modality missing, shifted to the right and, if `delays`, delayed (this needs known sequences)."""
    found: list[Corruption] = []
    for modality in modalities:
        found.append(Missing(modality=modality))
        found += [Shifted(modality=modality, right=pixels) for pixels in SHIFTS_PX]
        found += [Delayed(modality=modality, frames=frames) for frames in DELAYS if delays]
    return found


def earlier_images(data: PairedData, ids: Sequence[str], frames: int) -> list[PairedImage]:
    """For each image an earlier one of its video.

    A video is in the order of its frame numbers if all of its images have one, else in the order of their names.

    Args:
        data: The set.
        ids: Of the images.
        frames: How many images of the video earlier, in whatever part of the split; beyond its start, the first one.

    Raises:
        DataError: The set's sequences are not known.
    """
    if not data.sequences_known:
        raise DataError(
            f"{data.root}: a delay needs sequences, and they are not known here; put sequences.csv (columns id, "
            "sequence, frame) beside the images, or give --sequences"
        )
    members: dict[str, list[PairedImage]] = {}
    for image in data.images:
        members.setdefault(str(image.sequence), []).append(image)
    earlier: dict[str, PairedImage] = {}
    for sequence in map(_in_time, members.values()):
        earlier |= {image.id: sequence[max(0, place - frames)] for place, image in enumerate(sequence)}
    return [earlier[id] for id in ids]


def _in_time(images: Sequence[PairedImage]) -> list[PairedImage]:
    numbers: Mapping[str, int] = {image.id: image.number for image in images if image.number is not None}
    return sorted(images, key=lambda image: numbers[image.id]) if len(numbers) == len(images) else list(images)
