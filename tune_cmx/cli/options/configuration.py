"""Flags of one configuration, and the trial that they come to."""

import copy
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import typer

from tune_cmx.cli.options.flags import CONFIGURATION, MODEL
from tune_cmx.config.model_sections import DefaultStreams
from tune_cmx.config.parse import PRESETS, flatten, load_trial, parse_trial
from tune_cmx.config.paths import Lines, below, place_of, put
from tune_cmx.config.study_rules import STREAMS, refuse_idle_fusion
from tune_cmx.config.trial import TrialConfig
from tune_cmx.errors import ConfigError
from tune_cmx.registry import lookup

Config = Annotated[
    Path | None,
    typer.Option(
        "--config",
        help="File to start from, such as a trial's config.json; flags override it.",
        rich_help_panel=CONFIGURATION,
    ),
]
Backbone = Annotated[
    str | None,
    typer.Option(help="Encoder: mit_b0 to mit_b5, mit_nano, or timm/NAME. Default: mit_b1.", rich_help_panel=MODEL),
]
FusionType = Annotated[
    str | None,
    typer.Option(
        "--fusion-type",
        help="Name of a fusion (see docs/reference/configuration.md). `gaff` means se_gated here; for the guided one "
        "use --config. Default: frm_ffm.",
        rich_help_panel=MODEL,
    ),
]
Stages = Annotated[
    str | None,
    typer.Option(
        help="Encoder stages of the fusion, as in 2,3; frm_ffm at the others. Default: all four.", rich_help_panel=MODEL
    ),
]
Threshold = Annotated[float | None, typer.Option(help="Switching threshold of CSSA.", rich_help_panel=MODEL)]
NoCssa = Annotated[
    bool, typer.Option("--no-cssa", help="Refuse to start if CSSA is in the model.", rich_help_panel=MODEL)
]
Streams = Annotated[
    str | None,
    typer.Option(
        help="Modalities of the two streams, or of one, as in `rgb | thermal`. Default: what the data hold, or all "
        "three where no data are named.",
        rich_help_panel=MODEL,
    ),
]
ImageSize = Annotated[
    int | None,
    typer.Option("--image-size", help="Shorter side of the resized images in pixels.", rich_help_panel=MODEL),
]


@dataclass(frozen=True)
class GivenTrial:
    """A trial as a file and flags say it."""

    content: Mapping[str, Any]
    source: str
    lines: Lines
    no_cssa: bool
    """Whether a model with CSSA is refused."""

    def config(self, default: DefaultStreams) -> TrialConfig:
        """The trial, with these streams if nobody names any.

        Raises:
            ConfigError: A value is not allowed, or a fusion is named and the model has one stream.
        """
        content = copy.deepcopy(dict(self.content))
        said = flatten(content)
        if STREAMS not in said and isinstance(content.get("model", {}), dict):
            if any(below(path, "model.fusion") for path in said):
                refuse_idle_fusion(default, place_of("model.fusion", self.source, self.lines), ())
            put(content, STREAMS, default.streams)
        parsed = parse_trial(content, source=self.source, lines=self.lines)
        if self.no_cssa and any(stage.kind == "cssa" for stage in parsed.model.fusion.stage_fusions()):
            raise ConfigError(f"--no-cssa, but the model has CSSA, by {self.source}; leave one out")
        return parsed

    def streams_line(self, default: DefaultStreams) -> str:
        """Which streams the trial has, and where they come from."""
        named = flatten(self.content).get(STREAMS)
        return f"streams: {default.streams} ({default.reason})" if named is None else f"streams: {named} (as written)"


def given_trial(
    config: Path | None,
    settings: Mapping[str, Any],
    *,
    preset: str | None = None,
    fusion_type: str | None = None,
    stages: str | None = None,
    threshold: float | None = None,
    no_cssa: bool = False,
) -> GivenTrial:
    """A trial from a file and flags; a flag overrides the file."""
    content, lines = load_trial(config) if config else ({}, {})
    given = {
        **({} if preset is None else {f"schedule.{key}": value for key, value in _preset(preset).items()}),
        **_fusion(fusion_type, stages, threshold),
        **{path: value for path, value in settings.items() if value is not None},
    }
    if no_cssa and fusion_type == "cssa":
        raise ConfigError("--no-cssa and --fusion-type cssa contradict each other; leave one out")
    for path, value in sorted(given.items(), key=lambda item: item[0].count(".")):  # a section before its parts
        put(content, path, value)
        lines = {key: line for key, line in lines.items() if key != path and not key.startswith(f"{path}.")}
    return GivenTrial(content, str(config or "flags"), lines, no_cssa)


def _preset(name: str) -> dict[str, Any]:
    return {"preset": name, **lookup(PRESETS, name, "--preset: unknown preset")}


def _fusion(fusion_type: str | None, stages: str | None, threshold: float | None) -> dict[str, Any]:
    """The flags about fusion as a configuration path."""
    if fusion_type is None:
        if stages is not None or threshold is not None:
            raise ConfigError("--stages and --threshold need --fusion-type, as in --fusion-type cssa --stages 2,3")
        return {}
    fusion: dict[str, Any] = {"kind": "se_gated" if fusion_type == "gaff" else fusion_type}
    if stages is not None:
        fusion |= {"stages": _stages(stages), "elsewhere": "frm_ffm"}
    if threshold is not None:
        if fusion_type != "cssa":
            raise ConfigError(f"--threshold needs --fusion-type cssa; got --fusion-type {fusion_type}")
        fusion |= {"options": {"switching_threshold": threshold}}
    return {"model.fusion": fusion}


def _stages(text: str) -> list[int]:
    try:
        return [int(stage) for stage in text.split(",")]
    except ValueError as error:
        raise ConfigError(f"--stages: needs whole numbers of 1..4, as in 2,3; got '{text}'") from error
