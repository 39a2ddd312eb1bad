"""A data set in each form in which the field has them trains one epoch by the command of a user."""

import json
from pathlib import Path

import pytest
from layouts import MAKERS

from tune_cmx.cli import main

MODEL = {
    "backbone": "mit_nano",
    "detector": {
        "image_size": 64,
        "max_size": 64,
        "fpn_channels": 8,
        "head_width": 16,
        "anchor_sizes": [8, 16, 24, 32, 48],
        "proposals_train": 50,
        "proposals_eval": 50,
        "rois_per_image": 8,
    },
}
FLAGS = (
    *("--set", f"model={json.dumps(MODEL)}", "--set", "schedule={epochs: 1, batch_size: 4, optimizer: adamw}"),
    *("--set", "compute={precision: fp32}", "--device", "cpu"),
)


@pytest.mark.parametrize("name", MAKERS)
def test_a_made_set_trains_one_epoch(name: str, tmp_path: Path) -> None:
    make, flags = MAKERS[name]
    make(tmp_path / name)
    with pytest.raises(SystemExit, match=r"^0$"):
        main(["train", "--data", str(tmp_path / name), "--output-dir", str(tmp_path / "run"), *FLAGS, *flags])
    (results,) = (tmp_path / "run").rglob("final_results.json")
    assert set(json.loads(results.read_text())["results"]) >= {"mAP", "mAP_50"}
