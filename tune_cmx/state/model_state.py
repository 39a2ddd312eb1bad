"""`model.json`: what a model folder says of its detector. One model, read and written here."""

from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import Field

from tune_cmx.errors import DataError
from tune_cmx.state.json_file import State, parsed, read_model, write_json

MODEL_FILE, WEIGHTS_FILE, CARD_FILE = "model.json", "model.safetensors", "README.md"
"""Files of a model folder. Its images of train, val and test are in `split.json`."""
FORM = 1
"""The form in which this version writes `model.json`; `form` in the file."""


class Scale(State):
    """How raw pixels become numbers from 0 to 1."""

    kind: Literal["type", "fixed", "percentile", "image", "plateau"]
    """Full range of the number type, fixed ends, percentiles of train or of each image, or plateau equalisation."""
    low: float | None = None
    """Raw value that becomes 0; for `image` a percentile. None: there is none."""
    high: float | None = None
    """Raw value that becomes 1; for `image` a percentile. None: there is none."""
    plateau: float | None = None
    """For `plateau`: the largest share of an image's pixels that counts for one level."""


class ModalityState(State):
    """What the detector expects of one modality."""

    channels: tuple[int, ...]
    """Its channels in an image file; their number is the number of its bands."""
    number_type: str
    """Number type of the training images: uint8, uint16, int32 or float32."""
    scale: Scale
    """How its raw pixels become 0 to 1."""
    mean: tuple[float, ...]
    """Training mean of each band, from 0 to 1."""
    std: tuple[float, ...]
    """Standard deviation of each band."""


class ImageSizes(State):
    """Sizes of the training images, height and width in pixels."""

    smallest: tuple[int, int]
    """The smallest height and the smallest width."""
    usual: tuple[float, float]
    """Median height and median width."""
    largest: tuple[int, int]
    """The largest height and the largest width."""


class MetricState(State):
    """A metric of the run on one split."""

    value: float | None = None
    """In points for a scored metric. None: it is not defined, as without boxes of a size."""
    interval: tuple[float, float] | None = None
    """95 % test-set bootstrap interval. None: it was not computed, or the split is too small."""
    n: int | None = None
    """Images of the split, or sequences where these were drawn for the interval."""
    unit: Literal["images", "sequences"] | None = None
    """What `n` counts."""


class ChosenFrom(State):
    """The study that the model was taken from, and the runs of the same configuration."""

    study: str
    """The study's name."""
    configuration: str
    """The configuration's name."""
    rule: str
    """How this run was chosen among those of its configuration."""
    metric: str
    """The metric of the two fields below, with its split."""
    mean: float | None = None
    """Mean over the configuration's confirmation runs."""
    interval: tuple[float, float] | None = None
    """95 % t interval of the mean over seeds. None: fewer than two runs."""
    n: int
    """Confirmation runs of the configuration."""


class ModelState(State):
    """The content of `model.json`."""

    form: int
    """The number of this form of model folders."""
    name: str
    """The name of the run that trained the model."""
    license: str | None = None
    """Licence of the weights, as an SPDX identifier. None: nobody has stated one."""
    created: str | None = None
    """When the folder was written, in UTC."""
    code_version: str
    """Version of the software that trained it, and a hash of the code that the numbers come from."""
    config: dict[str, Any]
    """The trial's whole configuration, without the paths of data and weights."""
    classes: Annotated[tuple[str, ...], Field(min_length=1)]
    """Names of the classes, by id from 0."""
    streams: str
    """The streams and their modalities, as in `rgb | thermal`."""
    modalities: dict[str, ModalityState]
    """What the detector expects of each modality, by name, in the order of its bands."""
    image_sizes: ImageSizes | None = None
    """Sizes of the training images. None: not known."""
    images_at_once: Annotated[int, Field(ge=1)] = 1
    """Images of a forward pass when the run was scored."""
    ema: bool = False
    """Whether the weights are the exponential moving average."""
    weights_sha256: str
    """SHA-256 hash of `model.safetensors`."""
    parameters: int | None = None
    """Number of parameters."""
    seed: int | None = None
    """Random seed of the run."""
    epochs: int | None = None
    """Epochs that it was trained."""
    layout: str = ""
    """Layout in which the data were read, such as `llvip`."""
    data_fingerprint: str | None = None
    """Hash of the content of the images and labels. None: not known."""
    split_hash: str | None = None
    """Hash of the division into train, val and test. None: not known."""
    split_how: str | None = None
    """How images were divided: official, sequence, block, frame or given."""
    metrics: dict[str, dict[str, MetricState]] = {}
    """Metrics of the run by split and name."""
    chosen_from: ChosenFrom | None = None
    """The study that it was taken from. None: the folder was made from one run."""


def new_model_state(place: Path, **fields: Any) -> ModelState:
    """The state of a model folder that is being made.

    Raises:
        DataError: A value that its field does not allow.
    """
    return parsed(ModelState, {"form": FORM, **fields}, place)


def read_model_state(path: Path) -> ModelState:
    """The state in a `model.json`.

    Raises:
        DataError: There is no such file, it is not JSON, a value is not allowed, or a newer version wrote it.
    """
    if not path.is_file():
        raise DataError(f"{path.parent}: no {path.name} here, so it is no model folder; name one from tune-cmx best")
    state = read_model(ModelState, path)
    if state.form > FORM:
        raise DataError(f"{path}: form is {state.form}; this version reads {FORM}. Install the newer tune_cmx")
    return state


def write_model_state(path: Path, state: ModelState) -> None:
    """Write a `model.json`, whole or not at all."""
    write_json(path, state.as_json())
