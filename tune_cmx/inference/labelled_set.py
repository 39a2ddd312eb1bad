"""A trained detector scored on a data set: which images, and every metric."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tune_cmx.config.trial import DataConfig
from tune_cmx.counting import count
from tune_cmx.data.audit import Audit, KeptAudits, read_set
from tune_cmx.data.dataset import PairedDataset
from tune_cmx.data.ground_truth import ground_truth
from tune_cmx.data.labels.base import Labels
from tune_cmx.data.prepare import open_configured
from tune_cmx.data.readers import PairedData
from tune_cmx.data.split import make_split, read_split
from tune_cmx.errors import ConfigError, DataError
from tune_cmx.evaluation import by_class, by_condition, by_sequence
from tune_cmx.inference.trained_detector import TrainedDetector
from tune_cmx.state.data_files import SPLIT_FILE
from tune_cmx.training.score import score_images

ALL = "all"
"""In place of a split: every image."""


@dataclass(frozen=True)
class LabelledSet:
    """A data set that was read once."""

    data: PairedData
    audit: Audit
    labels: Mapping[str, Labels]
    """Boxes by image id, where they are known; the others are read when they are scored."""


@dataclass(frozen=True)
class Scored:
    """A detector on some images."""

    truth: Mapping[str, Any]
    """In COCO's form."""
    detections: list[dict[str, Any]]
    """COCO results."""
    metrics: Mapping[str, float]
    """In points; nan where one is not defined."""
    milliseconds: float
    """Of the detector, an image."""
    by_class: Mapping[str, Mapping[str, float]]
    by_sequence: Mapping[str, Mapping[str, float]]
    """Empty where sequences are not known."""
    by_condition: Mapping[str, Mapping[str, float]]
    """Empty where conditions are not known."""


def open_labelled(
    config: DataConfig, detector: TrainedDetector, progress: Callable[[int, int], None] | None = None
) -> LabelledSet:
    """Open and read a data set that a detector can be scored on.

    Args:
        config: Where it is.
        detector: Its modalities and classes are those of the set.
        progress: Called with the number of images read and their total.

    Raises:
        DataError: The set cannot be used, lacks a modality of the detector, or has other classes.
    """
    data = open_configured(config)
    for name, one in detector.modalities.items():
        if name not in data.bands:
            raise DataError(f"{data.root}: no {name} images, which the model sees; the set has {', '.join(data.bands)}")
        if len(data.bands[name]) != one.bands:
            raise DataError(
                f"{data.root}: {name} has {len(data.bands[name])} bands; the model was trained on {one.bands}"
            )
    if data.classes != detector.classes:
        raise DataError(
            f"{data.root}: its classes are {', '.join(data.classes)}; the model has {', '.join(detector.classes)}. "
            f"Rename them with --classes, as in --classes {data.classes[0]}={detector.classes[0]}"
        )
    audit, labels = read_set(data, kept=KeptAudits(data), progress=progress)
    return LabelledSet(data, audit, labels)


def same_data(detector: TrainedDetector, labelled: LabelledSet) -> bool:
    """Whether the images and labels are those of the training, all parts of the split together."""
    return detector.state is not None and detector.state.data_fingerprint == labelled.audit.fingerprint


def images_to_score(detector: TrainedDetector, labelled: LabelledSet, split: str) -> tuple[list[str], list[str]]:
    """The ids of the images of a split, and what a user should know of them.

    Args:
        detector: Its model folder has the split of the training.
        labelled: The set.
        split: `val` or `test`: of the training, if the data are the same, else of the official split; `all`; or the
            path of a split file, of which the part test is taken.

    Raises:
        ConfigError: There is no such split.
        DataError: The split file cannot be used.
    """
    data, same = labelled.data, same_data(detector, labelled)
    own = None if detector.folder is None else detector.folder / SPLIT_FILE
    trained: set[str] = set()
    if same and own is not None and own.is_file():
        known = read_split(own, data)
        if split in ("val", "test"):
            return list(known.val if split == "val" else known.test), []
        trained = {*known.train}
    if split in ("val", "test"):
        if not any(image.part == split for image in data.images):
            raise ConfigError(
                f"--split {split}: {data.root} has no split of its own, and is not the data of the training with its "
                "split; name a split file, as in --split split.json, or score every image with --split all"
            )
        official = make_split(data, by="official", classes_of=labelled.audit.classes)
        return list(official.val if split == "val" else official.test), []
    if split == ALL:
        ids = [image.id for image in data.images]
    elif Path(split).is_file():
        ids = list(read_split(Path(split), data, classes_of=labelled.audit.classes).test)
    else:
        raise ConfigError(f"--split: needs val, test, all or the path of a split file; got '{split}'")
    leaked = len(trained.intersection(ids))
    if leaked:
        return ids, [f"{count(leaked, 'image')} of {len(ids)} were trained on, so the values are too high"]
    if not same:
        return ids, ["these are not the data of the training; that no image was trained on is not checked"]
    return ids, []


def score_detector(detector: TrainedDetector, labelled: LabelledSet, ids: Sequence[str], *, workers: int = 0) -> Scored:
    """Score a detector on images, as the end of its training does.

    Args:
        detector: On its device.
        labelled: The set.
        ids: Of the images.
        workers: Loader processes; 0 loads here.

    Raises:
        TrialError: A box or a score is not finite.
    """
    data, order = labelled.data, tuple(detector.modalities)
    images = PairedDataset(data, ids, order, augment=None, seed=0, scales=detector.scales)
    truth = ground_truth(data, ids, labelled.audit.sizes, labelled.labels)
    found = score_images(
        detector.network, images, truth, detector.device, at_once=detector.images_at_once, workers=workers
    )
    return Scored(
        truth,
        found.detections,
        found.metrics,
        found.milliseconds,
        by_class(found.detections, truth),
        by_sequence(found.detections, truth),
        by_condition(found.detections, truth),
    )
