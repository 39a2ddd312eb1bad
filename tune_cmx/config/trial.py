"""The typed configuration of one trial. Frozen, strict: an unknown key or a wrong type is an error."""

from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, Field, field_validator, model_validator

from tune_cmx.config.model_sections import (
    MODALITIES,
    STAGES,
    TIMM,
    DetectorConfig,
    FusionConfig,
    ModelConfig,
    StageFusion,
)
from tune_cmx.config.section import Section, as_tuple

__all__ = [
    "MODALITIES",
    "STAGES",
    "TIMM",
    "AugmentConfig",
    "ComputeConfig",
    "DataConfig",
    "DetectorConfig",
    "FusionConfig",
    "ModelConfig",
    "ScheduleConfig",
    "StageFusion",
    "TrialConfig",
]


class AugmentConfig(Section):
    """What is random in a training frame: geometry, drawn once for all its bands and boxes, and a modality left out."""

    flip: Annotated[float, Field(ge=0, le=1)] = 0.5
    """Probability of a mirror image, left to right."""
    scale: Annotated[tuple[float, float], BeforeValidator(as_tuple)] = (0.8, 1.25)
    """Range of the zoom; above 1 the frame is cropped, below 1 padded, its size kept."""
    modality_dropout: Annotated[float, Field(ge=0, le=1)] = 0.0
    """Probability that one of the model's modalities, each as likely, shows its bands' training means alone."""

    @field_validator("scale")
    @classmethod
    def _range(cls, scale: tuple[float, float]) -> tuple[float, float]:
        if not 0.1 <= scale[0] <= scale[1] <= 10:
            raise ValueError(f"scale needs a range within 0.1..10, lower end first; got {list(scale)}")
        return scale


class DataConfig(Section):
    """Where the frames are and how they are divided. Places are no part of the protocol; the hashes are."""

    root: str | None = None
    """Folder of the images: `rgb/`, `thermal/`, `event/` below it, or .npy files of several bands."""
    labels: str | None = None
    """Folder of the YOLO text labels; None: `labels/` below or beside the images."""
    bands: dict[str, Annotated[tuple[int, ...], BeforeValidator(as_tuple)]] | None = None
    """Channels of a packed array by modality; None: as `data.yaml` says, or rgb 0..2, thermal 3, event 4."""
    classes: Annotated[tuple[str, ...] | None, BeforeValidator(as_tuple)] = None
    """Class names; None: as `data.yaml` or `classes.txt` says."""
    sequences: str | None = None
    """A CSV file, or a regular expression with a group `sequence` on frame names; None: as the data set says."""
    split: str | None = None
    """A split file to take as it is; None: one is made before training."""
    split_seed: int = 0
    fractions: Annotated[tuple[float, float, float], BeforeValidator(as_tuple)] = (0.7, 0.15, 0.15)
    """Shares of train, val and test."""
    split_by: Literal["sequence", "block", "frame"] | None = None
    """None: by sequence where sequences are known, else by blocks. `frame` leaks between neighbours in a video."""
    guard: Annotated[int, Field(ge=0)] = 8
    """Frames left out at each seam between blocks; only for a split by blocks."""
    augment: AugmentConfig = AugmentConfig()

    @field_validator("fractions")
    @classmethod
    def _fractions(cls, shares: tuple[float, float, float]) -> tuple[float, float, float]:
        if min(shares) <= 0 or abs(sum(shares) - 1) > 1e-6:
            raise ValueError(f"fractions needs three shares above 0 that add up to 1; got {list(shares)}")
        return shares


class ScheduleConfig(Section):
    """Length, batch, optimizer and learning rate of a training run."""

    preset: str | None = None
    """Name of the preset whose values stand below; a label, the values themselves count."""
    epochs: Annotated[int, Field(ge=1)] = 15
    batch_size: Annotated[int, Field(ge=1)] = 16
    """Images in one step of the optimizer, over all processes."""
    micro_batch: Annotated[int, Field(ge=1)] | None = None
    """Images that a process has in memory at once; gradients are accumulated until the batch is whole. None: its whole
    share of the batch. A part of the numbers: batch normalisation and the detector's losses are taken over these."""
    processes: Annotated[int, Field(ge=1)] = 1
    """Of one machine, each with its share of every batch and, on GPUs, a GPU of its own. A part of the numbers, not
    of the place: batch normalisation and the detector's losses are taken over a process's share."""
    optimizer: Literal["sgd", "adamw"] = "sgd"
    lr: Annotated[float, Field(gt=0)] = 0.02
    momentum: Annotated[float, Field(ge=0, lt=1)] = 0.9
    """Of SGD; AdamW keeps its own betas."""
    weight_decay: Annotated[float, Field(ge=0)] = 1e-4
    curve: Literal["constant", "step", "cosine"] = "constant"
    step_epochs: Annotated[int, Field(ge=1)] = 5
    """Epochs between two drops, for `curve: step`."""
    step_factor: Annotated[float, Field(gt=0, lt=1)] = 0.1
    warmup_epochs: Annotated[float, Field(ge=0)] = 0.0
    """Linear rise from a thousandth of the rate, before the curve; counted within `epochs`."""
    clip_norm: Annotated[float, Field(gt=0)] | None = None
    """Largest norm of the gradient; None: not clipped."""
    ema_decay: Annotated[float, Field(gt=0, lt=1)] | None = None
    """Of the exponential moving average (EMA) of the weights: what it keeps at each step, as 0.999, to which it
    rises from 0. The average is what is scored and reported. None: the weights themselves are."""

    @field_validator("clip_norm", "ema_decay", mode="before")
    @classmethod
    def _none_is_null(cls, given: Any) -> Any:
        if isinstance(given, int | float) and not isinstance(given, bool) and given == 0:
            raise ValueError("must be above 0; leave it out, or give null, to have none; got 0")
        return given

    @model_validator(mode="after")
    def _warmup_ends(self) -> "ScheduleConfig":
        if self.warmup_epochs >= self.epochs:
            raise ValueError(f"warmup_epochs must be below epochs, {self.epochs}; got {self.warmup_epochs}")
        return self

    @model_validator(mode="after")
    def _batch_divides(self) -> "ScheduleConfig":
        if self.batch_size % self.processes:
            raise ValueError(
                f"batch_size must be divisible by processes, {self.processes}, each of which takes an equal share; "
                f"got {self.batch_size}"
            )
        if self.micro_batch is not None and self.share % self.micro_batch:
            raise ValueError(
                f"micro_batch must divide the {self.share} images that a process has of a batch; got {self.micro_batch}"
            )
        return self

    @property
    def share(self) -> int:
        """Images that a process has of a whole batch."""
        return self.batch_size // self.processes

    def images_at_once(self, micro_batch: int | None) -> int:
        """Of a process, in training and evaluation, by a micro-batch as planned or come down to; None: its share."""
        return micro_batch or self.share


class ComputeConfig(Section):
    """How the numbers of a model are computed. Each field may move their last digits, so all are protocol."""

    precision: Literal["bf16", "fp32"] = "bf16"
    """`bf16`: convolutions and products of matrices in bfloat16 (autocast); weights, boxes and losses in float32."""
    channels_last: bool = True
    """Convolutions with the channels of a place beside each other in memory."""
    compile: bool = False
    """torch.compile of encoder and pyramid; it costs minutes at the start of each trial, and again for each new size
    of the frames."""


class TrialConfig(Section):
    """One training run: everything that its numbers hang on, but the code and the machine."""

    model: ModelConfig = ModelConfig()
    data: DataConfig = DataConfig()
    schedule: ScheduleConfig = ScheduleConfig()
    compute: ComputeConfig = ComputeConfig()
    seed: Annotated[int, Field(ge=0)] = 0
    report_split: Literal["val", "test"] = "val"
    """Where the final results are taken; `test` is read once, for finalists and baseline."""

    @model_validator(mode="after")
    def _something_is_left(self) -> "TrialConfig":
        dropout = self.data.augment.modality_dropout
        if dropout > 0 and len(self.model.modalities()) == 1:
            raise ValueError(
                f"data.augment.modality_dropout must be 0 where the model has one modality, as nothing else would be "
                f"seen; got {dropout:g} with model.streams '{self.model.streams}'. Leave it out, or name a second one"
            )
        return self

    def placeless(self) -> "TrialConfig":
        """Without the places of data and weights, which may move; their hashes may not."""
        data = self.data.model_copy(update=dict.fromkeys(("root", "labels", "split", "sequences")))
        given = self.model.pretrained
        model = self.model.model_copy(update={"pretrained": given and given.placeless()})
        return self.model_copy(update={"data": data, "model": model})
