"""Images per second and peak memory of training: the plain path, ours, and ours without each measure in turn.

python scripts/benchmark.py training --date 2026-11-26                       # a CPU, at 320 pixels
python scripts/benchmark.py training --sizes 320 800 --batch 16 --steps 40 --workers 8 --date 2026-11-26   # a GPU

Every case trains by the shipped trainer, data reading and detector, in a process of its own, and the cases take turns.
"""

import argparse
import json
import math
import os
import platform
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import nullcontext
from dataclasses import asdict, dataclass, replace
from importlib.metadata import version
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[1]
NATIVE_PX = (300, 400)
"""Of the images, as the published study's are."""
LONGER_PX = {800: 1333, 320: 416}
WARM_UP = 2
"""Steps that are not timed."""
TRAIN_SHARE = 0.6
"""Of the images, at the least, that the split gives to training."""
LIMITS_MS = {
    ("A100", "fp32", 800): 82.7,
    ("A100", "fp32", 320): 12.2,
    ("A100", "bf16", 800): 14.8,
    ("A100", "bf16", 320): 1.9,
    ("H100", "bf16", 800): 8.4,
    ("H100", "bf16", 320): 1.0,
}
"""Of training mit_b1 on one image, eager, by counting operations and traffic (GPU, precision, shorter side)."""


@dataclass(frozen=True)
class Case:
    """What is switched on; each of them is off in the plain path."""

    name: str
    bf16: bool = True
    fused_attention: bool = True
    channels_last: bool = True
    fused_optimizer: bool = True
    batched_heads: bool = True
    workers: bool = True
    shared_cache: bool = True
    compile: bool = False


OURS = Case("ours")
PLAIN = Case("plain", **dict.fromkeys(("bf16", "fused_attention", "channels_last", "fused_optimizer"), False),
             **dict.fromkeys(("batched_heads", "workers", "shared_cache"), False))  # fmt: skip
CASES = (
    PLAIN,
    OURS,
    replace(OURS, name="ours, float32", bf16=False),
    replace(OURS, name="ours, attention unfused", fused_attention=False),
    replace(OURS, name="ours, channels first", channels_last=False),
    replace(OURS, name="ours, optimizer weight by weight", fused_optimizer=False),
    replace(OURS, name="ours, torchvision's heads", batched_heads=False),
    replace(OURS, name="ours, images read in the training process", workers=False),
    replace(OURS, name="ours, images decoded every time", shared_cache=False),
    replace(OURS, name="ours, compiled", compile=True),
)


def add_command(commands: Any) -> None:
    """`training`, and `step`, which is one case of it in this process."""
    table = commands.add_parser(
        "training",
        help="images per second and peak memory of training",
        epilog="example: training --sizes 320 800 --batch 16 --workers 8 --date 2026-11-26",
    )
    table.add_argument(
        "--sizes", type=int, nargs="+", default=[320], choices=sorted(LONGER_PX), help="shorter side, px"
    )
    table.add_argument("--cases", nargs="+", choices=[case.name for case in CASES], metavar="CASE", help="else all")
    table.add_argument("--rounds", type=int, default=3, help="how often each case has its turn")
    table.add_argument("--date", required=True)
    table.set_defaults(run=measure_all)
    step = commands.add_parser(
        "step", help="one case of it, in this process", epilog="example: step '{...}' 320 /tmp/set"
    )
    step.add_argument("case", help="a case as JSON")
    step.add_argument("size", type=int)
    step.add_argument("data")
    step.set_defaults(run=measure_one)
    for parser in (table, step):
        parser.add_argument("--backbone", default="mit_b1")
        parser.add_argument("--batch", type=int, default=4)
        parser.add_argument("--steps", type=int, default=6, help=f"timed, after {WARM_UP} that are not")
        parser.add_argument("--workers", type=int, default=1, help="loaders, where a case has some")
        parser.add_argument("--device", help="else cuda where there is one")


def measure_all(arguments: argparse.Namespace) -> None:
    """Each case in turn, several times over; a table and its rows under benchmarks/."""
    cases = [case for case in CASES if not arguments.cases or case.name in arguments.cases]
    found: dict[tuple[int, str], list[dict[str, Any]]] = {}
    with tempfile.TemporaryDirectory() as folder:
        needed = arguments.batch * (WARM_UP + arguments.steps) / TRAIN_SHARE  # so that no loader begins anew meanwhile
        data = synthetic_images(Path(folder) / "set", max(96, math.ceil(needed)))
        for _ in range(arguments.rounds):
            for size in arguments.sizes:
                for case in cases:
                    row = run_apart(case, size, data, arguments)
                    found.setdefault((size, case.name), []).append(row)
                    print(f"{size} px, {case.name}: {row['images_per_second']:.3g} images/s", flush=True)
    rows = [summary(size, name, runs) for (size, name), runs in found.items()]
    write(rows, arguments)


def synthetic_images(folder: Path, count: int) -> Path:
    """Synthetic images of the published study's size; labels are fractions of the sides, so they stay valid."""
    from PIL import Image

    from tune_cmx.data.synthetic import synthesize

    height, width = NATIVE_PX
    data = synthesize(folder, images=count, size=width, sequences=12, seed=0)
    for file in data.rglob("*.png"):
        with Image.open(file) as image:
            image.resize((width, height)).save(file)
    return data


def run_apart(case: Case, size: int, data: Path, arguments: argparse.Namespace) -> dict[str, Any]:
    """The case in a fresh process, so that its peak of memory is its own."""
    flags = ("backbone", "batch", "steps", "workers", *(("device",) if arguments.device else ()))
    words = [word for flag in flags for word in (f"--{flag}", str(getattr(arguments, flag)))]
    command = [sys.executable, str(ROOT / "scripts" / "benchmark.py"), "step", json.dumps(asdict(case)), str(size)]
    done = subprocess.run([*command, str(data), *words], stdout=subprocess.PIPE, text=True, check=False)
    if done.returncode:
        raise SystemExit(f"{case.name} at {size} px ended with {done.returncode}; its last words stand above")
    row: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return row


def measure_one(arguments: argparse.Namespace) -> None:
    """Train a few steps as the case says, and print what they took as JSON."""
    import torch
    from torch.nn.attention import SDPBackend, sdpa_kernel

    from tune_cmx.config.trial import TrialConfig
    from tune_cmx.data.prepare import prepare
    from tune_cmx.data.shared.image_cache import shared_images
    from tune_cmx.training.assembly import TrialData, build_trainer, build_trial_model
    from tune_cmx.training.ddp.ranks import lead_rank

    case = Case(**json.loads(arguments.case))
    device = torch.device(arguments.device or ("cuda" if torch.cuda.is_available() else "cpu"))
    config = TrialConfig.model_validate(
        {
            "model": {
                "backbone": arguments.backbone,
                "detector": {"image_size": arguments.size, "max_size": LONGER_PX[arguments.size]},
            },
            "data": {"root": arguments.data},
            "schedule": {"batch_size": arguments.batch, "lr": 0.002},
            "compute": {
                "precision": "bf16" if case.bf16 else "fp32",
                "channels_last": case.channels_last,
                "compile": case.compile,
            },
        }
    )
    with tempfile.TemporaryDirectory() as folder:
        prepared = prepare(config.data, Path(folder))
        before = resident_mib()
        rank = lead_rank(1, device)
        trainer = build_trainer(
            config, prepared, build_trial_model(config, prepared, batched=case.batched_heads), rank, None
        )
        if not case.fused_optimizer:
            for group in trainer.optimizer.param_groups:
                group.update(fused=False, foreach=False)
        attention = nullcontext() if case.fused_attention else sdpa_kernel(SDPBackend.MATH)
        cache = shared_images(prepared.data, prepared.audit) if case.shared_cache else nullcontext()
        with attention, cache as shared:
            if case.shared_cache and shared is None:
                raise SystemExit("the images do not fit into shared memory: leave the cases with a shared cache out")
            data = TrialData(config, prepared, arguments.workers if case.workers else 0, rank, shared)
            if len(prepared.split.train) < arguments.batch * (WARM_UP + arguments.steps):
                raise SystemExit(f"{len(prepared.split.train)} training images are too few for so many steps")
            seconds = timed(trainer, iter(data.batches(1)), arguments.steps)
    on_gpu = device.type == "cuda"
    row = {
        "images_per_second": arguments.steps * arguments.batch / seconds,
        "peak_mib": torch.cuda.max_memory_allocated() / 2**20 if on_gpu else resident_mib(peak=True) - before,
        "device": torch.cuda.get_device_name() if on_gpu else f"{torch.get_num_threads()} threads of a CPU",
    }
    print(json.dumps(row))


def timed(trainer: Any, batches: Iterator[Any], steps: int) -> float:
    """Seconds of so many steps, reading included; the first ones warm up and are left out."""
    trainer.epoch(1, first(batches, WARM_UP))
    began = time.monotonic()
    trainer.epoch(1, first(batches, steps))  # it waits for the last loss, and so for the GPU
    return time.monotonic() - began


def first(batches: Iterator[Any], count: int) -> Iterator[Any]:
    """So many of them; the others are still to be had."""
    for _ in range(count):
        yield next(batches)


def resident_mib(*, peak: bool = False) -> float:
    """Memory of this process, now or at the most."""
    wanted = "VmHWM" if peak else "VmRSS"
    lines = Path("/proc/self/status").read_text(encoding="ascii").splitlines()
    return next(int(line.split()[1]) / 1024 for line in lines if line.startswith(wanted))


def summary(size: int, name: str, runs: list[dict[str, Any]]) -> dict[str, Any]:
    """The median over its turns, and how far they lie apart."""
    speeds = [run["images_per_second"] for run in runs]
    return {
        "size_px": size,
        "case": name,
        "images_per_second": statistics.median(speeds),
        "slowest": min(speeds),
        "fastest": max(speeds),
        "peak_mib": max(run["peak_mib"] for run in runs),
        "device": runs[0]["device"],
    }


def limit_share(row: dict[str, Any]) -> float | None:
    """Of the images per second that the GPU could train at most, by counting; None: not counted for this GPU."""
    precision = "fp32" if row["case"] in ("plain", "ours, float32") else "bf16"
    limit = next(
        (ms for (gpu, kind, size), ms in LIMITS_MS.items()
         if gpu in row["device"] and (kind, size) == (precision, row["size_px"])), None
    )  # fmt: skip
    return None if limit is None else row["images_per_second"] * limit / 1000


def write(rows: list[dict[str, Any]], arguments: argparse.Namespace) -> None:
    """benchmarks/training_DEVICE.json and .md."""
    from benchmark_setting import setting

    from tune_cmx.evidence.report.page import Page

    device = rows[0]["device"]
    kind = "cpu" if "CPU" in device else device.lower().replace(" ", "_")
    path = ROOT / "benchmarks" / f"training_{kind}.json"
    asked = {key: value for key, value in vars(arguments).items() if key not in ("run", "cases")}
    packages = {name: version(name) for name in ("torch", "torchvision", "timm")}
    known = {**asked, "cores": os.cpu_count(), "python": platform.python_version(), **packages}
    path.write_text(json.dumps({"setting": known, "rows": rows}, indent=1) + "\n", encoding="utf-8")
    page = Page()
    page.heading("Training: images per second and peak memory", level=1)
    page.paragraph(setting(packages, device))
    page.paragraph(
        f"{arguments.backbone}, FRM+FFM, batch {arguments.batch}, images of {NATIVE_PX[0]} x {NATIVE_PX[1]} pixels, "
        f"reading included; {arguments.steps} steps a turn, {arguments.rounds} turns, medians. Plain: float32, "
        "attention unfused, channels first, optimizer weight by weight, torchvision's heads, images read in the "
        "training process. Limit: what the GPU can train at most, eager, by counting operations and traffic."
    )
    plain = {row["size_px"]: row["images_per_second"] for row in rows if row["case"] == PLAIN.name}
    header = ["case", "pixels", "images/s", "slowest to fastest turn", "times plain", "peak, GiB", "of the limit"]
    page.table(header, [cells(row, plain.get(row["size_px"])) for row in rows])
    path.with_suffix(".md").write_text(page.text(), encoding="utf-8")
    print(page.text())
    print(f"table: {path.with_suffix('.md')}, figures: {path}")


def cells(row: dict[str, Any], plain: float | None) -> list[str]:
    """A row of the table."""
    share = limit_share(row)
    return [
        row["case"],
        str(row["size_px"]),
        f"{row['images_per_second']:.3g}",
        f"{row['slowest']:.3g} to {row['fastest']:.3g}",
        "-" if plain is None else f"{row['images_per_second'] / plain:.2f}",
        f"{row['peak_mib'] / 1024:.2f}",
        "-" if share is None else f"{share:.0%}",
    ]
