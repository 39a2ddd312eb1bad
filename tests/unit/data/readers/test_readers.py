"""Which files belong together, and what is said where they do not."""

from pathlib import Path

import numpy as np
import pytest

from tune_cmx.data.readers import READERS, open_data, read_labels
from tune_cmx.errors import ConfigError, DataError


def test_folders_give_frames_with_all_modalities(folders):
    data = open_data(folders(["b", "a"]))
    assert [frame.id for frame in data.images] == ["a", "b"]
    assert data.bands == {"rgb": (0, 1, 2), "thermal": (0,), "event": (0,)}
    assert data.classes == ("person",)
    assert set(data.images[0].files) == {"rgb", "thermal", "event"}
    assert not data.sequences_known
    assert data.reader is READERS["folders"]


@pytest.mark.parametrize("modalities", [["rgb"], ["thermal"], ["rgb", "event"]])
def test_any_modality_may_be_absent(folders, modalities):
    assert list(open_data(folders(modalities=modalities)).bands) == modalities


def test_frames_without_boxes_stay(folders):
    data = open_data(folders(labels={"a": "0 0.5 0.5 0.5 0.5\n", "b": ""}))
    assert [frame.label is None for frame in data.images] == [False, False, True]


def test_unpadded_numbers_are_in_order_of_time(folders):
    data = open_data(folders(["f10", "f9", "f100"]))
    assert [frame.id for frame in data.images] == ["f9", "f10", "f100"]


def test_missing_partner_is_named(folders):
    root = folders()
    (root / "thermal" / "b.png").unlink()
    with pytest.raises(DataError, match=r"missing: thermal/b\.png"):
        open_data(root)


def test_two_images_of_one_frame_are_refused(folders):
    root = folders()
    (root / "rgb" / "a.jpg").write_bytes((root / "rgb" / "a.png").read_bytes())
    with pytest.raises(DataError, match=r"a\.jpg and a\.png have one id"):
        open_data(root)


def test_empty_folder_says_what_it_should_hold(tmp_path):
    with pytest.raises(DataError, match=r"no images; it should hold one of these:\n  folders rgb/"):
        open_data(tmp_path)
    (tmp_path / "rgb").mkdir()
    with pytest.raises(DataError, match="rgb: no image"):
        open_data(tmp_path)
    with pytest.raises(DataError, match="no such folder"):
        open_data(tmp_path / "absent")


def test_labels_must_be_there_and_belong_to_images(folders):
    root = folders()
    (root / "labels" / "x1.txt").write_text("")
    with pytest.raises(DataError, match=r"no image in .* for x1\.txt"):
        open_data(root)
    for path in (root / "labels").iterdir():
        path.unlink()
    with pytest.raises(DataError, match="no label file"):
        open_data(root)
    (root / "labels").rmdir()
    with pytest.raises(DataError, match="no labels; put YOLO text or VOC XML files there"):
        open_data(root)


def test_labels_may_lie_elsewhere(folders, tmp_path):
    root = folders()
    (root / "labels").rename(tmp_path / "elsewhere")
    data = open_data(root, labels=tmp_path / "elsewhere")
    assert data.images[0].label.path == tmp_path / "elsewhere" / "a.txt"


def test_classes_must_be_known(folders):
    root = folders(classes=None)
    with pytest.raises(DataError, match=r"classes\.txt, one a line, or with --classes"):
        open_data(root)
    assert open_data(root, classes=["car", "person"]).classes == ("car", "person")
    with pytest.raises(DataError, match="class 'car' is named twice"):
        open_data(root, classes=["car", "car"])


@pytest.mark.parametrize("by", ["classes.txt", "data.yaml"])
def test_a_list_of_classes_orders_known_names_and_names_no_numbers(folders, by):
    root = folders(classes=("person", "car") if by == "classes.txt" else None)
    if by == "data.yaml":
        (root / "data.yaml").write_text("names: [person, car]\n")
    data = open_data(root, classes=["car", "person"])
    assert data.classes == ("car", "person")
    assert [data.classes[id] for id in read_labels(data, data.images[0]).classes] == ["person"]
    with pytest.raises(ConfigError, match=r"'cars' is not a class of .*has person, car\. Did you mean 'car'"):
        open_data(root, classes=["person", "cars"])
    with pytest.raises(ConfigError, match="has the class 'car', which is not in person; add it, or leave it out"):
        open_data(root, classes=["person"])


def test_two_files_that_name_the_classes_must_agree(folders):
    root = folders(classes=("person", "car"))
    (root / "data.yaml").write_text("names: [person, car]\n")
    assert open_data(root).classes == ("person", "car")
    (root / "data.yaml").write_text("names: [car, person]\n")
    with pytest.raises(DataError, match=r"classes\.txt: names person, car, and names in data\.yaml are car, person"):
        open_data(root)


class TestPacked:
    FRAME = np.zeros((4, 6, 5), dtype=np.uint8)

    def test_five_bands_need_no_words(self, packed):
        root = packed({"a": self.FRAME, "b": self.FRAME})
        data = open_data(root)
        assert data.reader is READERS["npy"]
        assert data.bands == {"rgb": (0, 1, 2), "thermal": (3,), "event": (4,)}
        assert data.images[0].files["event"] == root / "images" / "a.npy"

    def test_the_images_folder_itself_can_be_named(self, packed):
        root = packed({"a": self.FRAME})
        data = open_data(root / "images")
        assert data.images[0].label.path == root / "labels" / "a.txt"
        assert data.classes == ("person",)

    def test_other_band_counts_need_bands(self, packed):
        root = packed({"a": np.zeros((4, 6, 4), dtype=np.uint8)})
        with pytest.raises(DataError, match=r"4 bands .* say which is what with bands"):
            open_data(root)
        assert open_data(root, bands={"thermal": [3], "rgb": [0, 1, 2]}).bands == {"rgb": (0, 1, 2), "thermal": (3,)}

    @pytest.mark.parametrize(
        ("bands", "message"),
        [
            ({"rgb": [0, 1, 5]}, r"channel 5; a\.npy has 0\.\.4"),
            ({"rgb": [0, 1, 2], "thermal": [2]}, "channel 2 is named twice"),
            ({"termal": [3]}, "unknown modality 'termal'.* Did you mean 'thermal'"),
            ({"rgb": []}, "no channel"),
            ({}, "empty"),
        ],
    )
    def test_bands_that_cannot_be(self, packed, bands, message):
        with pytest.raises(ConfigError, match=message):
            open_data(packed({"a": self.FRAME}), bands=bands)

    def test_wrong_shape_and_wrong_form(self, packed):
        with pytest.raises(DataError, match="H×W×bands is needed"):
            open_data(packed({"a": np.zeros((4, 6), dtype=np.uint8)}))
        root = packed({"a": self.FRAME}, name="other")
        (root / "images" / "a.npy").write_bytes(b"nothing of the kind")
        with pytest.raises(DataError, match=r"a\.npy: cannot be read"):
            open_data(root)

    @pytest.mark.parametrize("bands", [None, {"rgb": (0, 1, 2), "thermal": (3,)}])
    def test_bands_on_the_first_axis_are_refused(self, packed, bands):
        root = packed({"a": np.zeros((4, 80, 96), dtype=np.uint8)})
        with pytest.raises(DataError, match=r"shape is \(4, 80, 96\), which looks like bands×H×W.*moveaxis"):
            open_data(root, bands=bands)

    def test_two_forms_in_one_folder(self, packed):
        root = packed({"a": self.FRAME})
        (root / "rgb").mkdir()
        with pytest.raises(ConfigError, match=r"could be folders \(rgb/\) and npy .*--layout folders"):
            open_data(root)
        assert open_data(root, layout="npy").reader is READERS["npy"]


class TestSettings:
    def test_file_is_read_and_arguments_go_before_it(self, packed):
        root = packed({"seq1_a": np.zeros((4, 6, 2), dtype=np.uint8)})
        (root / "classes.txt").unlink()
        (root / "data.yaml").write_text(
            "bands: {thermal: [0], event: [1]}\nclasses: [car, 'no']\nsequences: '(?P<sequence>[^_]+)_'\n"
        )
        data = open_data(root)
        assert data.bands == {"thermal": (0,), "event": (1,)}
        assert data.classes == ("car", "no")
        assert data.images[0].sequence == "seq1"
        assert open_data(root, classes=["tree"]).classes == ("tree",)

    def test_unknown_key_names_the_nearest(self, folders):
        root = folders()
        (root / "data.yaml").write_text("classes: [person]\nsequence: s.csv\n")
        with pytest.raises(ConfigError, match=r"data\.yaml:2: sequence: unknown key.*'sequences'"):
            open_data(root)

    def test_a_key_given_twice_is_refused(self, folders):
        root = folders()
        (root / "data.yaml").write_text("classes: [person]\nclasses: [car]\n")
        with pytest.raises(ConfigError, match=r"data\.yaml:2: classes is given twice"):
            open_data(root)

    def test_folders_take_no_bands(self, folders):
        with pytest.raises(ConfigError, match=r"data\.bands is not used by the layout folders"):
            open_data(folders(), bands={"rgb": [0, 1, 2]})


class TestSequences:
    def test_table_beside_the_images_is_read_unasked(self, folders):
        data = open_data(folders(sequences={"a": "s1", "b": "s1", "c": "s2"}))
        assert data.sequences_known
        assert [frame.sequence for frame in data.images] == ["s1", "s1", "s2"]

    def test_table_can_be_named_and_has_frame_numbers(self, folders, tmp_path):
        root = folders()
        table = tmp_path / "mine.csv"
        table.write_text("frame,id,sequence\n3,a,x\n,b,x\n7,c,y\n")
        data = open_data(root, sequences=str(table))
        assert [(frame.sequence, frame.number) for frame in data.images] == [("x", 3), ("x", None), ("y", 7)]

    def test_a_table_may_name_conditions(self, folders):
        root = folders()
        (root / "sequences.csv").write_text("id,sequence,condition\na,x,day\nb,x,\nc,y,night\n")
        assert [image.condition for image in open_data(root).images] == ["day", None, "night"]
        expression = r"(?P<sequence>v\d+)_(?P<condition>[a-z]+)"
        named = open_data(folders(["v1_day", "v2_night"], name="named"), sequences=expression)
        assert [image.condition for image in named.images] == ["day", "night"]

    def test_names_can_tell(self, folders):
        data = open_data(folders(["v1_005", "v1_006", "v2_001"]), sequences=r"(?P<sequence>v\d+)_(?P<frame>\d+)")
        assert [(frame.sequence, frame.number) for frame in data.images] == [("v1", 5), ("v1", 6), ("v2", 1)]

    @pytest.mark.parametrize(
        ("table", "message"),
        [
            ("id,sequenze\na,s\n", "no column 'sequence'.* Did you mean 'sequenze'"),
            ("id,sequence\na,s\nb,s\n", "no sequence for 1 of 3 images, such as 'c'"),
            ("id,sequence\na,s\na,t\n", ":3: image 'a' is listed twice"),
            ("id,sequence\na,\n", ":2: id and sequence must both be given"),
            ("id,sequence,frame\na,s,one\n", ":2: a frame's number must be a whole number; got 'one'"),
        ],
    )
    def test_tables_that_cannot_be_used(self, folders, table, message):
        root = folders()
        (root / "sequences.csv").write_text(table)
        with pytest.raises(DataError, match=message):
            open_data(root)

    def test_semicolons_spaces_and_capitals_are_read(self, folders):
        root = folders()
        (root / "sequences.csv").write_text("ID ; Sequence\na ; s1\nb;s1\nc;s2\n")
        assert [image.sequence for image in open_data(root).images] == ["s1", "s1", "s2"]

    def test_ids_with_a_suffix_are_refused_with_a_word(self, folders):
        root = folders()
        (root / "sequences.csv").write_text("id,sequence\na.png,s1\nb.png,s1\nc.png,s2\n")
        with pytest.raises(DataError, match="an id is a file's name without suffix"):
            open_data(root)

    def test_expressions_that_cannot_be_used(self, folders):
        root = folders()
        with pytest.raises(ConfigError, match="not a regular expression"):
            open_data(root, sequences="(?P<sequence>")
        with pytest.raises(ConfigError, match="a group named sequence"):
            open_data(root, sequences="(.*)_")
        with pytest.raises(DataError, match="no sequence for 3 of 3 images"):
            open_data(root, sequences="(?P<sequence>[0-9]+)")
        with pytest.raises(DataError, match="cannot be read"):
            open_data(root, sequences=str(Path("absent.csv")))
