"""Images are paired by the names of folders and files; what is nearly right is read or named."""

import os
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
import pytest
from layouts import save, write

from tune_cmx.data.audit import audit
from tune_cmx.data.readers import PairedData, open_data, signs
from tune_cmx.data.readers.pairing import files_under, pair_by_names
from tune_cmx.data.readers.paths import FilePaths, texts_of
from tune_cmx.errors import ConfigError, DataError

BOX = "0 0.5 0.5 0.5 0.5\n"


@pytest.fixture
def root(tmp_path: Path) -> Path:
    (tmp_path / "set").mkdir()
    return tmp_path / "set"


def fill(root: Path, names: Sequence[str], labels: Sequence[str] = ("a", "b", "c")) -> None:
    """Images of these names, and a label for each of these ids."""
    for name in names:
        save(np.zeros((8, 12, 3), dtype=np.uint8), root / name)
    for id in labels:
        write(root / "labels" / f"{id}.txt", BOX)
    write(root / "classes.txt", "person\n")


def ids(data: PairedData) -> list[str]:
    return [image.id for image in data.images]


@pytest.mark.parametrize(
    ("patterns", "modalities"),
    [
        (("visible/{}.jpg", "infrared/{}.jpg"), ["rgb", "thermal"]),
        (("RGB/{}.jpg", "Thermal/{}.png"), ["rgb", "thermal"]),
        (("Visible/{}.jpg", "IR/{}.bmp", "events/{}.png"), ["rgb", "thermal", "event"]),
        (("JPEGImages/{}_RGB.jpg", "JPEGImages/{}_PreviewData.jpeg"), ["rgb", "thermal"]),
        (("{}_rgb.png", "{}_ir.png"), ["rgb", "thermal"]),
        (("images/rgb_{}.png", "images/thermal_{}.png"), ["rgb", "thermal"]),
        (("images/{}.jpg", "images_ir/{}.jpg"), ["rgb", "thermal"]),
        (("all/images/{}.jpg", "all/images_ir/{}.jpg"), ["rgb", "thermal"]),
        (("rgb_images/{}.jpg", "thermal_8_bit/{}.jpg"), ["rgb", "thermal"]),
        (("lwir/{}.jpg",), ["thermal"]),
        (("TrainRGB/{}.jpg", "TrainIR/{}.jpg"), ["rgb", "thermal"]),
        (("PreviewData/{}.jpg", "JPEGImages/RGB/{}.jpg"), ["rgb", "thermal"]),
    ],
)
def test_names_of_the_field_are_paired(root: Path, patterns: tuple[str, ...], modalities: list[str]) -> None:
    fill(root, [pattern.format(id) for id in "abc" for pattern in patterns])
    data = open_data(root)
    assert list(data.bands) == modalities
    assert ids(data) == ["a", "b", "c"]
    assert all(image.label is not None for image in data.images)
    audit(data)


@pytest.mark.parametrize(
    "patterns",
    [("rgb/{part}/{id}.jpg", "thermal/{part}/{id}.jpg"), ("{part}/rgb/{id}.jpg", "{part}/thermal/{id}.jpg")],
)
def test_folders_of_parts_are_the_split(root: Path, patterns: tuple[str, ...]) -> None:
    fill(root, [pattern.format(part=part, id=id) for part, id in zip(("train", "valid", "test"), "abc", strict=True)
                for pattern in patterns])  # fmt: skip
    assert [image.part for image in open_data(root).images] == ["train", "val", "test"]
    assert [image.sequence for image in open_data(root).images] == [None] * 3


def test_parts_that_count_alike_get_the_part_into_the_id(root: Path) -> None:
    names = [f"{modality}/{part}/{id}.jpg" for modality in ("rgb", "ir") for part in ("train", "val") for id in "12"]
    fill(root, names, labels=("train/1", "train/2", "val/1", "val/2"))
    data = open_data(root)
    assert ids(data) == ["train_1", "train_2", "val_1", "val_2"]
    assert [image.part for image in data.images] == ["train", "train", "val", "val"]
    assert data.images[2].label.path == root / "labels" / "val" / "1.txt"
    assert not data.sequences_known


@pytest.mark.parametrize("label", ["drive/0003", "drive/extra/0003", "extra/drive/0003"])
def test_a_label_whose_image_was_removed_is_not_given_to_another_folder(root: Path, label: str) -> None:
    videos = {"drive": ("0001", "0002"), "walk": ("0003", "0004")}
    names = [f"{folder}/{video}/{n}.png" for folder in ("rgb", "thermal") for video in videos for n in videos[video]]
    fill(root, names, labels=["drive/0001", label])
    with pytest.raises(DataError, match=r"no image in .* for 0003\.txt"):
        open_data(root)


@pytest.mark.parametrize("label", ["0003", "boxes/0003", "walk/0003", "mine/walk/0003"])
def test_a_label_with_other_folders_is_found_by_its_name(root: Path, label: str) -> None:
    names = [f"{folder}/{name}.png" for folder in ("rgb", "ir") for name in ("drive/0001", "walk/0003", "walk/0004")]
    fill(root, names, labels=[label])
    assert [image.id for image in open_data(root).images if image.label is not None] == ["0003"]


def test_a_label_of_a_part_is_not_given_to_another_part(root: Path) -> None:
    of_part = {"train": "123", "val": "124"}
    names = [f"{folder}/{part}/{n}.png" for folder in ("rgb", "ir") for part in of_part for n in of_part[part]]
    fill(root, names, labels=["train/1", "train/4"])
    with pytest.raises(DataError, match=r"no image in .* for 4\.txt"):
        open_data(root)


def test_labels_may_lie_beside_the_images_of_each_part(root: Path) -> None:
    names = [f"{part}/{folder}/{part}1.jpg" for part in ("train", "val") for folder in ("images", "images_ir")]
    fill(root, names, labels=())
    for part in ("train", "val"):
        write(root / part / "labels" / f"{part}1.txt", BOX)
    data = open_data(root)
    assert [(image.id, image.part, image.label is not None) for image in data.images] == [
        ("train1", "train", True),
        ("val1", "val", True),
    ]


def test_a_pair_in_two_parts_is_refused(root: Path) -> None:
    fill(root, ["rgb/train/a.png", "thermal/val/a.png"], labels="a")
    with pytest.raises(DataError, match=r"rgb/train/a\.png and thermal/val/a\.png are of one moment, but in two parts"):
        open_data(root)


def test_visible_and_infrared_beside_event_are_all_read(root: Path) -> None:
    fill(root, [f"{folder}/{id}.png" for folder in ("visible", "infrared", "event") for id in "abc"])
    assert list(open_data(root).bands) == ["rgb", "thermal", "event"]


def test_folders_below_a_modality_are_videos(root: Path) -> None:
    fill(root, [f"{folder}/{video}/{n}.png" for folder in ("rgb", "thermal") for video in ("v1", "v2") for n in "12"],
         labels=("v1/1", "v2/2"))  # fmt: skip
    data = open_data(root)
    assert ids(data) == ["v1_1", "v1_2", "v2_1", "v2_2"]
    assert [image.sequence for image in data.images] == ["v1", "v1", "v2", "v2"]
    assert [image.label is not None for image in data.images] == [True, False, False, True]


def test_one_folder_around_everything_is_no_video(root: Path) -> None:
    fill(root, [f"mine/{folder}/{id}.png" for folder in ("rgb", "thermal") for id in "abc"])
    data = open_data(root)
    assert ids(data) == ["a", "b", "c"]
    assert not data.sequences_known


class TestUnknownFolders:
    def test_one_with_the_same_names_is_refused_by_name(self, root: Path) -> None:
        fill(root, [f"{folder}/{id}.png" for folder in ("visible", "nir") for id in "abc"])
        with pytest.raises(
            DataError, match=r"nir: 3 images are named like those of rgb.*images: \{rgb: visible, thermal: nir\}"
        ):
            open_data(root)

    def test_the_modality_that_lacks_is_suggested(self, root: Path) -> None:
        fill(root, [f"{folder}/{id}.png" for folder in ("ir", "camera") for id in "abc"])
        with pytest.raises(DataError, match=r"as in images: \{thermal: ir, rgb: camera\}"):
            open_data(root)

    def test_event_is_never_suggested_and_what_is_known_stays(self, root: Path) -> None:
        fill(root, [f"{folder}/{id}.png" for folder in ("color", "lwir", "depth") for id in "abc"])
        with pytest.raises(DataError, match=r"depth: .*as in images: \{rgb: color, thermal: lwir\}. Or move"):
            open_data(root)

    def test_one_with_other_names_is_named_in_the_remarks(self, root: Path) -> None:
        fill(root, [*(f"{folder}/{id}.png" for folder in ("visible", "ir") for id in "abc"), "plots/curve.png"])
        data = open_data(root)
        assert data.remarks == ("not read: plots/ (1 image); data.yaml may name its modality under images",)

    @pytest.mark.parametrize("folders", [("rgb", "thermal"), ("all/rgb", "all/ir")])
    @pytest.mark.parametrize("stray", ["overview.png", "all/overview.png"])
    def test_a_picture_beside_the_folders_is_named_in_the_remarks(
        self, root: Path, folders: tuple[str, ...], stray: str
    ) -> None:
        fill(root, [*(f"{folder}/{id}.png" for folder in folders for id in "abc"), stray])
        data = open_data(root)
        assert ids(data) == ["a", "b", "c"]
        assert "(1 image)" in data.remarks[0]

    def test_where_all_are_unknown_they_are_named_with_the_lines_to_write(self, root: Path) -> None:
        fill(root, ["left_cam/a.png", "left_cam/b.png", "right_cam/a.png"])
        message = (
            r"left_cam/ \(2 images\), right_cam/ \(1 image\)\. Name each modality's folder in .*data\.yaml, "
            r"as in images: \{rgb: FOLDER, thermal: FOLDER\}"
        )
        with pytest.raises(DataError, match=message):
            open_data(root)

    def test_data_yaml_can_name_them(self, root: Path) -> None:
        fill(root, [f"{folder}/{id}.png" for folder in ("left_cam", "right_cam") for id in "abc"])
        (root / "data.yaml").write_text("images: {rgb: left_cam, thermal: right_cam}\n")
        data = open_data(root)
        assert data.images[0].files["thermal"] == root / "right_cam" / "a.png"
        assert data.remarks == ()


class TestUnreadFiles:
    @pytest.mark.parametrize(
        ("name", "message"),
        [
            ("events/a.npy", r"events: is named like event, and has no image .*but 1 \.npy file\. Save each moment"),
            ("events/a.csv", r"events: is named like event"),
            ("event_stream/a.bin", r"event_stream: is named like event"),
            ("thermal/a.npy", r"thermal: .*\.npy beside images are not supported: .*--layout npy"),
            ("ir/a.jp2", r"ir: is named like thermal.*1 \.jp2 file\. Convert them, or move"),
        ],
    )
    def test_a_folder_named_like_a_modality_without_an_image_is_refused(
        self, root: Path, name: str, message: str
    ) -> None:
        fill(root, [f"rgb/{id}.png" for id in "abc"])
        write(root / name, "nothing")
        with pytest.raises(DataError, match=message):
            open_data(root)

    def test_other_files_are_named_in_the_remarks(self, root: Path) -> None:
        fill(root, [f"{folder}/{id}.png" for folder in ("rgb", "ir") for id in "abc"])
        for name in ("rgb/d.ppm", "ir/d.ppm", "lidar/a.bin", "sequences.txt", "color_checker/notes.txt"):
            write(root / name, "nothing")
        remark = open_data(root).remarks[0]
        assert remark.startswith(
            "not read: ir/ (1 .ppm file), lidar/ (1 .bin file), rgb/ (1 .ppm file); images are .bmp"
        )


class TestPatterns:
    def test_the_name_of_a_moment_may_stand_anywhere(self, root: Path) -> None:
        fill(root, [name for id in "abc" for name in (f"x/1_{id}_col.png", f"x/1_{id}_t_30C.png")])
        (root / "data.yaml").write_text('images: {rgb: "x/1_{id}_col.png", thermal: "x/1_{id}_t_*.png"}\n')
        assert ids(open_data(root)) == ["a", "b", "c"]

    @pytest.mark.parametrize(
        ("images", "error", "message"),
        [
            ("{rgb: 'x/{name}.png'}", ConfigError, r"images\.rgb: needs \{id\} once"),
            ("{rgb: 'x/{id}_{id}.png'}", ConfigError, r"images\.rgb: needs \{id\} once"),
            ("{termal: x}", ConfigError, "unknown modality 'termal'.* Did you mean 'thermal'"),
            ("{rgb: 'x/{id}.jpg'}", DataError, r"no image .* for images\.rgb: 'x/\{id\}\.jpg'"),
            ("{rgb: gone}", DataError, r"gone: no such folder; images\.rgb names it"),
        ],
    )
    def test_patterns_that_cannot_be_used(self, root: Path, images: str, error: type[Exception], message: str) -> None:
        fill(root, ["x/a.png"])
        (root / "data.yaml").write_text(f"images: {images}\n")
        with pytest.raises(error, match=message):
            open_data(root)


class TestWholeNames:
    def test_a_word_in_both_names_is_part_of_them(self, root: Path) -> None:
        names = [f"color_checker_{id}" for id in "abc"]
        fill(root, [f"{folder}/{name}.png" for folder in ("rgb", "thermal") for name in names], names)
        assert ids(open_data(root)) == names

    def test_a_label_named_like_the_name_that_a_pattern_finds(self, root: Path) -> None:
        names = [f"vis_ir_{id}" for id in "abc"]
        fill(root, [f"{folder}/{name}.png" for folder in ("x", "y") for name in names], names)
        (root / "data.yaml").write_text('images: {rgb: "x/{id}.png", thermal: "y/{id}.png"}\n')
        data = open_data(root)
        assert ids(data) == names
        assert all(image.label for image in data.images)

    def test_labels_and_lists_may_have_the_whole_name_of_a_file(self, root: Path) -> None:
        images = [name for id in "abc" for name in (f"rgb/v1/images/{id}_png.rf.1f{id}.jpg", f"t/{id}_T.png")]
        fill(root, images, [f"{id}_png.rf.1f{id}" for id in "abc"])
        text = 'images: {rgb: "rgb/*/images/{id}_png.rf.*.jpg", thermal: "t/{id}_T.png"}\n'
        (root / "data.yaml").write_text(text + "train: train.txt\ntest: test.txt\n")
        write(root / "train.txt", "t/a_T.png\nt/b_T.png\n")
        write(root / "test.txt", "t/c_T.png\n")
        data = open_data(root)
        assert ids(data) == ["a", "b", "c"]
        assert all(image.label for image in data.images)
        assert [image.part for image in data.images] == ["train", "train", "test"]

    def test_composed_and_decomposed_letters_are_the_same(self, root: Path) -> None:
        fill(root, [f"{folder}/stra\u00dfe_\u00e9{id}.png" for folder in ("rgb", "ir") for id in "ab"], [])
        for id in "ab":
            write(root / "labels" / f"stra\u00dfe_e\u0301{id}.txt", BOX)
        assert all(image.label for image in open_data(root).images)


def test_where_no_names_are_equal_a_pattern_is_suggested(root: Path) -> None:
    fill(root, [name for id in "abc" for name in (f"rgb/{id}_1.png", f"ir/{id}_2.png")])
    with pytest.raises(
        DataError, match=r"no rgb image has the name of a thermal image, as in rgb/a_1\.png \(rgb\) and"
    ):
        open_data(root)


def test_images_that_cannot_be_paired_are_named_when_opened(root: Path) -> None:
    fill(root, ["visible/a.png", "visible/a.jpg", "ir/a.png"], labels="a")
    assert signs(root)[0][0] == "folders"
    with pytest.raises(DataError, match=r"visible: a\.jpg and a\.png have one id"):
        open_data(root)


def test_hidden_files_and_folders_are_passed_over(root: Path) -> None:
    fill(root, [f"{folder}/{name}.png" for folder in ("rgb", "ir", ".cache/rgb") for name in ("a", "._a")], labels="a")
    assert ids(open_data(root)) == ["a"]
    assert pair_by_names(root).unread == {}


def test_a_link_that_leads_back_is_followed_once(root: Path) -> None:
    fill(root, ["rgb/a.png", "ir/a.png"], labels="a")
    (root / "rgb" / "again").symlink_to(root)
    assert ids(open_data(root)) == ["a"]


def test_a_second_link_to_a_folder_does_not_empty_it(root: Path) -> None:
    fill(root, ["rgb/a.png", "rgb/b.png", "ir/a.png", "ir/b.png"], labels="a")
    (root / "a_preview").symlink_to(root / "rgb")
    paired = pair_by_names(root)
    assert paired.modalities == ("rgb", "thermal")
    assert paired.unread == {"a_preview": 2}


def test_two_modalities_may_link_to_one_folder(root: Path) -> None:
    fill(root, ["camera/a.png"], labels="a")
    for name in ("rgb", "ir"):
        (root / name).symlink_to(root / "camera")
    assert pair_by_names(root).modalities == ("rgb", "thermal")


def test_links_that_lead_to_each_other_end(root: Path) -> None:
    fill(root, ["rgb/x/a.png", "ir/y/a.png"], labels="a")
    (root / "rgb" / "x" / "other").symlink_to(root / "ir")
    (root / "ir" / "y" / "other").symlink_to(root / "rgb")
    assert len(list(files_under(root, [".png"]))) < 10


def test_a_folder_that_cannot_be_read_is_named(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    fill(root, ["rgb/a.png", "ir/a.png"], labels="a")
    scandir = os.scandir

    def denied(path: str) -> Iterator[os.DirEntry[str]]:
        if str(path).endswith("ir"):
            raise PermissionError(13, "Permission denied", str(path))
        return scandir(path)

    monkeypatch.setattr(os, "scandir", denied)
    with pytest.raises(DataError, match=r"set/ir: cannot be read: Permission denied"):
        list(files_under(root, [".png"]))


def test_files_are_paths_when_asked_for_and_texts_before(tmp_path: Path) -> None:
    files = FilePaths({"rgb": f"{tmp_path}/rgb/a.png"})
    assert files["rgb"] == tmp_path / "rgb" / "a.png"
    assert "rgb" in files
    assert "thermal" not in files
    assert files == {"rgb": tmp_path / "rgb" / "a.png"}
    assert texts_of(files) == texts_of(dict(files))
