"""The report's section on the test-set bootstrap interval, also where something is missing."""

import gzip
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tune_cmx.evaluation import coco_truth, evaluate, to_detections
from tune_cmx.evidence.report.page import Page
from tune_cmx.evidence.report.sections.bootstrap_interval import bootstrap_interval_section as interval_section
from tune_cmx.evidence.results.reading import read_study

FRAMES = 24
BOX = [0.0, 0.0, 50.0, 50.0]
HASHES = {"split_hash": "5p1175p1175p", "split_how": "sequence", "data_fingerprint": "da7ada7ada7a"}
"""As the records of the fixture have them."""
FOUND = {"baseline": 12, "stages-1": 20}
"""Frames in which an arm finds the one box."""

Maker = Callable[..., Path]


def packed(content: Any) -> bytes:
    return gzip.compress(json.dumps(content).encode())


def truth(sequences: int | None) -> dict[str, Any]:
    images = [(number, f"f{number}", 100, 100) for number in range(FRAMES)]
    content = coco_truth(images, [[BOX]] * FRAMES, [[1]] * FRAMES, ["person"])
    for image in content["images"] if sequences else ():
        image["sequence"] = f"s{image['id'] % sequences}"
    return {"info": HASHES, **content}


def detections(found: int) -> list[dict[str, Any]]:
    return [one for number in range(found) for one in to_detections(number, [BOX], [0.9], [1])]


@pytest.fixture
def study(writer: Any) -> Maker:
    """A study of two arms with two runs each, their detections and the ground truth beside them."""

    def made(sequences: int | None = 12) -> Path:
        for arm, found in FOUND.items():
            value = evaluate(detections(found), truth(None))["mAP"]
            writer.arm(arm, [value, value])
            for place in (writer.folder / "trials").glob(f"confirm-{arm}-*"):
                (place / "detections.json.gz").write_bytes(packed(detections(found)))
        (writer.folder / "data").mkdir()
        (writer.folder / "data" / "ground_truth_test.json.gz").write_bytes(packed(truth(sequences)))
        folder: Path = writer.write()
        return folder

    return made


def section(folder: Path) -> str:
    page = Page()
    interval_section(page, read_study(folder))
    return page.text()


def cells(text: str) -> list[str]:
    """Those of the table's only row."""
    lines = [line for line in text.splitlines() if line.startswith("|")]
    assert len(lines) == 3
    return [cell.strip() for cell in lines[2].strip("|").split("|")]


def test_an_arm_stands_with_its_runs_its_difference_and_the_interval_by_sequences(study: Maker) -> None:
    text = section(study())
    label, runs, difference, ends = cells(text)
    assert (label, runs) == ("stages 1", "2")
    assert "The baseline has n = 2" in text
    expected = evaluate(detections(20), truth(None))["mAP"] - evaluate(detections(12), truth(None))["mAP"]
    assert float(difference) == pytest.approx(expected, abs=0.006)
    low, high = (float(end) for end in ends.split(" to "))
    assert 0 <= low < expected < high
    assert "1,000 resamples of the 12 test sequences" in text
    assert "no verdict rests on it" in text
    assert "too narrow" not in text


def test_the_same_study_gives_the_same_section(study: Maker) -> None:
    folder = study()
    assert section(folder) == section(folder)


def test_without_sequences_images_are_drawn_and_the_reader_is_warned(study: Maker) -> None:
    text = section(study(sequences=None))
    assert "1,000 resamples of the 24 test images" in text
    assert "the interval is too narrow" in text


def test_fewer_than_ten_sequences_give_one_sentence(study: Maker) -> None:
    text = section(study(sequences=9))
    assert text == "No test-set bootstrap interval: the test set has 9 sequences; at least 10 are needed.\n"


def test_a_study_without_ground_truth_says_so_and_what_to_do(study: Maker) -> None:
    folder = study()
    (folder / "data" / "ground_truth_test.json.gz").unlink()
    text = section(folder)
    assert "No test-set bootstrap interval: data/ground_truth_test.json.gz is missing" in text
    assert "--resume" in text


def test_a_cut_ground_truth_is_named(study: Maker) -> None:
    path = study() / "data" / "ground_truth_test.json.gz"
    path.write_bytes(path.read_bytes()[:50])
    assert "No test-set bootstrap interval: data/ground_truth_test.json.gz cannot be read" in section(path.parents[1])


@pytest.mark.parametrize(
    ("harm", "said"),
    [
        (lambda place: (place / "detections.json.gz").unlink(), "detections.json.gz is missing"),
        (lambda place: (place / "detections.json.gz").write_bytes(b"no"), "detections.json.gz cannot be used"),
        (
            lambda place: (place / "detections.json.gz").write_bytes(packed([{"image_id": 0, "score": 1}])),
            "detections.json.gz cannot be used: 'category_id'",
        ),
        (
            lambda place: (place / "detections.json.gz").write_bytes(packed(detections(3))),
            "the detections give 12.87 and the run folder says 83.17",
        ),
        (
            lambda place: (place / "detections.json.gz").write_bytes(
                packed(to_detections(99, [BOX], [0.5], [1]))
            ),
            "a detection is on image 99, which is not among the 24 of the ground truth",
        ),
    ],
)  # fmt: skip
def test_a_run_that_cannot_be_used_is_left_out_with_the_reason(
    study: Maker, harm: Callable[[Path], None], said: str
) -> None:
    folder = study()
    harm(folder / "trials" / "confirm-stages-1-100")
    text = section(folder)
    assert cells(text)[1] == "1"
    assert "The baseline has n = 2" in text
    assert f"- Left out, as {said}" in text
    assert text.count("confirm-stages-1-100") == 1


def test_records_of_other_data_than_the_ground_truth_are_left_out(study: Maker) -> None:
    folder = study()
    for place in (folder / "trials").glob("confirm-baseline-*"):
        info = json.loads((place / "trial.json").read_text())
        (place / "trial.json").write_text(json.dumps({**info, "data_fingerprint": "0123"}))
    text = section(folder)
    assert "No test-set bootstrap interval: no run of the baseline has usable detections" in text
    assert (
        "data_fingerprint is 0123 in trial.json and da7ada7ada7a in the ground truth; the detections are of other data"
        in text
    )
    assert "confirm-baseline-100, confirm-baseline-101" in text


def test_a_study_without_confirmation_has_no_section(writer: Any) -> None:
    writer.search()
    (writer.folder / "data").mkdir()
    (writer.folder / "data" / "truth_val.json.gz").write_bytes(packed(truth(None)))
    assert section(writer.write()) == "\n"
