"""The raw events of a data set, as its reader hands out their images."""

from dataclasses import dataclass
from pathlib import Path

from tune_cmx.config.data.events import EventsConfig
from tune_cmx.data.events.frames import as_bytes, event_image
from tune_cmx.data.events.kept_images import Image, kept_image
from tune_cmx.data.events.sources import read_hdf5, read_sample

MAGIC = b"\x93NUMPY"
"""First bytes of an image as `content` gives it; no form of image files begins so."""


@dataclass(frozen=True)
class RawEvents:
    """How the raw events of a set become images. It is pickled to loader processes."""

    config: EventsConfig
    height: int
    """Rows of the sensor."""
    width: int
    """Columns of the sensor."""

    def content(self, path: Path, time_us: int | None) -> bytes:
        """The event image of one moment as the bytes of a .npy file, H×W×bands of uint8.

        Args:
            path: The file of the events.
            time_us: The time of the moment, for the file of a sequence; None: the file is a sample that ends then.

        Raises:
            DataError: The events cannot be used.
            OSError: The file does not exist.
        """
        facts = [time_us, self.height, self.width]
        return kept_image(path, facts, self.config, lambda: self._computed(path, time_us))

    def _computed(self, path: Path, time_us: int | None) -> Image:
        size = self.height, self.width
        if time_us is None:
            events = read_sample(path, self.config.window, *size)
        else:
            events = read_hdf5(path, time_us, self.config.window, *size)
        return as_bytes(event_image(events, *size, self.config))
