"""The typed configuration of a model: streams, fusion and detector."""

from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, Field, field_validator, model_validator

from tune_cmx.config.pretrained import PretrainedConfig
from tune_cmx.config.section import Section, as_tuple

STAGES = (1, 2, 3, 4)
MODALITIES = ("rgb", "thermal", "event")
TIMM = "timm/"
"""Begins the name of a backbone that is timm's."""


class StageFusion(Section):
    """The fusion at one encoder stage."""

    kind: str
    """A name in `tune_cmx.models.fusion.FUSIONS`."""
    options: dict[str, Any] = {}
    """What that fusion's own options model takes; what is left out has that model's default."""


class FusionConfig(Section):
    """Which fusion stands at which stage: either `kind` (with `stages` and `elsewhere`) or `per_stage`."""

    kind: str | None = None
    stages: Annotated[tuple[int, ...] | None, BeforeValidator(as_tuple)] = None
    """Where `kind` stands, of 1..4; None: at all four."""
    elsewhere: str | None = None
    """The fusion at the stages that `stages` leaves out, with its default options."""
    options: dict[str, Any] = {}
    per_stage: Annotated[tuple[StageFusion, ...] | None, BeforeValidator(as_tuple)] = None

    @model_validator(mode="after")
    def _one_form(self) -> "FusionConfig":
        if self.per_stage is not None:
            if self.kind is not None or self.stages is not None or self.elsewhere is not None or self.options:
                raise ValueError("give either per_stage, or kind with stages, elsewhere and options; not both")
            if len(self.per_stage) != len(STAGES):
                raise ValueError(f"per_stage needs one entry for each of the stages 1..4; got {len(self.per_stage)}")
            return self
        if self.kind is None:
            raise ValueError("give kind (such as frm_ffm), or per_stage with four entries")
        if self.stages is not None:
            if not self.stages:
                raise ValueError(f"stages is empty; leave '{self.kind}' out, or name stages of 1..4")
            bad = [stage for stage in self.stages if stage not in STAGES]
            if bad:
                raise ValueError(f"stages must be of 1, 2, 3, 4; got {bad[0]}")
            if list(self.stages) != sorted(set(self.stages)):
                raise ValueError(f"stages must be ascending, each once; got {list(self.stages)}")
            if set(self.stages) != set(STAGES) and self.elsewhere is None:
                raise ValueError("stages leaves some stages out: name the fusion there with elsewhere")
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

    image_size: Annotated[int, Field(ge=32)] = 800
    """Shorter side in pixels to which an image is resized, unless the longer one would pass `max_size`."""
    max_size: Annotated[int, Field(ge=32)] = 1333
    fpn_channels: Annotated[int, Field(ge=8)] = 256
    anchor_sizes: Annotated[tuple[int, ...], BeforeValidator(as_tuple)] = (32, 64, 128, 256, 512)
    """Side in pixels, one for each pyramid level: strides 4, 8, 16, 32 and 64."""
    anchor_ratios: Annotated[tuple[float, ...], BeforeValidator(as_tuple)] = (0.5, 1.0, 2.0)
    """Height over width."""
    proposals_train: Annotated[int, Field(ge=1)] = 2000
    """Kept before and after non-maximum suppression, per level and per image."""
    proposals_eval: Annotated[int, Field(ge=1)] = 1000
    rois_per_image: Annotated[int, Field(ge=8)] = 512
    """Proposals that the box head trains on, per image."""
    head_width: Annotated[int, Field(ge=16)] = 1024
    """Units in each of the box head's two linear layers."""
    detections_per_image: Annotated[int, Field(ge=1)] = 100

    @model_validator(mode="after")
    def _consistent(self) -> "DetectorConfig":
        if len(self.anchor_sizes) != 5 or min(self.anchor_sizes) < 1:
            raise ValueError(
                f"anchor_sizes needs five positive numbers, one a pyramid level; got {list(self.anchor_sizes)}"
            )
        if not self.anchor_ratios or min(self.anchor_ratios) <= 0:
            raise ValueError(f"anchor_ratios needs numbers above 0; got {list(self.anchor_ratios)}")
        if self.max_size < self.image_size:
            raise ValueError(f"max_size must be at least image_size, {self.image_size}; got {self.max_size}")
        return self


class ModelConfig(Section):
    """Streams, fusion and detector."""

    backbone: str = "mit_b1"
    """Of each stream: a Mix Transformer, or timm's hierarchy NAME as `timm/NAME`."""
    pretrained: PretrainedConfig | None = None
    """Where the streams' first weights come from; None: drawn at random."""
    streams: str = "rgb | thermal+event"
    """Modalities of the RGB and of the auxiliary stream; one side alone is a single-stream detector."""
    carry: Literal["separate", "fused"] = "separate"
    """What the next stage receives: each stream its own map, as in CMX, or both the fused one."""
    fusion: FusionConfig = FusionConfig(kind="frm_ffm")
    drop_path: Annotated[float, Field(ge=0, lt=1)] = 0.1
    detector: DetectorConfig = DetectorConfig()

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
        """In the order in which their bands stand in an image."""
        return tuple(name for stream in self.stream_modalities() for name in stream)
