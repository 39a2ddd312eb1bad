"""The typed configuration of one trial. Frozen, strict: an unknown key or a wrong type is an error."""

from collections.abc import Collection
from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, Field, field_validator, model_validator

from tune_cmx.config.data.events import EventsConfig
from tune_cmx.config.data.ranges import PixelRanges
from tune_cmx.config.model_sections import (
    MODALITIES,
    STAGES,
    TIMM,
    DetectorConfig,
    FusionConfig,
    Modality,
    ModelConfig,
    StageFusion,
)
from tune_cmx.config.section import MOST_EPOCHS, Section, TrialSeed, Unit, as_tuple

__all__ = [
    "MODALITIES",
    "STAGES",
    "TIMM",
    "AugmentConfig",
    "ComputeConfig",
    "DataConfig",
    "DetectorConfig",
    "EventsConfig",
    "FusionConfig",
    "Modality",
    "ModelConfig",
    "ScheduleConfig",
    "StageFusion",
    "TrialConfig",
]


Fraction = Annotated[float, Field(ge=0, le=1)]


class AugmentConfig(Section):
    """Random changes of training images. One geometry is drawn for all bands and boxes. Photometric changes and
    registration jitter are drawn for each modality alone. Without this modality in the model, they do nothing."""

    flip: Fraction = 0.5
    """Probability of a horizontal flip."""
    scale: Annotated[tuple[float, float], BeforeValidator(as_tuple)] = (0.8, 1.25)
    """Range of the zoom, two numbers from 0.1 to 10. Above 1 the image is cropped, below 1 padded; its size stays."""
    modality_dropout: Fraction = 0.0
    """Probability that one modality of a training image, each as likely, is replaced by its training mean."""
    registration_jitter: Annotated[int, Field(ge=0, le=64), Unit("px")] = 0
    """Largest shift of each modality against the first one, horizontally and vertically; boxes stay. Uncovered pixels
    show the mean of each band."""
    rgb_brightness: Fraction = 0.0
    """Largest change of the RGB brightness: pixels are multiplied by a factor from 1 - value to 1 + value."""
    rgb_contrast: Fraction = 0.0
    """Largest change of the RGB contrast: distances from the image's mean grey are multiplied by such a factor."""
    rgb_saturation: Fraction = 0.0
    """Largest change of the RGB saturation: distances from the pixel's grey are multiplied by such a factor."""
    rgb_hue: Annotated[float, Field(ge=0, le=0.5), Unit("turns")] = 0.0
    """Largest change of the RGB hue, either way, as a part of the colour circle. It takes more CPU time than
    all other changes together."""
    thermal_contrast: Fraction = 0.0
    """Largest change of the thermal gain: distances from the band's mean are multiplied by a factor from 1 - value to
    1 + value."""
    thermal_offset: Annotated[float, Field(ge=0, le=2), Unit("sd of the band")] = 0.0
    """Largest value added to a thermal band or subtracted from it, in standard deviations of its pixels."""
    thermal_blur: Annotated[float, Field(ge=0, le=5), Unit("px")] = 0.0
    """Largest sigma of a Gaussian blur of the thermal image; sigma is uniform from 0 to this value."""
    thermal_noise: Annotated[float, Field(ge=0, le=2), Unit("sd of the band")] = 0.0
    """Largest sigma of Gaussian noise added to a thermal band, in standard deviations of its pixels; sigma is uniform
    from 0 to this value."""
    event_contrast: Fraction = 0.0
    """As `thermal_contrast`, for event images: a camera with a lower threshold gives more events."""
    event_noise: Annotated[float, Field(ge=0, le=2), Unit("sd of the band")] = 0.0
    """As `thermal_noise`, for event images."""

    def idle(self, modalities: Collection[str]) -> list[str]:
        """The fields that change nothing in a model of these modalities."""
        absent = tuple(f"{name}_" for name in MODALITIES if name not in modalities)
        alone = ["registration_jitter"] if len(modalities) == 1 else []
        return [field for field in type(self).model_fields if field.startswith(absent)] + alone

    @field_validator("scale")
    @classmethod
    def _range(cls, scale: tuple[float, float]) -> tuple[float, float]:
        if not 0.1 <= scale[0] <= scale[1] <= 10:
            raise ValueError(f"scale needs a range within 0.1..10, lower end first; got {list(scale)}")
        return scale


class DataConfig(Section):
    """Where the images are and how they are split. The paths are not part of the protocol; the content hashes are."""

    root: str | None = None
    """Folder of the data set. The option --data sets it."""
    layout: str | None = None
    """Layout of the folder, such as `folders` or `llvip`. Default: the one that is recognised."""
    labels: str | None = None
    """Folder of the labels (YOLO text or VOC XML), or a COCO JSON file. Default: where the layout has them."""
    labels_from: Modality | None = None
    """Modality whose labels are the ground truth, for data sets in which several modalities have their own."""
    bands: dict[str, Annotated[tuple[int, ...], BeforeValidator(as_tuple)]] | None = None
    """Channels of a packed array by modality, counted from 0. Default: data.yaml, or rgb 0 to 2, thermal 3, event 4."""
    classes: Annotated[tuple[str, ...] | dict[str, str | None] | None, BeforeValidator(as_tuple)] = None
    """Names of the classes in the order to learn; or new names of some classes, as in `{rider: person, dog: null}`:
    classes of one name are merged, null leaves a class out, `ignore` makes its boxes ignore regions. A list also names
    the numbers of YOLO text where nothing else does. Default: as data.yaml, classes.txt or the labels name them."""
    sequences: str | None = None
    """Sequence of each image: a CSV file with columns id and sequence, or a regular expression with a group
    `sequence`, matched with image names. Default: from sequences.csv, if there is one."""
    split: str | None = None
    """An existing split file to use. Default: a split is made before training."""
    split_seed: TrialSeed = 0
    """Random seed of the split."""
    fractions: Annotated[tuple[float, float, float], BeforeValidator(as_tuple)] = (0.7, 0.15, 0.15)
    """Shares of train, val and test: three numbers above 0 that add up to 1."""
    split_by: Literal["official", "sequence", "block", "frame"] | None = None
    """How images are split. `official`: the data set's own split. `block`: runs of neighbouring images. `frame`: single
    images, which leaks between neighbours of a video. Default: official if there is one, then sequence where
    sequences are known, otherwise block."""
    guard: Annotated[int, Field(ge=0, le=10_000), Unit("images")] | None = None
    """Images left out between two blocks; only for a split by blocks. Default: 8, and of fewer than 64 images an
    eighth."""
    range: PixelRanges = PixelRanges()
    """Range of raw values that becomes 0 to 1, by modality."""
    events: EventsConfig | None = None
    """How raw events become an image; only for data that hold raw events. Default: count by polarity over 50 ms."""
    augment: AugmentConfig = AugmentConfig()
    """Random changes of training images."""

    def idle(self, modalities: Collection[str]) -> list[str]:
        """The dotted paths of what changes nothing in a model of these modalities."""
        augment = [f"augment.{field}" for field in self.augment.idle(modalities)]
        ranges = [f"range.{name}" for name in MODALITIES if name not in modalities]
        if "event" not in modalities:
            return [*augment, *ranges, "events"]
        return [*augment, *ranges, *(f"events.{field}" for field in (self.events or EventsConfig()).idle())]

    @field_validator("fractions")
    @classmethod
    def _fractions(cls, shares: tuple[float, float, float]) -> tuple[float, float, float]:
        if min(shares) <= 0 or abs(sum(shares) - 1) > 1e-6:
            raise ValueError(f"fractions needs three shares above 0 that add up to 1; got {list(shares)}")
        return shares


class ScheduleConfig(Section):
    """Length, batch, optimizer and learning rate of a training run."""

    preset: str | None = None
    """A named schedule of the published ablation: `aggressive` (15 epochs, batch 16, lr 0.02) or `conservative`
    (25 epochs, batch 2, lr 0.005), both SGD with momentum 0.9. Other keys of `schedule` override its values."""
    epochs: Annotated[int, Field(ge=1, le=MOST_EPOCHS), Unit("epochs")] = 15
    """Passes over the training images."""
    batch_size: Annotated[int, Field(ge=1, le=4096), Unit("images")] = 16
    """Images in one optimizer step, over all processes."""
    micro_batch: Annotated[int, Field(ge=1, le=4096), Unit("images")] | None = None
    """Images that a process holds in memory at once; gradients are accumulated over the batch. It changes results:
    batch normalisation and losses are taken over a micro-batch. Default: the whole share of a process."""
    processes: Annotated[int, Field(ge=1, le=64)] = 1
    """DDP processes of a trial on one machine, each with its own GPU if there are GPUs. It changes results: batch
    normalisation and losses are taken over the share of a process."""
    optimizer: Literal["sgd", "adamw"] = "sgd"
    """SGD with momentum, or AdamW."""
    lr: Annotated[float, Field(gt=0, le=1000)] = 0.02
    """Learning rate after the warm-up. Default: of the published ablation."""
    momentum: Annotated[float, Field(ge=0, lt=1)] = 0.9
    """Momentum of SGD; AdamW does not use it."""
    weight_decay: Annotated[float, Field(ge=0, le=1)] = 1e-4
    """Weight decay; biases and normalisation weights are not decayed."""
    curve: Literal["constant", "step", "cosine"] = "constant"
    """Course of the learning rate after the warm-up."""
    step_epochs: Annotated[int, Field(ge=1, le=MOST_EPOCHS), Unit("epochs")] = 5
    """Epochs between two drops; only for `curve: step`."""
    step_factor: Annotated[float, Field(gt=0, lt=1)] = 0.1
    """Factor of the learning rate at each drop; only for `curve: step`."""
    warmup_epochs: Annotated[float, Field(ge=0, lt=MOST_EPOCHS), Unit("epochs")] = 0.0
    """Linear warm-up from a thousandth of the learning rate. It is part of `epochs`."""
    clip_norm: Annotated[float, Field(gt=0, le=1e6)] | None = None
    """Largest norm of the gradient. Default: no clipping."""
    ema_decay: Annotated[float, Field(gt=0, lt=1)] | None = None
    """Decay per step of the exponential moving average (EMA) of the weights, such as 0.999; it rises from 0 to this
    value. With EMA, the averaged weights are scored. Default: no EMA."""

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
        """Images of a batch that one process takes."""
        return self.batch_size // self.processes

    def images_at_once(self, micro_batch: int | None) -> int:
        """Images that a process holds at once, by its micro-batch, planned or halved; None: its share of the batch."""
        return micro_batch or self.share


class ComputeConfig(Section):
    """How a model is computed. Each field can change the last digits of results, so all are part of the protocol."""

    precision: Literal["bf16", "fp32"] = "bf16"
    """`bf16`: convolutions and matrix products in bfloat16 (autocast); weights, boxes and losses in float32."""
    channels_last: bool = True
    """Memory layout of convolutions with channels last (NHWC)."""
    compile: bool = False
    """Use torch.compile for encoder and pyramid. It takes minutes at the start of each trial, and again for each
    new image size."""


class TrialConfig(Section):
    """One training run: everything that determines its numbers, except the code and the machine."""

    model: ModelConfig = ModelConfig()
    """Streams, fusion and detector."""
    data: DataConfig = DataConfig()
    """Images, labels, split and augmentation."""
    schedule: ScheduleConfig = ScheduleConfig()
    """Length, batch, optimizer and learning rate."""
    compute: ComputeConfig = ComputeConfig()
    """Precision and memory layout."""
    seed: TrialSeed = 0
    """Random seed of the trial. In a study, the study sets it."""
    report_split: Literal["val", "test"] = "val"
    """Split of the final results. In a study, the study sets it: val in the search, test in the confirmation."""

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
        """Without the paths of data and weights, which may change; their hashes may not."""
        data = self.data.model_copy(update=dict.fromkeys(("root", "labels", "split", "sequences")))
        given = self.model.pretrained
        model = self.model.model_copy(update={"pretrained": given and given.placeless()})
        return self.model_copy(update={"data": data, "model": model})
