"""A new reader is a class and one line in the table: then its sets are opened, audited, split and read as tensors."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from tune_cmx.config.trial import DataConfig
from tune_cmx.data.dataset import PairedDataset, build_loader
from tune_cmx.data.labels.base import LabelFile, LabelForm, LabelReading, Labels
from tune_cmx.data.labels.classes import ClassMap
from tune_cmx.data.pixels import Pixels, decode_image
from tune_cmx.data.prepare import load_prepared, prepare
from tune_cmx.data.readers import READERS, Certainty, PairedData, Reader, Sign, open_data
from tune_cmx.data.readers.base import DataSettings
from tune_cmx.data.readers.finding_labels import FoundLabels
from tune_cmx.data.readers.joining import FoundImages, join
from tune_cmx.data.shared.image_cache import shared_images
from tune_cmx.errors import ConfigError, DataError


class CornerForm(LabelForm):
    """Corners as fractions, and a class name."""

    suffix = ".txt"
    title = "corners"

    def parse(self, content: bytes, place: str, classes: ClassMap) -> LabelReading:  # noqa: ARG002  # the contract
        rows = [line.split() for line in content.decode().splitlines()]
        corners = [(float(row[0]), float(row[1]), float(row[2]), float(row[3])) for row in rows]
        return LabelReading(Labels.of(corners, [classes.id_of[row[4]] for row in rows]))


class PairReader(Reader):
    """Colour on the left and thermal on the right of one picture; labels are corners and a class name."""

    title = "pairs side by side"
    holds = "a folder pairs/ of pictures"

    def sign(self, root: Path) -> Sign | None:
        return Sign("pairs/", Certainty.CERTAIN) if (root / "pairs").is_dir() else None

    def open(self, root: Path, settings: DataSettings) -> PairedData:
        files = {path.stem: dict.fromkeys(("rgb", "thermal"), path) for path in (root / "pairs").iterdir()}
        images = FoundImages(root, files, {"rgb": (0, 1, 2), "thermal": (0,)})
        sources = {id: LabelFile(root / "labels" / f"{id}.txt", CornerForm()) for id in files}
        return join(self, root, images, settings, FoundLabels(sources, ("person", "car"), root / "labels"))

    def decode(self, data: PairedData, content: bytes, place: str) -> Pixels:  # noqa: ARG002  # the contract
        return decode_image(content, place)

    def modalities_of(self, data: PairedData, pixels: Pixels, modalities: Sequence[str]) -> dict[str, Pixels]:  # noqa: ARG002
        half = pixels.shape[1] // 2
        both = {"rgb": pixels[:, :half], "thermal": pixels[:, half:, :1]}
        return {modality: both[modality] for modality in modalities}


@pytest.fixture
def root(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Thirty pairs of 6 rows and 8 columns: red left, and right a grey that counts up; one car in every second."""
    monkeypatch.setitem(READERS, "pairs", PairReader())
    root = tmp_path / "set"
    for folder in ("pairs", "labels"):
        (root / folder).mkdir(parents=True)
    for number in range(30):
        pair = np.zeros((6, 16, 3), dtype=np.uint8)
        pair[:, :8, 0] = 255
        pair[:, 8:] = number
        Image.fromarray(pair).save(root / "pairs" / f"p{number}.png")
        (root / "labels" / f"p{number}.txt").write_text("0.25 0.5 0.75 1.0 car\n" if number % 2 == 0 else "")
    return root


def test_its_set_is_audited_and_split(root: Path, tmp_path: Path) -> None:
    config = DataConfig(root=str(root), guard=2)
    prepared = prepare(config, tmp_path / "prepared")
    assert list(prepared.data.bands) == ["rgb", "thermal"]
    assert prepared.audit.sizes["p7"] == (6, 8)
    assert prepared.audit.class_boxes == {"person": 0, "car": 15}
    assert prepared.split.train == tuple(f"p{number}" for number in range(len(prepared.split.train)))
    mean = sum(range(len(prepared.split.train))) / len(prepared.split.train) / 255
    assert prepared.split.statistics["rgb"]["mean"] == pytest.approx([1.0, 0.0, 0.0])
    assert prepared.split.statistics["thermal"]["mean"] == pytest.approx([mean])
    assert load_prepared(config, tmp_path / "prepared").hashes() == prepared.hashes()


@pytest.mark.parametrize("workers", [0, 1])
def test_its_images_are_read_as_tensors(root: Path, workers: int) -> None:
    dataset = PairedDataset(open_data(root), ["p9", "p10"], ["thermal", "rgb"], augment=None, seed=0)
    ((images, targets),) = build_loader(dataset, batch_size=2, shuffle=False, seed=0, epoch=1, workers=workers)
    assert [tuple(image.shape) for image in images] == [(4, 6, 8)] * 2
    assert torch.equal(images[0][:, 0, 0], torch.tensor([9 / 255, 1.0, 0.0, 0.0]))
    assert [target["boxes"].tolist() for target in targets] == [[], [[2.0, 3.0, 6.0, 6.0]]]
    assert targets[1]["labels"].tolist() == [2]


def test_its_images_are_shared_between_processes(root: Path, tmp_path: Path) -> None:
    prepared = prepare(DataConfig(root=str(root), guard=2), tmp_path / "prepared")
    with shared_images(prepared.data, prepared.audit, tmp_path / "memory") as images:
        assert images is not None
        (thermal,) = images.read("p29", ["thermal"])
        assert thermal.shape == (6, 8, 1)
        assert set(thermal.ravel().tolist()) == {29}


@pytest.mark.usefixtures("root")
def test_errors_name_its_form(tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    with pytest.raises(
        DataError, match=r"it should hold one of these:\n(.*\n)+  a folder pairs/ of pictures \(layout pairs\)"
    ):
        open_data(tmp_path / "empty")


def test_a_folder_of_two_forms_is_refused(root: Path) -> None:
    (root / "rgb").mkdir()
    with pytest.raises(ConfigError, match=r"could be folders \(rgb/\) and pairs \(pairs/\); say which with --layout"):
        open_data(root)
