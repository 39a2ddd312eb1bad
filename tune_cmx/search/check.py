"""What can be known of a study before it costs anything: every model is built and compared with the baseline."""

from collections.abc import Iterator

from tune_cmx.config.parse import dump
from tune_cmx.config.paths import FieldError, Origins
from tune_cmx.config.study import Study
from tune_cmx.config.trial import ModelConfig, TrialConfig
from tune_cmx.data.photometric import refuse_colourless
from tune_cmx.data.prepare import Prepared
from tune_cmx.errors import ConfigError, DataError
from tune_cmx.models.describe import Inspection, inspected
from tune_cmx.models.detector import Detector
from tune_cmx.models.fusion import FUSIONS
from tune_cmx.search.planning.checked_models import BuiltArm, Checked
from tune_cmx.search.planning.equivalent import equivalent_ids, equivalent_texts, find_equivalent
from tune_cmx.search.planning.model_sizes import ModelSizes, as_text
from tune_cmx.training.model_probe import build_for


def check_study(study: Study, prepared: Prepared | None) -> Checked:
    """Build every configuration, and find those that are one function.

    Raises:
        ConfigError: As `build_arms` does.
    """
    arms = tuple(build_arms(study, prepared))
    equivalent = find_equivalent(study)
    return Checked(arms, equivalent_ids(equivalent), equivalent_texts(equivalent))


def build_arms(study: Study, prepared: Prepared | None) -> Iterator[BuiltArm]:
    """Build every configuration's model on the CPU and step it once; equal models are built once.

    Args:
        study: Parsed; random draws are built as drawn, and the ends of their ranges besides.
        prepared: The data, where they are known.

    Raises:
        ConfigError: A model cannot be built, an option is unknown, colours are augmented that the data do not have, or
            a range does not suit the pixels; the message names the configuration.
    """
    batch_limit = len(prepared.split.train) if prepared else None
    sizes: dict[str, ModelSizes] = {}
    seen: dict[str, Inspection] = {}
    for place, values in study.end_values():
        config, origins = study.config(values), study.origins(values)
        _check_augment(config, prepared, origins)
        if prepared:
            _find_ranges(config, prepared, f"{study.source}: {place}")
        data = prepared and prepared.with_events(config.data)
        _build(config.model, data, f"{study.source}: {place}", origins)
    for arm in study.arms.values():
        place = f"{study.source}: configuration '{arm.label}'"
        if batch_limit is not None and arm.config.schedule.batch_size > batch_limit:
            raise ConfigError(
                f"{place}: schedule.batch_size {arm.config.schedule.batch_size} is more than the {batch_limit} "
                "training images; lower it"
            )
        origins = study.arm_origins(arm)
        _check_augment(arm.config, prepared, origins)
        if prepared:
            _find_ranges(arm.config, prepared, place)
        data = prepared and prepared.with_events(arm.config.data)
        bands = as_text({name: len(channels) for name, channels in data.data.bands.items()} if data else None)
        key = as_text([dump(arm.config.model), bands])
        if key not in seen:
            seen[key] = inspected(_build(arm.config.model, data, place, origins))
        found = seen[key]
        if data and bands not in sizes:
            sizes[bands] = ModelSizes(data)
        gflops = sizes[bands].of(arm.config.model).gflop if data else None
        epochs = arm.config.schedule.epochs
        yield BuiltArm(arm.id, arm.label, epochs, found.parameters, gflops, tuple(found.warnings))


def _check_augment(config: TrialConfig, prepared: Prepared | None, origins: Origins) -> None:
    seen = config.model.modalities()
    bands = {name: len(found) for name, found in prepared.data.bands.items() if name in seen} if prepared else {}
    try:
        refuse_colourless(config.data.augment, bands)
    except FieldError as error:
        raise ConfigError(f"{origins.place(error.field)}: {error.text}") from error


def _find_ranges(config: TrialConfig, prepared: Prepared, place: str) -> None:
    """The pixels' statistics for a configuration's ranges; the data's folder keeps them for its trials."""
    try:
        prepared.pixel_statistics(config.data.range)
    except DataError as error:
        raise ConfigError(f"{place}: {error}") from error


def _build(model: ModelConfig, prepared: Prepared | None, place: str, origins: Origins) -> Detector:
    try:
        return build_for(model, prepared)
    except FieldError as error:
        field = error.field
        if field == "model.fusion.kind" and model.fusion.kind is None:
            field = "model.fusion.per_stage"
        elif field == "model.fusion.kind" and model.fusion.kind in FUSIONS:
            field = "model.fusion.elsewhere"
        raise ConfigError(f"{origins.place(field)}: {error.text}") from error
    except ConfigError as error:
        raise ConfigError(f"{place}: {error}") from error
