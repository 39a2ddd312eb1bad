"""What readers of sets with raw events share: an event image is computed, every other image is a file."""

import io
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from tune_cmx.data.events.raw import MAGIC
from tune_cmx.data.pixels import Pixels, decode_image, with_bands
from tune_cmx.data.readers.base import PairedData, PairedImage, Reader


class RawEventReader(Reader):
    """A reader whose `open` sets `PairedData.raw_events`, and `PairedImage.time_us` where a file is of a sequence."""

    def content(self, data: PairedData, image: PairedImage, path: Path) -> bytes:
        if data.raw_events is not None and path == image.files.get("event"):
            return data.raw_events.content(path, image.time_us)
        return path.read_bytes()

    def identity(self, data: PairedData, image: PairedImage, path: Path, content: bytes) -> bytes:
        """Of raw events their file's size and the image's time: the same for every representation."""
        if data.raw_events is not None and path == image.files.get("event"):
            return f"{path.stat().st_size} {image.time_us}".encode()
        return content

    def decode(self, data: PairedData, content: bytes, place: str) -> Pixels:  # noqa: ARG002  # the contract
        if content.startswith(MAGIC):
            pixels: Pixels = np.load(io.BytesIO(content), allow_pickle=False)
            return pixels
        return decode_image(content, place)

    def modalities_of(self, data: PairedData, pixels: Pixels, modalities: Sequence[str]) -> dict[str, Pixels]:
        return {
            modality: pixels if modality == "event" else with_bands(pixels, len(data.bands[modality]))
            for modality in modalities
        }
