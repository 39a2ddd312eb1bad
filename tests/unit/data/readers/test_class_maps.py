"""Classes that are renamed, merged, left out and ordered."""

from pathlib import Path
from typing import Any

import pytest
from labelled_pairs import pairs, thing, voc

from tune_cmx.data.audit import audit
from tune_cmx.data.readers import open_data, read_labels
from tune_cmx.errors import ConfigError, DataError


@pytest.fixture
def root(tmp_path: Path) -> Path:
    return pairs(tmp_path / "set")


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
