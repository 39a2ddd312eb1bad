"""Checkpoints of the earlier group: its `.pth` files as our detector, computed as they were trained.

A file does not say everything. The fusion of a stage shows in the counts of batches that batch normalisation has seen:
their encoders build every fusion at every stage, and the unused ones have seen none. CSSA's switching threshold is in
no file.
"""

import pickle
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torchvision.ops import MultiScaleRoIAlign

from tune_cmx.config.model_sections import ALL_STREAMS, STAGES, FusionConfig, ModelConfig
from tune_cmx.errors import ConfigError
from tune_cmx.models.detector import Detector, build_detector
from tune_cmx.models.group_names import (
    CSSAS,
    FFMS,
    FIRST,
    FIRST_EXTRA,
    FRMS,
    GAFFS,
    SHARED_GATE,
    our_name,
    stage_of,
    their_name,
)
from tune_cmx.models.mit import MIT
from tune_cmx.models.mit_files import size_of

Weights = Mapping[str, Tensor]

BANDS = (3, 2)
"""RGB; thermal and event."""
MEAN = (0.485, 0.456, 0.406, 0.5, 0.5)
STD = (0.229, 0.224, 0.225, 0.5, 0.5)
"""Of their normalisation. They are meant for pixels from 0 to 1, and were used on pixels from 0 to 255."""
WHITE = 255.0
"""The highest value of a pixel in their images."""
POOLED = ("0", "1", "2", "3", "pool")
"""The maps that their RoIAlign takes."""

_COUNT = "num_batches_tracked"
_HOLDERS = ("model_state_dict", "model")
_SCORES, _BOXES = "roi_heads.box_predictor.cls_score.weight", "roi_heads.box_predictor.bbox_pred.weight"
_FORMER_CSSA = "backbone.encoder.cssa_stage4."
"""Prefix in their first CSSA encoder: stage 4 alone, and the streams stay separate."""


@dataclass(frozen=True)
class GroupCheckpoint:
    """What a file of the group holds, under our names."""

    source: str
    model: ModelConfig
    num_classes: int
    """Without the background."""
    weights: Weights
    """Every tensor of our detector, by its name there."""
    used: tuple[str, ...]
    """Their names of the tensors that are used, in the file's order."""
    unused: tuple[str, ...]
    """Their names of the tensors of fusions that they built and did not use."""


def read_group_checkpoint(
    path: Path, *, stages: Sequence[int] | None = None, threshold: float | None = None
) -> GroupCheckpoint:
    """Read a checkpoint; nothing in the file is run.

    Args:
        path: What `torch.save` wrote: the state dict of their detector, alone or under `model_state_dict` or `model`.
        stages: Where CSSA or SE-gated fusion stands; None: as the counts of batches say.
        threshold: CSSA's switching threshold, a fraction; needed for a file with CSSA.

    Raises:
        ConfigError: The file cannot be read without running code, a tensor does not fit, or the file needs `stages` or
            `threshold`. The message names the file, the tensor and its shape.
    """
    given = _with_former_cssa(_state_dict(path))
    model = ModelConfig(
        backbone=_backbone(path, given),
        streams=ALL_STREAMS,
        fusion=_fusion(path, given, stages, threshold),
        carry="fused" if _built(given) and not any(name.startswith(_FORMER_CSSA) for name in given) else "separate",
    )
    num_classes = _num_classes(path, given)
    used, unused = _divided(path, given, model)
    weights = _renamed(given, used)
    _refuse_unfit(path, given, weights, model, num_classes)
    return GroupCheckpoint(str(path), model, num_classes, weights, tuple(used), tuple(unused))


def build_as_trained(checkpoint: GroupCheckpoint, *, white: float = 1.0) -> Detector:
    """Our detector with their weights, which normalises, resizes and pools as theirs.

    Args:
        checkpoint: As read.
        white: Value of a white pixel in the images that the detector will receive: 1, as `PairedDataset` gives them
            with the range 0 to 255; or 255, as in their files.

    Returns:
        The detector on the CPU, in float32 and evaluation mode.
    """
    with torch.random.fork_rng(devices=[]):
        detector = _built_detector(checkpoint.model, checkpoint.num_classes, white)
    detector.load_state_dict(checkpoint.weights)
    detector.eval()
    return detector


def _built_detector(model: ModelConfig, num_classes: int, white: float = 1.0) -> Detector:
    scale = white / WHITE
    detector = build_detector(
        model,
        bands=BANDS,
        num_classes=num_classes,
        mean=[value * scale for value in MEAN],
        std=[value * scale for value in STD],
    )
    pool = detector.roi_heads.box_roi_pool
    detector.roi_heads.box_roi_pool = MultiScaleRoIAlign(list(POOLED), pool.output_size, pool.sampling_ratio)
    return detector


def _state_dict(path: Path) -> dict[str, Tensor]:
    """The tensors of a file by name.

    Raises:
        ConfigError: The file is absent or damaged, reading it could run code, or it holds no tensors by name.
    """
    try:
        content: Any = torch.load(path, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError as error:
        raise ConfigError(
            f"{path}: not read, as it holds more than tensors, and reading that could run code; load it where you "
            "trust it and save its state dict alone, as in torch.save(content['model_state_dict'], 'weights.pth')"
        ) from error
    except (RuntimeError, EOFError, ValueError) as error:
        raise ConfigError(f"{path}: cannot be read as a checkpoint of torch: {error}; copy it again") from error
    for key in _HOLDERS:
        if isinstance(content, Mapping) and isinstance(content.get(key), Mapping):
            content = content[key]
            break
    tensors = dict(content) if isinstance(content, Mapping) else {}
    odd = next((str(name) for name, value in tensors.items() if not isinstance(value, Tensor)), None)
    if not tensors or odd is not None:
        found = f"'{odd}' is no tensor" if odd else "it has no names"
        raise ConfigError(f"{path}: no state dict, alone or under {' or '.join(_HOLDERS)}: {found}")
    return {str(name): value for name, value in tensors.items()}


def _with_former_cssa(given: Weights) -> dict[str, Tensor]:
    """The same, each tensor also under the name that the later CSSA encoder has for it."""
    former = {name: value for name, value in given.items() if name.startswith(_FORMER_CSSA)}
    return {**given, **{name.replace(_FORMER_CSSA, f"{CSSAS}.3."): value for name, value in former.items()}}


def _backbone(path: Path, given: Weights) -> str:
    """The Mix Transformer of both streams."""
    sizes = []
    for first, extra in ((FIRST, ""), (FIRST_EXTRA, "extra_")):
        prefix = f"backbone.encoder.{extra}"
        if first not in given:
            raise ConfigError(f"{path}: no tensor {first}; a checkpoint of the group's detector has one")
        size = size_of({name.removeprefix(prefix): value for name, value in given.items() if name.startswith(prefix)})
        if size is None:
            raise ConfigError(
                f"{path}: {first} is {_shape(given[first])}: widths and numbers of blocks of this stream are those of "
                f"no Mix Transformer. Known: {', '.join(MIT)}"
            )
        sizes.append(size)
    if sizes[0] != sizes[1]:
        raise ConfigError(
            f"{path}: {FIRST} is {_shape(given[FIRST])}, of {sizes[0]}; {FIRST_EXTRA} is {_shape(given[FIRST_EXTRA])}, "
            f"of {sizes[1]}; both streams need one backbone"
        )
    return sizes[0]


def _num_classes(path: Path, given: Weights) -> int:
    rows = []
    for name in (_SCORES, _BOXES):
        if name not in given:
            raise ConfigError(f"{path}: no tensor {name}, so the number of classes is not known")
        rows.append(given[name].shape[0] if given[name].dim() else 0)
    if rows[0] < 2 or rows[1] != 4 * rows[0]:
        raise ConfigError(
            f"{path}: {_SCORES} is {_shape(given[_SCORES])}, {_BOXES} is {_shape(given[_BOXES])}; a row for each of at "
            "least 2 classes with the background is needed, and 4 rows for their boxes"
        )
    return rows[0] - 1


def _built(given: Weights) -> dict[str, set[int]]:
    """The stages at which the file has modules of CSSA or of SE-gated fusion; empty: it has FRM+FFM alone."""
    found = {module: {stage_of(name, module) for name in given} - {None} for module in (CSSAS, GAFFS)}
    return {module: {stage for stage in at if stage is not None} for module, at in found.items() if at}


def _fusion(path: Path, given: Weights, stages: Sequence[int] | None, threshold: float | None) -> FusionConfig:
    built = _built(given)
    if not built:
        if stages is not None or threshold is not None:
            raise ConfigError(f"{path}: FRM+FFM at all stages, by its tensors; give neither stages nor a threshold")
        return FusionConfig(kind="frm_ffm")
    if len(built) == 2:
        raise ConfigError(f"{path}: has tensors of both {CSSAS} and {GAFFS}; one of them is needed")
    module, at = built.popitem()
    placed = _placed(path, given, module, at, stages)
    elsewhere = None if placed == STAGES else "frm_ffm"
    options = _cssa_options(path, given, placed, threshold) if module == CSSAS else _gated_options(given, placed)
    if module == GAFFS and threshold is not None:
        raise ConfigError(f"{path}: SE-gated fusion, by its tensors; it has no threshold")
    kind = "cssa" if module == CSSAS else "se_gated"
    return FusionConfig(kind=kind, stages=placed, elsewhere=elsewhere, options=options)


def _placed(path: Path, given: Weights, module: str, at: set[int], stages: Sequence[int] | None) -> tuple[int, ...]:
    """The stages whose fusion is the module's: those whose FFM has seen no batch in training."""
    seen = {stage: int(given.get(f"{FFMS}.{stage - 1}.channel_emb.norm.{_COUNT}", 0)) for stage in sorted(at)}
    idle = tuple(stage for stage in seen if not seen[stage])
    if stages is None and not idle:
        counts = ", ".join(f"{FFMS}.{stage - 1} {count}" for stage, count in seen.items())
        raise ConfigError(
            f"{path}: FFM has seen batches at every stage with {module} ({counts}), so this fusion was used at none; "
            "name its stages, as in --stages 2,3, if you know them"
        )
    asked = idle if stages is None else tuple(sorted(set(stages)))
    if not asked or not set(asked) <= at:
        raise ConfigError(f"{path}: stages {list(asked)}: {module} is at the stages {sorted(at)} of the file")
    if idle and asked != idle and any(seen.values()):
        raise ConfigError(
            f"{path}: stages {list(asked)}: by the counts of batches {module} was used at {list(idle)}; leave the "
            "stages out"
        )
    return asked


def _cssa_options(path: Path, given: Weights, placed: Sequence[int], threshold: float | None) -> dict[str, Any]:
    if threshold is None:
        raise ConfigError(
            f"{path}: has CSSA, whose switching threshold is not in the file; give it, as in --threshold 0.5 "
            "(`threshold` in the final_results.json of that run)"
        )
    name = f"{CSSAS}.{placed[0] - 1}.eca_rgb.f.weight"
    if name not in given or given[name].dim() != 3:
        raise ConfigError(f"{path}: {name} is {_found(given, name)}; 1×1×K is needed")
    return {"switching_threshold": threshold, "eca_kernel": given[name].shape[2]}


def _gated_options(given: Weights, placed: Sequence[int]) -> dict[str, Any]:
    first = f"{GAFFS}.{placed[-1] - 1}"
    squeeze = given.get(f"{first}.se_rgb.fc1.weight")
    bottleneck = f"{first}.merge_conv1.weight" in given
    if squeeze is None or squeeze.dim() != 2 or not squeeze.shape[0]:  # named later, as it does not fit
        return {"merge_bottleneck": bottleneck}
    return {"se_reduction": squeeze.shape[1] // squeeze.shape[0] or 1, "merge_bottleneck": bottleneck}


def _divided(path: Path, given: Weights, model: ModelConfig) -> tuple[list[str], list[str]]:
    """Their names that are used, and those of fusions that are not.

    Raises:
        ConfigError: Their detector has no tensor of that name.
    """
    kinds = [fusion.kind for fusion in model.fusion.stage_fusions()]
    used, unused = [], []
    for name, value in given.items():
        if name.startswith(_FORMER_CSSA):
            continue  # listed under its later name
        places = [(stage_of(name, module), kind) for module, kind in _KINDS.items()]
        owner = next(((stage, kind) for stage, kind in places if stage is not None), None)
        if our_name(name) is None and not name.endswith(SHARED_GATE):
            raise ConfigError(f"{path}: {name} ({_shape(value)}): no tensor of the group's detector has this name")
        if owner is None or kinds[owner[0] - 1] == owner[1]:
            used.append(name)
        else:
            unused.append(name)
    return used, unused


_KINDS = {FRMS: "frm_ffm", FFMS: "frm_ffm", CSSAS: "cssa", GAFFS: "se_gated"}


def _renamed(given: Weights, used: Sequence[str]) -> dict[str, Tensor]:
    """The tensors that are used, by our names."""
    weights: dict[str, Tensor] = {}
    for name in used:
        if name.endswith(SHARED_GATE):
            parts = given[name].chunk(2)
            gates = [name.replace("conv.weight", f"conv_{side}.weight") for side in ("rgb", "aux")]
            weights |= {str(our_name(gate)): part for gate, part in zip(gates, parts, strict=False)}
        else:
            weights[str(our_name(name))] = given[name]
    return weights


def _refuse_unfit(path: Path, given: Weights, weights: Weights, model: ModelConfig, num_classes: int) -> None:
    """Raise ConfigError where a tensor is missing, has another shape, or belongs to nothing."""
    with torch.device("meta"), torch.random.fork_rng(devices=[]):
        needed = _built_detector(model, num_classes).state_dict()
    for name, own in needed.items():
        theirs = their_name(name) or name
        if name not in weights:
            raise ConfigError(f"{path}: no tensor {theirs}; {model.backbone} needs it, {_shape(own)}")
        if weights[name].shape != own.shape:
            raise ConfigError(
                f"{path}: {theirs} is {_shape(given.get(theirs, weights[name]))}; {model.backbone} with "
                f"{num_classes + 1} classes (the background is one) needs {_shape(own)}"
            )
    odd = next((name for name in weights if name not in needed), None)
    if odd is not None:
        raise ConfigError(f"{path}: {their_name(odd)} ({_shape(weights[odd])}): {model.backbone} has no such tensor")


def _found(given: Weights, name: str) -> str:
    return _shape(given[name]) if name in given else "not in the file"


def _shape(tensor: Tensor) -> str:
    return "×".join(map(str, tensor.shape)) or "a single number"
