"""Audit and split a data set once, and keep both in a folder that every trial of a study reads."""

import hashlib
import json
import os
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from tune_cmx.config.data.ranges import PixelRange, PixelRanges
from tune_cmx.config.parse import dump
from tune_cmx.config.trial import MODALITIES, DataConfig
from tune_cmx.data.audit import Audit, KeptAudits, read_set
from tune_cmx.data.audit.uncollected import uncollected
from tune_cmx.data.event_sums import with_event_sums
from tune_cmx.data.ground_truth import ground_truth, keep_ground_truth
from tune_cmx.data.labels.base import Labels
from tune_cmx.data.pixel_statistics import modality_statistics, pixel_statistics
from tune_cmx.data.readers import PairedData, open_data
from tune_cmx.data.split import Split, make_split, read_split, split_warnings, write_split
from tune_cmx.errors import DataError
from tune_cmx.state.data_files import AUDIT_FILE, SPLIT_FILE
from tune_cmx.state.json_file import json_object
from tune_cmx.storage import fetch_data, is_uri
from tune_cmx.storage.cache import data_folder


@dataclass(frozen=True)
class Prepared:
    """A data set, what its audit found, and its split with the pixel statistics of the training part."""

    data: PairedData
    audit: Audit
    split: Split
    folder: Path

    @property
    def split_file(self) -> Path:
        """The file that a trial's `data.split` names."""
        return self.folder / SPLIT_FILE

    def with_events(self, config: DataConfig) -> "Prepared":
        """With the bands that a configuration gives to raw events; the pixel statistics stay as they are."""
        return replace(self, data=self.data.with_events(config.events))

    def hashes(self) -> dict[str, str]:
        """The data's part of the protocol: hash and kind of the split, and the fingerprint of the data."""
        return {"split_hash": self.split.hash, "split_how": self.split.how, "data_fingerprint": self.audit.fingerprint}

    def pixel_statistics(self, ranges: PixelRanges) -> dict[str, dict[str, Any]]:
        """Range, mean and deviation of each modality over the training part, for the ranges of a configuration.

        Ranges other than those with which the data were prepared are found once and kept in the folder.

        Raises:
            DataError: A range does not suit the data, or is for a modality that they do not have.
        """
        absent = [name for name in MODALITIES if name not in self.data.bands and ranges.of(name) is not None]
        if absent:
            raise DataError(
                f"data.range.{absent[0]}: the data have no {absent[0]} images, but {', '.join(self.data.bands)}; "
                "leave it out"
            )
        return {modality: self._statistics(modality, ranges.of(modality)) for modality in self.data.bands}

    def _statistics(self, modality: str, asked: PixelRange | None) -> dict[str, Any]:
        described = None if asked is None else dump(asked)
        stored: dict[str, Any] | None = self.split.statistics.get(modality)
        if stored is not None and stored.get("asked") == described:
            return stored
        events = self.audit.events if modality == "event" else ""
        key = json.dumps([described, events, self.hashes()], sort_keys=True)
        path = self.folder / f"pixels_{modality}_{hashlib.sha256(key.encode()).hexdigest()[:12]}.json"
        if path.exists():
            kept: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
            return kept
        found = modality_statistics(self.data, self.audit, self.split.train, modality, asked)
        temporary = path.with_name(f".{path.name}.{os.getpid()}")
        temporary.write_text(json.dumps(found, indent=1) + "\n", encoding="utf-8")
        temporary.replace(path)
        return found

    def summary(self) -> dict[str, Any]:
        """The split in numbers, for `study.json` and the report.

        Returns:
            `how` and `hash`; `counts`, by part the number of `images`, `boxes`, `negatives` (images without a box)
            and `ignored` (ignore regions, which are no boxes); `left_out`, the same of the images in no part;
            `sequences`, names by part; `warnings`, each with its `kind` and its `text`.
        """
        parts = {"train": self.split.train, "val": self.split.val, "test": self.split.test}
        of_split = [asdict(warning) for warning in split_warnings(self.split, self.data, self.audit.classes)]
        of_data = [{"kind": "data", "text": text} for text in self.audit.warnings]
        return {
            "how": self.split.how,
            "hash": self.split.hash,
            "counts": {part: self._counts(ids) for part, ids in parts.items()},
            "left_out": self._counts(self.split.left_out),
            "sequences": self.split.sequences,
            "warnings": [*of_split, *of_data],
        }

    def _counts(self, ids: Sequence[str]) -> dict[str, int]:
        boxes = [self.audit.boxes[id] for id in ids]
        ignored = sum(self.audit.ignored.get(id, 0) for id in ids)
        return {"images": len(ids), "boxes": sum(boxes), "negatives": boxes.count(0), "ignored": ignored}


def prepare(
    config: DataConfig,
    folder: Path,
    *,
    opened: PairedData | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> Prepared:
    """Open, audit and split a data set, or load a folder that was prepared before.

    Args:
        config: Where the data are, and how to divide them.
        folder: Receives `split.json`, `audit.json` and the ground truth of `val` and `test`, which a report reads.
        opened: What `open_configured` gave; None: the data set is opened here.
        progress: Called with the number of images read and their total; again from 1 where the training images are
            read once more to find the range of their pixels.

    Raises:
        DataError: The data cannot be used, or the folder was prepared from other data or another `config.split`.
    """
    data = (opened or open_configured(config)).with_events(config.events)
    if (folder / SPLIT_FILE).exists() and (folder / AUDIT_FILE).exists():
        return _prepared_before(config, folder, data)
    found, labels = read_set(data, kept=KeptAudits(data), progress=progress)
    if config.split is not None:
        split = _given_split(config, data, found)
    else:
        split = make_split(
            data,
            fractions=config.fractions,
            seed=config.split_seed,
            by=config.split_by,
            guard=config.guard,
            classes_of=found.classes,
        )
    split = split.with_statistics(pixel_statistics(data, found, split.train, config.range, progress=progress))
    folder.mkdir(parents=True, exist_ok=True)
    (folder / AUDIT_FILE).write_text(json.dumps(found.to_json()), encoding="utf-8")
    write_split(split, folder / SPLIT_FILE)
    return _with_ground_truth(Prepared(data, found, split, folder), labels)


def _prepared_before(config: DataConfig, folder: Path, data: PairedData) -> Prepared:
    """The content of a folder that was prepared before, if its split is the one in the configuration."""
    prepared = _loaded(data, _audit_of(_audit_in(folder), data), folder)
    if config.split is not None and (_given_split(config, prepared.data, prepared.audit).hash != prepared.split.hash):
        raise DataError(
            f"{config.split}: is not the split that {folder} was prepared with; "
            f"leave --split out to use {prepared.split_file}, or use another --output-dir"
        )
    kept = KeptAudits(prepared.data).labels([*prepared.split.val, *prepared.split.test])
    return _with_ground_truth(prepared, kept)


def _given_split(config: DataConfig, data: PairedData, found: Audit) -> Split:
    """The split of the file that the configuration names."""
    return read_split(
        Path(config.split or ""),
        data,
        fractions=config.fractions,
        seed=config.split_seed,
        guard=config.guard,
        classes_of=found.classes,
    )


@uncollected()
def _with_ground_truth(prepared: Prepared, labels: Mapping[str, Labels]) -> Prepared:
    """Write the ground truth beside the split, or compare it with the file that is there.

    Args:
        prepared: The data.
        labels: By image id, as they are in the files; those that are not given are read.

    Raises:
        DataError: The labels differ from those of the audit, or of the file that is there.
    """
    for part, ids in (("val", prepared.split.val), ("test", prepared.split.test)):
        truth = ground_truth(prepared.data, ids, prepared.audit.sizes, labels)
        boxes, ignored = (
            Counter(ids[box["image_id"]] for box in truth["annotations"] if box["iscrowd"] == crowd) for crowd in (0, 1)
        )
        then, then_ignored = prepared.audit.boxes, prepared.audit.ignored
        # a region for every class is one in the audit, and one a class in the ground truth
        changed = [id for id in ids if (boxes[id], id in ignored) != (then[id], id in then_ignored)]
        if changed:
            raise DataError(
                f"{prepared.data.root}: the labels of {len(changed)} images changed since {prepared.folder} was "
                f"prepared, such as {changed[0]}; restore them, or start a new study"
            )
        keep_ground_truth({"info": prepared.hashes(), **truth}, prepared.folder / f"ground_truth_{part}.json.gz")
    return prepared


def load_prepared(config: DataConfig, folder: Path) -> Prepared:
    """The data set as `prepare` left it, without another audit.

    Raises:
        DataError: Images were added or removed since.
    """
    content = _audit_in(folder)
    data = open_configured(config, content.get("label_classes"))
    return _loaded(data, _audit_of(content, data), folder)


@uncollected()
def _audit_in(folder: Path) -> dict[str, Any]:
    path = folder / AUDIT_FILE
    return json_object(path, path.read_bytes())


@uncollected()
def _audit_of(content: Mapping[str, Any], data: PairedData) -> Audit:
    return Audit.from_json(content, data)


def _loaded(data: PairedData, found: Audit, folder: Path) -> Prepared:
    """What `prepare` left in the folder, if it is of these images."""
    here, then = {image.id for image in data.images}, set(found.sizes)
    if here != then:
        changed = sorted(here ^ then)
        raise DataError(
            f"{data.root}: {len(changed)} images were added or removed since {folder} was prepared, such as "
            f"{changed[0]}; restore them, or start a new study"
        )
    data = _as_audited(data, found)
    split = read_split(folder / SPLIT_FILE, data)
    seen = with_event_sums(found, data, split.train, folder)
    if seen is not found:  # another representation of raw events than the audit's
        event = modality_statistics(data, seen, split.train, "event", None)
        split = split.with_statistics({**split.statistics, "event": event})
    return Prepared(data, seen, split, folder)


def _as_audited(data: PairedData, found: Audit) -> PairedData:
    """The set without modalities that were added since the audit: the study began without them."""
    then = next(iter(found.sums.values())).keys()
    if data.bands.keys() <= then:
        return data
    images = tuple(
        replace(image, files={name: path for name, path in image.files.items() if name in then})
        for image in data.images
    )
    bands = {name: channels for name, channels in data.bands.items() if name in then}
    return replace(data, images=images, bands=bands)


@uncollected()
def open_configured(config: DataConfig, label_classes: Sequence[str] | None = None) -> PairedData:
    """Find the files of a data set, from storage if it is there; no pixel is read.

    Args:
        config: Where the data are.
        label_classes: As an audit found them; None: they are read from the labels where no file names them.

    Raises:
        DataError: No data set is named, or it is not of a known form.
    """
    if config.root is None:
        raise DataError("no data: name the images' folder with --data DIR (or data.root in the file)")
    return open_data(
        fetch_data(config.root, data_folder()) if is_uri(config.root) else Path(config.root),
        layout=config.layout,
        labels=None if config.labels is None else Path(config.labels),
        labels_from=config.labels_from,
        bands=config.bands,
        classes=config.classes,
        sequences=config.sequences,
        events=config.events,
        label_classes=label_classes,
    )
