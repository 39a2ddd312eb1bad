"""LLVIP, FLIR-aligned, KAIST and M3FD as they are published: ids, boxes, classes, sequences, parts, ignore regions."""

import shutil
from pathlib import Path

import layouts
import numpy as np
import pytest
from PIL import Image

from tune_cmx.config.trial import DataConfig
from tune_cmx.data.audit import audit
from tune_cmx.data.prepare import load_prepared, prepare
from tune_cmx.data.readers import READERS, PairedData, open_data, read_image, read_labels, signs
from tune_cmx.data.split import make_split, split_warnings
from tune_cmx.data.synthetic import synthesize
from tune_cmx.errors import ConfigError, DataError

SETS = ("llvip", "flir_aligned", "kaist", "m3fd")
MOMENTS = list(layouts.moments())


def made(name: str, folder: Path) -> Path:
    layouts.MAKERS[name][0](folder / name)
    return folder / name


def parts(data: PairedData) -> dict[str | None, list[str]]:
    found: dict[str | None, list[str]] = {}
    for image in data.images:
        found.setdefault(image.part, []).append(image.id)
    return found


def sequences(data: PairedData) -> list[str | None]:
    return list(dict.fromkeys(image.sequence for image in data.images))


@pytest.mark.parametrize("name", SETS)
def test_it_is_recognised_for_sure_and_its_pairs_are_registered(name: str, tmp_path: Path) -> None:
    root = made(name, tmp_path)
    assert signs(root)[0][0] == name
    data = open_data(root)
    assert data.reader is READERS[name]
    assert len(data.images) == 12
    assert dict(data.bands) == {"rgb": (0, 1, 2), "thermal": (0,)}
    for image, moment in zip(data.images, MOMENTS, strict=True):
        pixels = read_image(data, image, ["rgb", "thermal"])
        assert pixels["thermal"].shape == (layouts.HEIGHT, layouts.WIDTH, 1)
        assert np.abs(pixels["thermal"][:, :, 0].astype(float) - moment.thermal).mean() < 4
        assert np.abs(pixels["rgb"].astype(float) - moment.rgb).mean() < 8
    audit(data)


@pytest.mark.parametrize("name", SETS)
def test_boxes_are_those_of_the_label_files(name: str, tmp_path: Path) -> None:
    data = open_data(made(name, tmp_path))
    for image, moment in zip(data.images, MOMENTS, strict=True):
        labels = read_labels(data, image)
        assert labels.pixels
        assert labels.boxes.tolist() == [[float(edge) for edge in box] for _, box in moment.objects]


@pytest.mark.parametrize("name", SETS)
def test_opening_reads_no_image(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    root = made(name, tmp_path)
    monkeypatch.setattr(Image, "open", lambda *_, **__: pytest.fail("an image was decoded"))
    for path in root.rglob("*"):
        if path.suffix in (".jpg", ".jpeg", ".png"):
            path.write_bytes(b"")
    assert len(open_data(root).images) == 12


@pytest.mark.parametrize("name", SETS)
def test_a_missing_partner_is_named(name: str, tmp_path: Path) -> None:
    root = made(name, tmp_path)
    lost = open_data(root).images[3].files["thermal"]
    lost.unlink()
    with pytest.raises(DataError, match=rf"missing: .*{lost.stem.removesuffix('_PreviewData')}"):
        open_data(root)


@pytest.mark.parametrize("name", SETS)
@pytest.mark.parametrize("other", ["npy", "kaist", "llvip"])
def test_another_layout_is_refused_with_the_one_that_fits(name: str, other: str, tmp_path: Path) -> None:
    if name == other:
        pytest.skip("it is the right one")
    root = made(name, tmp_path)
    with pytest.raises(
        DataError, match=rf"is not of the layout {other}\. It should hold .*; it has .*--layout {name} "
    ):
        open_data(root, layout=other)


@pytest.mark.parametrize("name", SETS)
def test_a_prepared_set_is_loaded_as_it_was(name: str, tmp_path: Path) -> None:
    config = DataConfig(root=str(made(name, tmp_path)), guard=1)
    prepared = prepare(config, tmp_path / "prepared")
    loaded = load_prepared(config, tmp_path / "prepared")
    assert loaded.hashes() == prepared.hashes()
    assert loaded.data.class_map == prepared.data.class_map
    assert loaded.data.images == prepared.data.images


@pytest.mark.parametrize("other", ["folders", "llvip", "kaist"])
def test_packed_files_are_not_of_another_layout(other: str, tmp_path: Path) -> None:
    with pytest.raises(
        DataError, match=r"it has images, labels\. Take --layout npy \(\.npy files\), or leave --layout out"
    ):
        open_data(made("group_npy", tmp_path), layout=other)


@pytest.mark.parametrize("name", SETS)
def test_no_synthetic_set_is_written_in_its_form(name: str, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="writes no synthetic sets; choose another --form"):
        synthesize(tmp_path / "set", images=6, size=32, sequences=3, form=name)


@pytest.mark.parametrize("name", SETS)
def test_settings_of_other_layouts_are_refused(name: str, tmp_path: Path) -> None:
    root = made(name, tmp_path)
    with pytest.raises(ConfigError, match=rf"data\.bands is not used by the layout {name} .*--layout: npy"):
        open_data(root, bands={"rgb": [0, 1, 2]})
    (root / "data.yaml").write_text("images: {rgb: visible}\n")
    with pytest.raises(ConfigError, match=r"data\.images is not used by the layout .*--layout: folders"):
        open_data(root, layout=name)


class TestLlvip:
    def test_a_camera_site_is_a_sequence_and_folders_are_the_split(self, tmp_path: Path) -> None:
        data = open_data(made("llvip", tmp_path))
        assert data.classes == ("person",)
        assert data.images[5].id == "020002"
        assert (data.images[5].sequence, data.images[5].number) == ("02", 2)
        assert sequences(data) == ["01", "02", "20"]
        assert {part: len(ids) for part, ids in parts(data).items()} == {"train": 8, "test": 4}
        assert data.sequences_known

    def test_infrared_of_three_equal_bands_is_one_band_with_a_word(self, tmp_path: Path) -> None:
        found = audit(open_data(made("llvip", tmp_path)))
        assert any(text.startswith("thermal: 12 of 12 images") for text in found.warnings)

    def test_one_site_for_training_gives_validation_by_blocks_with_a_gap(self, tmp_path: Path) -> None:
        root = made("llvip", tmp_path)
        for path in [*root.rglob("02*.jpg"), *root.rglob("02*.xml")]:
            path.unlink()
        data = open_data(root)
        split = make_split(data, guard=1)
        assert (split.how, split.train, split.val) == ("official", ("010001", "010002"), ("010004",))
        texts = [str(warning) for warning in split_warnings(split, data)]
        assert any("without a validation part" in text and "with 1 image left out before it" in text for text in texts)

    def test_other_names_are_left_to_the_paired_folders(self, tmp_path: Path) -> None:
        root = made("llvip", tmp_path)
        for path in [*root.rglob("*.jpg"), *root.rglob("*.xml")]:
            path.rename(path.with_name(f"a{path.name}"))
        assert open_data(root).reader is READERS["folders"]

    def test_one_other_name_is_refused(self, tmp_path: Path) -> None:
        root = made("llvip", tmp_path)
        for path in [*root.rglob("200004.jpg"), *root.rglob("200004.xml")]:
            path.rename(path.with_name(f"x{path.name}"))
        with pytest.raises(DataError, match="image 'x200004' is not named as in LLVIP"):
            open_data(root)

    def test_an_event_folder_beside_it_is_read_by_the_paired_folders(self, tmp_path: Path) -> None:
        root = made("llvip", tmp_path)
        for path in root.joinpath("visible").rglob("*.jpg"):
            layouts.save(np.zeros((layouts.HEIGHT, layouts.WIDTH), np.uint8), root / "event" / f"{path.stem}.png")
        assert set(open_data(root).bands) == {"rgb", "thermal", "event"}

    def test_labels_may_be_yolo_text(self, tmp_path: Path) -> None:
        root = made("llvip", tmp_path)
        shutil.rmtree(root / "Annotations")
        for image in root.joinpath("visible").rglob("*.jpg"):
            layouts.write(root / "labels" / f"{image.stem}.txt", "0 0.5 0.5 0.2 0.2\n")
        assert open_data(root).classes == ("person",)
        layouts.write(root / "classes.txt", "car\nperson\n")
        assert open_data(root).classes == ("car", "person")

    def test_a_second_class_can_be_mapped(self, tmp_path: Path) -> None:
        root = made("llvip", tmp_path)
        path = min((root / "Annotations").glob("*.xml"))
        path.write_text(path.read_text().replace("<name>person</name>", "<name>car</name>", 1))
        assert open_data(root, classes={"car": None}).classes == ("person",)
        assert open_data(root, classes=["person", "car"]).classes == ("person", "car")


class TestFlirAligned:
    def test_gaps_separate_sequences_and_that_is_said(self, tmp_path: Path) -> None:
        data = open_data(made("flir_aligned", tmp_path))
        assert data.classes == ("car", "person")
        assert sequences(data) == ["FLIR_00002", "FLIR_00900", "FLIR_08864"]
        assert [image.number for image in data.images[:5]] == [2, 3, 4, 5, 900]
        assert {part: len(ids) for part, ids in parts(data).items()} == {"train": 8, "val": 4}
        assert any(
            text.startswith("3 sequences are separated by gaps of more than 10 in the numbers") for text in data.remarks
        )
        assert any("align_train.txt, align_validation.txt: train 8, val 4 images" in text for text in data.remarks)

    def test_numbers_without_gaps_give_no_sequences(self, tmp_path: Path) -> None:
        root = made("flir_aligned", tmp_path)
        for path in [*root.glob("*/FLIR_009*"), *root.glob("*/FLIR_088*")]:
            path.unlink()
        (root / "align_validation.txt").unlink()
        (root / "align_train.txt").unlink()
        data = open_data(root)
        assert not data.sequences_known
        assert [image.number for image in data.images] == [2, 3, 4, 5]
        assert data.remarks == ()

    def test_the_first_image_of_flirs_validation_folder_begins_a_sequence(self, tmp_path: Path) -> None:
        root = made("flir_aligned", tmp_path)
        for path in root.glob("*/FLIR_009*"):
            path.rename(path.with_name(path.name.replace("FLIR_0090", "FLIR_0886")))
        for name in ("align_train.txt", "align_validation.txt"):
            (root / name).unlink()
        for path in root.glob("*/FLIR_0886[0-3]_*"):  # 8860 to 8863, before 8864 to 8867
            assert path.is_file()
        assert sequences(open_data(root)) == ["FLIR_00002", "FLIR_08860", "FLIR_08863"]

    def test_dogs_are_left_out_unless_they_are_asked_for(self, tmp_path: Path) -> None:
        root = made("flir_aligned", tmp_path)
        path = root / "Annotations" / "FLIR_00002_PreviewData.xml"
        path.write_text(MOMENTS[0].voc(("person", "car"), [("dog", (1, 1, 9, 9))]))
        data = open_data(root)
        assert data.classes == ("car", "person")
        assert len(read_labels(data, data.images[0]).boxes) == 2
        assert any("--classes dog=dog keeps them" in text for text in data.remarks)
        asked = open_data(root, classes={"dog": "dog"})
        assert asked.classes == ("car", "dog", "person")
        assert not any("dog" in text for text in asked.remarks)
        assert open_data(root, classes=["person", "car"]).classes == ("person", "car")
        assert open_data(root, classes=["person", "car", "dog"]).classes == ("person", "car", "dog")

    def test_a_folder_align_lists_below_imagesets_and_drawn_copies(self, tmp_path: Path) -> None:
        root = tmp_path / "set"
        layouts.flir_aligned(root / "align")
        shutil.copytree(root / "align" / "JPEGImages", root / "align" / "AnnotatedImages")
        for name in ("align_train.txt", "align_validation.txt"):
            path = root / "align" / "ImageSets" / "Main" / name
            path.parent.mkdir(parents=True, exist_ok=True)
            (root / "align" / name).rename(path)
        data = open_data(root)
        assert data.reader is READERS["flir_aligned"]
        assert {part: len(ids) for part, ids in parts(data).items()} == {"train": 8, "val": 4}
        assert data.place(data.images[0].files["rgb"]) == "align/JPEGImages/FLIR_00002_RGB.jpg"

    def test_a_list_with_an_unknown_image_is_refused(self, tmp_path: Path) -> None:
        root = made("flir_aligned", tmp_path)
        with (root / "align_train.txt").open("a") as file:
            file.write("FLIR_00777_PreviewData\n")
        with pytest.raises(DataError, match=r"align_train\.txt: no image in .* for FLIR_00777"):
            open_data(root)


class TestM3fd:
    def test_it_has_numbers_and_no_split_and_says_so(self, tmp_path: Path) -> None:
        data = open_data(made("m3fd", tmp_path))
        assert data.classes == ("Car", "People")
        assert not data.sequences_known
        assert [image.number for image in data.images[:5]] == [0, 1, 2, 3, 100]
        assert parts(data).keys() == {None}
        assert any(text.startswith("M3FD has no split of its own, and papers use several") for text in data.remarks)

    def test_lists_in_meta_are_the_split_and_their_counts_are_said(self, tmp_path: Path) -> None:
        root = made("m3fd", tmp_path)
        layouts.write(root / "meta" / "train.txt", "".join(f"{n:05d}.png\n" for n in (0, 1, 2, 3, 100, 101)))
        layouts.write(root / "meta" / "val.txt", "00200\n00201.png\n")
        data = open_data(root)
        assert parts(data)["val"] == ["00200", "00201"]
        assert "the split is from meta/train.txt, meta/val.txt: train 6, val 2 images" in data.remarks
        split = make_split(data, guard=1)
        assert (split.how, split.test, len(split.left_out)) == ("official", ("00200", "00201"), 5)

    def test_data_yaml_names_other_lists(self, tmp_path: Path) -> None:
        root = made("m3fd", tmp_path)
        layouts.write(root / "mine" / "a.txt", "00000\n00001\n")
        layouts.write(root / "mine" / "b.txt", "00100\n")
        (root / "data.yaml").write_text("train: mine/a.txt\ntest: mine/b.txt\n")
        assert parts(open_data(root))["test"] == ["00100"]

    def test_lower_case_and_yolo_text_in_the_order_of_the_authors(self, tmp_path: Path) -> None:
        root = made("m3fd", tmp_path)
        shutil.rmtree(root / "Annotation")
        (root / "Vis").rename(root / "vi")
        (root / "Ir").rename(root / "ir")
        for number, image in enumerate(sorted((root / "ir").iterdir())):
            layouts.write(root / "labels" / f"{image.stem}.txt", f"{number % 6} 0.5 0.5 0.2 0.2\n")
        data = open_data(root)
        assert data.reader is READERS["m3fd"]
        assert data.classes == ("People", "Car", "Bus", "Motorcycle", "Lamp", "Truck")
        layouts.write(root / "classes.txt", "Car\nPeople\nBus\nLamp\nTruck\nBike\n")
        assert open_data(root).classes == ("Car", "People", "Bus", "Lamp", "Truck", "Bike")
