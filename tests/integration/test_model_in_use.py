"""A trained model leaves its study, and predicts and validates elsewhere as in its evaluation."""

from __future__ import annotations

import gzip
import json
import shutil
from typing import TYPE_CHECKING

import pytest

import tune_cmx as tc
from tune_cmx.cli import main
from tune_cmx.state.model_state import read_model_state

if TYPE_CHECKING:
    from pathlib import Path

    from conftest import Tiny

pytestmark = pytest.mark.usefixtures("one_thread")


def command(*arguments: object) -> None:
    with pytest.raises(SystemExit, match=r"^0$"):
        main([*map(str, arguments)])


def test_the_model_of_a_study_is_used_elsewhere(tiny: Tiny, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """`search`, `best`, `load`, `val`; the study is gone by then."""
    space = tiny.space(
        search={"model.fusion.stages": {"choice": [[2]]}},
        early_stopping={"kind": "none"},
        confirm={"finalists": 1, "seeds": 3},
    )
    assert tiny.search(space) == 0, tiny.log()
    study = tiny.folder / "tiny"
    confirmed = sorted((study / "trials").glob("confirm-*"))
    assert len(confirmed) == 6
    for run in confirmed:
        (weights,) = run.glob("checkpoint/*/model.safetensors")
        assert weights.stat().st_ino == (run / "model" / "model.safetensors").stat().st_ino
    assert not list((study / "trials").glob("search-*/model"))
    command("best", study, "--export", tmp_path / "out")
    state = read_model_state(tmp_path / "out" / "model.json")
    runs = {run.name: json.loads((run / "final_results.json").read_text())["results_by_split"] for run in confirmed}
    of_arm = sorted(results["val"]["mAP"] for name, results in runs.items() if "baseline" not in name)
    assert runs[state.name]["val"]["mAP"] == of_arm[1]
    stored = json.loads(gzip.decompress((study / "trials" / state.name / "detections.json.gz").read_bytes()))
    shutil.rmtree(study)
    detector = tc.load(tmp_path / "out", device="cpu")
    ids = json.loads((tmp_path / "out" / "split.json").read_text())["test"]
    given = {name: [tiny.data / name / f"{id}.png" for id in ids] for name in detector.modalities}
    found = [one for place, each in enumerate(detector.predict(**given)) for one in each.to_coco(place)]  # type: ignore[arg-type]
    assert len(found) == len(stored)
    for mine, theirs in zip(found, stored, strict=True):
        assert mine["bbox"] == pytest.approx(theirs["bbox"], abs=1e-4)
        assert mine["score"] == pytest.approx(theirs["score"], abs=1e-4)
    capsys.readouterr()
    command("val", tmp_path / "out", "--data", tiny.data, "--device", "cpu", "--threads", 1, "--json")
    text = capsys.readouterr().out
    metrics = json.loads(text[text.index("{\n") :])["metrics"]
    assert {name: one["value"] for name, one in metrics.items()} == runs[state.name]["test"]


def test_a_single_trial_leaves_a_model(tiny: Tiny, tmp_path: Path) -> None:
    config = {**tiny.fixed, "schedule": {**tiny.fixed["schedule"], "epochs": 1, "warmup_epochs": 0.0}}
    sets = [f"--set={key}={json.dumps(value)}" for key, value in config.items()]
    command("train", "--data", tiny.data, "--output-dir", tmp_path / "trial", "--device", "cpu", *sets)
    assert read_model_state(tmp_path / "trial" / "model" / "model.json").name == "trial"
    command("best", tmp_path / "trial", "--export", tmp_path / "out")
    command("predict", tmp_path / "out", tiny.data, "--out", tmp_path / "found", "--device", "cpu")
    assert len(list((tmp_path / "found" / "pictures").iterdir())) == 24
