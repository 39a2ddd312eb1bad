"""A detector's parameters by part, its FLOPs, and its parts that cannot learn."""

import copy
import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import partial

import torch
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode

from tune_cmx.config.trial import DetectorConfig
from tune_cmx.model_audit import AuditWarning
from tune_cmx.models.detector import Detector
from tune_cmx.models.fusion import Fusion
from tune_cmx.models.fusion.base import cannot_learn

_BATCH = 2  # batch normalisation needs more than one value a channel
_ROIS = 16  # proposals an image; enough to reach every parameter of the box head
_SHAPE_KEPT = (nn.LayerNorm, nn.BatchNorm2d, nn.GroupNorm, nn.GELU, nn.ReLU, nn.SiLU, nn.Sigmoid, nn.Softmax)


def parameters_by_part(detector: Detector) -> dict[str, int]:
    """The number of parameters by part, and their `total`.

    Parts are `stream.rgb` and `stream.aux` (or `stream.single`), `fusion.1`.., `fpn`, `rpn`, `box_head`, `predictor`.
    The detector may be on the meta device.
    """
    parts = {name: sum(p.numel() for p in module.parameters()) for name, module in _parts(detector).items()}
    return parts | {"total": sum(p.numel() for p in detector.parameters())}


@dataclass(frozen=True)
class Inspection:
    """The result of one training step on noise."""

    parameters: dict[str, int]
    """`parameters_by_part`, and `active`: those that received a gradient."""
    warnings: list[AuditWarning]
    """One for each part with parameters that got no gradient, then the notes of the fusions."""


def inspected(detector: Detector, image_size: int = 96) -> Inspection:
    """Count a detector's parameters, and find those that get no gradient.

    The training step runs on a copy on the CPU: the detector and torch's default generator do not change.

    Args:
        detector: With weights, on any device.
        image_size: Height and width of the images, in pixels.
    """
    stepped, notes = _step(detector, detector.backbone.encoder.bands, image_size)
    active = sum(p.numel() for p in stepped.parameters() if p.grad is not None)
    warnings = []
    for part, module in _parts(stepped).items():
        idle = [name for name, parameter in module.named_parameters() if parameter.grad is None]
        if idle:
            text = module.without_gradient(idle) if isinstance(module, Fusion) else cannot_learn(idle)
            warnings.append(_placed(AuditWarning(text, "no_gradient"), part, module))
    return Inspection(parameters_by_part(detector) | {"active": active}, warnings + notes)


def network_size(detector: DetectorConfig, height: float, width: float) -> tuple[int, int]:
    """Height and width of an image (in pixels) once resized and padded to multiples of 32 for the network."""
    scale = min(detector.image_size / min(height, width), detector.max_size / max(height, width))
    return math.ceil(height * scale / 32) * 32, math.ceil(width * scale / 32) * 32


def flops(detector: Detector, height: int, width: int) -> float:
    """GFLOPs of one forward of one image in training, by shapes alone; a training step costs about three times that.

    A multiplication and an addition count as two. The box head is counted at `rois_per_image` proposals; anchors,
    non-maximum suppression and RoI pooling are not counted. Nothing is computed, so large models are as fast.

    Args:
        detector: On any device.
        height: Of the image as the network receives it, resized and padded: a multiple of 32.
        width: The same.
    """
    model = copy.deepcopy(detector).to("meta").eval()
    leave_out_norms(model)
    roi_heads = model.roi_heads
    rois = roi_heads.fg_bg_sampler.batch_size_per_image
    with torch.no_grad(), torch.device("meta"), FlopCounterMode(display=False) as counter:
        maps, _ = model.backbone(torch.empty(1, sum(model.backbone.encoder.bands), height, width))
        model.rpn.head(list(maps.values()))
        pooled = torch.empty(rois, model.backbone.out_channels, *roi_heads.box_roi_pool.output_size)
        roi_heads.box_predictor(roi_heads.box_head(pooled))
    return float(counter.get_total_flops()) / 1e9


def leave_out_norms(module: nn.Module) -> None:
    """Replace norms and activations, which keep shapes and count no operations.

    For the meta device torch computes them in Python, in half of the time of a forward.
    """
    for name, child in module.named_children():
        if isinstance(child, _SHAPE_KEPT):
            setattr(module, name, nn.Identity())
        else:
            leave_out_norms(child)


def _parts(detector: Detector) -> dict[str, nn.Module]:
    encoder = detector.backbone.encoder
    return {
        **{f"stream.{name}": stream for name, stream in encoder.streams.items()},
        **{f"fusion.{stage}": fusion for stage, fusion in enumerate(encoder.fusions, start=1)},
        "fpn": detector.backbone.fpn,
        "rpn": detector.rpn,
        "box_head": detector.roi_heads.box_head,
        "predictor": detector.roi_heads.box_predictor,
    }


def _placed(warning: AuditWarning, part: str, module: nn.Module) -> AuditWarning:
    """The warning with its place in the model; `part` is a key of `_parts`."""
    kind, _, name = part.partition(".")
    if kind == "fusion":
        return replace(warning, part=kind, stage=int(name), module=type(module).__name__)
    return replace(warning, part=f"{kind} {name}".strip())


def _step(detector: Detector, bands: Sequence[int], image_size: int) -> tuple[Detector, list[AuditWarning]]:
    """A copy of the detector after one backward, with its gradients, and the notes of its fusions."""
    model: Detector = copy.deepcopy(detector).cpu().train()
    model.zero_grad(set_to_none=True)
    model.transform.min_size, model.transform.max_size = (image_size,), image_size
    model.roi_heads.fg_bg_sampler.batch_size_per_image = _ROIS
    notes: list[AuditWarning] = []
    for part, module in _parts(model).items():
        if isinstance(module, Fusion):
            module.register_forward_pre_hook(partial(_take_notes, part, notes))
    noise = torch.Generator().manual_seed(0)
    images = [torch.rand(sum(bands), image_size, image_size, generator=noise) for _ in range(_BATCH)]
    box = torch.tensor([[image_size / 4, image_size / 4, image_size * 3 / 4, image_size * 3 / 4]])
    targets = [{"boxes": box, "labels": torch.ones(1, dtype=torch.int64)} for _ in range(_BATCH)]
    with torch.random.fork_rng(devices=[]):
        torch.default_generator.manual_seed(0)
        losses = model(images, targets)
        torch.autograd.backward(list(losses.values()))
    return model, notes


def _take_notes(part: str, notes: list[AuditWarning], fusion: nn.Module, maps: tuple[Tensor, Tensor]) -> None:
    assert isinstance(fusion, Fusion)
    with torch.no_grad():
        notes += [_placed(note, part, fusion) for note in fusion.audit_notes(*maps)]
