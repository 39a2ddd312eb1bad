"""The image transform, RPN and RoI heads for a batch at once, against torchvision's, which loop over images.

Both get the same fixed maps and boxes and run in turns. Prints a Markdown table.

OMP_NUM_THREADS=1 python scripts/benchmark_heads.py --output benchmarks/heads.md
python scripts/benchmark_heads.py --device cuda --turns 20 --output benchmarks/heads_cuda.md \\
    --cases 320x416x1 320x416x4 320x416x16 800x1088x1 800x1088x4 800x1088x16
"""

import argparse
import os
import platform
import shlex
import sys
import time
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from unittest import mock

import torch
import torchvision
from torch import Tensor
from torch.overrides import TorchFunctionMode
from torch.profiler import ProfilerActivity, profile
from torch.utils._python_dispatch import TorchDispatchMode
from torchvision.models.detection.image_list import ImageList

from tune_cmx.config.trial import DetectorConfig, ModelConfig
from tune_cmx.models.detector import Detector, build_detector
from tune_cmx.models.heads import boxes as our_boxes
from tune_cmx.models.heads import matching as our_matching
from tune_cmx.models.heads import roi_heads as our_roi_heads

BANDS, CLASSES, STRIDES = 5, 3, (4, 8, 16, 32, 64)
TRUTHS = (0, 2, 5, 9)
"""True boxes of the images, in turns."""
CASES = ["320x416x1", "320x416x4", "800x1088x1", "800x1088x4", "320x416x16"]
WAITING = ("nonzero", "_local_scalar_dense", "masked_select", "_unique2", "nms")
MADE = ("empty", "lift_fresh", "detach", "new_empty", "_unsafe_view")
"""Operations that compute nothing."""


@dataclass(frozen=True)
class Case:
    """What both forms are given."""

    images: list[Tensor]
    targets: list[dict[str, Tensor]]
    maps: dict[str, Tensor]

    @classmethod
    def draw(cls, size: tuple[int, int], batch: int, channels: int, device: torch.device) -> "Case":
        """Fixed noise in place of an encoder's maps; boxes of 8 to 120 px."""
        noise = torch.Generator().manual_seed(0)
        names = ("0", "1", "2", "3", "pool")
        maps = {
            name: torch.randn(batch, channels, *(-(-side // stride) for side in size), generator=noise).to(device)
            for name, stride in zip(names, STRIDES, strict=True)
        }
        images = [torch.rand(BANDS, *size, generator=noise).to(device) for _ in range(batch)]
        targets = []
        for number in range(batch):
            count = TRUTHS[number % len(TRUTHS)] if batch > 1 else max(TRUTHS)
            sides = torch.rand(count, 2, generator=noise) * 112 + 8
            start = torch.rand(count, 2, generator=noise) * (torch.tensor(size[::-1]) - sides)
            labels = torch.randint(1, CLASSES + 1, (count,), generator=noise)
            own = {"boxes": torch.cat((start, start + sides), dim=1), "labels": labels}
            targets.append({name: value.to(device) for name, value in own.items()})
        return cls(images, targets, maps)


def transform(model: Detector, case: Case) -> None:
    """Normalise, resize (not at all at these sizes) and pad."""
    model.transform(case.images, case.targets)


def forward(model: Detector, case: Case) -> Any:
    """RPN and RoI heads on maps that want gradients: the losses in training mode, else the detections."""
    batch_BCHW = case.images[0].expand(len(case.images), -1, -1, -1)
    images = ImageList(batch_BCHW, [(own.shape[-2], own.shape[-1]) for own in case.images])
    maps = {name: own.detach().requires_grad_(model.training) for name, own in case.maps.items()}
    proposals, rpn_losses = model.rpn(images, maps, case.targets)
    found, losses = model.roi_heads(maps, proposals, images.image_sizes, case.targets)
    return list({**rpn_losses, **losses}.values()) if model.training else found


def train(model: Detector, case: Case) -> None:
    """Forward and backward."""
    torch.autograd.backward(forward(model.train(), case))
    model.zero_grad()


@torch.no_grad()
def evaluate(model: Detector, case: Case) -> None:
    """Detections."""
    forward(model.eval(), case)


KINDS: dict[str, Callable[[Detector, Case], None]] = {"transform": transform, "training": train, "evaluation": evaluate}


class Counted(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """Operations that compute something, and those for which the host would wait for a GPU."""

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.operations = self.waits = 0

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        name = func._schema.name.split("::")[-1]
        views = any(own.alias_info is not None and not own.alias_info.is_write for own in func._schema.returns)
        self.operations += not views and name not in MADE
        by_mask = name in ("index", "index_put_", "index_put", "_index_put_impl_") and any(
            own is not None and own.dtype in (torch.bool, torch.uint8) for own in args[1]
        )
        self.waits += by_mask or name in WAITING
        return func(*args, **(kwargs or {}))


class HostCopies(TorchFunctionMode):
    """Numbers that go from the host to the device, or back, in calls that wait."""

    def __init__(self) -> None:
        super().__init__()
        self.waits = 0

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        to_device = func in (torch.tensor, torch.as_tensor) and kwargs.get("device") is not None
        from_host = func is torch.Tensor.to and args[0].dim() == 0  # batched_nms makes a number fit its boxes
        self.waits += to_device or from_host or func is torch.Tensor.tolist
        return func(*args, **kwargs)


def count(model: Detector, case: Case, kind: str) -> tuple[int, int]:
    """Operations and waits of one forward, in the form that they have on a GPU."""
    with ExitStack() as stack:
        for by_device in (our_boxes._APART, our_matching._BLOCK):
            stack.enter_context(mock.patch.dict(by_device, {"cpu": by_device["cuda"]}))
        stack.enter_context(mock.patch.object(our_roi_heads, "_BY_BAGS", frozenset()))
        tv_boxes = torchvision.ops.boxes
        as_on_gpu = mock.patch.object(tv_boxes, "_batched_nms_vanilla", tv_boxes._batched_nms_coordinate_trick)
        stack.enter_context(as_on_gpu)
        copies, counted = stack.enter_context(HostCopies()), stack.enter_context(Counted())
        if kind == "transform":
            transform(model, case)
        else:
            stack.enter_context(torch.set_grad_enabled(kind == "training"))
            forward(model.train(kind == "training"), case)
    return counted.operations, counted.waits + copies.waits


def on_gpu(model: Detector, case: Case, kind: str) -> tuple[int, int]:
    """Kernel launches and host synchronisations of one turn, backward included, as CUDA reports them."""
    with profile(activities=[ProfilerActivity.CPU, ProfilerActivity.CUDA]) as found:
        KINDS[kind](model, case)
        torch.cuda.synchronize()
    calls = {row.key: row.count for row in found.key_averages()}
    launches = sum(number for name, number in calls.items() if name.startswith(("cudaLaunchKernel", "cuLaunchKernel")))
    return launches, sum(number for name, number in calls.items() if name == "cudaStreamSynchronize")


def timed(models: tuple[Detector, Detector], case: Case, kind: str, turns: int) -> tuple[float, float]:
    """The least milliseconds of each model, in turns after one to warm up: what others do on the machine adds to it."""
    device = case.images[0].device
    found: tuple[list[float], list[float]] = ([], [])
    for turn in range(turns + 1):
        for model, times in zip(models, found, strict=True):
            _settle(device)
            began = _clock_s(device)
            KINDS[kind](model, case)
            _settle(device)
            if turn > 0:
                times.append(1e3 * (_clock_s(device) - began))
    return min(found[0]), min(found[1])


def _clock_s(device: torch.device) -> float:
    """Wall clock of a GPU; on a CPU its own time, for others may be at work on it."""
    return time.perf_counter() if device.type == "cuda" else time.process_time()


def _settle(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.synchronize()


def build(channels: int, head_width: int, size: tuple[int, int], device: torch.device) -> tuple[Detector, Detector]:
    """torchvision's heads and ours, with the same weights; wider ones than fresh, so that boxes move and are found."""
    part = DetectorConfig(fpn_channels=channels, head_width=head_width, image_size=min(size), max_size=max(1333, *size))
    models = []
    for batched in (False, True):
        torch.manual_seed(0)
        config = ModelConfig(backbone="mit_nano", detector=part)
        statistics = {"mean": [0.5] * BANDS, "std": [0.25] * BANDS}
        model = build_detector(config, bands=(3, 2), num_classes=CLASSES, **statistics, batched=batched).to(device)
        with torch.no_grad():
            model.rpn.head.bbox_pred.weight.mul_(10)
            model.roi_heads.box_predictor.cls_score.weight.mul_(5)
        models.append(model)
    return models[0], models[1]


def main() -> None:
    """Time every case and write the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--cases", nargs="+", default=CASES, help="HEIGHTxWIDTHxBATCH, sides multiples of 32")
    parser.add_argument("--channels", type=int, default=256, help="of the feature pyramid")
    parser.add_argument("--head-width", type=int, default=1024)
    parser.add_argument("--turns", type=int, default=5)
    parser.add_argument("--output", type=Path, default=None, help="a Markdown file; else the table is printed alone")
    arguments = parser.parse_args()
    device = torch.device(arguments.device)
    lines = [_header(device)]
    print(lines[0], flush=True)
    for text in arguments.cases:
        height, width, batch = (int(part) for part in text.split("x"))
        models = build(arguments.channels, arguments.head_width, (height, width), device)
        case = Case.draw((height, width), batch, arguments.channels, device)
        for kind in KINDS:
            for model in models:
                model.train(kind != "evaluation")
            theirs_ms, ours_ms = timed(models, case, kind, arguments.turns)
            counts = [(on_gpu if device.type == "cuda" else count)(model, case, kind) for model in models]
            (operations, waits), (our_operations, our_waits) = counts
            lines.append(
                f"| {height} × {width} | {batch} | {kind} | {theirs_ms:,.1f} | {ours_ms:,.1f} "
                f"| {theirs_ms / ours_ms:.2f} | {operations:,} | {our_operations:,} | {waits:,} | {our_waits:,} |"
            )
            print(lines[-1], flush=True)
    if arguments.output is not None:
        command = f"```bash\n{shlex.join(['python', *sys.argv])}\n```"
        text = "\n".join(["# What the heads cost\n", command, "", *lines])
        arguments.output.write_text(f"{text}\n", encoding="utf-8")


def _header(device: torch.device) -> str:
    gpu = torch.cuda.get_device_name(device) if device.type == "cuda" else f"{platform.machine()} CPU"
    clock = "wall" if device.type == "cuda" else "CPU"
    counted = "launches" if device.type == "cuda" else "operations"
    columns = ("torchvision", "batched")
    cells = [
        *("image", "batch", "", *(f"{name}, {clock} ms" for name in columns), "times as fast"),
        *(f"{name}, {counted}" for name in columns),
        *(f"{name}, waits" for name in columns),
    ]
    return (
        f"{time.strftime('%Y-%m-%d')}, {gpu}, {torch.get_num_threads()} thread(s), load {os.getloadavg()[0]:.1f} at "
        f"the start, torch {torch.__version__}, torchvision {torchvision.__version__}.\n\n"
        f"| {' | '.join(cells)} |\n|---|---:|---|{'---:|' * 7}"
    )


if __name__ == "__main__":
    main()
