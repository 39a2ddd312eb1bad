"""For prediction a set opens without its labels, classes and lists of parts."""

import shutil
from pathlib import Path

import pytest

from tune_cmx.data.readers import open_data, read_labels
from tune_cmx.data.synthetic import synthesize
from tune_cmx.errors import DataError


@pytest.mark.parametrize("form", ["folders", "npy"])
def test_images_alone_are_a_set(form: str, tmp_path: Path) -> None:
    root = synthesize(tmp_path / "set", images=6, size=64, sequences=3, seed=0, form=form)
    (root / "sequences.csv").write_text("id,sequence\nother,s0\n")  # of other images
    shutil.rmtree(root / "labels", ignore_errors=True)
    (root / "classes.txt").unlink(missing_ok=True)
    with pytest.raises(DataError, match="labels"):
        open_data(root)
    data = open_data(root, labelled=False)
    assert len(data.images) == 6
    assert (data.classes, data.sequences_known) == (("object",), False)
    assert all(image.label is None and image.part is None for image in data.images)
    assert not len(read_labels(data, data.images[0]).classes)


def test_labels_that_are_there_are_not_read(tmp_path: Path) -> None:
    root = synthesize(tmp_path / "set", images=6, size=64, sequences=3, seed=0)
    next((root / "labels").iterdir()).write_text("no label")
    assert all(image.label is None for image in open_data(root, labelled=False).images)
