"""`tune-cmx val` of a checkpoint, up to where the detector would be run."""

from pathlib import Path
from typing import TYPE_CHECKING

from group_checkpoints import of_shapes, saved, shapes_of_nano, with_cssa

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
