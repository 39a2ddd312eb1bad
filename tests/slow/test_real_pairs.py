"""Real pairs: 24 of LLVIP, two of FLIR-aligned, four of M3FD. Not part of the repository."""

import os
from pathlib import Path

import pytest

from tune_cmx.config.trial import DataConfig
from tune_cmx.data.audit import audit
from tune_cmx.data.prepare import prepare
from tune_cmx.data.readers import open_data

REPOSITORY = Path(__file__).parents[2]
DATA = Path(os.environ.get("TUNE_CMX_PAIRS", REPOSITORY.parent / "shared" / "data"))
LLVIP, DAMSDET = DATA / "llvip_mini" / "official", DATA / "damsdet4"

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(
        not (LLVIP.is_dir() and DAMSDET.is_dir()),
        reason="needs llvip_mini and damsdet4; name their folder in TUNE_CMX_PAIRS",
    ),
]


def test_llvip_is_read_as_it_lies_and_validation_is_a_block_of_the_one_training_site(tmp_path: Path) -> None:
    prepared = prepare(DataConfig(root=str(LLVIP)), tmp_path / "prepared")
    assert prepared.data.layout == "llvip"
    assert sorted({image.sequence for image in prepared.data.images}) == ["01", "19", "20"]
    split = prepared.split
    assert (split.how, len(split.train), len(split.val), len(split.test)) == ("official", 6, 2, 15)
    assert split.left_out == ("010007",)
    assert sum(prepared.audit.boxes.values()) == 91
    texts = [warning["text"] for warning in prepared.summary()["warnings"]]
    assert any("as the last block, with 1 image left out before it" in text for text in texts)
    assert any("thermal: 24 of 24 images have three equal channels" in text for text in texts)


@pytest.mark.parametrize("labels", [None, "coco.json"])
@pytest.mark.parametrize(("name", "images", "boxes"), [("coco_FLIR_align", 2, 16), ("coco_m3fd", 4, 53)])
def test_both_forms_of_labels_say_the_same(name: str, images: int, boxes: int, labels: str | None) -> None:
    data = open_data(DAMSDET / name, labels=None if labels is None else DAMSDET / name / labels)
    found = audit(data)
    assert (len(data.images), sum(found.boxes.values())) == (images, boxes)
