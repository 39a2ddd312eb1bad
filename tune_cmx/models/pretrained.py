"""Pretrained weights of the streams, from files of the Mix Transformer's authors or of Hugging Face, or from timm.

Axes of a convolution's weight: O channels out, I channels in, H W rows and columns.
"""

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from tune_cmx.config.pretrained import WeightsFile
from tune_cmx.config.trial import TIMM, ModelConfig
from tune_cmx.errors import ConfigError
from tune_cmx.models.encoder import Encoder
from tune_cmx.models.mit import MixTransformer
from tune_cmx.models.mit_files import FIRST, Weights, published_names, read_weights, size_of
from tune_cmx.models.streams import build_stream
from tune_cmx.models.timm_stream import TimmStream, published_tag

_NAMED = 8
"""Most names in one list of `trial.json`."""


@dataclass(frozen=True)
class Transfer:
    """Which of one stream's weights were loaded; names are those of the stream's state dict."""

    stream: str
    source: str
    """The file, or timm's model with its tag; `random` where the configuration names none for this stream."""
    sha256: str | None
    """Hash of the file's content."""
    loaded: tuple[str, ...]
    """Loaded as they are."""
    adapted: Mapping[str, str]
    """Loaded in another shape, and how."""
    random: tuple[str, ...]
    """Not in the file; these keep their random weights."""
    unused: tuple[str, ...]
    """In the file but not in the stream, such as a classifier, by the file's names."""

    def short(self) -> dict[str, Any]:
        """The form in `trial.json`: counts, and the first names."""
        return {
            "stream": self.stream,
            "source": self.source,
            "sha256": self.sha256,
            "loaded": len(self.loaded),
            "adapted": dict(self.adapted),
            "random": len(self.random),
            "random_names": _some(self.random),
            "unused": len(self.unused),
            "unused_names": _some(self.unused),
        }


@dataclass(frozen=True)
class _File:
    """The encoder's weights of a file, by the stream's names."""

    path: str
    sha256: str
    weights: Weights
    unused: tuple[str, ...]


def load_pretrained(encoder: Encoder, config: ModelConfig) -> list[Transfer]:
    """Load the pretrained weights that the configuration names into the streams; fusions keep their random weights.

    The first convolution's filters are copied where the file's bands are as many as the stream's. Otherwise each band
    gets their mean, scaled by the file's bands over the stream's: the rule of temporal segment networks
    (arXiv:1608.00859) for another modality, with a scale by which an image of equal bands gives the same response.

    Args:
        encoder: Built from `config`, on the CPU; its streams are changed in place.
        config: The model's part of a trial's configuration.

    Returns:
        One report a stream; none where the configuration names no weights.

    Raises:
        ConfigError: A file cannot be read, its content is not the configuration's, most of it does not fit, or timm's
            weights cannot be fetched.
    """
    if config.pretrained is None:
        return []
    files: dict[WeightsFile, _File] = {}
    transfers = []
    for name, stream in encoder.streams.items():
        given = config.pretrained.file(name)
        if isinstance(stream, TimmStream):
            done = stream.load_published()
            adapted = dict.fromkeys(done.adapted, "by timm, to the stream's bands")
            transfers.append(Transfer(name, done.source, None, done.loaded, adapted, (), ()))
        elif given is None:
            transfers.append(Transfer(name, "random", None, (), {}, tuple(stream.state_dict()), ()))
        else:
            assert isinstance(stream, MixTransformer)
            if given not in files:
                files[given] = _read(given)
            fitted, transfer = _fit(files[given], name, stream.state_dict(), config.backbone)
            stream.load_state_dict(fitted, strict=False)
            transfers.append(transfer)
    return transfers


def check_pretrained(config: ModelConfig, bands: Sequence[int]) -> None:
    """Check that the weights the configuration names can be loaded; nothing is fetched, each file is read once.

    Args:
        config: The model's part of a trial's configuration.
        bands: Input channels of each stream.

    Raises:
        ConfigError: As `load_pretrained`; or timm publishes no weights for the backbone.
    """
    if config.pretrained is None:
        return
    if config.pretrained.timm:
        published_tag(config.backbone.removeprefix(TIMM))
    for name, count in zip(("rgb", "aux") if len(bands) == 2 else ("single",), bands, strict=True):
        given = config.pretrained.file(name)
        if given is not None:
            _check_file(given, config.backbone, name, count)


@cache
def _check_file(given: WeightsFile, backbone: str, stream: str, bands: int) -> None:
    with torch.device("meta"), torch.random.fork_rng(devices=[]):
        state = build_stream(backbone, bands, 0.0).state_dict()
    _fit(_read(given), stream, state, backbone)


def _read(given: WeightsFile) -> _File:
    """The encoder's weights of a file whose content has the configuration's hash."""
    path = Path(given.path)
    if not path.is_file():
        raise ConfigError(f"model.pretrained: {path}: no such file of weights; put it back, or correct the path")
    with path.open("rb") as content:
        found = hashlib.file_digest(content, "sha256").hexdigest()
    if found != given.sha256:
        raise ConfigError(
            f"model.pretrained: {path}: its content is not what the configuration says: sha256 is {found[:12]}..., was "
            f"{given.sha256[:12]}...; put the first file back, or begin anew"
        )
    weights, unused = published_names(read_weights(path), given.path)
    return _File(given.path, found, weights, unused)


def _fit(file: _File, stream: str, state: Weights, backbone: str) -> tuple[dict[str, Tensor], Transfer]:
    """The weights of a file that fit a stream's shapes."""
    fitted: dict[str, Tensor] = {}
    adapted: dict[str, str] = {}
    for name, own in state.items():
        given = file.weights.get(name)
        if given is None:
            continue
        if given.shape == own.shape:
            fitted[name] = given
        elif name == FIRST and (given.shape[0], given.shape[2:]) == (own.shape[0], own.shape[2:]):
            fitted[name] = _to_bands(given, own.shape[1])
            adapted[name] = f"mean of {given.shape[1]} bands, scaled, for each of {own.shape[1]}"
    _refuse_other(file, state, fitted, backbone)
    loaded = tuple(name for name in fitted if name not in adapted)
    random = tuple(name for name in state if name not in fitted)
    unused = (*file.unused, *(name for name in file.weights if name not in fitted))
    return fitted, Transfer(stream, file.path, file.sha256, loaded, adapted, random, unused)


def _to_bands(weight_OIHW: Tensor, bands: int) -> Tensor:
    mean_O1HW = weight_OIHW.float().mean(dim=1, keepdim=True)
    return (mean_O1HW * weight_OIHW.shape[1] / bands).repeat(1, bands, 1, 1)


def _refuse_other(file: _File, state: Weights, fitted: Weights, backbone: str) -> None:
    """Raise ConfigError for a file of another backbone, or one most of which does not fit."""
    size = size_of(file.weights)
    if size is not None and size != backbone:
        fix = f"the file is of {size}: set model.backbone: {size}, or take the file of {backbone}"
    elif 2 * len(fitted) < len(state):
        fix = f"take a file of {backbone}"
    else:
        return
    odd = next((name for name in state if name not in fitted), None)
    example = ""
    if odd is not None:
        given = file.weights.get(odd)
        found = "is not in the file" if given is None else f"is {tuple(given.shape)} in the file"
        example = f"; {odd} {found}, {tuple(state[odd].shape)} in the stream"
    raise ConfigError(
        f"model.pretrained: {file.path}: {len(fitted)} of {len(state)} tensors fit {backbone}{example}; {fix}"
    )


def _some(names: Sequence[str]) -> list[str]:
    return [*names[:_NAMED], f"and {len(names) - _NAMED} more"] if len(names) > _NAMED else list(names)
