"""A reader: both images of a moment in one picture, side by side."""

from collections.abc import Sequence
from pathlib import Path

from tune_cmx.data.labels.base import LabelFile
from tune_cmx.data.labels.yolo import YoloForm
from tune_cmx.data.pixels import Pixels, decode_image
from tune_cmx.data.readers import Certainty, PairedData, Reader, Sign
from tune_cmx.data.readers.base import DataSettings
from tune_cmx.data.readers.finding_labels import FoundLabels
from tune_cmx.data.readers.joining import FoundImages, join


class PairReader(Reader):
    """RGB on the left and thermal on the right of one picture."""

    title = "pairs side by side"
    holds = "a folder pairs/ of pictures and a folder labels/ of YOLO text"

    def sign(self, root: Path) -> Sign | None:
        return Sign("pairs/", Certainty.CERTAIN) if (root / "pairs").is_dir() else None

    def open(self, root: Path, settings: DataSettings) -> PairedData:
        files = {path.stem: dict.fromkeys(("rgb", "thermal"), path) for path in sorted((root / "pairs").iterdir())}
        images = FoundImages(root, files, {"rgb": (0, 1, 2), "thermal": (0,)})
        labels = {id: LabelFile(root / "labels" / f"{id}.txt", YoloForm()) for id in files}
        return join(self, root, images, settings, FoundLabels(labels, ("person", "car"), root / "labels"))

    def decode(self, data: PairedData, content: bytes, place: str) -> Pixels:  # noqa: ARG002
        return decode_image(content, place)

    def modalities_of(self, data: PairedData, pixels: Pixels, modalities: Sequence[str]) -> dict[str, Pixels]:  # noqa: ARG002
        half = pixels.shape[1] // 2
        both = {"rgb": pixels[:, :half], "thermal": pixels[:, half:, :1]}
        return {modality: both[modality] for modality in modalities}


PAIRS = PairReader()
