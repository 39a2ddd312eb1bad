"""KAIST: lists, label folders, ignore regions, modalities with labels of their own."""

import shutil
from pathlib import Path

import layouts
import numpy as np
import pytest

from tune_cmx.data.audit import audit
from tune_cmx.data.readers import READERS, PairedData, open_data, read_labels
from tune_cmx.errors import ConfigError, DataError

MOMENTS = list(layouts.moments())
HEAD = "% bbGt version=3\n"
NAMED = ("person", "person?")


@pytest.fixture
def root(tmp_path: Path) -> Path:
    layouts.kaist(tmp_path / "kaist")
    return tmp_path / "kaist"


def parts(data: PairedData) -> dict[str | None, int]:
    found = [image.part for image in data.images]
    return {part: found.count(part) for part in found}


def label(root: Path) -> Path:
    return root / "annotations" / "set00" / "V000" / "I00019.txt"


def paired_labels(root: Path, shift: int = 3) -> None:
    """Labels for each modality; those of visible lie some pixels to the right."""
    for path in list((root / "annotations").rglob("*.txt")):
        place = root / "annotations_paired" / path.parent.relative_to(root / "annotations")
        layouts.write(place / "lwir" / path.name, path.read_text())
        moved = [line.split() for line in path.read_text().splitlines()[1:]]
        lines = [" ".join([name, str(int(x) + shift), *rest]) for name, x, *rest in moved]
        layouts.write(place / "visible" / path.name, HEAD + "\n".join(lines) + "\n")
    shutil.rmtree(root / "annotations")


def test_a_video_is_a_sequence_by_day_or_night(root: Path) -> None:
    data = open_data(root)
    first, later = data.images[0], data.images[5]
    assert (first.id, first.sequence, first.number, first.condition) == ("set00_V000_I00019", "set00_V000", 19, "day")
    assert (later.id, later.sequence, later.number, later.condition) == ("set03_V001_I00039", "set03_V001", 39, "night")
    assert data.images[-1].condition == "day"


def test_persons_are_learnt_and_all_else_is_ignored(root: Path) -> None:
    data = open_data(root)
    assert data.classes == ("person",)
    read = [read_labels(data, image) for image in (data.images[0], data.images[4], data.images[8])]
    assert [labels.ignore.tolist() for labels in read] == [[False, True]] * 3
    assert [labels.classes.tolist() for labels in read] == [[0, -1], [0, 0], [0, -1]]  # the ignored person has a class
    found = audit(data)
    assert found.class_boxes == {"person": 12}
    assert sum(found.ignored.values()) == 12


def test_a_user_says_otherwise_of_single_classes(root: Path) -> None:
    label(root).write_text(HEAD + "cyclist 1 2 10 20 0 0 0 0 0 0 0\nperson?a 9 9 9 9 0 0 0 0 0 0 0\n")
    data = open_data(root, classes={"people": "person", "cyclist": "rider"})
    assert data.classes == ("person", "rider")
    assert read_labels(data, data.images[0]).classes.tolist() == [1, -1]
    assert read_labels(data, data.images[8]).ignore.tolist() == [False, False]
    assert open_data(root, classes=["person"]).classes == ("person",)
    assert open_data(root, classes=["people", "person"]).classes == ("people", "person")
    with pytest.raises(ConfigError, match="Did you mean 'cyclist'"):
        open_data(root, classes={"cyclists": "person"})


def test_images_in_no_list_stay_out(root: Path) -> None:
    (root / "imageSets" / "train-all-20.txt").write_text("set00/V000/I00019\nset03/V001/I00039\n")
    data = open_data(root)
    assert parts(data) == {"train": 2, "test": 4}
    assert any(
        "imageSets/train-all-20.txt, imageSets/test-all-20.txt: train 2, test 4" in text for text in data.remarks
    )


def test_of_several_lists_every_20th_image_is_taken_and_the_others_are_named(root: Path) -> None:
    (root / "imageSets" / "train-all-02.txt").write_text("set00/V000/I00019\n")
    data = open_data(root)
    assert parts(data) == {"train": 8, "test": 4}
    assert "not used: imageSets/train-all-02.txt; data.yaml chooses lists with train and test" in data.remarks
    (root / "data.yaml").write_text("train: imageSets/train-all-02.txt\ntest: imageSets/test-all-20.txt\n")
    assert parts(open_data(root)) == {"train": 1, "test": 4}


def test_several_lists_without_the_usual_one_are_refused(root: Path) -> None:
    (root / "imageSets" / "train-all-20.txt").rename(root / "imageSets" / "train-all-02.txt")
    (root / "imageSets" / "train-day-04.txt").write_text("set00/V000/I00019\n")
    with pytest.raises(
        ConfigError, match=r"are lists of train; choose one in data\.yaml, as in train: imageSets/train-all"
    ):
        open_data(root)


def test_without_lists_the_sets_are_the_split(root: Path) -> None:
    shutil.rmtree(root / "imageSets")
    data = open_data(root)
    assert parts(data) == {"train": 8, "test": 4}
    assert "the split is by sets: 00 to 05 are train, 06 to 11 test" in data.remarks


def test_sets_may_lie_in_the_folder_itself(root: Path) -> None:
    for path in (root / "images").iterdir():
        path.rename(root / path.name)
    (root / "images").rmdir()
    assert open_data(root).reader is READERS["kaist"]
    assert len(open_data(root).images) == 12


def test_an_image_without_a_label_file_is_left_out_and_one_with_an_empty_file_stays(root: Path) -> None:
    label(root).write_text(HEAD)
    label(root).with_name("I00039.txt").unlink()
    data = open_data(root)
    assert [image.id for image in data.images[:2]] == ["set00_V000_I00019", "set00_V000_I00059"]
    assert len(read_labels(data, data.images[0]).boxes) == 0
    assert "1 of 12 images have no label file and are left out" in data.remarks


def test_labels_of_images_that_are_not_here_are_passed_over(root: Path) -> None:
    layouts.write(root / "annotations" / "set07" / "V000" / "I00000.txt", HEAD)
    assert len(open_data(root).images) == 12


def test_thermal_labels_are_the_ground_truth_of_the_paired_form(root: Path) -> None:
    paired_labels(root)
    data = open_data(root)
    first = [float(edge) for edge in MOMENTS[0].objects[0][1]]
    assert read_labels(data, data.images[0]).boxes[0].tolist() == first
    assert "the ground truth is of thermal; --labels-from chooses among rgb and thermal" in data.remarks
    moved = open_data(root, labels_from="rgb")
    assert read_labels(moved, moved.images[0]).boxes[0].tolist() == [first[0] + 3, first[1], first[2] + 3, first[3]]
    with pytest.raises(ConfigError, match=r"labels_from: event has no labels in .*; rgb and thermal have"):
        open_data(root, labels_from="event")


def test_several_folders_of_labels_are_refused(root: Path) -> None:
    shutil.copytree(root / "annotations", root / "annotations-other")
    with pytest.raises(ConfigError, match=r"annotations/ and annotations-other/ hold labels; choose with --labels"):
        open_data(root)
    assert len(open_data(root, labels=root / "annotations-other").images) == 12


def test_no_folder_of_labels_or_one_without_labels(root: Path) -> None:
    (root / "annotations").rename(root / "spare")
    with pytest.raises(
        DataError, match=r"annotations: no labels; put KAIST's there, or name their folder with --labels"
    ):
        open_data(root)
    (root / "annotations").mkdir()
    with pytest.raises(DataError, match="no label file for any image"):
        open_data(root)
    with pytest.raises(DataError, match="no such folder or file of labels"):
        open_data(root, labels=root / "gone")


def test_two_labels_of_one_image_are_refused(root: Path) -> None:
    label(root).with_suffix(".xml").write_text("<annotation/>")
    with pytest.raises(DataError, match="image set00_V000_I00019 has a second label file"):
        open_data(root)


def test_sanitized_labels_are_xml_with_width_and_height(root: Path) -> None:
    for path in list((root / "annotations").rglob("*.txt")):
        lines = [line.split() for line in path.read_text().splitlines()[1:]]
        objects = "".join(
            f"<object><name>{name}</name><bndbox><x>{x}</x><y>{y}</y><w>{w}</w><h>{h}</h></bndbox></object>"
            for name, x, y, w, h, *_ in lines
        )
        place = root / "annotations-xml-new-sanitized" / path.parent.relative_to(root / "annotations")
        layouts.write(place / f"{path.stem}.xml", f"<annotation>{objects}</annotation>")
    shutil.rmtree(root / "annotations")
    data = open_data(root)
    for image, moment in zip(data.images, MOMENTS, strict=True):
        assert read_labels(data, image).boxes.tolist() == [[float(edge) for edge in box] for _, box in moment.objects]


def test_names_joined_by_underscores_are_read_when_the_layout_is_named(root: Path) -> None:
    flat = root.with_name("flat")
    words = {"visible": "visible", "lwir": "lwir"}
    for path in (root / "images").rglob("*.jpg"):
        set_, video, word, name = path.relative_to(root / "images").parts
        target = flat / "images" / f"{set_}_{video}_{name.removesuffix('.jpg')}_{words[word]}.jpg"
        target.parent.mkdir(parents=True, exist_ok=True)
        path.rename(target)
    for path in (root / "annotations").rglob("*.txt"):
        target = flat / "sanitized_annotations" / "_".join(path.relative_to(root / "annotations").parts)
        target.parent.mkdir(parents=True, exist_ok=True)
        path.rename(target)
    data = open_data(flat, layout="kaist")
    assert data.images[0].id == "set00_V000_I00019"
    assert parts(data) == {"train": 8, "test": 4}


def test_boxes_that_the_edge_cuts_off_are_clipped(root: Path) -> None:
    label(root).write_text(HEAD + "person -20 -5 40 30 0 0 0 0 0 0 0\n")
    data = open_data(root)
    audit(data)
    assert read_labels(data, data.images[0]).in_pixels(layouts.HEIGHT, layouts.WIDTH).tolist() == [[0, 0, 20, 25]]
    label(root).write_text(HEAD + "person 200 5 40 30 0 0 0 0 0 0 0\n")
    with pytest.raises(DataError, match="reaches out of the image"):
        audit(data)


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("person 1 2 3 4", r"I00019\.txt:2: 12 fields are needed: class, x, y, .*; got 'person 1 2 3 4'"),
        ("person 1 2 three 4 0 0 0 0 0 0 0", "12 fields are needed"),
        ("person 1 2 nan 4 0 0 0 0 0 0 0", "12 fields are needed"),
        ("dog 1 2 3 4 0 0 0 0 0 0 0", r"class 'dog'; known: person, people, person\?"),
        ("person 1 2 0 4 0 0 0 0 0 0 0", "the box has no area: width 0, height 4; both must be above 0"),
    ],
)
def test_lines_that_cannot_be_used(root: Path, line: str, message: str) -> None:
    label(root).write_text(HEAD + line + "\n")
    with pytest.raises(DataError, match=message):
        audit(open_data(root))


def test_regions_of_no_area_are_left_out_with_a_word(root: Path) -> None:
    label(root).write_text(HEAD + "unpaired 0 0 0 0 0 0 0 0 0 0 0\n")
    found = audit(open_data(root))
    assert "labels: 1 of 12 images have regions of no area, which were left out" in found.warnings


def test_images_of_no_modality_are_named(root: Path) -> None:
    layouts.save(np.zeros((4, 4), np.uint8), root / "images" / "set00" / "V000" / "depth" / "x.png")
    assert any("not read: images/set00/V000/depth/ (1 image)" in text for text in open_data(root).remarks)
