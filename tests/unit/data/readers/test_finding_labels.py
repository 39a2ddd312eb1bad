"""Labels as YOLO text, VOC XML and COCO JSON; the set's own lists; classes that are mapped."""

import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from layouts import save, write

from tune_cmx.data.audit import audit
from tune_cmx.data.inspection import inspect
from tune_cmx.data.readers import open_data, read_labels
from tune_cmx.data.split import make_split
from tune_cmx.errors import ConfigError, DataError

HEIGHT, WIDTH = 8, 12
BOX = "0 0.5 0.5 0.5 0.5\n"
VOC = "<bndbox><xmin>1</xmin><ymin>2</ymin><xmax>7</xmax><ymax>6</ymax></bndbox>"
Document = Callable[..., None]


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """Pairs a, b, c without labels."""
    for id in "abc":
        save(np.zeros((HEIGHT, WIDTH, 3), dtype=np.uint8), tmp_path / "set" / "rgb" / f"{id}.png")
        save(np.zeros((HEIGHT, WIDTH), dtype=np.uint8), tmp_path / "set" / "thermal" / f"{id}.png")
    return tmp_path / "set"


def voc(root: Path, id: str, objects: str, size: str = "", head: str = "") -> None:
    write(root / "Annotations" / f"{id}.xml", f"{head}<annotation>{size}{objects}</annotation>")


def thing(name: str, box: str = VOC) -> str:
    return f"<object><name>{name}</name>{box}</object>"


def document(
    path: Path, images: Mapping[Any, str], boxes: list[dict[str, Any]], names: Mapping[int, str], height: int = HEIGHT
) -> None:
    content = {
        "images": [{"id": id, "file_name": name, "height": height, "width": WIDTH} for id, name in images.items()],
        "annotations": boxes,
        "categories": [{"id": id, "name": name} for id, name in names.items()],
    }
    write(path, json.dumps(content))


def box(image: Any, category: int = 1, bbox: Any = (1, 2, 6, 4), **more: Any) -> dict[str, Any]:
    return {"image_id": image, "category_id": category, "bbox": bbox, **more}


IMAGES = {1: "a.png", 2: "b.png", 3: "c.png"}
NAMES = {1: "person", 2: "car"}


class TestCoco:
    def test_boxes_crowds_and_images_without_boxes(self, root: Path) -> None:
        boxes = [box(1, 2), box(1, 1, (0, 0, 3, 3), iscrowd=1), box(2, 1)]
        document(root / "coco.json", IMAGES, boxes, NAMES)
        data = open_data(root)
        assert data.classes == ("person", "car")
        first = read_labels(data, data.images[0])
        assert first.boxes.tolist() == [[1, 2, 7, 6], [0, 0, 3, 3]]
        assert (first.classes.tolist(), first.ignore.tolist()) == ([1, 0], [False, True])
        assert len(read_labels(data, data.images[2]).boxes) == 0
        found = audit(data)
        assert (found.class_boxes, found.ignored, found.negatives) == ({"person": 1, "car": 1}, {"a": 1}, 1)

    def test_categories_in_another_order_in_two_documents(self, root: Path) -> None:
        document(root / "annotations" / "instances_train.json", {1: "a.png", 2: "b.png"}, [box(1, 1), box(2, 2)], NAMES)
        other = {0: "car", 1: "person", 7: "bus"}
        document(root / "annotations" / "instances_val.json", {"x": "rgb/c.png"}, [box("x", 0), box("x", 7)], other)
        data = open_data(root)
        assert data.classes == ("person", "car", "bus")
        assert [read_labels(data, image).classes.tolist() for image in data.images] == [[0], [1], [1, 2]]
        assert [image.part for image in data.images] == ["train", "train", "val"]

    def test_names_of_parts_may_have_a_year(self, root: Path) -> None:
        for part, images in (("train", {1: "a.png", 2: "b.png"}), ("val", {1: "c.png"})):
            document(root / "annotations" / f"instances_{part}2017.json", images, [box(1, 1)], NAMES)
        assert [image.part for image in open_data(root).images] == ["train", "train", "val"]
        for modality in ("rgb", "thermal"):
            for id, part in (("a", "train"), ("b", "train"), ("c", "val")):
                (root / modality / f"{part}2017").mkdir(exist_ok=True)
                (root / modality / f"{id}.png").rename(root / modality / f"{part}2017" / f"{id}.png")
        assert [image.part for image in open_data(root).images] == ["train", "train", "val"]

    def test_a_document_that_begins_with_a_long_description(self, root: Path) -> None:
        document(root / "coco.json", IMAGES, [box(1)], NAMES)
        content = json.loads((root / "coco.json").read_text())
        write(root / "coco.json", json.dumps({"info": {"description": "x" * 200_000}, **content}))
        assert open_data(root).classes == ("person", "car")

    def test_two_categories_of_one_name_are_one_class(self, root: Path) -> None:
        document(root / "coco.json", IMAGES, [box(1, 1), box(2, 2)], {1: "car", 2: "car"})
        data = open_data(root)
        assert data.classes == ("car",)
        assert [read_labels(data, image).classes.tolist() for image in data.images] == [[0], [0], []]

    def test_documents_of_two_modalities_need_a_word(self, root: Path) -> None:
        document(root / "annotations" / "rgb.json", IMAGES, [box(1)], NAMES)
        document(root / "annotations" / "thermal.json", IMAGES, [box(1, bbox=[2, 2, 3, 3])], NAMES)
        with pytest.raises(ConfigError, match=r"rgb and thermal have labels of their own; .* --labels-from thermal"):
            open_data(root)
        data = open_data(root, labels_from="rgb")
        assert read_labels(data, data.images[0]).boxes.tolist() == [[1, 2, 7, 6]]
        with pytest.raises(ConfigError, match="labels_from: event has no labels in"):
            open_data(root, labels_from="event")

    def test_a_document_that_is_named_goes_before_folders(self, root: Path) -> None:
        write(root / "labels" / "a.txt", BOX)
        write(root / "classes.txt", "thing\n")
        document(root / "coco.json", IMAGES, [box(1)], NAMES)
        unasked = open_data(root)
        assert unasked.classes == ("thing",)
        assert unasked.remarks[0] == "labels are from labels/; coco.json was not read; --labels chooses"
        assert open_data(root, labels=root / "coco.json").classes == ("person", "car")

    @pytest.mark.parametrize(
        ("images", "boxes", "names", "message"),
        [
            ({1: "a.png", 2: "z.png"}, [], NAMES, r"no image in .* for z\.png"),
            ({1: "a.png"}, [box(1)], NAMES, "does not list 2 of 3 images, such as b"),
            ({1: "a.png", 2: "rgb/a.png", 3: "b.png"}, [], NAMES, "image a is listed twice"),
            ({1: "a.png", 2: "a.png"}, [], NAMES, "a file_name is there twice"),
            (IMAGES, [box(9)], NAMES, r"annotations\[0\]: KeyError\(9\) is not known"),
            (IMAGES, [box(1), box(1, 5)], NAMES, r"annotations\[1\]: KeyError\(5\) is not known"),
            (IMAGES, [box(1, bbox=[1, 1, 0, 2])], NAMES, r"annotations\[0\]: the box has no area: width 0, height 2"),
            (IMAGES, [box(1, bbox=[1, 1, 2])], NAMES, r"annotations\[0\]: ValueError"),
            (IMAGES, [box(1, bbox=[float("nan"), 1, 2, 2])], NAMES, r"annotations\[0\]: ValueError"),
        ],
    )
    def test_documents_that_cannot_be_used(
        self, root: Path, images: dict[int, str], boxes: list[Any], names: dict[int, str], message: str
    ) -> None:
        document(root / "coco.json", images, boxes, names)
        with pytest.raises(DataError, match=message):
            open_data(root)

    @pytest.mark.parametrize("text", ["[]", "{", '{"images": []}', '{"images": [{"id": 1}], "annotations": []}'])
    def test_other_json_is_not_in_its_form(self, root: Path, text: str) -> None:
        write(root / "mine.json", text)
        with pytest.raises(DataError, match=r"mine\.json: not in COCO's form"):
            open_data(root, labels=root / "mine.json")

    def test_a_size_that_is_not_the_images(self, root: Path) -> None:
        document(root / "coco.json", IMAGES, [box(1)], NAMES, height=9)
        with pytest.raises(DataError, match=r"is for an image of 12×9 pixels \(width×height\), and the image has 12×8"):
            audit(open_data(root))

    def test_a_box_outside_is_refused_and_one_over_the_edge_is_clipped(self, root: Path) -> None:
        document(root / "coco.json", IMAGES, [box(1, bbox=[-1, 2, 6, 7])], NAMES)
        data = open_data(root)
        audit(data)
        assert read_labels(data, data.images[0]).in_pixels(HEIGHT, WIDTH).tolist() == [[0, 2, 5, 8]]
        document(root / "coco.json", IMAGES, [box(1, bbox=[-5, 2, 9, 4])], NAMES)
        with pytest.raises(DataError, match="x1, y1, x2, y2 = -5, 2, 4, 6 reaches out of the image of 12×8 pixels"):
            audit(open_data(root))


class TestVoc:
    def test_names_are_the_classes_in_alphabetical_order(self, root: Path) -> None:
        voc(root, "a", thing("person") + thing("car"))
        voc(root, "b", thing("person"))
        data = open_data(root)
        assert data.classes == ("car", "person")
        assert read_labels(data, data.images[0]).classes.tolist() == [1, 0]
        assert read_labels(data, data.images[0]).boxes[0].tolist() == [1, 2, 7, 6]
        assert data.images[2].label is None

    def test_entities_are_refused(self, root: Path) -> None:
        head = '<!DOCTYPE x [<!ENTITY e "person">]>'
        voc(root, "a", thing("&e;"), head=head)
        with pytest.raises(DataError, match=r"a\.xml: cannot be read as XML: EntitiesForbidden"):
            open_data(root)

    @pytest.mark.parametrize(
        "content", [b"<annotation>", b"", b"<?xml version='1.0' encoding='no-such'?><annotation/>", b"\xff\xfe<a"]
    )
    def test_what_is_not_xml_is_named(self, root: Path, content: bytes) -> None:
        voc(root, "b", thing("person"))
        (root / "Annotations" / "a.xml").write_bytes(content)
        with pytest.raises(DataError, match=r"a\.xml: cannot be read as XML"):
            open_data(root)

    @pytest.mark.parametrize(
        ("objects", "message"),
        [
            (thing("person", VOC.replace("7", "1")), r"a\.xml: object 1: the box has no area: .* are 1, 2, 1, 6"),
            (thing("person", VOC.replace("7", "seven")), "object 1: xmax is 'seven'; a number is needed"),
            (thing("person", VOC.replace("7", "nan")), "object 1: xmax is 'nan'; a number is needed"),
            (thing("person", ""), "object 1: no bndbox"),
            (thing("person") + thing(""), r"object 2: class ''; known: person"),
            (thing("person", VOC.replace("7", "17")), "x1, y1, x2, y2 = 1, 2, 17, 6 reaches out of the image of 12×8"),
        ],
    )
    def test_objects_that_cannot_be_used(self, root: Path, objects: str, message: str) -> None:
        voc(root, "a", objects)
        with pytest.raises(DataError, match=message):
            audit(open_data(root))

    def test_the_size_is_compared_and_zero_is_passed_over(self, root: Path) -> None:
        voc(root, "a", thing("person"), "<size><width>24</width><height>16</height></size>")
        with pytest.raises(DataError, match=r"Annotations/a\.xml: is for an image of 24×16 pixels"):
            audit(open_data(root))
        for size in ("<width>0</width><height>0</height>", "<width>inf</width><height>8</height>", ""):
            voc(root, "a", thing("person"), f"<size>{size}</size>")
            audit(open_data(root))

    def test_two_forms_are_refused(self, root: Path) -> None:
        voc(root, "a", thing("person"))
        write(root / "labels" / "b.txt", BOX)
        with pytest.raises(DataError, match="has labels as YOLO text and as VOC XML; name a folder of one form"):
            open_data(root)


class TestYolo:
    def test_a_polygon_becomes_its_box_with_a_word(self, root: Path) -> None:
        write(root / "labels" / "a.txt", "0 0.2 0.1 0.6 0.3 0.4 0.9\n" + BOX)
        write(root / "classes.txt", "person\n")
        data = open_data(root)
        assert read_labels(data, data.images[0]).boxes[0].tolist() == [0.2, 0.1, 0.6, 0.9]
        assert "labels: 1 of 3 images have polygons or key points; the box around each polygon is taken" in (
            audit(data).warnings
        )

    def test_six_columns_are_refused_as_detections(self, root: Path) -> None:
        write(root / "labels" / "a.txt", BOX.strip() + " 0.93\n")
        write(root / "classes.txt", "person\n")
        with pytest.raises(DataError, match=r"a\.txt:1: six numbers; .* detections are not ground truth"):
            audit(open_data(root))

    def test_a_folder_for_each_modality_needs_a_word(self, root: Path) -> None:
        write(root / "labels" / "rgb" / "a.txt", BOX)
        write(root / "labels" / "thermal" / "a.txt", "0 0.25 0.25 0.5 0.5\n")
        write(root / "classes.txt", "person\n")
        with pytest.raises(ConfigError, match="rgb and thermal have labels of their own"):
            open_data(root)
        (root / "data.yaml").write_text("labels_from: thermal\n")
        data = open_data(root)
        assert read_labels(data, data.images[0]).boxes.tolist() == [[0, 0, 0.5, 0.5]]

    def test_names_in_data_yaml_and_their_number(self, root: Path) -> None:
        write(root / "labels" / "a.txt", BOX)
        (root / "data.yaml").write_text("names: {0: person, 1: car}\nnc: 2\n")
        assert open_data(root).classes == ("person", "car")
        (root / "data.yaml").write_text("names: [person]\nnc: 2\n")
        with pytest.raises(ConfigError, match="nc is 2, but names has 1; correct one of them"):
            open_data(root)


class TestBesideImages:
    def test_files_named_like_their_image_are_its_labels(self, root: Path) -> None:
        write(root / "rgb" / "a.txt", BOX)
        write(root / "rgb" / "notes.txt", "taken in May")
        write(root / "classes.txt", "person\n")
        data = open_data(root)
        assert [image.label is not None for image in data.images] == [True, False, False]

    def test_those_of_two_modalities_need_a_word(self, root: Path) -> None:
        for modality in ("rgb", "thermal"):
            write(root / modality / "a.xml", f"<annotation>{thing(modality)}</annotation>")
        with pytest.raises(ConfigError, match="rgb and thermal have labels of their own"):
            open_data(root)
        assert open_data(root, labels_from="thermal").classes == ("thermal",)


class TestLists:
    @pytest.fixture(autouse=True)
    def _labels(self, root: Path) -> None:
        for id in "abc":
            write(root / "labels" / f"{id}.txt", BOX)
        write(root / "classes.txt", "person\n")

    def test_ids_and_paths_with_and_without_suffix(self, root: Path) -> None:
        write(root / "ImageSets" / "Main" / "train.txt", "a\n\n")
        write(root / "ImageSets" / "Main" / "val.txt", "./rgb/b.png\n")
        write(root / "ImageSets" / "Main" / "test.txt", f"{root}/thermal/c.png\n")
        data = open_data(root)
        assert [image.part for image in data.images] == ["train", "val", "test"]
        split = make_split(data)
        assert (split.how, split.train, split.val, split.test) == ("official", ("a",), ("b",), ("c",))

    def test_lines_of_windows(self, root: Path) -> None:
        (root / "train.txt").write_bytes(b"\xef\xbb\xbfrgb\\a.png\r\nrgb\\b.png\r\n")
        assert [image.part for image in open_data(root).images] == ["train", "train", None]

    def test_an_image_in_two_parts_and_an_unknown_one(self, root: Path) -> None:
        write(root / "train.txt", "a\nb\n")
        write(root / "test.txt", "b\n")
        with pytest.raises(DataError, match=r"test\.txt: image 'b' is in both train and test"):
            open_data(root)
        write(root / "test.txt", "x\ny9\ny10\n")
        with pytest.raises(DataError, match=r"test\.txt: no image in .* for x\.png, y9\.png, y10\.png; add the images"):
            open_data(root)

    def test_data_yaml_names_lists_and_a_list_that_is_gone(self, root: Path) -> None:
        write(root / "mine" / "one.txt", "a\n")
        (root / "data.yaml").write_text("path: mine\ntrain: one.txt\nval: [one.txt]\n")
        with pytest.raises(DataError, match=r"image 'a' is in both train and val"):
            open_data(root)
        (root / "data.yaml").write_text("train: gone.txt\n")
        with pytest.raises(DataError, match=r"gone\.txt: cannot be read"):
            open_data(root)

    def test_a_path_that_was_right_before_the_set_was_moved(self, root: Path) -> None:
        write(root / "train.txt", "./rgb/a.png\n")
        (root / "data.yaml").write_text("path: /no/such/folder\ntrain: train.txt\nval: rgb\n")
        with pytest.raises(DataError, match="image 'a' is in both train and val"):
            open_data(root)
        (root / "data.yaml").write_text("path: /no/such/folder\ntrain: train.txt\n")
        assert [image.part for image in open_data(root).images] == ["train", None, None]

    def test_two_dots_may_mean_the_folder_of_the_set(self, root: Path) -> None:
        write(root / "mine" / "one.txt", "a\n")
        (root / "data.yaml").write_text("train: ../mine/one.txt\n")
        assert open_data(root).images[0].part == "train"

    def test_of_a_training_part_alone_the_others_are_drawn_from_the_rest(self, root: Path) -> None:
        write(root / "train.txt", "a\n")
        split = make_split(open_data(root), guard=0, fractions=(0.4, 0.3, 0.3))
        assert (split.how, split.train, split.val, split.test) == ("official", ("a",), ("b",), ("c",))


class TestWithoutLabel:
    def test_images_without_a_label_file_are_told_from_empty_ones(self, root: Path) -> None:
        for id, text in {"a": BOX, "b": ""}.items():
            write(root / "labels" / f"{id}.txt", text)
        write(root / "classes.txt", "thing\n")
        data = open_data(root)
        assert data.remarks == ("1 of 3 images has no label and counts as empty: c. Check that no label is missing",)
        assert inspect(data).without_boxes == 2
        assert inspect(data).without_label == 1

    def test_a_part_without_any_label_is_refused(self, root: Path) -> None:
        write(root / "labels" / "a.txt", BOX)
        write(root / "classes.txt", "thing\n")
        write(root / "train.txt", "a\n")
        write(root / "val.txt", "b\nc\n")
        with pytest.raises(
            DataError, match=r"no image of val has a label: 2 images, such as b; .*Add the labels of val"
        ):
            open_data(root)


def test_lines_with_key_points_are_refused(root: Path) -> None:
    write(root / "classes.txt", "person\n")
    for seen in ("1", "2"):
        write(root / "labels" / "a.txt", f"0 0.5 0.5 0.4 0.4 0.4 0.5 {seen} 0.6 0.5 0\n")
        with pytest.raises(DataError, match=r"a\.txt:1: the line may be a box and key points .*first five numbers"):
            audit(open_data(root))
    write(root / "labels" / "a.txt", "0 0.1 0.1 0.2 0.1 0.3 0.2 0.3 0.4 0.1 0.3\n")
    assert any("have polygons" in text for text in audit(open_data(root)).warnings)


def test_folders_of_labels_may_name_a_modality_or_a_part(root: Path) -> None:
    write(root / "classes.txt", "person\n")
    write(root / "labels_thermal" / "a.txt", BOX)
    assert len(read_labels(open_data(root), open_data(root).images[0]).boxes) == 1
    (root / "labels_thermal").rename(root / "labels_train")
    write(root / "labels_val" / "b.txt", BOX)
    data = open_data(root)
    assert [len(read_labels(data, image).boxes) for image in data.images] == [1, 1, 0]


class TestClasses:
    @pytest.fixture(autouse=True)
    def _labels(self, root: Path) -> None:
        voc(root, "a", thing("rider") + thing("person") + thing("dog"))

    @pytest.mark.parametrize("new", ["Ignore", "", " "])
    def test_a_new_name_that_is_no_name_is_refused(self, root: Path, new: str) -> None:
        with pytest.raises(ConfigError, match=f"'rider' would be called '{new}'. Write ignore in lower case"):
            open_data(root, classes={"rider": new})

    def test_renamed_merged_left_out_and_ignored(self, root: Path) -> None:
        data = open_data(root, classes={"rider": "person", "dog": None})
        assert data.classes == ("person",)
        assert read_labels(data, data.images[0]).classes.tolist() == [0, 0]
        ignored = open_data(root, classes={"rider": "ignore"})
        assert ignored.classes == ("dog", "person")
        labels = read_labels(ignored, ignored.images[0])
        assert (labels.classes.tolist(), labels.ignore.tolist()) == ([-1, 1, 0], [True, False, False])

    def test_in_the_order_of_a_list_with_a_class_that_no_label_has(self, root: Path) -> None:
        data = open_data(root, classes=["person", "rider", "dog", "bus"])
        assert data.classes == ("person", "rider", "dog", "bus")
        assert read_labels(data, data.images[0]).classes.tolist() == [1, 0, 2]
        assert "class 'bus' has no box" in audit(data).warnings

    @pytest.mark.parametrize(
        ("classes", "error", "message"),
        [
            ({"riders": "person"}, ConfigError, "'riders' is not a class of .* Did you mean 'rider'"),
            (["person", "rider"], ConfigError, r"has the class 'dog', which is not in .*classes: \{dog: null\}"),
            ({"rider": None, "dog": None, "person": "ignore"}, DataError, "every class of .* is left out"),
            (["person", "rider", "dog", "dog"], DataError, "class 'dog' is named twice"),
        ],
    )
    def test_maps_that_cannot_be_used(self, root: Path, classes: Any, error: type[Exception], message: str) -> None:
        with pytest.raises(error, match=message):
            open_data(root, classes=classes)

    @pytest.mark.parametrize("word", ["none", "Null"])
    def test_a_class_is_not_called_none(self, root: Path, word: str) -> None:
        with pytest.raises(ConfigError, match=f"would be called '{word}'. To leave it out, write .*= in --classes"):
            open_data(root, classes={open_data(root).classes[0]: word})

    def test_data_yaml_may_map_them(self, root: Path) -> None:
        (root / "data.yaml").write_text("classes: {rider: person, dog: null}\n")
        assert open_data(root).classes == ("person",)

    def test_another_map_of_the_same_names_is_other_data(self, root: Path) -> None:
        maps: list[Any] = [
            {"rider": "person", "dog": None},
            {"rider": "ignore", "dog": None},
            {"rider": None, "dog": None},
        ]
        assert len({audit(open_data(root, classes=classes)).fingerprint for classes in maps}) == 3
