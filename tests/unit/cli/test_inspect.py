"""`tune-cmx data inspect` says which layout a folder has, how sure that is, and what it holds."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import vehicle_sets
from PIL import Image

if TYPE_CHECKING:
    from conftest import Refusal, Run


def test_it_says_layout_modalities_classes_split_and_conditions(run: Run, tmp_path: Path) -> None:
    vehicle_sets.smod(tmp_path / "set")
    code, said, _ = run("data", "inspect", tmp_path / "set")
    assert code == 0
    for words in (
        "SMOD (layout smod, certain: day/*_tir)",
        "it could also be folders (likely:",
        "12, each with rgb, thermal",
        "3 bands, uint8, 80×64 pixels",
        "1 band, uint8, 80×64 pixels",
        "person 12, rider 12, bicycle 12",
        "train 8, test 4",
        "day 6, night 6",
        "warning: sequences are not known",
        "next: tune-cmx check",
    ):
        assert words in " ".join(said.split()), words


def test_classes_can_be_renamed_merged_and_left_out(run: Run, tmp_path: Path) -> None:
    vehicle_sets.smod(tmp_path / "set")
    _, said, _ = run("data", "inspect", tmp_path / "set", "--classes", "rider=person,bicycle=")
    assert "person 24" in said
    assert said.rstrip().endswith("set --classes rider=person,bicycle=")
    assert "bicycle" not in said.split("next:")[0].split("classes")[1].split("\n")[0]


def test_a_layout_that_is_unknown_or_ambiguous_is_refused(refusal: Refusal, run: Run, tmp_path: Path) -> None:
    vehicle_sets.smod(tmp_path / "set")
    assert "layout: unknown 'smot'" in refusal("data", "inspect", tmp_path / "set", "--layout", "smot")
    (tmp_path / "set" / "rgb").mkdir()
    message = refusal("data", "inspect", tmp_path / "set")
    assert "could be folders (rgb/) and smod (day/*_tir); say which with --layout" in message
    assert run("data", "inspect", tmp_path / "set", "--layout", "smod")[0] == 0


def test_labels_and_images_that_cannot_be_read_are_shown(refusal: Refusal, tmp_path: Path) -> None:
    for folder in ("visible", "infrared", "labels"):
        (tmp_path / "set" / folder).mkdir(parents=True)
    for name in ("a", "b"):
        for folder in ("visible", "infrared"):
            Image.fromarray(np.zeros((8, 8), np.uint8)).save(tmp_path / "set" / folder / f"{name}.png")
        (tmp_path / "set" / "labels" / f"{name}.txt").write_text("3 0.5 0.5 0.1 0.1\n")
    (tmp_path / "set" / "infrared" / "a.png").write_bytes(b"nothing of the kind")
    message = refusal("data", "inspect", tmp_path / "set", "--classes", "person")
    assert "3 problems" in message
    assert "labels/a.txt:1: class is 3; allowed: 0 (person)" in message
    assert "infrared/a.png: corrupt" in message


def test_a_flag_with_a_value_that_is_not_allowed_is_one_message(refusal: Refusal, tmp_path: Path) -> None:
    vehicle_sets.smod(tmp_path / "set")
    message = refusal("data", "inspect", tmp_path / "set", "--labels-from", "lidar")
    assert "flags: data.labels_from: must be 'rgb', 'thermal' or 'event'; got 'lidar'" in message
