"""Where labels lie, and images that have none."""

from pathlib import Path

import pytest
from labelled_pairs import BOX, pairs, thing
from layouts import write

from tune_cmx.data.inspection import inspect
from tune_cmx.data.readers import open_data, read_labels
from tune_cmx.errors import ConfigError, DataError


@pytest.fixture
def root(tmp_path: Path) -> Path:
    return pairs(tmp_path / "set")


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


def test_folders_of_labels_may_name_a_modality_or_a_part(root: Path) -> None:
    write(root / "classes.txt", "person\n")
    write(root / "labels_thermal" / "a.txt", BOX)
    assert len(read_labels(open_data(root), open_data(root).images[0]).boxes) == 1
    (root / "labels_thermal").rename(root / "labels_train")
    write(root / "labels_val" / "b.txt", BOX)
    data = open_data(root)
    assert [len(read_labels(data, image).boxes) for image in data.images] == [1, 1, 0]
