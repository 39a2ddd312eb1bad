"""The table of fusions. A new one is a file beside this one and a line here."""

from collections.abc import Mapping
from typing import Any

from pydantic import ValidationError

from tune_cmx.config.wording import problem
from tune_cmx.errors import ConfigError
from tune_cmx.models.fusion.base import Fusion, FusionOptions, FusionOutput, StageShape, Truth
from tune_cmx.models.fusion.cssa import CssaFusion, CssaOptions
from tune_cmx.models.fusion.frm_ffm import FrmFfmFusion, FrmFfmOptions
from tune_cmx.models.fusion.gaff import GaffFusion, GaffOptions
from tune_cmx.models.fusion.se_gated import SeGatedFusion, SeGatedOptions
from tune_cmx.models.fusion.simple import AddFusion, AddOptions, ConcatFusion, ConcatOptions
from tune_cmx.registry import lookup

__all__ = [
    "FUSIONS",
    "Fusion",
    "FusionOptions",
    "FusionOutput",
    "StageShape",
    "Truth",
    "build_fusion",
    "check_options",
]

FUSIONS: dict[str, tuple[type[FusionOptions], type[Fusion]]] = {
    "add": (AddOptions, AddFusion),
    "concat": (ConcatOptions, ConcatFusion),
    "cssa": (CssaOptions, CssaFusion),
    "frm_ffm": (FrmFfmOptions, FrmFfmFusion),
    "gaff": (GaffOptions, GaffFusion),
    "se_gated": (SeGatedOptions, SeGatedFusion),
}


def check_options(kind: str, options: Mapping[str, Any]) -> FusionOptions:
    """The options of a fusion, with its defaults for what is left out.

    Raises:
        ConfigError: The fusion or an option is unknown, or a value is of the wrong type or out of range.
    """
    model, _ = lookup(FUSIONS, kind, "model.fusion: unknown fusion")
    for name in options:
        if not model.model_fields:
            raise ConfigError(f"model.fusion.options: '{kind}' has no options; got '{name}'")
        lookup(model.model_fields, name, f"model.fusion.options: '{kind}' has no option")
    try:
        return model.model_validate(dict(options))
    except ValidationError as error:
        first = error.errors()[0]
        parts = [str(part) for part in first["loc"]]
        raise ConfigError(f"model.fusion.options.{'.'.join(parts)}: {problem(dict(first), model, parts)}") from error


def build_fusion(kind: str, channels: int, options: Mapping[str, Any], *, heads: int = 1) -> Fusion:
    """A fusion for one stage, with fresh weights from torch's default generator.

    Args:
        kind: A name in `FUSIONS`.
        channels: Of each stream's map.
        options: What that fusion's options model takes.
        heads: Attention heads of the encoder's blocks at that stage; only some fusions use it.

    Raises:
        ConfigError: As `check_options`.
    """
    _, module = lookup(FUSIONS, kind, "model.fusion: unknown fusion")
    return module(StageShape(channels, heads), check_options(kind, options))
