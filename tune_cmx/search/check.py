"""What can be known of a study before it costs anything: every model built, every arm set against the control."""

from collections.abc import Iterator, Mapping

import torch

from tune_cmx.config.arms import CONTROL
from tune_cmx.config.study import Study
from tune_cmx.config.trial import MODALITIES, ModelConfig
from tune_cmx.data.prepare import Prepared
from tune_cmx.errors import ConfigError
from tune_cmx.models.describe import audit, parameters
from tune_cmx.models.detector import Detector, build_detector
from tune_cmx.search.built import BuiltArm, Checked
from tune_cmx.search.twins import find_twins, twin_ids, twin_texts

DEFAULT_BANDS: Mapping[str, int] = dict(zip(MODALITIES, (3, 1, 1), strict=True))
"""Bands a modality, where no data set says."""


def check_study(study: Study, prepared: Prepared | None) -> Checked:
    """Build every arm, and find those that are one function.

    Raises:
        ConfigError: As `build_arms` does.
    """
    arms = tuple(build_arms(study, prepared))
    twins = find_twins(study)
    return Checked(arms, twin_ids(twins), twin_texts(twins))


def stream_bands(model: ModelConfig, bands: Mapping[str, int]) -> tuple[int, ...]:
    """Input bands of each stream.

    Raises:
        ConfigError: A stream names a modality that the data do not have.
    """
    for stream in model.stream_modalities():
        for name in stream:
            if name not in bands:
                raise ConfigError(f"model.streams: '{model.streams}' needs {name}; the data have {', '.join(bands)}")
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
        ConfigError: A part or an option is unknown, or the data lack a modality.
    """
    bands = {name: len(found) for name, found in prepared.data.bands.items()} if prepared else DEFAULT_BANDS
    with torch.random.fork_rng(devices=[]):
        torch.default_generator.manual_seed(0)  # what an audit says of a random network must not change by the run
        return build_plain(model, bands, len(prepared.data.classes) if prepared else 1)


def build_arms(study: Study, prepared: Prepared | None) -> Iterator[BuiltArm]:
    """Build every arm's model on the CPU, and step it once.

    Args:
        study: Parsed; random draws are built as drawn, and the ends of their ranges besides.
        prepared: The data, where they are known.

    Raises:
        ConfigError: A model cannot be built, or an option is unknown; the message names the arm.
    """
    batch_limit = len(prepared.split.train) if prepared else None
    for place, config in study.range_ends():
        _build(config.model, prepared, f"{study.source}: {place}")
    for arm in study.arms.values():
        place = f"{study.source}: {'control' if arm.id == CONTROL else f'arm {arm.label!r}'}"
        if batch_limit is not None and arm.config.schedule.batch_size > batch_limit:
            raise ConfigError(
                f"{place}: schedule.batch_size {arm.config.schedule.batch_size} is more than the {batch_limit} "
                "training frames; lower it"
            )
        detector = _build(arm.config.model, prepared, place)
        counts = parameters(detector)
        warnings = tuple(audit(detector, detector.backbone.encoder.bands))
        yield BuiltArm(arm.id, arm.label, counts["total"], counts["active"], arm.config.schedule.epochs, warnings)


def _build(model: ModelConfig, prepared: Prepared | None, place: str) -> Detector:
    try:
        return build_for(model, prepared)
    except ConfigError as error:
        raise ConfigError(f"{place}: {error}") from error
