"""A complete run without training: the smallest detector with random weights."""

import json
import math
from pathlib import Path
from typing import Any

import torch

from tune_cmx.config.parse import parse_trial
from tune_cmx.config.trial import TrialConfig
from tune_cmx.data.prepare import Prepared, prepare
from tune_cmx.training.assembly import TrialData, build_trainer, build_trial_model
from tune_cmx.training.checkpoint import keep_weights_only, save_checkpoint
from tune_cmx.training.ddp.ranks import lead_rank
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


def complete_run(
    folder: Path,
    images: Path,
    *,
    phase: Any = "confirm",
    arm: str = "baseline",
    scores: tuple[float, float] | None = None,
    **changes: Any,
) -> tuple[RunFolder, Prepared]:
    """The run folder of a trial that ended, with weights that were never trained; without a model folder.

    Args:
        folder: In a folder beside `data/`, which receives the split.
        images: The data set.
        phase: What the trial is for.
        arm: Its configuration.
        scores: mAP on val and test that are written. None: the weights are scored on test, and detections are stored.
        changes: Of the configuration.
    """
    config: TrialConfig = parse_trial({**CONTENT, "data": {"root": str(images)}, **changes}, source="test")
    prepared = prepare(config.data, folder.parent.parent / "data")
    facts = {**prepared.hashes(), "code_version": code_version()}
    run = RunFolder.plan(folder, config, arm=arm, phase=phase, **facts)
    model = build_trial_model(config, prepared)
    optimizer = torch.optim.SGD(model.parameters(), 0.1)
    save_checkpoint(run.checkpoints, model, optimizer, epoch=2, seconds=1.0, history=[])
    keep_weights_only(run.checkpoints)
    if scores is None:
        data = TrialData(config, prepared, 0, lead_rank(1, torch.device("cpu")))
        found = data.score(build_trainer(config, prepared, model, lead_rank(1, torch.device("cpu")), None), "test")
        run.write_detections(found.detections)
        results: dict[str, Any] = {"val": {"mAP": 1.0}, "test": found.metrics}
        run.write_results(config, results, 1000, data.breakdown(found, "test"))
    else:
        run.write_results(config, {"val": {"mAP": scores[0]}, "test": {"mAP": scores[1], "mAP_large": math.nan}}, 1000)
    run.update(status="complete", epochs=2, parameters={"total": 1000, "active": None})
    return run, prepared


def change(path: Path, **fields: Any) -> None:
    """Set fields of a JSON file."""
    path.write_text(json.dumps({**json.loads(path.read_text()), **fields}))
