"""A complete run without training: the smallest detector with random weights."""

import json
from pathlib import Path
from typing import Any

import torch

from tune_cmx.config.parse import parse_trial
from tune_cmx.config.trial import TrialConfig
from tune_cmx.data.prepare import Prepared, prepare
from tune_cmx.training.assembly import build_trial_model
from tune_cmx.training.checkpoint import keep_weights_only, save_checkpoint
from tune_cmx.training.protocol import code_version
from tune_cmx.training.run_folder import RunFolder

CONTENT: dict[str, Any] = {
    "model": {
        "backbone": "mit_nano",
        "streams": "rgb | thermal",
        "fusion": {"kind": "add"},
        "detector": {
            "image_size": 64,
            "max_size": 64,
            "fpn_channels": 8,
            "head_width": 16,
            "anchor_sizes": [8, 16, 24, 32, 48],
            "proposals_eval": 20,
            "rois_per_image": 8,
        },
    },
    "schedule": {"epochs": 2, "batch_size": 4},
    "compute": {"precision": "fp32"},
    "report_split": "test",
}


def complete_run(folder: Path, images: Path, *, phase: Any = "confirm", **changes: Any) -> tuple[RunFolder, Prepared]:
    """The run folder of a trial that ended, with weights that were never trained; without a model folder."""
    config: TrialConfig = parse_trial({**CONTENT, "data": {"root": str(images)}, **changes}, source="test")
    prepared = prepare(config.data, folder.parent.parent / "data")
    facts = {**prepared.hashes(), "code_version": code_version()}
    run = RunFolder.plan(folder, config, arm="baseline", phase=phase, **facts)
    model = build_trial_model(config, prepared)
    save_checkpoint(run.checkpoints, model, torch.optim.SGD(model.parameters(), 0.1), epoch=2, seconds=1.0, history=[])
    keep_weights_only(run.checkpoints)
    results = {"val": {"mAP": 31.0, "mAP_50": 60.0}, "test": {"mAP": 30.0, "mAP_50": 55.5, "mAP_large": float("nan")}}
    run.write_results(config, results, 1000)
    run.update(status="complete", epochs=2, parameters={"total": 1000, "active": None})
    return run, prepared


def change(path: Path, **fields: Any) -> None:
    """Set fields of a JSON file."""
    path.write_text(json.dumps({**json.loads(path.read_text()), **fields}))
