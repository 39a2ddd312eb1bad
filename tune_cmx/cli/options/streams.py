"""The streams of a study's configurations: as the file names them, or what the data hold."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tune_cmx.cli.earlier import streams_of_session
from tune_cmx.cli.prepare import opened_data
from tune_cmx.config.model_sections import ASSUMED, DefaultStreams
from tune_cmx.config.paths import place_of
from tune_cmx.config.space import Space, read_space
from tune_cmx.config.study import Study, data_of, read_study
from tune_cmx.config.study_rules import STREAMS, unserved_text
from tune_cmx.errors import ConfigError
from tune_cmx.state.study_state import StudyState
from tune_cmx.training.loggers import require_loggers

if TYPE_CHECKING:
    from tune_cmx.data.readers import PairedData


def study_on_data(
    space: Space, overrides: Mapping[str, Any], before: StudyState | None = None
) -> "tuple[Study, PairedData | None]":
    """The study, and its data as their reader finds them; None where no data are named.

    Args:
        space: The file.
        overrides: What the command line sets, by dotted path.
        before: The study's `study.json` if the study is resumed. Then unnamed streams stay as they were.

    Raises:
        ConfigError: The file contradicts itself, names a modality that the data do not have, or a logger that cannot
            be used.
        DataError: The data cannot be used.
    """
    require_loggers(space.file.loggers, place_of("loggers", str(space.path), space.lines))
    opened = opened_data(data_of(space, overrides))
    default = ASSUMED if opened is None else DefaultStreams.of_data(opened.bands)
    began = None if before is None else streams_of_session(before)
    if began is not None:
        default = DefaultStreams(began, "as the study began", default.held)
    study = read_study(space, overrides=overrides, default_streams=default)
    if default.held is not None and (refused := unserved_text(study.streams_asked(), default.held)):
        raise ConfigError(f"{refused}{_fitting(space.path, default.held)}")
    return study, opened


def streams_line(study: Study) -> str:
    """Which streams the configurations have and where they come from; empty where the search names all of them."""
    default = study.default_streams
    if default is None:
        return f"streams: {study.baseline.config.model.streams} (as written)"
    if STREAMS not in study.factors:
        return f"streams: {default.streams} ({default.reason})"
    unnamed = any(STREAMS not in arm.values for arm in study.arms.values())
    return f"streams where a configuration names none: {default.streams} ({default.reason})" if unnamed else ""


def _fitting(path: Path, held: Sequence[str]) -> str:
    """A sentence on the search spaces beside this one whose streams the data have; empty if there are none."""
    default = DefaultStreams.of_data(held)
    names = []
    for other in sorted(path.parent.glob("*.yaml")):
        try:
            asked = read_study(read_space(other), default_streams=default).streams_asked()
        except ConfigError:
            continue  # no search space, or one for other data
        if not unserved_text(asked, held):
            names.append(other.stem)
    return f"\nSearch spaces in {path.parent} that fit the data: {', '.join(names)}" if names else ""
