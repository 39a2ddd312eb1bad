"""Checkpoints in the earlier group's form, made from their list of names and shapes."""

import csv
from collections.abc import Iterable, Mapping
from pathlib import Path

import torch
from torch import Tensor

from tune_cmx.config.model_sections import FusionConfig, ModelConfig
from tune_cmx.models.detector import build_detector
from tune_cmx.models.group_names import their_name

KEYS = Path(__file__).parents[1] / "golden" / "group_checkpoint_mit_b0.csv"
COUNT = "num_batches_tracked"

Shapes = dict[str, tuple[int, ...]]


def shapes_of_b0() -> Shapes:
    """The 538 names and shapes of mit_b0 with FRM+FFM and one class."""
    with KEYS.open(newline="", encoding="utf-8") as file:
        rows = [(row["key"], row["shape"]) for row in csv.DictReader(file)]
    return {key: () if shape == "scalar" else tuple(map(int, shape.split("x"))) for key, shape in rows}


def with_cssa(shapes: Shapes, kernel: int = 3) -> Shapes:
    """The names of their CSSA encoder, which builds CSSA at every stage besides FRM and FFM."""
    sides = [f"backbone.encoder.CSSAs.{i}.eca_{side}.f.weight" for i in range(4) for side in ("rgb", "aux")]
    return {**shapes, **dict.fromkeys(sides, (1, 1, kernel))}


def with_gaff(
    shapes: Shapes, widths: Iterable[int], *, reduction: int = 4, shared: bool = False, bottleneck: bool = False
) -> Shapes:
    """The names of their encoder with SE-gated fusion, which builds it at every stage besides FRM and FFM."""
    added: Shapes = {}
    for i, width in enumerate(widths):
        own: Shapes = {}
        for side in ("rgb", "aux"):
            own |= {f"se_{side}.fc1.weight": (width // reduction, width)}
            own |= {f"se_{side}.fc2.weight": (width, width // reduction)}
            own |= {} if shared else {f"inter_attn.conv_{side}.weight": (width, 2 * width, 1, 1)}
        own |= {"inter_attn.conv.weight": (2 * width, 2 * width, 1, 1)} if shared else {}
        convolutions = [("", 2 * width)] if not bottleneck else [("1", 2 * width), ("2", width)]
        for number, channels in convolutions:
            own |= {f"merge_conv{number}.weight": (width, channels, 1, 1)}
            own |= dict.fromkeys(
                (f"merge_bn{number}.{part}" for part in ("weight", "bias", "running_mean", "running_var")), (width,)
            )
            own |= {f"merge_bn{number}.{COUNT}": ()}
        added |= {f"backbone.encoder.GAFFs.{i}.{name}": shape for name, shape in own.items()}
    return {**shapes, **added}


def without_random_numbers(shapes: Shapes) -> dict[str, Tensor]:
    """Weights that anyone can make again: sines, by the place of the name among the sorted ones."""
    made: dict[str, Tensor] = {}
    place = 0
    for name, shape in sorted(shapes.items()):
        if name.endswith(COUNT):
            made[name] = torch.tensor(0)
            continue
        steps = torch.arange(torch.Size(shape).numel(), dtype=torch.float64)
        values = (0.05 * torch.sin(0.37 * steps + place)).float()
        if (len(shape) == 1 and name.endswith("weight")) or name.endswith("running_var"):
            values += 1
        made[name] = values.view(shape)
        place += 1
    return made


def of_shapes(shapes: Shapes) -> dict[str, Tensor]:
    """Tensors of these shapes that take no room in a file: all values of one are equal."""
    return {name: torch.tensor(0) if name.endswith(COUNT) else torch.ones(1).expand(s) for name, s in shapes.items()}


def seen(tensors: Mapping[str, Tensor], unused: Iterable[int]) -> dict[str, Tensor]:
    """The same after training: FFM at the stages `unused` has seen no batch, as another fusion stood there."""
    idle = tuple(f"backbone.encoder.FFMs.{stage - 1}." for stage in unused)
    counts = {name: torch.tensor(0 if name.startswith(idle) else 750) for name in tensors if name.endswith(COUNT)}
    return {**tensors, **counts}


def shapes_of_nano() -> Shapes:
    """The names that their code would give a detector of the tests' smallest backbone."""
    model = ModelConfig(backbone="mit_nano", fusion=FusionConfig(kind="frm_ffm"))
    with torch.device("meta"):
        state = build_detector(model, bands=(3, 2), num_classes=1, mean=[0.0] * 5, std=[1.0] * 5).state_dict()
    return {str(their_name(name)): tuple(value.shape) for name, value in state.items()}


def saved(tensors: object, path: Path) -> Path:
    """The path, at which the tensors are now."""
    torch.save(tensors, path)
    return path
