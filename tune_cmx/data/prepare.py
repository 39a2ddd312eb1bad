"""Audit a data set once, split it, and keep both in a folder that every trial of a study reads."""

import json
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tune_cmx.config.trial import DataConfig
from tune_cmx.data.audit import Audit, audit, statistics
from tune_cmx.data.ground_truth import ground_truth, keep_ground_truth
from tune_cmx.data.readers import PairedData, open_data
from tune_cmx.data.split import Split, make_split, read_split, split_warnings, write_split
from tune_cmx.errors import DataError
from tune_cmx.storage import fetch_data, is_uri
from tune_cmx.storage.cache import data_folder

_SPLIT, _AUDIT = "split.json", "audit.json"


@dataclass(frozen=True)
class Prepared:
    """Frames, what the audit found, and the split, whose statistics are those of its training part."""

    data: PairedData
    audit: Audit
    split: Split
    folder: Path

    @property
    def split_file(self) -> Path:
        """What a trial's `data.split` names."""
        return self.folder / _SPLIT

    def hashes(self) -> dict[str, str]:
        """What stands in the protocol for the data."""
        return {"split_hash": self.split.hash, "split_how": self.split.how, "data_fingerprint": self.audit.fingerprint}

    def summary(self) -> dict[str, Any]:
        """The split in numbers, for the study's file and the report."""
        parts = {"train": self.split.train, "val": self.split.val, "test": self.split.test}
        counts = {
            part: {
                "frames": len(ids),
                "boxes": sum(self.audit.boxes[name] for name in ids),
                "negatives": sum(self.audit.boxes[name] == 0 for name in ids),
            }
            for part, ids in parts.items()
        }
        warnings = [*split_warnings(self.split, self.data), *self.audit.warnings]
        return {
            "how": self.split.how,
            "hash": self.split.hash,
            "counts": counts,
            "sequences": self.split.sequences,
            "warnings": warnings,
        }


def prepare(config: DataConfig, folder: Path, *, progress: Callable[[int, int], None] | None = None) -> Prepared:
    """Open, audit and split a data set; a folder prepared before is taken as it is.

    Args:
        config: Where the data are, and how to divide them.
        folder: Receives `split.json`, `audit.json` and the ground truth of `val` and `test`, which a report reads.
        progress: Told frames done and frames in all.

    Raises:
        DataError: The data cannot be used, or data or `config.split` are not those that the folder was prepared from.
    """
    data = _open(config)
    if (folder / _SPLIT).exists() and (folder / _AUDIT).exists():
        return _as_it_is(config, folder)
    found = audit(data, progress=progress)
    if config.split is not None:
        split = read_split(Path(config.split), data)
    else:
        split = make_split(
            data, fractions=config.fractions, seed=config.split_seed, by=config.split_by, guard=config.guard
        )
    split = split.with_statistics(statistics(found, split.train))
    folder.mkdir(parents=True, exist_ok=True)
    (folder / _AUDIT).write_text(json.dumps(found.to_json()), encoding="utf-8")
    write_split(split, folder / _SPLIT)
    return _with_ground_truth(Prepared(data, found, split, folder))


def _as_it_is(config: DataConfig, folder: Path) -> Prepared:
    """A folder prepared before, if it holds the split that is asked for."""
    prepared = load_prepared(config, folder)
    if config.split is not None and read_split(Path(config.split), prepared.data).hash != prepared.split.hash:
        raise DataError(
            f"{config.split}: is not the split that {folder} was prepared with; "
            f"leave it out to go on with {prepared.split_file}, or take another --output-dir"
        )
    return _with_ground_truth(prepared)


def _with_ground_truth(prepared: Prepared) -> Prepared:
    """Put the ground truth beside the split, or set it against the one that is there.

    Raises:
        DataError: The labels are not those of the audit, or of the ground truth that is there.
    """
    for part, ids in (("val", prepared.split.val), ("test", prepared.split.test)):
        truth = ground_truth(prepared.data, ids, prepared.audit.sizes)
        boxes = Counter(ids[box["image_id"]] for box in truth["annotations"])
        changed = [id for id in ids if boxes[id] != prepared.audit.boxes[id]]
        if changed:
            raise DataError(
                f"{prepared.data.root}: the labels of {len(changed)} frames changed since {prepared.folder} was "
                f"prepared, such as {changed[0]}; restore them, or start a new study"
            )
        keep_ground_truth({"info": prepared.hashes(), **truth}, prepared.folder / f"ground_truth_{part}.json.gz")
    return prepared


def load_prepared(config: DataConfig, folder: Path) -> Prepared:
    """The data set as `prepare` left it, without another audit.

    Raises:
        DataError: Frames have come or gone since.
    """
    data = _open(config)
    found = Audit.from_json(json.loads((folder / _AUDIT).read_text(encoding="utf-8")))
    here, then = {frame.id for frame in data.images}, set(found.sizes)
    if here != then:
        changed = sorted(here ^ then)
        raise DataError(
            f"{data.root}: {len(changed)} frames came or went since {folder} was prepared, such as {changed[0]}; "
            "restore them, or start a new study"
        )
    return Prepared(data, found, read_split(folder / _SPLIT, data), folder)


def _open(config: DataConfig) -> PairedData:
    if config.root is None:
        raise DataError("no data: name the images' folder with --data DIR (or data.root in the file)")
    return open_data(
        fetch_data(config.root, data_folder()) if is_uri(config.root) else Path(config.root),
        labels=None if config.labels is None else Path(config.labels),
        bands=config.bands,
        classes=config.classes,
        sequences=config.sequences,
    )
