"""A trial's detector with normalisation left out, to be counted and audited and not to be trained."""

from collections.abc import Mapping

import torch

from tune_cmx.config.trial import MODALITIES, ModelConfig
from tune_cmx.data.prepare import Prepared
from tune_cmx.models.detector import Detector, build_detector
from tune_cmx.models.pretrained import check_pretrained

DEFAULT_BANDS: Mapping[str, int] = dict(zip(MODALITIES, (3, 1, 1), strict=True))
"""Bands a modality, where no data set says."""


def stream_bands(model: ModelConfig, bands: Mapping[str, int]) -> tuple[int, ...]:
    """Input bands of each stream.

    Raises:
        ConfigError: A stream names a modality that the data do not have.
    """
    model.refuse_without(bands)
    return tuple(sum(bands[name] for name in stream) for stream in model.stream_modalities())


def build_plain(model: ModelConfig, bands: Mapping[str, int], num_classes: int) -> Detector:
    """The detector with normalisation left out, to count and to audit."""
    per_stream = stream_bands(model, bands)
    total = sum(per_stream)
    return build_detector(model, bands=per_stream, num_classes=num_classes, mean=[0.5] * total, std=[0.25] * total)


def build_for(model: ModelConfig, prepared: Prepared | None) -> Detector:
    """The detector that the data ask for, to count and to audit; always with the same initial weights.

    Args:
        model: What to build.
        prepared: Bands and classes; None: rgb 3, thermal 1, event 1, one class.

    Raises:
        ConfigError: A part or an option is unknown, the data lack a modality, or the weights to begin with do not fit.
    """
    bands = {name: len(found) for name, found in prepared.data.bands.items()} if prepared else DEFAULT_BANDS
    check_pretrained(model, stream_bands(model, bands))
    with torch.random.fork_rng(devices=[]):
        torch.default_generator.manual_seed(0)  # what an audit says of a random network must not change by the run
        return build_plain(model, bands, len(prepared.data.classes) if prepared else 1)
