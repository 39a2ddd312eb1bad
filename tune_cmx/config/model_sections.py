"""The typed configuration of a model: streams, fusion and detector; and the streams of one that names none."""

from collections.abc import Collection
from dataclasses import dataclass
from typing import Annotated, Any, Literal, get_args

from pydantic import BeforeValidator, Field, field_validator, model_validator

from tune_cmx.config.paths import FieldError
from tune_cmx.config.pretrained import PretrainedConfig
from tune_cmx.config.section import Section, Unit, as_tuple

STAGES = (1, 2, 3, 4)
Modality = Literal["rgb", "thermal", "event"]
MODALITIES: tuple[Modality, ...] = get_args(Modality)
TIMM = "timm/"
"""Prefix of a backbone from timm."""
ALL_STREAMS = "rgb | thermal+event"
"""Streams that see every modality."""


@dataclass(frozen=True)
class DefaultStreams:
    """The streams of a configuration that names none: every modality of the data, in two streams if there are two."""

    streams: str
    reason: str
    """Where they come from, as in `from the data`."""
    held: tuple[str, ...] | None = None
    """The modalities of the data; None: no data are known."""

    @classmethod
    def of_data(cls, modalities: Collection[str]) -> "DefaultStreams":
        """RGB, or what there is in its place, in the first stream; the others in the second."""
        held = tuple(name for name in MODALITIES if name in modalities)
        first, *others = held
        return cls(f"{first} | {'+'.join(others)}" if others else first, "from the data", held)


ASSUMED = DefaultStreams(ALL_STREAMS, "assumed, as no data are named")
"""For a command that has no data."""


class StageFusion(Section):
    """The fusion at one encoder stage."""

    kind: str
    """Name of the fusion."""
    options: dict[str, Any] = {}
    """Options of this fusion, by name; each has a default."""


class FusionConfig(Section):
    """Which fusion stands at which stage: either `kind` (with `stages` and `elsewhere`) or `per_stage`."""

    kind: str | None = None
    """Name of the fusion. Required unless `per_stage` is given."""
    stages: Annotated[tuple[int, ...] | None, BeforeValidator(as_tuple)] = None
    """Encoder stages with this fusion: numbers of 1, 2, 3, 4, ascending. Default: all four."""
    elsewhere: str | None = None
    """Name of the fusion at the other stages, with its default options. Required where `stages` leaves some out."""
    options: dict[str, Any] = {}
    """Options of `kind`, by name; each has a default."""
    per_stage: Annotated[tuple[StageFusion, ...] | None, BeforeValidator(as_tuple)] = None
    """Four entries with `kind` and `options`, for stages 1 to 4; in place of all other keys of `fusion`."""

    @model_validator(mode="after")
    def _one_form(self) -> "FusionConfig":
        if self.per_stage is not None:
            if self.kind is not None or self.stages is not None or self.elsewhere is not None or self.options:
                raise ValueError("give either per_stage or kind (with stages, elsewhere and options)")
            if len(self.per_stage) != len(STAGES):
                raise ValueError(f"per_stage needs one entry for each of the stages 1..4; got {len(self.per_stage)}")
            return self
        if self.kind is None:
            raise ValueError("give kind (such as frm_ffm), or per_stage with four entries")
        if self.stages is not None:
            if not self.stages:
                raise ValueError(f"stages is empty; name stages of 1, 2, 3, 4, or use another kind than '{self.kind}'")
            bad = [stage for stage in self.stages if stage not in STAGES]
            if bad:
                raise ValueError(f"stages must be of 1, 2, 3, 4; got {bad[0]}")
            if list(self.stages) != sorted(set(self.stages)):
                raise ValueError(f"stages must be ascending, each once; got {list(self.stages)}")
            if set(self.stages) != set(STAGES) and self.elsewhere is None:
                raise ValueError("stages leaves some stages out; name their fusion with elsewhere")
        return self

    def stage_fusions(self) -> tuple[StageFusion, StageFusion, StageFusion, StageFusion]:
        """The fusion at stages 1, 2, 3 and 4."""
        if self.per_stage is not None:
            first, second, third, fourth = self.per_stage
            return first, second, third, fourth
        assert self.kind is not None
        here = StageFusion(kind=self.kind, options=self.options)
        there = here if self.elsewhere is None else StageFusion(kind=self.elsewhere)
        first, second, third, fourth = (
            here if self.stages is None or stage in self.stages else there for stage in STAGES
        )
        return first, second, third, fourth


class DetectorConfig(Section):
    """FPN and Faster R-CNN; the defaults are torchvision's."""

    image_size: Annotated[int, Field(ge=32, le=100_000), Unit("px")] = 800
    """Shorter side to which an image is resized, unless the longer side would exceed `max_size`."""
    max_size: Annotated[int, Field(ge=32, le=100_000), Unit("px")] = 1333
    """Largest longer side after resizing; at least `image_size`."""
    fpn_channels: Annotated[int, Field(ge=8, le=2048)] = 256
    """Channels of each level of the feature pyramid."""
    anchor_sizes: Annotated[tuple[int, ...], BeforeValidator(as_tuple), Unit("px")] = (32, 64, 128, 256, 512)
    """Side of the anchors of each pyramid level (strides 4, 8, 16, 32, 64): five numbers from 1 to 4096."""
    anchor_ratios: Annotated[tuple[float, ...], BeforeValidator(as_tuple)] = (0.5, 1.0, 2.0)
    """Height divided by width of the anchors: one or more numbers from 0.05 to 20."""
    proposals_train: Annotated[int, Field(ge=1, le=20_000)] = 2000
    """Proposals kept in training, before non-maximum suppression per level and after it per image."""
    proposals_eval: Annotated[int, Field(ge=1, le=20_000)] = 1000
    """The same in evaluation."""
    rois_per_image: Annotated[int, Field(ge=8, le=4096)] = 512
    """Proposals of each image on which the box head trains."""
    head_width: Annotated[int, Field(ge=16, le=8192)] = 1024
    """Units of each of the box head's two linear layers."""
    detections_per_image: Annotated[int, Field(ge=1, le=1000)] = 100
    """Most detections per image; COCO scores the 100 best."""

    @model_validator(mode="after")
    def _consistent(self) -> "DetectorConfig":
        if len(self.anchor_sizes) != 5 or not all(1 <= size <= 4096 for size in self.anchor_sizes):
            raise ValueError(
                "anchor_sizes needs five positive numbers of at most 4096, one for each pyramid level; "
                f"got {list(self.anchor_sizes)}"
            )
        if not self.anchor_ratios or not all(0.05 <= ratio <= 20 for ratio in self.anchor_ratios):
            raise ValueError(f"anchor_ratios needs numbers from 0.05 to 20; got {list(self.anchor_ratios)}")
        if self.max_size < self.image_size:
            raise ValueError(f"max_size must be at least image_size, {self.image_size}; got {self.max_size}")
        return self


class ModelConfig(Section):
    """Streams, fusion and detector."""

    backbone: str = "mit_b1"
    """Encoder of each stream: a Mix Transformer (mit_b0 to mit_b5; mit_nano for tests), or `timm/NAME` for a
    hierarchical encoder of timm."""
    pretrained: PretrainedConfig | None = None
    """Pretrained weights of the streams: a path, paths for `rgb` and `aux`, or `timm`. Default: random weights."""
    streams: str = ALL_STREAMS
    """Modalities of the RGB stream and, after `|`, of the auxiliary stream. One side alone is a single-stream
    detector without fusion. Default: the modalities of the data: `rgb | thermal+event`, `rgb | thermal`,
    `rgb | event`, `thermal | event`, or the only one. Every command prints them."""
    carry: Literal["separate", "fused"] = "separate"
    """What the next stage receives: each stream its own map, as in CMX (`separate`), or both the fused map."""
    fusion: FusionConfig = FusionConfig(kind="frm_ffm")
    """The fusion of the two streams."""
    drop_path: Annotated[float, Field(ge=0, lt=1)] = 0.1
    """Stochastic depth of the encoders: drop probability of the last block, linear from 0 at the first."""
    detector: DetectorConfig = DetectorConfig()
    """The feature pyramid and the detection heads."""

    @field_validator("streams")
    @classmethod
    def _streams(cls, text: str) -> str:
        streams = [[name.strip() for name in side.split("+")] for side in text.split("|")]
        named = [name for stream in streams for name in stream]
        unknown = [name for name in named if name not in MODALITIES]
        if unknown or len(streams) > 2:
            raise ValueError(
                f"streams must be one or two of {', '.join(MODALITIES)}, as in 'rgb | thermal+event'; got '{text}'"
            )
        if len(set(named)) != len(named):
            raise ValueError(f"streams names a modality twice: '{text}'")
        return " | ".join("+".join(stream) for stream in streams)

    @model_validator(mode="after")
    def _weights_fit(self) -> "ModelConfig":
        if self.pretrained is None:
            return self
        if self.pretrained.timm != self.backbone.startswith(TIMM):
            fix = "timm" if self.backbone.startswith(TIMM) else "the path of a file"
            raise ValueError(f"pretrained: the backbone '{self.backbone}' takes {fix}")
        if len(self.stream_modalities()) == 1 and (self.pretrained.rgb or self.pretrained.aux):
            raise ValueError(f"pretrained: '{self.streams}' is one stream; give one path, without rgb and aux")
        return self

    def stream_modalities(self) -> tuple[tuple[str, ...], ...]:
        """The modalities of each stream: one or two tuples of names."""
        return tuple(tuple(side.strip().split("+")) for side in self.streams.split("|"))

    def modalities(self) -> tuple[str, ...]:
        """In the order of their bands in an image."""
        return tuple(name for stream in self.stream_modalities() for name in stream)

    def lacking(self, held: Collection[str]) -> tuple[str, ...]:
        """The modalities of the streams that data do not have."""
        return tuple(name for name in self.modalities() if name not in held)

    def refuse_without(self, held: Collection[str]) -> None:
        """Refuse streams with a modality that the data do not have.

        Raises:
            FieldError: Names the modality, what the data have, and streams that fit.
        """
        if lacking := self.lacking(held):
            fits = DefaultStreams.of_data(held).streams
            raise FieldError(
                "model.streams",
                f"'{self.streams}' needs {', '.join(lacking)}; the data have {', '.join(held)}. "
                f"Name modalities of the data, as in '{fits}'",
            )
