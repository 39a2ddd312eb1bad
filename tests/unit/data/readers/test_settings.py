"""What a user says of a set is used, or refused by name: no layout passes over a setting in silence."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import event_sets
import layouts
import pytest
import yaml

from tune_cmx.data.readers import READERS, PairedData, open_data
from tune_cmx.data.readers.base import CHOICES
from tune_cmx.errors import ConfigError, DataError

Maker = Callable[[Path], object]
LAYOUTS: dict[str, tuple[Maker, str]] = {
    "folders": (layouts.coco_paired, "rgb"),
    "npy": (layouts.group_npy, "rgb"),
    "flir_adas": (layouts.flir_adas_v2, "rgb"),
    "flir_adas_16bit": (layouts.flir_adas_v1, "rgb"),
    "dronevehicle": (layouts.dronevehicle, "rgb"),
    "vedai": (layouts.vedai, "rgb"),
    "smod": (layouts.smod, "rgb"),
    "dsec_det": (event_sets.dsec_det, "rgb"),
    "pedro": (event_sets.pedro, "event"),
    "llvip": (layouts.llvip, "rgb"),
    "flir_aligned": (layouts.flir_aligned, "rgb"),
    "kaist": (layouts.kaist, "rgb"),
    "m3fd": (layouts.m3fd, "rgb"),
}
"""By name: what writes a set, and one of its modalities."""


def opened(root: Path, name: str, **said: Any) -> PairedData:
    if name == "npy" and "classes" not in said:
        said["classes"] = ["person", "car"]
    return open_data(root, layout=name, **said)


def test_every_layout_is_here() -> None:
    assert list(LAYOUTS) == list(READERS)


@pytest.mark.parametrize("setting", CHOICES)
@pytest.mark.parametrize("name", LAYOUTS)
def test_a_setting_that_a_layout_does_not_use_is_refused(name: str, setting: str, tmp_path: Path) -> None:
    if setting in READERS[name].takes:
        pytest.skip("it uses the setting")
    LAYOUTS[name][0](tmp_path / "set")
    values = {
        "labels": "labels",
        "labels_from": "rgb",
        "images": {"rgb": "rgb"},
        "bands": {"rgb": [0, 1, 2]},
        "size_of": "rgb",
    }
    (tmp_path / "set" / "data.yaml").write_text(yaml.safe_dump({setting: values[setting]}))
    with pytest.raises(ConfigError, match=rf"data\.{setting} is not used by the layout {name} .*with --layout: \w+"):
        opened(tmp_path / "set", name)


@pytest.mark.parametrize("name", LAYOUTS)
def test_lists_of_data_yaml_are_the_split(name: str, tmp_path: Path) -> None:
    root = tmp_path / "set"
    LAYOUTS[name][0](root)
    ids = [image.id for image in opened(root, name).images]
    (root / "mine").mkdir()
    (root / "mine" / "a.txt").write_text(f"{ids[0]}\n{ids[2]}\n")
    (root / "mine" / "b.txt").write_text(f"{ids[-1]}\n")
    (root / "data.yaml").write_text("train: mine/a.txt\ntest: mine/b.txt\n")
    data = opened(root, name)
    parts = {image.id: image.part for image in data.images if image.part is not None}
    assert parts == {ids[0]: "train", ids[2]: "train", ids[-1]: "test"}
    assert "the split is from mine/a.txt, mine/b.txt: train 2, test 1 images" in data.remarks


def test_lists_may_have_paths_of_a_sequence(tmp_path: Path) -> None:
    root = event_sets.dsec_det(tmp_path / "set")
    (root / "one.txt").write_text("train/zurich_city_01_a/images/left/distorted/000001.png\n")
    (root / "data.yaml").write_text("test: one.txt\n")
    assert [image.id for image in open_data(root).images if image.part] == ["zurich_city_01_a_000001"]


def test_a_folder_of_npy_files_may_be_a_part(tmp_path: Path) -> None:
    layouts.group_npy(tmp_path)
    (tmp_path / "data.yaml").write_text("train: images\n")
    data = opened(tmp_path, "npy")
    assert {image.part for image in data.images} == {"train"}
    (tmp_path / "data.yaml").write_text("train: labels\n")
    with pytest.raises(DataError, match=r"labels: no image; the folder is named as a part of the split"):
        opened(tmp_path, "npy")


class TestLabelsFrom:
    @pytest.mark.parametrize("name", ["folders", "npy", "llvip", "m3fd", "kaist"])
    def test_it_is_refused_where_no_label_says_a_modality(self, name: str, tmp_path: Path) -> None:
        LAYOUTS[name][0](tmp_path)
        with pytest.raises(ConfigError, match=r"the labels in .* say no modality, so all are read; leave"):
            opened(tmp_path, name, labels_from="rgb")

    def test_an_unknown_modality_in_data_yaml_is_refused_with_its_line(self, tmp_path: Path) -> None:
        layouts.dronevehicle(tmp_path)
        (tmp_path / "data.yaml").write_text("layout: dronevehicle\nlabels_from: lidar\n")
        with pytest.raises(ConfigError, match=r"data\.yaml:2: labels_from: must be 'rgb', 'thermal' or 'event'"):
            open_data(tmp_path)


def test_keys_that_ultralytics_and_roboflow_write_are_accepted(tmp_path: Path) -> None:
    layouts.coco_paired(tmp_path)
    (tmp_path / "data.yaml").write_text("download: https://example.org/a.zip\nroboflow: {version: 3, license: none}\n")
    assert len(open_data(tmp_path).images) == 12
