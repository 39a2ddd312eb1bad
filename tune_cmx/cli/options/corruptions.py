"""Flags that name corruptions of a modality, and what they cannot ask for."""

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any

from tune_cmx.config.trial import MODALITIES, TrialConfig
from tune_cmx.errors import ConfigError, DataError
from tune_cmx.registry import lookup

if TYPE_CHECKING:
    from tune_cmx.data.corruption.kinds import Corruption


def asked_corruptions(missing: Sequence[str], shifted: Sequence[str], delayed: Sequence[str]) -> "list[Corruption]":
    """The corruptions that `--missing`, `--shifted` and `--delayed` name, each once.

    Raises:
        ConfigError: One of them is not understood.
    """
    found = [_corruption("--missing", text, kind="missing", modality=text) for text in missing]
    for text in shifted:
        modality, (right, down) = _numbers("--shifted", text, "modality=right,down in pixels, as in thermal=4,0", 2)
        found.append(_corruption("--shifted", text, kind="shifted", modality=modality, right=right, down=down))
    for text in delayed:
        modality, (frames,) = _numbers("--delayed", text, "modality=frames, as in event=2", 1)
        found.append(_corruption("--delayed", text, kind="delayed", modality=modality, frames=frames))
    return list(dict.fromkeys(found))


def _numbers(flag: str, text: str, form: str, count: int) -> tuple[str, list[int]]:
    modality, _, values = text.partition("=")
    try:
        numbers = [int(value) for value in values.split(",")]
    except ValueError as error:
        raise ConfigError(f"{flag}: needs {form}; got '{text}'") from error
    if len(numbers) != count:
        raise ConfigError(f"{flag}: needs {form}; got '{text}'")
    return modality, numbers


def _corruption(flag: str, text: str, **fields: Any) -> "Corruption":
    from tune_cmx.data.corruption.kinds import read_corruption

    lookup(dict.fromkeys(MODALITIES), fields["modality"], f"{flag}: unknown modality")
    try:
        return read_corruption(fields)
    except DataError as error:
        raise ConfigError(f"{flag}: {error}; got '{text}'") from error


def refuse_unseen(asked: "Sequence[Corruption]", configs: Iterable[TrialConfig]) -> None:
    """Raise ConfigError where none of the models has a modality that is asked for."""
    seen = {name for config in configs for name in config.model.modalities()}
    for one in asked:
        if one.modality not in seen:
            names = ", ".join(name for name in MODALITIES if name in seen)
            raise ConfigError(f"--{one.kind}: no model here sees {one.modality}; they see {names}")


def refuse_without_sequences(asked: "Sequence[Corruption]", prepared: Any) -> None:
    """Raise DataError where a delay is asked for and the data's sequences are not known."""
    from tune_cmx.data.corruption.kinds import Delayed, earlier_images

    if any(isinstance(one, Delayed) for one in asked):
        earlier_images(prepared.data, (), 1)
