"""A model folder as a trained detector: every key, every shape and the hash of the weights are checked."""

from collections.abc import Mapping
from pathlib import Path

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor

from tune_cmx.config.parse import parse_trial
from tune_cmx.config.trial import TrialConfig
from tune_cmx.counting import count
from tune_cmx.data.pixel_range import PixelScale
from tune_cmx.errors import ConfigError, DataError
from tune_cmx.inference.model_folder import sha256_of
from tune_cmx.inference.trained_detector import Modality, TrainedDetector, warn_each
from tune_cmx.models.detector import Detector, build_detector, compute_as
from tune_cmx.state.model_state import MODEL_FILE, WEIGHTS_FILE, ModelState, read_model_state
from tune_cmx.training.protocol import code_version


def load(folder: Path | str, *, device: str | None = None) -> TrainedDetector:
    """The detector of a model folder.

    A folder that another version of the code wrote is loaded with a Python warning.

    Args:
        folder: From `tune-cmx best STUDY --export FOLDER`, or the `model/` of a run folder.
        device: As torch names it, such as `cpu` or `cuda:1`. None: a GPU if there is one, else the CPU.

    Raises:
        ConfigError: The configuration in `model.json` is not understood.
        DataError: A file is missing or damaged, or the weights are not those of the configuration.
    """
    detector, remarks = load_with_remarks(folder, device=device)
    warn_each(remarks)
    return detector


def load_with_remarks(folder: Path | str, *, device: str | None = None) -> tuple[TrainedDetector, list[str]]:
    """As `load`, and what a user should know of the folder, in place of warnings."""
    folder = Path(folder)
    path = folder / MODEL_FILE
    state = read_model_state(path)
    other_code = state.code_version != code_version()
    try:
        config = parse_trial(state.config, source=f"{path}: config")
    except ConfigError as error:
        if not other_code:
            raise
        raise ConfigError(f"{error}; {_versions(state)}; install the version that wrote it") from error
    network = _network(state, config, path)
    weights = _weights(folder / WEIGHTS_FILE, state)
    refuse_other_weights(weights, network, folder / WEIGHTS_FILE)
    network.load_state_dict(weights)
    chosen = torch.device(device or ("cuda" if torch.cuda.is_available() else "cpu"))
    detector = TrainedDetector(
        network,
        config,
        state.classes,
        {name: _modality(state, name) for name in config.model.modalities()},
        chosen,
        images_at_once=state.images_at_once,
        folder=folder,
        state=state,
    )
    return detector, [f"{path}: {_versions(state)}; results can differ in the last digits"] if other_code else []


def _versions(state: ModelState) -> str:
    return f"code_version is {state.code_version}, this is {code_version()}"


def _network(state: ModelState, config: TrialConfig, path: Path) -> Detector:
    """The configuration's detector with random weights; torch's global generator stays as it was."""
    order = config.model.modalities()
    for name in order:
        if name not in state.modalities:
            raise DataError(f"{path}: modalities: {name} is missing, which config.model.streams names")
        one = state.modalities[name]
        if not len(one.mean) == len(one.std) == len(one.channels):
            found = f"{len(one.channels)} channels, {len(one.mean)} means and {len(one.std)} deviations"
            raise DataError(f"{path}: modalities.{name}: {found}; one of each for a band is needed")
    bands = tuple(
        sum(len(state.modalities[name].channels) for name in stream) for stream in config.model.stream_modalities()
    )
    with torch.random.fork_rng(devices=[]):
        network = build_detector(
            config.model,
            bands=bands,
            num_classes=len(state.classes),
            mean=[value for name in order for value in state.modalities[name].mean],
            std=[value for name in order for value in state.modalities[name].std],
        )
    return compute_as(network, config.compute.model_copy(update={"compile": False}))


def _weights(path: Path, state: ModelState) -> dict[str, Tensor]:
    if not path.is_file():
        raise DataError(f"{path}: is missing; copy the whole model folder")
    found = sha256_of(path)
    if found != state.weights_sha256:
        raise DataError(
            f"{path}: its SHA-256 hash is {found[:12]}, and weights_sha256 in {MODEL_FILE} is "
            f"{state.weights_sha256[:12]}; copy the folder again"
        )
    try:
        return load_file(path)
    except SafetensorError as error:
        raise DataError(f"{path}: is no file of safetensors: {error}; copy the folder again") from error


def refuse_other_weights(weights: Mapping[str, Tensor], network: torch.nn.Module, path: Path) -> None:
    """Refuse weights that are not those of a network.

    Args:
        weights: By name.
        network: With its own.
        path: Of the weights, for messages.

    Raises:
        DataError: A tensor is missing, has another shape, or has no place.
    """
    wanted = network.state_dict()
    wrong = [f"{name} is missing" for name in wanted if name not in weights]
    wrong += [
        f"{name} has shape {tuple(weights[name].shape)}; {tuple(tensor.shape)} is needed"
        for name, tensor in wanted.items()
        if name in weights and weights[name].shape != tensor.shape
    ]
    wrong += [f"{name} has no place in the model" for name in weights if name not in wanted]
    if wrong:
        more = f" (and {count(len(wrong) - 1, 'tensor')} more)" if wrong[1:] else ""
        raise DataError(f"{path}: {wrong[0]}{more}; these are not the weights of this configuration")


def _modality(state: ModelState, name: str) -> Modality:
    one = state.modalities[name]
    scale = PixelScale(one.scale.kind, one.scale.low, one.scale.high, one.scale.plateau)
    return Modality(len(one.channels), one.number_type, scale, one.mean)
