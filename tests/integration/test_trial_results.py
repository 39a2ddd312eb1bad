"""What the run folder of a complete trial holds of its results: every metric of the table, wherever results stand."""

from __future__ import annotations

import gzip
import io
import json
from contextlib import redirect_stdout
from typing import TYPE_CHECKING, Any

import pytest
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from tune_cmx import metrics
from tune_cmx.data.ground_truth import ground_truth
from tune_cmx.data.prepare import Prepared, prepare
from tune_cmx.evaluation import counter, evaluate
from tune_cmx.metrics import Metric
from tune_cmx.training.run import run_trial
from tune_cmx.training.run_folder import RunFolder

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from conftest import Tiny


def _at_60(run: Any) -> float:
    precision = run.eval["precision"][2, :, :, 0]  # over all areas
    return float(precision[precision >= 0].mean())


TOY = Metric("AP@60", "COCO average precision at IoU 0.60", "points", "higher", score=_at_60)


@pytest.fixture(scope="module")
def prepared(tiny_at: type[Tiny], data: Path, tmp_path_factory: pytest.TempPathFactory) -> Prepared:
    """The data, audited and split."""
    tiny = tiny_at(data, tmp_path_factory.mktemp("data"))
    return prepare(tiny.study().baseline.config.data, tiny.folder / "prepared")


@pytest.fixture(scope="module")
def trial(
    tiny_at: type[Tiny], data: Path, prepared: Prepared, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[RunFolder]:
    """A complete trial of eight epochs, trained with one metric more in the table."""
    tiny = tiny_at(data, tmp_path_factory.mktemp("results"))
    config = tiny.study().arms["stages-2"].config
    schedule = config.schedule.model_copy(update={"epochs": 8})
    compute = config.compute.model_copy(update={"precision": "fp32"})
    config = config.model_copy(update={"schedule": schedule, "compute": compute})
    folder = RunFolder.plan(tiny.folder / "trial", config, arm="stages-2", phase="single")
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(metrics.METRICS, "mAP_60", TOY)
        list(run_trial(folder, prepared))
        yield folder


def test_a_metric_that_is_added_to_the_table_comes_out_everywhere(trial: RunFolder) -> None:
    results = json.loads((trial.folder / "final_results.json").read_text())["results_by_split"]
    assert list(results["val"]) == list(metrics.scored())
    assert results["val"]["mAP_60"] > 0
    by_epoch = [row["val/mAP_60"] for row in trial.rows()]
    assert results["val"]["mAP_60"] == by_epoch[-1]
    events = EventAccumulator(str(trial.folder))
    events.Reload()
    assert [point.value for point in events.Scalars("val/mAP_60")] == pytest.approx(by_epoch)


def test_stored_detections_give_the_recorded_metrics(trial: RunFolder, prepared: Prepared) -> None:
    """By faster-coco-eval and by pycocotools."""
    recorded = json.loads((trial.folder / "final_results.json").read_text())["results"]
    stored = json.loads(gzip.decompress((trial.folder / "detections.json.gz").read_bytes()))
    truth = ground_truth(prepared.data, prepared.split.val, prepared.audit.sizes)
    with redirect_stdout(io.StringIO()):
        counted = counter(stored, truth)
        counted.evaluate()
        counted.accumulate()
        counted.summarize()
    for found in (evaluate(stored, truth), metrics.points(counted)):
        defined = {name: value for name, value in found.items() if recorded[name] is not None}
        assert defined == pytest.approx({name: recorded[name] for name in defined}, rel=0, abs=1e-6)
        assert defined.keys() >= {"mAP", "mAP_50", "mAP_60"}


def test_results_by_class_stand_beside_the_mean(trial: RunFolder) -> None:
    content = json.loads((trial.folder / "final_results.json").read_text())
    classes = content["by_class"]
    defined = [part["mAP"] for part in classes.values() if part["boxes"]]
    assert sum(defined) / len(defined) == pytest.approx(content["results"]["mAP"])
    assert "by_condition" not in content, "the data name none"
