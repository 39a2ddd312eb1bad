"""DroneVehicle, VEDAI, SMOD and FLIR ADAS are read as their authors give them out."""

import re
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
import vehicle_sets

from tune_cmx.data.audit import audit
from tune_cmx.data.readers import READERS, PairedData, open_data, read_image, read_labels
from tune_cmx.data.split import make_split, split_warnings
from tune_cmx.errors import ConfigError, DataError


@pytest.fixture
def root(tmp_path: Path, request: pytest.FixtureRequest) -> Path:
    """The set that the test names."""
    getattr(vehicle_sets, request.param)(tmp_path / "set")
    return tmp_path / "set"


def of(name: str) -> pytest.MarkDecorator:
    return pytest.mark.parametrize("root", [name], indirect=True)


def first_boxes(data: PairedData) -> list[list[int]]:
    labels = read_labels(data, data.images[0])
    return np.rint(labels.in_pixels(vehicle_sets.HEIGHT, vehicle_sets.WIDTH)).astype(int).tolist()


@pytest.mark.parametrize(
    ("root", "name"),
    [
        ("dronevehicle", "dronevehicle"),
        ("vedai", "vedai"),
        ("smod", "smod"),
        ("flir_adas_v1", "flir_adas"),
        ("flir_adas_v2", "flir_adas"),
    ],
    indirect=["root"],
)
def test_it_is_recognised_and_every_image_fits_its_labels(root: Path, name: str) -> None:
    data = open_data(root)
    assert data.reader is READERS[name]
    assert list(data.bands) == ["rgb", "thermal"]
    found = audit(data)
    assert set(found.sizes.values()) == {(vehicle_sets.HEIGHT, vehicle_sets.WIDTH)}
    assert sum(found.class_boxes.values()) == sum(len(ids) for ids in found.classes.values()) > 0
    split = make_split(data)
    assert split.how == "official"
    assert min(len(split.train), len(split.val), len(split.test)) > 0


@of("dronevehicle")
class TestDroneVehicle:
    def test_the_border_is_cut_from_pixels_and_boxes(self, root: Path) -> None:
        data = open_data(root)
        assert first_boxes(data) == [[4, 8, 22, 34], [28, 8, 46, 34], [52, 8, 70, 34]]
        rgb = read_image(data, data.images[0], ["rgb"])["rgb"]
        assert rgb.shape == (vehicle_sets.HEIGHT, vehicle_sets.WIDTH, 3)
        assert rgb[10:30, 8:18, 0].min() > 180

    def test_spellings_are_one_class_and_unknown_ones_are_left_out(self, root: Path) -> None:
        data = open_data(root)
        assert data.classes == ("car", "truck", "freight car")
        assert read_labels(data, data.images[0]).classes.tolist() == [0, 2, 1]

    def test_the_modality_of_the_boxes_is_a_choice(self, root: Path) -> None:
        data = open_data(root, labels_from="rgb")
        assert first_boxes(data)[0] == [6, 8, 24, 34]
        with pytest.raises(ConfigError, match="event has no labels in DroneVehicle"):
            open_data(root, labels_from="event")

    def test_parts_are_those_of_the_folders(self, root: Path) -> None:
        assert Counter(image.part for image in open_data(root).images) == {"train": 8, "val": 2, "test": 2}

    def test_a_box_that_lies_wholly_in_the_border_is_left_out_with_a_word(self, root: Path) -> None:
        path = root / "train" / "trainlabelr" / "00001.xml"
        box = "<bndbox><xmin>10</xmin><ymin>110</ymin><xmax>90</xmax><ymax>140</ymax></bndbox>"
        content = path.read_text().replace("</annotation>", f"<object><name>car</name>{box}</object></annotation>")
        before = len(read_labels(open_data(root), open_data(root).images[0]).boxes)
        path.write_text(content)
        assert len(read_labels(open_data(root), open_data(root).images[0]).boxes) == before
        remark = "labels: 1 of 12 images have boxes that lie wholly in the border, which were left out"
        assert remark in audit(open_data(root)).warnings

    @pytest.mark.parametrize("value", ["nan", "inf", "", "left"])
    def test_a_corner_that_is_no_number_is_named(self, root: Path, value: str) -> None:
        path = root / "train" / "trainlabelr" / "00001.xml"
        path.write_text(re.sub("<x2>[^<]*</x2>", f"<x2>{value}</x2>", path.read_text(), count=1))
        with pytest.raises(DataError, match=rf"00001\.xml: object 1: x2 is '{value}'; a number is needed"):
            audit(open_data(root))

    def test_an_image_without_border_is_refused(self, root: Path) -> None:
        path = root / "train" / "trainimg" / "00001.jpg"
        vehicle_sets._save(np.zeros((64, 80, 3), np.uint8), path)
        with pytest.raises(DataError, match=r"100 of white border are to be cut.*--layout folders"):
            audit(open_data(root))


@of("vedai")
class TestVedai:
    def test_oriented_boxes_become_upright_and_rare_classes_are_left_out(self, root: Path) -> None:
        data = open_data(root)
        assert data.classes == ("car", "pickup")
        assert first_boxes(data) == [[4, 8, 22, 34], [28, 8, 46, 34]]
        assert open_data(root, classes={"plane": "plane"}).classes == ("car", "pickup", "plane")

    def test_the_first_fold_is_the_split(self, root: Path) -> None:
        data = open_data(root)
        assert Counter(image.part for image in data.images) == {"train": 8, "test": 4}
        assert any("fold01" in remark for remark in data.remarks)

    @pytest.mark.parametrize(
        ("line", "message"),
        [
            ("0 1 2 3", r"annotation512\.txt:37: 15 numbers are needed"),
            ("x" + " 0" * 14, ":37: 15 numbers are needed"),
            ("nan" + " 0" * 14, ":37: 15 numbers are needed"),
            ("0 1 1 0 nan" + " 1" * 10, ":37: 15 numbers are needed"),
            ("0 1 1 0 2 2 2 2 3 3 3 3 nan 1 0", ":37: 15 numbers are needed"),
            ("0 " * 12 + "99 1 0", ":37: class 99; known: 1"),
            ("0 " * 12 + "1.5 1 0", r":37: class 1\.5; known: 1"),
            ("0 1 1 0 2 2 2 2 3 3 4 4 1 1 0", ":37: the box has no area: x of the corners"),
        ],
    )
    def test_lines_that_cannot_be_used(self, root: Path, line: str, message: str) -> None:
        path = root / "Annotations512" / "annotation512.txt"
        path.write_text(path.read_text() + line + "\n")
        with pytest.raises(DataError, match=message):
            open_data(root)


@of("smod")
def test_smod_has_conditions_and_boxes_of_two_modalities(root: Path) -> None:
    data = open_data(root)
    assert Counter(image.condition for image in data.images) == {"day": 6, "night": 6}
    assert first_boxes(data)[0] == [4, 8, 22, 34]
    assert first_boxes(open_data(root, labels_from="thermal"))[0] == [4, 8, 22, 34]


class TestFlirAdas:
    @of("flir_adas_v1")
    def test_version_1_pairs_what_has_rgb(self, root: Path) -> None:
        data = open_data(root)
        assert len(data.images) == 9
        assert data.classes == ("person", "car", "dog")
        assert any("3 of 12 images have no partner" in remark for remark in data.remarks)

    @of("flir_adas_v2")
    def test_version_2_pairs_by_its_map(self, root: Path) -> None:
        data = open_data(root)
        image = data.images[0]
        assert (image.sequence, image.number) == ("Th0", 7)
        assert image.files["rgb"].name == "video-Rgb0-frame-000000-a0.jpg"
        assert data.classes == ("person", "bike", "car")
        assert first_boxes(data)[0] == [4, 8, 22, 34]

    @of("flir_adas_v2")
    def test_rgb_is_resized_to_thermal_or_the_reverse(self, root: Path) -> None:
        data = open_data(root)
        for wanted in (["rgb"], ["rgb", "thermal"]):
            assert read_image(data, data.images[0], wanted)["rgb"].shape == (64, 80, 3)
        other = open_data(root, labels_from="rgb")
        assert read_image(other, other.images[0], ["thermal"])["thermal"].shape == (128, 160, 1)
        assert read_labels(other, other.images[0]).boxes[0].tolist() == [8, 16, 44, 68]

    @pytest.mark.parametrize("root", ["flir_adas_v1", "flir_adas_v2"], indirect=True)
    def test_sixteen_bits_are_named_and_can_be_asked_for(self, root: Path) -> None:
        assert any("--layout flir_adas_16bit" in remark for remark in open_data(root).remarks)
        data = open_data(root, layout="flir_adas_16bit")
        thermal = read_image(data, data.images[0], ["thermal"])["thermal"]
        assert thermal.dtype == np.uint16
        assert thermal.min() >= 7200
        assert audit(data).types == {"rgb": "uint8", "thermal": "uint16"}

    @pytest.mark.parametrize("root", ["flir_adas_v1", "flir_adas_v2"], indirect=True)
    @pytest.mark.parametrize("labels_from", ["rgb", "thermal"])
    def test_the_names_of_the_folders_above_change_nothing(self, root: Path, labels_from: str) -> None:
        if labels_from == "rgb" and not (root / "images_rgb_train").is_dir():
            pytest.skip("version 1 has no boxes of rgb")
        moved = root.rename(root.with_name("thermal_and_rgb"))
        data = open_data(moved, layout="flir_adas_16bit", labels_from=labels_from)
        assert {image.files["rgb"].suffix for image in data.images} == {".jpg"}
        assert audit(data).types == {"rgb": "uint8", "thermal": "uint16"}

    @of("flir_adas_v2")
    @pytest.mark.parametrize("text", ["{", "[]", '{"a.jpg": 3}', "\x00"])
    def test_a_damaged_map_is_named(self, root: Path, text: str) -> None:
        (root / "rgb_to_thermal_vid_map.json").write_text(text)
        with pytest.raises(DataError, match=r"rgb_to_thermal_vid_map\.json: .*; restore it"):
            open_data(root)

    @of("flir_adas_v2")
    def test_the_reported_part_is_never_selected_on(self, root: Path) -> None:
        data = open_data(root)
        split = make_split(data)
        assert {image.id for image in data.images if image.part == "val"} == set(split.test)
        notes = [str(one) for one in split_warnings(split, data) if one.kind == "completed"]
        assert "its validation part (4 images) is test here" in notes[0]
        assert "4 images of train became val, by sequence" in notes[1]
