"""Data that no command takes."""

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pytest
from PIL import Image

if TYPE_CHECKING:
    from conftest import Refusal

BOX = "0 0.5 0.5 0.5 0.5\n"
IDS = tuple(f"f{number:02d}" for number in range(12))


def label(text: str) -> Callable[[Path], object]:
    return lambda root: (root / "labels" / "f03.txt").write_text(text)


def of_other_size(root: Path) -> None:
    Image.new("L", (30, 32)).save(root / "thermal" / "f03.png")


def emptied(root: Path) -> None:
    for path in sorted(root.rglob("*"), reverse=True):
        path.rmdir() if path.is_dir() else path.unlink()


def of_two_sequences(root: Path) -> None:
    rows = [f"{id},s{number // 6}" for number, id in enumerate(IDS)]
    (root / "sequences.csv").write_text("\n".join(["id,sequence", *rows]) + "\n")


BAD_DATA: dict[str, tuple[Callable[[Path], object], str]] = {
    "a label out of range": (label("0 1.5 0.5 0.5 0.5\n"), "labels/f03.txt:1: x centre is 1.5"),
    "a box of no area": (label(BOX + "0 0.5 0.5 0 0.5\n"), "labels/f03.txt:2: the box has no area"),
    "a class id too high": (label("1 0.5 0.5 0.5 0.5\n"), "labels/f03.txt:1: class is 1; allowed: 0 (person)"),
    "a missing partner image": (lambda root: (root / "thermal/f03.png").unlink(), "missing: thermal/f03.png"),
    "a pair of unequal size": (of_other_size, "image f03: modalities differ in size (width×height): rgb 32×32"),
    "a corrupt image": (lambda root: (root / "rgb/f03.png").write_bytes(b"no image"), "rgb/f03.png: corrupt"),
    "an empty folder": (emptied, "no images; it should hold"),
    "a split with an empty part": (of_two_sequences, "the part test of the split would be empty: 2 sequences"),
    "no classes": (lambda root: (root / "classes.txt").unlink(), "with --classes"),
}


@pytest.mark.parametrize("command", ["check", "search", "train"])
@pytest.mark.parametrize("fault", BAD_DATA)
def test_bad_data_get_one_message_and_leave_nothing(
    command: str, fault: str, refusal: "Refusal", data: Path, space: Path, tmp_path: Path
) -> None:
    spoil, said = BAD_DATA[fault]
    spoil(data)
    before = sorted(tmp_path.rglob("*"))
    arguments = ["train"] if command == "train" else [command, space]
    message = refusal(*arguments, "--data", data)
    assert said in message
    assert str(data) in message
    assert sorted(tmp_path.rglob("*")) == before


def test_a_nan_in_a_packed_frame_is_named_by_its_place(refusal: "Refusal", tmp_path: Path, space: Path) -> None:
    (tmp_path / "packed" / "labels").mkdir(parents=True)
    for id in IDS:
        frame = np.full((32, 32, 5), 0.5, dtype=np.float32)
        frame[4, 5, 3] = np.nan if id == "f02" else 0.5
        np.save(tmp_path / "packed" / f"{id}.npy", frame)
        (tmp_path / "packed" / "labels" / f"{id}.txt").write_text(BOX)
    for arguments in (["check", space], ["train"]):
        message = refusal(*arguments, "--data", tmp_path / "packed", "--classes", "person")
        assert "f02.npy: nan at row 4, column 5, band 3" in message


def test_a_training_part_without_boxes_is_refused(refusal: "Refusal", data: Path, space: Path) -> None:
    for part, ids in (("train", IDS[:4]), ("val", IDS[4:8]), ("test", IDS[8:])):
        (data / f"{part}.txt").write_text("\n".join(ids) + "\n")
    for id in IDS[:4]:
        (data / "labels" / f"{id}.txt").write_text("")
    assert "no training image has a box, so nothing can be learnt" in refusal("check", space, "--data", data)
