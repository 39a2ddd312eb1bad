"""`tune-cmx check`, and the search-space files that neither it nor `search` takes."""

from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pytest
from region_reader import RegionReader

from tune_cmx.data.readers import READERS

if TYPE_CHECKING:
    from conftest import Refusal, Run


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ("study:", "studdy:", "space.yaml:2: studdy: unknown key."),
        ("epochs: 3", "epoch: 3", "space.yaml:3: fixed.schedule.epoch: unknown key."),
        ("backbone:", "fusion: {kind: add}, backbone:", "space.yaml:4: search.model.fusion is both fixed"),
        ("{kind: add}", "{kind: cssa, stages: [5], elsewhere: add}", "stages: must be of 1, 2, 3, 4; got 5"),
        (
            "{kind: add}",
            "{kind: ad}",
            "search.model.fusion.kind: unknown fusion 'ad'. Known: add, concat, cssa, frm_ffm, gaff, se_gated.",
        ),
        ("{kind: add}", "{kind: cssa, options: {ecca: true}}", "'cssa' has no option 'ecca'"),
        ("mit_nano", "mit_b9", "mit_b9"),
        ("epochs: 3", "epochs: 3, epochs: 4", "space.yaml:3: fixed.schedule.epochs is given twice, first in line 3"),
        ("study: tiny", "study: [tiny", "not valid YAML"),
        ("early_stopping: {kind: none}", "early_stopping: {grace: 3}", "must be below the 3 epochs"),
        ("rgb | thermal,", "rgb | event,", "needs event; the data have rgb, thermal"),
        ("batch_size: 2", "batch_size: 99", "is more than the 4 training images"),
    ],
)
def test_a_bad_file_gets_one_message_and_can_be_mended(
    old: str, new: str, said: str, refusal: "Refusal", data: Path, space: Path, tmp_path: Path
) -> None:
    content = space.read_text()
    assert old in content
    space.write_text(content.replace(old, new, 1))
    for command in ("check", "search"):
        assert said in refusal(command, space, "--data", data)
        assert not (tmp_path / "runs").exists()


def test_check_says_what_will_be_compared(run: "Run", data: Path, space: Path) -> None:
    code, output, error = run("check", space, "--data", data)
    assert (code, error) == (0, "")
    lines = output.splitlines()
    assert lines[0].endswith("train 4 images with 4 boxes, val 4 images with 4 boxes, test 4 images with 4 boxes")
    assert lines[1] == "range of the pixels: rgb, thermal 0 to 255 (full range; default for uint8)"
    assert "Which fusion?" in lines
    assert any(line.startswith("FRM+FFM (baseline) ") for line in lines)
    sentence = (
        "search: 1 trial, 3 epochs if no trial is stopped early; "
        "confirmation: baseline, 1 finalist on 6 fresh seeds, 36 epochs"
    )
    assert sentence in lines
    assert lines[-1].endswith("space.yaml: the baseline and 1 configuration can be built and compared")


def test_check_counts_ignore_regions_beside_boxes(
    run: "Run", data: Path, space: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(READERS, "folders", RegionReader())
    for path in (data / "labels").iterdir():
        path.write_text(path.read_text() + "ignore 0 0.5 0.5 1 1\n")
    code, output, _ = run("check", space, "--data", data)
    assert code == 0
    counted = ", ".join(f"{part} 4 images with 4 boxes and 4 ignore regions" for part in ("train", "val", "test"))
    assert output.splitlines()[0].endswith(counted)


def test_check_says_the_same_each_time(run: "Run", space: Path) -> None:
    space.write_text(space.read_text().replace("{kind: add}", "{kind: cssa}"))
    first, second = run("check", space), run("check", space)
    assert "warning: " in first[1]
    assert first == second


def test_colours_of_an_rgb_image_with_one_band_are_refused(refusal: "Refusal", space: Path, tmp_path: Path) -> None:
    for folder in ("images", "labels"):
        (tmp_path / "packed" / folder).mkdir(parents=True)
    for number in range(12):
        np.save(tmp_path / "packed" / "images" / f"f{number:02d}.npy", np.full((32, 32, 2), number, np.uint8))
        (tmp_path / "packed" / "labels" / f"f{number:02d}.txt").write_text("0 0.5 0.5 0.5 0.5\n")
    (tmp_path / "packed" / "classes.txt").write_text("person\n")
    (tmp_path / "packed" / "data.yaml").write_text("bands: {rgb: [0], thermal: [1]}\n")
    augment = "schedule: {epochs: 3, batch_size: 2}, data: {guard: 0, augment: {rgb_hue: 0.1}}"
    space.write_text(space.read_text().replace("schedule: {epochs: 3, batch_size: 2}", augment))
    said = "space.yaml:3: fixed.data.augment.rgb_hue: needs rgb with 3 bands; the data have 1. Set it to 0"
    assert said in refusal("check", space, "--data", tmp_path / "packed")


def test_the_end_of_a_range_of_pixels_that_no_image_has_is_refused(refusal: "Refusal", data: Path, space: Path) -> None:
    ends = "data.range.thermal.low: {uniform: [3, 200]}, data.range.thermal.high: {uniform: [201, 255]}"
    domains = f"search: {{data.range.thermal.kind: {{choice: [fixed]}}, {ends}, "
    baseline = "baseline: {data.range.thermal: {kind: fixed, low: 3, high: 255}, "
    text = space.read_text().replace("search: {", domains).replace("baseline: {", baseline)
    space.write_text(text + "searcher: {kind: random, trials: 1}\n")
    message = refusal("check", space, "--data", data)
    assert "search.data.range.thermal.low = 200: data.range.thermal: no pixel of the training part lies in" in message
