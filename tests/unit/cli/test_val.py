"""`tune-cmx val` of a checkpoint, up to where the detector would be run."""

from pathlib import Path
from typing import TYPE_CHECKING

from group_checkpoints import of_shapes, saved, shapes_of_nano, with_cssa

from tune_cmx.cli.models.val_checkpoint import opened_for
from tune_cmx.config.trial import DataConfig
from tune_cmx.data.synthetic import synthesize
from tune_cmx.models.group_checkpoint import read_group_checkpoint

if TYPE_CHECKING:
    from conftest import Refusal


def test_what_val_cannot_score_is_refused(refusal: "Refusal", tmp_path: Path) -> None:
    baseline = saved(of_shapes(shapes_of_nano()), tmp_path / "baseline.pth")
    cssa = saved(of_shapes(with_cssa(shapes_of_nano())), tmp_path / "cssa.pth")
    assert "add --as-trained" in refusal("val", baseline)
    assert "absent.pth: no such file" in refusal("val", "absent.pth", "--as-trained")
    assert "no data: name the images' folder with --data" in refusal("val", baseline, "--as-trained")
    assert "--stages: needs numbers of 1 to 4" in refusal("val", baseline, "--as-trained", "--stages", "two")
    assert "give it, as in --threshold 0.5" in refusal("val", cssa, "--as-trained")
    baseline.write_bytes(b"no checkpoint")
    assert "baseline.pth: not read, as it holds more than tensors" in refusal("val", baseline, "--as-trained")


def test_labels_without_names_of_classes_are_numbered(tmp_path: Path) -> None:
    found = read_group_checkpoint(saved(of_shapes(shapes_of_nano()), tmp_path / "baseline.pth"))
    synthesize(tmp_path / "set", images=4, size=32, sequences=2, form="npy")
    (tmp_path / "set/classes.txt").unlink()
    given = DataConfig(root=str(tmp_path / "set/images"), labels=str(tmp_path / "set/labels"))
    config, opened = opened_for(given, found)
    assert config.classes == opened.classes == ("class 0",)
