"""Parameters and operations of detectors, by the shapes of their parts alone."""

import json
from dataclasses import dataclass
from functools import cache

import torch
from torch.utils.flop_counter import FlopCounterMode

from tune_cmx.config.trial import FusionConfig, ModelConfig, StageFusion
from tune_cmx.data.prepare import Prepared
from tune_cmx.models.describe import flops, leave_out_norms, network_size
from tune_cmx.models.fusion import build_fusion
from tune_cmx.models.streams import stream_shape
from tune_cmx.training.model_probe import build_plain


def as_text(content: object) -> str:
    """A configuration as a key."""
    return json.dumps(content, sort_keys=True)


@dataclass(frozen=True)
class ModelSize:
    """A detector in numbers."""

    parameters: int
    gflop: float
    """Of one forward of one image."""

    def __add__(self, other: "ModelSize") -> "ModelSize":
        return ModelSize(self.parameters + other.parameters, self.gflop + other.gflop)


class ModelSizes:
    """The sizes of detectors. Each part that several share is counted once in a process; no weights are drawn."""

    def __init__(self, prepared: Prepared) -> None:
        self._bands = tuple((name, len(found)) for name, found in prepared.data.bands.items())
        self._classes = len(prepared.data.classes)
        self._image = prepared.audit.usual_size

    def of(self, model: ModelConfig) -> ModelSize:
        """Parameters, and operations for an image of the usual size.

        Raises:
            ConfigError: The model cannot be built, or the data lack a modality.
        """
        height, width = network_size(model.detector, *self._image)
        plain = model.model_copy(update={"fusion": FusionConfig(kind="add"), "carry": "separate"})
        size = _detector_size(plain.model_dump_json(), self._bands, self._classes, height, width)
        if len(model.stream_modalities()) > 1:
            for number, fusion in enumerate(model.fusion.stage_fusions()):
                size += _fusion_size(model.backbone, number, fusion.model_dump_json(), height, width)
        return size


@cache
def _detector_size(model: str, bands: tuple[tuple[str, int], ...], classes: int, height: int, width: int) -> ModelSize:
    """Of a `ModelConfig` as JSON."""
    with torch.device("meta"), torch.random.fork_rng(devices=[]):
        detector = build_plain(ModelConfig.model_validate_json(model), dict(bands), classes)
    count = sum(parameter.numel() for parameter in detector.parameters())
    return ModelSize(count, flops(detector, height, width))


@cache
def _fusion_size(backbone: str, number: int, fusion: str, height: int, width: int) -> ModelSize:
    """Of the fusion of stage `number` + 1, a `StageFusion` as JSON, with maps of stride 4·2^number."""
    wanted = StageFusion.model_validate_json(fusion)
    shape = stream_shape(backbone)
    channels, stride = shape.widths[number], 4 * 2**number
    with torch.device("meta"), torch.random.fork_rng(devices=[]):
        built = build_fusion(wanted.kind, channels, wanted.options, heads=shape.heads[number]).eval()
        count = sum(parameter.numel() for parameter in built.parameters())
        leave_out_norms(built)
        maps = [torch.empty(1, channels, height // stride, width // stride) for _ in range(2)]
        with torch.no_grad(), FlopCounterMode(display=False) as counter:
            built(*maps)
    return ModelSize(count, counter.get_total_flops() / 1e9)
