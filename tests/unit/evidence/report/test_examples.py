"""The report's example detections: which frames are picked, what is said of them, and what remains without images."""

from __future__ import annotations

import gzip
import json
import shutil
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from PIL import Image

from tune_cmx.evaluation import coco_truth, to_detections
from tune_cmx.evidence.report.page import Page
from tune_cmx.evidence.report.sections.examples import examples_section
from tune_cmx.evidence.report.write import write_report
from tune_cmx.evidence.results.image_scores import Images, drawn_runs, image_f1, scored_arm
from tune_cmx.evidence.results.reading import read_study

if TYPE_CHECKING:
    from conftest import StudyWriter

ROWS, COLUMNS = 40, 50
BOXES = [[2.0, 2.0, 12.0, 12.0], [20.0, 20.0, 32.0, 32.0]]
WRONG = [36.0, 2.0, 48.0, 14.0]
HASHES = {"split_hash": "5p1175p1175p", "split_how": "sequence", "data_fingerprint": "da7ada7ada7a"}
"""As the records of the fixture have them."""
BASELINE = {"f0": (2, 0), "f1": (2, 1), "f2": (1, 0), "f3": (1, 1), "f4": (1, 2), "f5": (0, 0), "f6": (1, 5)}
FINALIST = {"f0": (1, 2), "f1": (1, 1), "f2": (2, 2), "f3": (2, 0), "f4": (2, 1), "f5": (1, 0), "f6": (0, 1)}
"""By frame, boxes found and wrong detections; each has two boxes, and f7 none."""
F1_BASELINE = {"f0": 1.0, "f1": 0.8, "f2": 0.67, "f3": 0.5, "f4": 0.4, "f5": 0.0, "f6": 0.25}
F1_FINALIST = {"f0": 0.4, "f1": 0.5, "f2": 0.67, "f3": 1.0, "f4": 0.8, "f5": 0.67, "f6": 0.0}
IDS = [*BASELINE, "f7"]

Found = Mapping[str, tuple[int, int]]
Maker = Callable[..., Path]


def packed(content: Any) -> bytes:
    return gzip.compress(json.dumps(content).encode())


def truth(sequences: Mapping[str, str] | None = None) -> dict[str, Any]:
    images = [(number, id, ROWS, COLUMNS) for number, id in enumerate(IDS)]
    boxes = [BOXES if id in BASELINE else [] for id in IDS]
    content = coco_truth(images, boxes, [[1] * len(own) for own in boxes], ["person"])
    for image in content["images"] if sequences else ():
        image["sequence"] = (sequences or {})[image["file_name"]]
    return {"info": HASHES, **content}


def detections(found: Found, score: float = 0.9) -> list[dict[str, Any]]:
    """A wrong one is never counted twice as right, for it meets no box."""
    return [
        one
        for id, (right, wrong) in found.items()
        for one in to_detections(
            IDS.index(id), BOXES[:right] + [WRONG] * wrong, [score] * (right + wrong), [1] * (right + wrong)
        )
    ]


@pytest.fixture
def frames(tmp_path: Path) -> Path:
    """The images, of two modalities."""
    root = tmp_path / "frames"
    for modality, shape in (("rgb", (ROWS, COLUMNS, 3)), ("thermal", (ROWS, COLUMNS))):
        (root / modality).mkdir(parents=True)
        for id in IDS:
            Image.fromarray(np.full(shape, 90, np.uint8)).save(root / modality / f"{id}.png")
    (root / "labels").mkdir()
    (root / "labels" / "f0.txt").write_text("0 0.5 0.5 0.5 0.5\n")
    (root / "classes.txt").write_text("person\n")
    return root


@pytest.fixture
def study(writer: StudyWriter, frames: Path) -> Maker:
    """A study of baseline and one finalist with two runs each, their detections, and the ground truth beside them."""

    def made(
        baseline: Sequence[Found] = (BASELINE, BASELINE),
        finalist: Sequence[Found] = (FINALIST, FINALIST),
        sequences: Mapping[str, str] | None = None,
        content: dict[str, Any] | None = None,
    ) -> Path:
        for arm, runs in (("baseline", baseline), ("stages-1", finalist)):
            writer.arm(arm, [30.0] * len(runs))
            for place, found in zip(sorted((writer.folder / "trials").glob(f"*{arm}*")), runs, strict=True):
                (place / "detections.json.gz").write_bytes(packed(detections(found)))
        (writer.folder / "data").mkdir()
        (writer.folder / "data" / "ground_truth_test.json.gz").write_bytes(packed(content or truth(sequences)))
        writer.study["data"]["root"] = str(frames)
        (writer.folder / "report").mkdir()
        return writer.write()

    return made


def section(folder: Path, stamps: Sequence[str] = ()) -> str:
    page = Page(stamps=stamps)
    examples_section(page, read_study(folder), folder / "report")
    return page.text()


def rows(text: str) -> dict[str, list[str]]:
    """The table's cells by frame."""
    lines = [[cell.strip() for cell in line.strip("|").split("|")] for line in text.splitlines() if line[:1] == "|"]
    return {line[1]: line for line in lines[2:]}


def pictures(folder: Path) -> list[Path]:
    return sorted((folder / "report").glob("examples_*"))


def opened(folder: Path) -> list[np.ndarray[Any, Any]]:
    """The pictures' pixels."""
    found = []
    for path in pictures(folder):
        with Image.open(path) as picture:
            found.append(np.asarray(picture).astype(int))
    return found


def picked(text: str) -> dict[str, list[str]]:
    """Images by what they are picked as."""
    kinds: dict[str, list[str]] = {}
    for id, cells in rows(text).items():
        for kind in cells[3].split("; "):
            kinds.setdefault(kind, []).append(id)
    return kinds


def test_f1_of_an_image_counts_boxes_found_missed_and_made_up() -> None:
    found = image_f1(detections(BASELINE), truth())
    assert found[:-1] == pytest.approx(list(F1_BASELINE.values()), abs=0.005)
    assert np.isnan(found[-1])


def test_a_box_found_as_another_class_is_missed_and_made_up() -> None:
    content = coco_truth([(0, "a", ROWS, COLUMNS)], [BOXES], [[1, 2]], ["person", "car"])
    assert image_f1(to_detections(0, BOXES, [0.9, 0.8], [1, 1]), content)[0] == pytest.approx(0.5)


def test_the_extremes_of_both_sides_are_picked_each_image_once_with_all_that_it_stands_for(study: Maker) -> None:
    text = section(study())
    assert picked(text) == {
        "baseline highest": ["f0", "f1"],
        "baseline lowest": ["f5", "f6"],
        "selected highest": ["f3", "f4"],
        "selected lowest": ["f6", "f2"],
        "selected furthest above": ["f3", "f5"],
        "selected furthest below": ["f0", "f1"],
    }
    for id, cells in rows(text).items():
        assert cells[4:7] == ["2", f"{F1_BASELINE[id]:.2f}", f"{F1_FINALIST[id]:.2f}"]
    assert rows(text)["f0"][7] == "-0.60"
    assert text.count("| f0 ") == 1
    assert "no claim rests on them" in text
    assert "7 images were considered; 1 without boxes have no F1" in text


def test_an_image_goes_by_the_mean_over_the_runs_of_an_arm(study: Maker) -> None:
    cells = rows(section(study(baseline=(BASELINE, FINALIST))))
    assert cells["f0"][5] == "0.70"


def test_the_same_study_gives_the_same_section_and_the_same_pictures(study: Maker) -> None:
    folder = study()
    first, drawn = section(folder), [path.read_bytes() for path in pictures(folder)]
    assert section(folder) == first
    assert [path.read_bytes() for path in pictures(folder)] == drawn
    assert drawn


def test_detections_that_score_low_neither_count_nor_are_drawn(study: Maker) -> None:
    folder = study()
    before, drawn = rows(section(folder)), [path.read_bytes() for path in pictures(folder)]
    low = detections(dict.fromkeys(BASELINE, (0, 3)), score=0.49)
    for place in (folder / "trials").iterdir():
        path = place / "detections.json.gz"
        path.write_bytes(packed(json.loads(gzip.decompress(path.read_bytes())) + low))
    assert rows(section(folder)) == before
    assert [path.read_bytes() for path in pictures(folder)] == drawn


def test_of_equal_images_those_of_another_sequence_are_shown_and_the_others_counted(study: Maker) -> None:
    same = dict.fromkeys(BASELINE, (2, 0))
    folder = study((same,), (same,), {id: "a" if id < "f4" else "b" for id in IDS})
    text = section(folder)
    assert set(picked(text)) == {"baseline highest", "selected highest"}
    assert "- baseline highest: 5 further images with the same figure as the last one shown." in text
    assert [cells[2] for cells in rows(text).values()] == ["a", "b"]


def test_an_image_whose_drawn_run_finds_nothing_is_no_example_of_a_gain(study: Maker) -> None:
    """One of three runs finds both boxes: the mean F1 is 0.33, and the run nearest to it finds nothing."""
    nothing, lucky = dict.fromkeys(BASELINE, (0, 0)), {**dict.fromkeys(BASELINE, (0, 0)), "f3": (2, 0)}
    text = section(study((nothing, nothing, nothing), (nothing, lucky, nothing)))
    assert set(picked(text)) == {"selected highest", "baseline lowest", "selected lowest"}


def test_the_run_nearest_to_the_means_is_drawn(study: Maker) -> None:
    low, high = dict.fromkeys(BASELINE, (0, 0)), dict.fromkeys(BASELINE, (2, 0))
    images = Images.of(truth())
    records = read_study(study((low, high, high), (low, high, high)))
    arms = [scored_arm(records, arm, arm, images)[0] for arm in ("baseline", "stages-1")]
    assert [run.seed for run in drawn_runs([arm for arm in arms if arm is not None], 0)] == [101, 101]


def test_pictures_show_every_image_on_every_band_in_colours_told_apart(study: Maker) -> None:
    folder = study()
    text = section(folder)
    shown = opened(folder)
    assert all(f"({path.name})" in text for path in pictures(folder))
    assert sum(path.stat().st_size for path in pictures(folder)) < 400_000
    assert {picture.shape[1] for picture in shown} == {984}
    assert max(picture.shape[0] for picture in shown) <= 1340
    for colour in ((230, 159, 0), (86, 180, 233)):
        near = [(np.abs(picture - colour).max(axis=2) < 30) for picture in shown]
        for first in (0, 324):
            assert all(found[:, first : first + 320].sum() > 200 for found in near)
    assert text.count("baseline above the selected configuration") == len(shown)


def test_ignore_regions_are_drawn_and_change_no_row(study: Maker) -> None:
    """One lies around each wrong detection, so that none is wrong any more; f7 has nothing else."""
    content = truth()
    for image in content["images"]:
        box = {"image_id": image["id"], "category_id": 1, "bbox": [34, 1, 15, 14], "area": 210, "iscrowd": 1}
        content["annotations"].append({"id": 100 + image["id"], **box})
    right_alone = [{id: (right, 0) for id, (right, _) in found.items()} for found in (BASELINE, FINALIST)]
    folder = study(content=content)
    text = section(folder)
    grey = [(np.abs(picture - (187, 187, 187)).max(axis=2) < 20).sum() for picture in opened(folder)]
    assert all(count > 300 for count in grey)
    assert "1 without boxes have no F1" in text
    assert {cells[4] for cells in rows(text).values()} == {"2"}
    for path in [*(folder / "trials").rglob("detections.json.gz"), folder / "data" / "ground_truth_test.json.gz"]:
        found = right_alone["stages-1" in path.parent.name]
        path.write_bytes(packed(detections(found) if path.name.startswith("det") else truth()))
    assert rows(section(folder)) == rows(text)


def test_what_no_figure_may_stand_without_is_written_into_each_picture(study: Maker) -> None:
    folder = study()
    section(folder)
    heights = [len(picture) for picture in opened(folder)]
    section(folder, ["n = 1"])
    stamped = opened(folder)
    assert [len(picture) for picture in stamped] == [height + 19 for height in heights]
    red = [(np.abs(picture[:19] - (176, 0, 0)).max(axis=2) < 40).any() for picture in stamped]
    assert all(red)


def test_without_the_images_the_table_stands_and_pictures_of_an_earlier_report_go(study: Maker, frames: Path) -> None:
    folder = study()
    before = rows(section(folder))
    shutil.rmtree(frames)
    text = section(folder)
    assert rows(text) == before
    assert "No pictures: the images cannot be read where the study found them" in text
    assert str(frames) in text
    assert pictures(folder) == []


@pytest.mark.parametrize(
    ("harm", "said"),
    [
        (lambda path: path.write_bytes(path.read_bytes()[:60]), "rgb/f0.png: corrupt"),
        (lambda path: Image.new("RGB", (50, 41)).save(path), "rgb of f0 has 41×50 pixels, and had 40×50"),
    ],
)
def test_an_image_that_changed_is_named_and_the_others_are_drawn(
    study: Maker, frames: Path, harm: Callable[[Path], None], said: str
) -> None:
    folder = study()
    harm(frames / "rgb" / "f0.png")
    text = section(folder)
    assert f"No. 1 is not drawn: {said}" in text
    assert "![No. 2, 3 of the table" in text
    assert "f0" in rows(text)


def test_a_missing_image_is_named(study: Maker, frames: Path) -> None:
    folder = study()
    for modality in ("rgb", "thermal"):
        (frames / modality / "f1.png").unlink()
    assert "No. 2 is not drawn: " in section(folder)


def test_a_finalist_without_detections_leaves_the_baseline_and_says_why(study: Maker) -> None:
    folder = study()
    for place in (folder / "trials").glob("confirm-stages-1-*"):
        (place / "detections.json.gz").unlink()
    text = section(folder)
    assert set(picked(text)) == {"baseline highest", "baseline lowest"}
    assert "- Left out, as detections.json.gz is missing: confirm-stages-1-100, confirm-stages-1-101." in text
    assert pictures(folder)


def test_a_study_without_ground_truth_says_what_to_do(study: Maker) -> None:
    folder = study()
    (folder / "data" / "ground_truth_test.json.gz").unlink()
    assert "Cannot be shown: data/ground_truth_test.json.gz is missing" in section(folder)


def test_a_study_without_confirmation_says_so(study: Maker) -> None:
    folder = study()
    shutil.copy(folder / "data" / "ground_truth_test.json.gz", folder / "data" / "ground_truth_val.json.gz")
    shutil.rmtree(folder / "trials")
    assert "no confirmation run of baseline or finalists has usable detections" in section(folder)


def test_the_report_ends_with_them_and_its_page_holds_the_pictures(study: Maker) -> None:
    folder = study()
    text = write_report(folder).read_text(encoding="utf-8")
    assert text.rindex("\n## ") == text.index("\n## Example detections")
    page = (folder / "report" / "report.html").read_text(encoding="utf-8")
    assert page.count("data:image/jpeg;base64,") == len(pictures(folder)) > 0
