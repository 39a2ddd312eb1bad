"""A new metric is one entry of the table.

Then it is scored, chosen, imported, claimed, reported and shown on the board.
"""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from study_writer import StudyWriter
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
from tensorboard.plugins.hparams import plugin_data_pb2

from tune_cmx.config.parse import validate
from tune_cmx.config.space import Claim, EarlyStopping
from tune_cmx.config.trial import TrialConfig
from tune_cmx.errors import ConfigError, DataError
from tune_cmx.evaluation import coco_truth, evaluate
from tune_cmx.evidence.claims.evaluate import evaluate_claim
from tune_cmx.evidence.importer.collect import collect
from tune_cmx.evidence.report.write import write_report
from tune_cmx.evidence.results.reading import read_study
from tune_cmx.evidence.results.study_claims import evaluate_study_claims
from tune_cmx.evidence.results.study_results import trials_table
from tune_cmx.evidence.statistics.coco_matches import match
from tune_cmx.metrics import METRICS, Metric
from tune_cmx.training.tensorboard.events import TrialBoard

NAME, TITLE = "mAP_90", "mAP@90"


def _at_90(counted: Any) -> float:
    """Of an evaluated COCO object: the mean precision at IoU 0.90 over recalls and classes."""
    precision = counted.eval["precision"][8, :, :, 0, -1]
    return float(np.mean(precision[precision > -1]))


@pytest.fixture(autouse=True)
def _new_metric(monkeypatch: pytest.MonkeyPatch) -> None:
    """The one entry."""
    meaning = "COCO average precision at IoU 0.90, mean over classes"
    entry = Metric(TITLE, meaning, "points", "higher", aliases=("AP90",), score=_at_90, selects=True)
    monkeypatch.setitem(METRICS, NAME, entry)


def test_it_is_scored() -> None:
    """One box found exactly, and one with IoU 0.8: at 0.90 half of the boxes are found."""
    boxes = [[[0.0, 0.0, 10.0, 10.0]], [[0.0, 0.0, 10.0, 10.0]]]
    truth = coco_truth([(1, "1.png", 20, 20), (2, "2.png", 20, 20)], boxes, [[1], [1]], ["person"])
    found = [
        {"image_id": image, "category_id": category, "bbox": [0.0, 0.0, 10.0, height], "score": 0.9}
        for image, height in ((1, 10.0), (2, 8.0))
        for category in [truth["categories"][0]["id"]]
    ]
    scores = evaluate(found, truth)
    assert scores[NAME] == pytest.approx(100 * 51 / 101)  # recalls 0, 0.01, ..., 0.50
    assert list(scores)[-1] == NAME


def test_a_search_may_select_on_it() -> None:
    assert validate(EarlyStopping, {"metric": f"val/{NAME}"}, source="a.yaml").metric == f"val/{NAME}"
    with pytest.raises(ConfigError, match=f"val/{NAME}"):
        validate(EarlyStopping, {"metric": "val/mAP_91"}, source="a.yaml")


def test_a_study_may_claim_it() -> None:
    content = {"kind": "best", "treatment": "a", "metric": f"test/{NAME}"}
    assert validate(Claim, content, source="a.yaml").metric == f"test/{NAME}"


def test_a_claim_knows_its_direction_unit_and_columns() -> None:
    rows = [
        {"arm": arm, "seed": seed, "AP90": value, "mAP": mean}
        for arm, values, mean in (("a", (41.1, 41.3, 41.0), 80.0), ("b", (39.0, 39.4, 39.1), 70.0))
        for seed, value in enumerate(values)
    ]
    claim = {"kind": "superiority", "metric": "AP90", "treatment": {"arm": "a"}, "baseline": {"arm": "b"}}
    found = evaluate_claim(claim, rows)
    assert found["verdict"] == "SUPPORTED"
    assert "points, 95 % interval" in found["why"]
    assert evaluate_claim({**claim, "metric": "mAP"}, rows)["verdict"] != "NOT_COMPARABLE"
    with pytest.raises(ConfigError, match=f"higher {TITLE} is better"):
        evaluate_claim({**claim, "direction": "lower"}, rows)


def test_an_import_reads_it(tmp_path: Path) -> None:
    table = tmp_path / "earlier.csv"
    table.write_text("exp_id,fusion,seed,mAP,AP90\nx,cssa,0,60.5,30.25\n")
    (run,) = collect([table]).runs
    assert run.figures[NAME] == 30.25


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Two configurations on three shared seeds, with the new metric in each run's results."""
    writer = StudyWriter(tmp_path / "cssa-stages")
    writer.arm("baseline", [30.0, 31.0, 32.0])
    writer.arm("stages-4", [33.0, 34.1, 34.9])
    treatment, baseline = ({"model.fusion.kind": kind} for kind in ("cssa", "frm_ffm"))
    claim = {"kind": "superiority", "metric": f"test/{NAME}", "treatment": treatment, "baseline": baseline}
    writer.study["claims"] = [{**claim, "text": "CSSA is above on the new metric"}]
    for file in (writer.folder / "trials").glob("*/final_results.json"):
        content = json.loads(file.read_text())
        for results in content["results_by_split"].values():
            results[NAME] = results["mAP"] / 4
        file.write_text(json.dumps(content))
    return Path(writer.write())


def test_a_study_has_it_in_its_table_its_claims_and_its_report(folder: Path) -> None:
    records = read_study(folder)
    assert trials_table(records)[f"test/{NAME}"].tolist()[:3] == [7.5, 7.75, 8.0]
    ((_, found),) = evaluate_study_claims(records)
    assert found["verdict"] == "SUPPORTED", found["why"]
    text = write_report(folder).read_text(encoding="utf-8")
    assert TITLE in text
    assert "8.50" in text, "the mean of 33.0, 34.1 and 34.9, a quarter of it"


def test_the_board_shows_it(tmp_path: Path) -> None:
    board = TrialBoard(tmp_path, TrialConfig(), [])
    board.add({"epoch": 1, "fraction": 1.0, f"val/{NAME}": 12.5})
    board.close()
    events = EventAccumulator(str(tmp_path))
    events.Reload()
    assert events.Scalars(f"val/{NAME}")[0].value == 12.5
    content = plugin_data_pb2.HParamsPluginData.FromString(
        events.SummaryMetadata("_hparams_/experiment").plugin_data.content
    )
    assert f"val/{NAME}" in [metric.name.tag for metric in content.experiment.metric_infos]


def test_a_study_may_be_compared_on_it(folder: Path) -> None:
    """Without `matches` in its entry there is no test-set bootstrap interval, and the report says why."""
    study = json.loads((folder / "study.json").read_text())
    study["early_stopping"]["metric"] = study["selection"]["metric"] = f"val/{NAME}"
    (folder / "study.json").write_text(json.dumps(study))
    assert read_study(folder).primary_metric == f"test/{NAME}"
    assert f"above the baseline in test {TITLE} (+0.75 points" in write_report(folder).read_text(encoding="utf-8")
    with pytest.raises(DataError, match=f"{NAME} has no test-set bootstrap interval"):
        match([], {"images": [], "annotations": [], "categories": []}, NAME)
