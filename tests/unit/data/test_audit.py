"""Everything that cannot be used is found before training, and named."""

import json

import numpy as np
import pytest
from PIL import Image

from tune_cmx.data.audit import Audit, audit, statistics
from tune_cmx.data.labels.base import Labels
from tune_cmx.data.readers import open_data, read_image
from tune_cmx.errors import ConfigError, DataError

GREY = np.full((8, 12), 51, dtype=np.uint8)


def test_counts_sizes_and_negatives(folders):
    two = "0 0.5 0.5 0.5 0.5\n1 0.25 0.25 0.1 0.1\n"
    found = audit(open_data(folders(labels={"a": two, "b": "\n"}, classes=["person", "car"])))
    assert found.sizes == {"a": (8, 12), "b": (8, 12), "c": (8, 12)}
    assert found.boxes == {"a": 2, "b": 0, "c": 0}
    assert found.class_boxes == {"person": 1, "car": 1}
    assert found.negatives == 2
    assert found.warnings == ()


def test_frames_may_differ_in_size(folders):
    small = {"rgb/b": np.zeros((4, 6, 3), dtype=np.uint8), "thermal/b": GREY[:4, :6], "event/b": GREY[:4, :6]}
    assert audit(open_data(folders(images=small))).sizes["b"] == (4, 6)


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("0 0.5 1.2 0.1 0.1", r"labels/b\.txt:2: y centre is 1\.2; a fraction of the image, 0\.\.1"),
        ("0 -0.2 0.5 0.1 0.1", "x centre is -0.2"),
        ("0 0.5 0.5 64 20", "width is 64"),
        ("0 0.5 0.5 0 0.1", "the box has no area: width 0, height 0.1"),
        ("1 0.5 0.5 0.1 0.1", r"class is 1; allowed: 0 \(person\)"),
        ("-1 0.5 0.5 0.1 0.1", "class is -1"),
        ("0.5 0.5 0.5 0.1 0.1", "class is 0.5"),
        ("0 0.5 0.5 0.1", "five numbers are needed.* got '0 0.5 0.5 0.1'"),
        ("0 0.5 0.5 0.1 0.1 0.9", "six numbers; labels have five"),
        ("person 0.5 0.5 0.1 0.1", "five numbers are needed"),
        ("0 nan 0.5 0.1 0.1", "five numbers are needed"),
        ("0 0.99 0.5 0.1 0.1", "the box reaches out of the image: x1, y1, x2, y2 are 0.94, 0.45, 1.04, 0.55"),
    ],
)
def test_label_lines_that_cannot_be_used(folders, line, message):
    root = folders(labels={"a": "0 0.5 0.5 0.1 0.1\n", "b": f"0 0.5 0.5 0.5 0.5\n{line}\n"})
    with pytest.raises(DataError, match=message):
        audit(open_data(root))


def test_a_box_may_touch_the_edge(folders):
    root = folders(labels={"a": "0 0.0499999 0.5 0.1 1\n"})
    assert audit(open_data(root)).boxes["a"] == 1


def test_labels_that_are_no_text(folders):
    root = folders()
    (root / "labels" / "a.txt").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(DataError, match=r"labels/a\.txt: not UTF-8"):
        audit(open_data(root))


def test_a_set_without_any_box(folders):
    with pytest.raises(DataError, match="no image has a box"):
        audit(open_data(folders(labels={"a": ""})))


def test_a_corrupt_image_is_named(folders):
    root = folders()
    path = root / "thermal" / "b.png"
    path.write_bytes(path.read_bytes()[:-40])
    with pytest.raises(DataError, match=r"thermal/b\.png: corrupt"):
        audit(open_data(root))
    path.write_bytes(b"")
    with pytest.raises(DataError, match=r"thermal/b\.png: the file is empty"):
        audit(open_data(root))


def test_pairs_of_unequal_size(folders):
    root = folders(images={"thermal/c": GREY[:, :10]})
    with pytest.raises(DataError, match=r"image c: modalities differ in size .*rgb 12×8, thermal 10×8, event 12×8"):
        audit(open_data(root))


def test_a_modality_of_another_size_can_be_resized(folders):
    root = folders(["a", "b"], modalities=["rgb", "thermal"])
    for name in ("a", "b"):
        Image.fromarray(np.full((4, 6), 200, dtype=np.uint8)).save(root / "thermal" / f"{name}.png")
    with pytest.raises(DataError, match=r"data\.yaml can resize one, as in size_of: rgb"):
        audit(open_data(root))
    (root / "data.yaml").write_text("size_of: rgb\n")
    data = open_data(root)
    assert audit(data).sizes == {"a": (8, 12), "b": (8, 12)}
    assert (read_image(data, data.images[0], ["thermal"])["thermal"] == 200).all()
    (root / "data.yaml").write_text("size_of: event\n")
    with pytest.raises(ConfigError, match="size_of: event is not among the images; rgb, thermal are"):
        open_data(root)


def test_the_first_few_problems_are_shown_and_the_rest_counted(folders):
    ids = [f"f{number}" for number in range(8)]
    root = folders(ids, labels=dict.fromkeys(ids, "7 0.5 0.5 0.1 0.1\n"))
    with pytest.raises(DataError) as caught:
        audit(open_data(root))
    message = str(caught.value)
    assert "8 problems" in message
    assert "labels/f4.txt" in message
    assert "labels/f5.txt" not in message
    assert message.endswith("and 3 more")


class TestPacked:
    @staticmethod
    def frame(value=0.5, dtype=np.float32):
        return np.full((4, 6, 5), value, dtype=dtype)

    @pytest.mark.parametrize(
        ("bad", "message"),
        [
            (np.nan, r"images/b\.npy: nan at row 1, column 2, band 3"),
            (np.inf, "inf at row 1"),
        ],
    )
    def test_values_that_cannot_be_used(self, packed, bad, message):
        spoilt = self.frame()
        spoilt[1, 2, 3] = bad
        with pytest.raises(DataError, match=message):
            audit(open_data(packed({"a": self.frame(), "b": spoilt})))

    @pytest.mark.parametrize(
        ("array", "message"),
        [
            (np.zeros((4, 6, 4), dtype=np.uint8), r"shape is \(4, 6, 4\); H×W×5 is needed"),
            (np.zeros((5, 4, 6), dtype=np.uint8), r"shape is \(5, 4, 6\)"),
            (np.zeros((4, 6), dtype=np.uint8), r"shape is \(4, 6\)"),
            (np.zeros((4, 6, 5), dtype=np.bool_), "numbers are bool; whole numbers or floats"),
            (np.array([{"a": 1}], dtype=object), "corrupt, or no numpy array"),
        ],
    )
    def test_arrays_that_cannot_be_used(self, packed, array, message):
        with pytest.raises(DataError, match=message):
            audit(open_data(packed({"a": np.zeros((4, 6, 5), dtype=np.uint8), "b": array})))

    def test_a_truncated_file(self, packed):
        root = packed({"a": self.frame(), "b": self.frame()})
        path = root / "images" / "b.npy"
        path.write_bytes(path.read_bytes()[:-8])
        with pytest.raises(DataError, match=r"images/b\.npy: corrupt"):
            audit(open_data(root))

    def test_statistics_by_modality(self, packed):
        first, second = self.frame(10, np.uint8), self.frame(30, np.uint8)
        first[..., 3], second[..., 3] = 0, 255
        root = packed({"a": first, "b": second, "c": self.frame(99, np.uint8)})
        found = statistics(audit(open_data(root)), ["a", "b"])
        assert found["rgb"]["mean"] == pytest.approx([20 / 255] * 3)
        assert found["rgb"]["std"] == pytest.approx([10 / 255] * 3)
        assert found["thermal"] == {"mean": [pytest.approx(0.5)], "std": [pytest.approx(0.5)]}


def test_statistics_weigh_pixels_not_frames(folders):
    images = {f"{name}/{id}": pixels for name in ("thermal",) for id, pixels in (("a", GREY), ("b", 4 * GREY[:4, :6]))}
    root = folders(["a", "b"], images=images, modalities=["thermal"])
    mean = statistics(audit(open_data(root)), ["a", "b"])["thermal"]["mean"]
    assert mean == pytest.approx([(96 * 51 + 24 * 204) / 120 / 255])


def test_sixteen_bits_are_scaled_by_their_own_range(folders):
    root = folders(images={f"thermal/{id}": np.full((8, 12), 13107, dtype=np.uint16) for id in "abc"})
    found = statistics(audit(open_data(root)), ["a", "b", "c"])["thermal"]
    assert found == {"mean": [pytest.approx(0.2)], "std": [1.0]}


def test_two_number_types_in_one_modality_are_refused_with_both_names(folders):
    root = folders(images={"thermal/c": GREY.astype(np.uint16)})
    with pytest.raises(DataError, match=r"thermal/a\.png is uint8 \(2 of 3\), thermal/c\.png is uint16 \(1 of 3\)"):
        audit(open_data(root))


def test_number_type_of_each_modality_and_the_extremes_of_those_that_are_not_8_bit(folders, packed):
    raw = {f"thermal/{id}": np.full((8, 12), 7000 + at, dtype=np.uint16) for at, id in enumerate("abc")}
    raw["thermal/c"][0, 0] = 9000
    found = audit(open_data(folders(images=raw)))
    assert found.types == {"rgb": "uint8", "thermal": "uint16", "event": "uint8"}
    assert found.extremes == {"thermal": {"a": (7000, 7000), "b": (7001, 7001), "c": (7002, 9000)}}
    kelvin = np.linspace(-290.5, 310, 4 * 6 * 5, dtype=np.float64).reshape(4, 6, 5)
    found = audit(open_data(packed({"a": kelvin})))
    assert set(found.types.values()) == {"float32"}
    assert found.extremes["event"]["a"] == (pytest.approx(kelvin[..., 4].min()), 310)


def test_grey_rgb_and_coloured_thermal_can_be_used_with_a_warning(folders):
    colour = np.zeros((8, 12, 3), dtype=np.uint8)
    colour[..., 0] = 153
    equal = np.repeat(GREY[:, :, None], 3, axis=2)
    found = audit(open_data(folders(images={"rgb/a": GREY, "thermal/a": colour, "event/a": equal})))
    assert [band[0] / band[2] for band in found.sums["a"]["rgb"]] == pytest.approx([0.2] * 3)
    assert [band[0] / band[2] for band in found.sums["a"]["thermal"]] == pytest.approx([0.2])
    assert [band[0] / band[2] for band in found.sums["a"]["event"]] == pytest.approx([0.2])
    assert len(found.warnings) == 3
    assert "rgb: 1 of 3 images are grey" in found.warnings[0]
    assert "thermal: 1 of 3 images have unequal colour channels (pseudo-colour)" in found.warnings[1]
    assert "event: 1 of 3 images have three equal channels, which are read as one band" in found.warnings[2]


def test_a_class_without_boxes_is_a_warning(folders):
    assert audit(open_data(folders(classes=["person", "car"]))).warnings == ("class 'car' has no box",)


def test_the_fingerprint_is_of_the_content(folders):
    first = audit(open_data(folders())).fingerprint
    root = folders(name="copy")
    assert audit(open_data(root)).fingerprint == first
    (root / "labels" / "a.txt").write_text("0 0.5 0.5 0.5 0.4\n")
    relabelled = audit(open_data(root)).fingerprint
    Image.fromarray(GREY).save(root / "event" / "c.png")
    repainted = audit(open_data(root)).fingerprint
    assert len({first, relabelled, repainted}) == 3


def test_workers_do_not_change_the_audit_and_progress_is_told(folders):
    data = open_data(folders())
    told = []
    assert audit(data, workers=3, progress=lambda done, total: told.append((done, total))) == audit(data, workers=1)
    assert told == [(1, 3), (2, 3), (3, 3)]


def test_an_audit_survives_json(folders):
    data = open_data(folders())
    found = audit(data)
    assert Audit.from_json(json.loads(json.dumps(found.to_json())), data) == found


@pytest.mark.parametrize("pixels", [True, False])
@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_a_box_that_is_not_finite_does_not_fit_an_image(value, pixels):
    labels = Labels.of([(0, 0, 0.5, 0.5), (0, value, 0.5, 0.5)], [0, 0], pixels=pixels)
    assert "is not finite" in str(labels.outside(8, 12))
