"""Pixel sums of event images for a configuration that represents events in another way than the audit did."""

import fcntl
import json
import logging
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import numpy as np

from tune_cmx.data.audit import Audit, SetSums, Sums, band_sums
from tune_cmx.data.events.kept_images import config_key
from tune_cmx.data.readers import PairedData, read_image
from tune_cmx.state.json_file import write_json

_THREADS = 2
_log = logging.getLogger(__name__)


def with_event_sums(audit: Audit, data: PairedData, ids: Sequence[str], folder: Path) -> Audit:
    """The audit of some images with the sums of their event images as the set now represents them.

    The images are computed and kept on the way. The sums are kept in a file of the folder; of processes that need them
    at once, one computes them and the others wait.

    Args:
        audit: Of the same files, perhaps with another configuration of events.
        data: The set.
        ids: Of the training images.
        folder: The folder of the audit.

    Raises:
        DataError: Events cannot be read.
    """
    if data.raw_events is None:
        return audit
    key = config_key(data.raw_events.config)
    if audit.events == key:
        return audit
    path = folder / f"event_sums_{key}.json"
    with (folder / f".{path.name}.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not path.exists():
            _log.info("computing event images of %d training images: %s", len(ids), data.raw_events.config)
            write_json(path, _computed(data, ids))
    found = json.loads(path.read_text(encoding="utf-8"))
    event = np.array([found[id] for id in ids], dtype=np.float64)
    return replace(audit, sums=SetSums(ids, {**audit.sums.columns(ids), "event": event}), events=key)


def _computed(data: PairedData, ids: Sequence[str]) -> Mapping[str, tuple[Sums, ...]]:
    images = {image.id: image for image in data.images}
    with ThreadPoolExecutor(_THREADS) as pool:
        found = pool.map(lambda id: band_sums(read_image(data, images[id], ["event"])["event"]), ids)
        return dict(zip(ids, found, strict=True))
