"""PEDRo: samples of 40 ms of raw events with boxes of persons; no other modality.

Source: Boretti et al., "PEDRo: an Event-based Dataset for Person Detection in Robotics", CVPR Workshops 2023;
    https://github.com/SSIGPRO/PEDRo-Event-Based-Dataset.
"""

from dataclasses import replace
from pathlib import Path
from typing import ClassVar

from tune_cmx.config.data.events import EventsConfig
from tune_cmx.data.events.raw import RawEvents
from tune_cmx.data.labels.base import LabelFile, LabelForm, LabelSource
from tune_cmx.data.labels.voc import VocForm
from tune_cmx.data.labels.yolo import YoloForm
from tune_cmx.data.readers.base import Certainty, DataSettings, PairedData, Sign
from tune_cmx.data.readers.finding_labels import FoundLabels
from tune_cmx.data.readers.joining import FoundImages, join
from tune_cmx.data.readers.names import Key
from tune_cmx.data.readers.order import listed
from tune_cmx.data.readers.pairing import ids_of
from tune_cmx.data.readers.raw_events import RawEventReader
from tune_cmx.errors import DataError

CLASSES = ("person",)
PARTS = ("train", "val", "test")
SAMPLES = "numpy"
LABELS: tuple[tuple[str, LabelForm], ...] = (("yolo", YoloForm()), ("xml", VocForm()))
"""Folders of the same boxes in two forms; the first one that is there is read."""
SENSOR = 260, 346
"""Height and width of the DAVIS346."""


class PedroReader(RawEventReader):
    """`numpy/`, `yolo/` and `xml/`, in each train, val and test."""

    title: ClassVar[str] = "PEDRo"
    published: ClassVar[bool] = True
    holds: ClassVar[str] = f"PEDRo's {SAMPLES}/ and yolo/ or xml/, each with train/, val/ and test/"
    takes: ClassVar[frozenset[str]] = frozenset({"labels"})

    def sign(self, root: Path) -> Sign | None:
        sampled = any(path for part in PARTS for path in (root / SAMPLES / part).glob("*.npy"))
        labelled = any((root / name).is_dir() for name, _ in LABELS)
        return Sign(f"{SAMPLES}/ with {', '.join(PARTS)}", Certainty.CERTAIN) if sampled and labelled else None

    def open(self, root: Path, settings: DataSettings) -> PairedData:
        samples: dict[Key, Path] = {}
        for part in PARTS:
            samples |= {(part, path.stem): path for path in sorted((root / SAMPLES / part).glob("*.npy"))}
        ids = ids_of(root, list(samples))
        labels = _labels(root, ids) if settings.labels is None else None
        images = FoundImages(
            root,
            {id: {"event": samples[key]} for key, id in ids.items()},
            {},
            keys=ids,
            parts={id: key[0] for key, id in ids.items()},
        )
        data = join(self, root, images, settings, labels)
        return replace(data, raw_events=RawEvents(EventsConfig(), *SENSOR)).with_events(None)


def _labels(root: Path, ids: dict[Key, str]) -> FoundLabels:
    """The label file of each sample.

    Raises:
        DataError: No sample has one.
    """
    name, form = next((one for one in LABELS if (root / one[0]).is_dir()), LABELS[0])
    found = {(part, path.stem): path for part in PARTS for path in sorted((root / name / part).glob(f"*{form.suffix}"))}
    sources: dict[str, LabelSource] = {ids[key]: LabelFile(path, form) for key, path in found.items() if key in ids}
    if not sources:
        raise DataError(
            f"{root / name}: no label file for a sample; labels are named like it, as in {name}/train/x.txt"
        )
    stray = ["/".join(key) for key in found if key not in ids]
    remark = f"label files in {name}/ that were not read, as they have no sample: {listed(stray)}"
    return FoundLabels(sources, CLASSES, root / name, remarks=(remark,) if stray else ())
