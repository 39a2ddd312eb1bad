"""The table of fusions. A new one is a file beside this one and a line here, or an entry point of another package."""

from collections.abc import Mapping
from typing import Any

from pydantic import ValidationError

from tune_cmx.config.paths import FieldError
from tune_cmx.config.wording import problem
from tune_cmx.models.fusion.base import Fusion, FusionOptions, FusionOutput, StageShape, Truth
from tune_cmx.models.fusion.cssa import CssaFusion, CssaOptions
from tune_cmx.models.fusion.frm_ffm import FrmFfmFusion, FrmFfmOptions
from tune_cmx.models.fusion.gaff import GaffFusion, GaffOptions
from tune_cmx.models.fusion.se_gated import SeGatedFusion, SeGatedOptions
from tune_cmx.models.fusion.simple import AddFusion, AddOptions, ConcatFusion, ConcatOptions
from tune_cmx.registry import Table, lookup, suggestion, undescribed

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


def _not_a_fusion(name: str, entry: Any) -> str | None:  # noqa: ARG001  # as each table's
    """What is wrong with the object of another package's entry point."""
    if not (isinstance(entry, tuple) and len(entry) == 2):
        return f"needs a pair, the options model and the module, as in (AddOptions, AddFusion); got {entry!r}"
    options, module = entry
    wrong = undescribed(options, FusionOptions) or undescribed(module, Fusion)
    if wrong is None and module.fuse is Fusion.fuse:
        return f"{module.__qualname__} does not define fuse"
    return wrong


FUSIONS: Table[tuple[type[FusionOptions], type[Fusion]]] = Table(
    "tune_cmx.fusions",
    {
        "add": (AddOptions, AddFusion),
        "concat": (ConcatOptions, ConcatFusion),
        "cssa": (CssaOptions, CssaFusion),
        "frm_ffm": (FrmFfmOptions, FrmFfmFusion),
        "gaff": (GaffOptions, GaffFusion),
        "se_gated": (SeGatedOptions, SeGatedFusion),
    },
    _not_a_fusion,
)


def check_options(kind: str, options: Mapping[str, Any]) -> FusionOptions:
    """The options of a fusion, with its defaults for what is left out.

    Raises:
        ConfigError: The fusion or an option is unknown, or a value is of the wrong type or out of range.
    """
    if kind not in FUSIONS:
        known = f"unknown fusion '{kind}'. Known: {', '.join(sorted(FUSIONS))}.{suggestion(kind, FUSIONS)}"
        raise FieldError("model.fusion.kind", known)
    model, _ = FUSIONS[kind]
    for name in options:
        if name not in model.model_fields:
            raise FieldError(f"model.fusion.options.{name}", _no_option(kind, name, list(model.model_fields)))
    try:
        return model.model_validate(dict(options))
    except ValidationError as error:
        first = error.errors()[0]
        parts = [str(part) for part in first["loc"]]
        field = f"model.fusion.options.{'.'.join(parts)}"
        raise FieldError(field, problem(dict(first), model, parts)) from error


def _no_option(kind: str, name: str, known: list[str]) -> str:
    said = f"'{kind}' has no option '{name}'. Known: {', '.join(known)}.{suggestion(name, known)}"
    said = said if known else f"'{kind}' has no options; got '{name}'."
    others = [other for other, (model, _) in FUSIONS.items() if name in model.model_fields]
    hint = (
        f" It is an option of {others[0]}; in a search, add when: {{model.fusion.kind: {others[0]}}}." if others else ""
    )
    return said + hint


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
