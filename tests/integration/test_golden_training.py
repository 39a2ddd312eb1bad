"""What a seeded training run on the CPU gives, to the last bit: ten losses, and the final metrics.

A change that was not meant to change training changes none of these numbers. Rewrite them, in a commit that says by how
much and why, with

    OMP_NUM_THREADS=1 .venv/bin/python -m pytest tests/integration/test_golden_training.py --accept
"""

from __future__ import annotations

import hashlib
import json
import math
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
import torch

from tune_cmx.training.run import run_trial
from tune_cmx.training.run_folder import RunFolder

if TYPE_CHECKING:
    from conftest import Tiny

    from tune_cmx.data.prepare import Prepared

pytestmark = pytest.mark.usefixtures("one_thread")

ROOT = Path(__file__).parents[2]
GOLDEN = ROOT / "tests" / "golden" / "training.json"
EPOCHS = 10
RELATIVE = {"fp32": 1e-5, "bf16": 0.05}
"""Tolerances under other package versions or on another kind of processor; bfloat16 has three digits."""


def _setting() -> dict[str, str]:
    """What the last bits depend on: the packages, and which kernels this processor gets."""
    lock = hashlib.sha256((ROOT / "requirements.lock").read_bytes()).hexdigest()[:12]
    return {"lock": lock, "kernels": torch.backends.cpu.get_cpu_capability()}


def _trained(tiny: Tiny, prepared: Prepared, precision: str) -> dict[str, Any]:
    config = tiny.study().arms["stages-2"].config
    config = config.model_copy(
        update={
            "schedule": config.schedule.model_copy(update={"epochs": EPOCHS}),
            "compute": config.compute.model_copy(update={"precision": precision}),
            "report_split": "test",
        }
    )
    record = RunFolder.plan(tiny.folder / precision, config, arm="stages-2", phase="single")
    losses = [report.metrics["train/loss"] for report in run_trial(record, prepared)]
    results = json.loads((record.folder / "final_results.json").read_text())["results_by_split"]
    return {"losses": losses, "results": results}


def _numbers(run: dict[str, Any]) -> dict[str, float]:
    """By name; a metric that is undefined is nan."""
    named = {f"loss of epoch {epoch}": loss for epoch, loss in enumerate(run["losses"], 1)}
    for split, metrics in run["results"].items():
        named.update({f"{split}/{name}": math.nan if value is None else value for name, value in metrics.items()})
    return named


@pytest.mark.parametrize("precision", ["fp32", "bf16"])
def test_training_gives_the_golden_numbers(
    tiny: Tiny, prepared: Prepared, precision: str, pytestconfig: pytest.Config
) -> None:
    run = _trained(tiny, prepared, precision)
    kept = json.loads(GOLDEN.read_text()) if GOLDEN.exists() else {}
    if pytestconfig.getoption("--accept"):
        GOLDEN.write_text(json.dumps({**kept, "setting": _setting(), precision: run}, indent=1, sort_keys=True) + "\n")
        return
    found, golden = _numbers(run), _numbers(kept[precision])
    relative = 0.0 if kept["setting"] == _setting() else RELATIVE[precision]
    if precision == "bf16" and relative:  # small differences grow over the epochs, and a metric jumps with each box
        first = "loss of epoch 1"
        found, golden = {first: found[first]}, {first: golden[first]}
    assert found == pytest.approx(golden, rel=relative, abs=0, nan_ok=True)
