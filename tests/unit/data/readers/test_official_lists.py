"""The set's own lists of images."""

from pathlib import Path

import pytest
from labelled_pairs import BOX, pairs
from layouts import write

from tune_cmx.data.readers import open_data
from tune_cmx.data.split import make_split
from tune_cmx.errors import DataError


@pytest.fixture
def root(tmp_path: Path) -> Path:
    return pairs(tmp_path / "set")


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
