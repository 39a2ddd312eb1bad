"""Parameters and operations of detectors, by the shapes of their parts alone."""

import json
from dataclasses import dataclass

import torch
from torch.utils.flop_counter import FlopCounterMode

from tune_cmx.config.parse import dump
from tune_cmx.config.trial import FusionConfig, ModelConfig, StageFusion
from tune_cmx.data.prepare import Prepared
from tune_cmx.models.describe import flops, network_size
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
    """The sizes of detectors, each part that several share counted once; no weights are drawn."""

    def __init__(self, prepared: Prepared) -> None:
        self._bands = {name: len(found) for name, found in prepared.data.bands.items()}
        self._classes = len(prepared.data.classes)
        self._image = prepared.audit.usual_size
        self._detectors: dict[str, ModelSize] = {}
        self._fusions: dict[str, ModelSize] = {}

    def of(self, model: ModelConfig) -> ModelSize:
        """Parameters, and operations for an image of the usual size.

        Raises:
            ConfigError: The model cannot be built, or the data lack a modality.
        """
        height, width = network_size(model.detector, *self._image)
        plain = model.model_copy(update={"fusion": FusionConfig(kind="add"), "carry": "separate"})
        key = as_text(dump(plain))
        if key not in self._detectors:
            with torch.device("meta"), torch.random.fork_rng(devices=[]):
                detector = build_plain(plain, self._bands, self._classes)
            count = sum(parameter.numel() for parameter in detector.parameters())
            self._detectors[key] = ModelSize(count, flops(detector, height, width))
        size = self._detectors[key]
        if len(model.stream_modalities()) > 1:
            for number, fusion in enumerate(model.fusion.stage_fusions()):
                size += self._fusion(model.backbone, number, fusion, height, width)
        return size

    def _fusion(self, backbone: str, number: int, fusion: StageFusion, height: int, width: int) -> ModelSize:
        """The fusion of stage `number` + 1, with maps of stride 4·2^number."""
        key = as_text([backbone, number, dump(fusion), height, width])
        if key not in self._fusions:
            shape = stream_shape(backbone)
            channels, stride = shape.widths[number], 4 * 2**number
            with torch.device("meta"), torch.random.fork_rng(devices=[]):
                built = build_fusion(fusion.kind, channels, fusion.options, heads=shape.heads[number]).eval()
                maps = [torch.empty(1, channels, height // stride, width // stride) for _ in range(2)]
                with torch.no_grad(), FlopCounterMode(display=False) as counter:
                    built(*maps)
            count = sum(parameter.numel() for parameter in built.parameters())
            self._fusions[key] = ModelSize(count, counter.get_total_flops() / 1e9)
        return self._fusions[key]
