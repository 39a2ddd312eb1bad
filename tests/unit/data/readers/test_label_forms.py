"""Labels as COCO JSON, VOC XML and YOLO text."""

import json
from pathlib import Path
from typing import Any

import pytest
from labelled_pairs import BOX, HEIGHT, IMAGES, NAMES, VOC, WIDTH, box, document, pairs, thing, voc
from layouts import write

from tune_cmx.data.audit import audit
from tune_cmx.data.readers import open_data, read_labels
from tune_cmx.errors import ConfigError, DataError


@pytest.fixture
def root(tmp_path: Path) -> Path:
    return pairs(tmp_path / "set")


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


def test_lines_with_key_points_are_refused(root: Path) -> None:
    write(root / "classes.txt", "person\n")
    for seen in ("1", "2"):
        write(root / "labels" / "a.txt", f"0 0.5 0.5 0.4 0.4 0.4 0.5 {seen} 0.6 0.5 0\n")
        with pytest.raises(DataError, match=r"a\.txt:1: the line may be a box and key points .*first five numbers"):
            audit(open_data(root))
    write(root / "labels" / "a.txt", "0 0.1 0.1 0.2 0.1 0.3 0.2 0.3 0.4 0.1 0.3\n")
    assert any("have polygons" in text for text in audit(open_data(root)).warnings)
