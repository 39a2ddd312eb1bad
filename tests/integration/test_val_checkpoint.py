"""A checkpoint of the earlier group is scored as it was trained, and its row is imported."""

import csv
import json
from pathlib import Path

import pytest
from group_checkpoints import saved, shapes_of_nano, without_random_numbers

from tune_cmx.cli import main
from tune_cmx.data.synthetic import synthesize
from tune_cmx.metrics import scored


def _run(*arguments: str) -> None:
    with pytest.raises(SystemExit, match=r"^0$"):
        main(list(arguments))


def test_the_row_of_a_checkpoint_is_imported_as_a_single_run_on_a_leaked_split(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    synthesize(Path("set"), images=12, size=32, sequences=3, form="npy")
    ids = sorted(path.stem for path in Path("set/images").iterdir())
    Path("split.json").write_text(json.dumps({"train": [*ids[:1], *ids[2:]], "test": ids[1:2]}))
    saved({"model_state_dict": without_random_numbers(shapes_of_nano()), "epoch": 15}, Path("baseline.pth"))
    flags = ["--data", "set/images", "--labels", "set/labels", "--as-trained", "--split", "split.json"]
    _run("val", "baseline.pth", *flags, "--row", "rows.csv", "--device", "cpu")
    with Path("rows.csv").open(newline="") as text:
        (row,) = csv.DictReader(text)
    assert row.keys() >= {*scored()}
    assert 0 <= float(row["mAP"]) <= 100
    assert "leaked split (100% of the test images have an image of train next to them" in row["notes"]

    _run("import", "rows.csv", "--name", "baseline")
    (trial,) = Path("runs/baseline/trials").glob("*/trial.json")
    imported = json.loads(trial.read_text())["imported"]
    assert imported["fields"]["fusion"] == "frm_ffm"
    assert imported["figures"]["mAP"] == pytest.approx(float(row["mAP"]))
    assert imported["says"]["notes"].startswith("single run; leaked split")
    assert imported["says"]["reported_on"] == "test"
    assert json.loads(Path("runs/baseline/study.json").read_text())["imported"]["baselines"] != []
