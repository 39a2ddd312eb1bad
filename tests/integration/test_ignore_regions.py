"""A trial on a set with ignore regions: it trains, and its results count objects alone."""

from __future__ import annotations

import gzip
import json
import math
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from region_reader import RegionReader

from tune_cmx.config.trial import DataConfig
from tune_cmx.data.prepare import prepare
from tune_cmx.data.readers import READERS
from tune_cmx.data.synthetic import synthesize
from tune_cmx.training.run import run_trial
from tune_cmx.training.run_folder import RunFolder

if TYPE_CHECKING:
    from conftest import Tiny

pytestmark = pytest.mark.usefixtures("one_thread")
EVERYWHERE = "ignore 0 0.5 0.5 1 1\n"


@pytest.fixture
def crowded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """In each second image the first object is an ignore region, and each third is ignored as a whole."""
    monkeypatch.setitem(READERS, "folders", RegionReader())
    root = synthesize(tmp_path / "crowded", images=24, size=64, sequences=6, seed=0)
    for place, path in enumerate(sorted((root / "labels").iterdir())):
        text = path.read_text()
        path.write_text(("ignore " + text if place % 2 and text else text) + (EVERYWHERE if place % 3 == 0 else ""))
    return root


def test_a_trial_trains_and_is_scored_on_objects_alone(tiny: Tiny, crowded: Path) -> None:
    config = tiny.study().arms["stages-2"].config
    schedule = config.schedule.model_copy(update={"epochs": 2, "micro_batch": 1})
    data = config.data.model_copy(update={"root": str(crowded)})
    config = config.model_copy(update={"schedule": schedule, "data": data})
    prepared = prepare(DataConfig(root=str(crowded)), tiny.folder / "prepared")
    counts = prepared.summary()["counts"]
    assert all(part["ignored"] > 0 for part in counts.values())
    folder = RunFolder.plan(tiny.folder / "trial", config, arm="stages-2", phase="single")
    reports = list(run_trial(folder, prepared, workers=1))
    losses = [float(value) for row in tiny.numbers(folder) for name, value in row.items() if "loss" in name]
    assert len(reports) == 2
    assert losses
    assert all(map(math.isfinite, losses))
    results = json.loads((folder.folder / "final_results.json").read_text())
    split = results["split"]
    assert sum(part["boxes"] for part in results["by_class"].values()) == counts[split]["boxes"]
    truth = json.loads(gzip.decompress((tiny.folder / "prepared" / f"ground_truth_{split}.json.gz").read_bytes()))
    assert sum(box["iscrowd"] for box in truth["annotations"]) == counts[split]["ignored"]
