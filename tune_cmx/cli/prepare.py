"""The data, audited and split before a command uses them."""

import shutil
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from rich.markup import escape

from tune_cmx.cli.output import say, warn
from tune_cmx.cli.progress import counted
from tune_cmx.config.trial import DataConfig
from tune_cmx.counting import count
from tune_cmx.errors import ConfigError, DataError

if TYPE_CHECKING:
    from tune_cmx.data.prepare import Prepared
    from tune_cmx.data.readers import PairedData


def opened_data(config: DataConfig) -> "PairedData | None":
    """The data set as its reader finds it; None where none is named.

    Raises:
        DataError: The data cannot be used; the message names their folder.
    """
    if config.root is None:
        return None
    from tune_cmx.data.prepare import open_configured

    with _naming(config):
        return open_configured(config)


def prepare_data(config: DataConfig, folder: Path, opened: "PairedData | None" = None) -> "Prepared":
    """The `Prepared` data, their files in `folder`; says what they hold and warns of what is odd.

    Args:
        config: Where the data are, and how to divide them.
        folder: Receives the files.
        opened: What `opened_data` gave; None: the data set is opened here.

    Raises:
        ConfigError: The split file is missing.
        DataError: The data cannot be used; the message names their folder.
    """
    from tune_cmx.data.pixel_range import range_text
    from tune_cmx.data.prepare import prepare
    from tune_cmx.data.split import how_text

    if config.split is not None and not Path(config.split).is_file():
        raise ConfigError(f"{config.split}: no such split file; JSON with image ids under train, val and test")
    with counted("reading images") as progress, _naming(config):
        prepared = prepare(config, folder, opened=opened, progress=progress)
    summary = prepared.summary()
    parts = ", ".join(f"{part} {_counts(found)}" for part, found in summary["counts"].items())
    if prepared.split.left_out:
        parts += f"; in no part: {_counts(summary['left_out'])}"
    place = f"{prepared.data.root} ({prepared.data.reader.title})"
    say(f"data: {escape(place)}, {how_text(summary['how'])} ({summary['hash']}): {parts}")
    for note in prepared.data.remarks:
        say(f"note: {escape(note)}")
    found = prepared.pixel_statistics(config.range)
    modalities: dict[str, list[str]] = {}
    for modality, statistics in found.items():
        modalities.setdefault(range_text(statistics), []).append(modality)
    say("range of the pixels: " + "; ".join(f"{', '.join(names)} {escape(text)}" for text, names in modalities.items()))
    for warning in summary["warnings"]:
        warn(warning["text"])
    return prepared


def _counts(part: Mapping[str, int]) -> str:
    ignored = f" and {count(part['ignored'], 'ignore region')}" if part["ignored"] else ""
    return f"{count(part['images'], 'image')} with {count(part['boxes'], 'box')}{ignored}"


@contextmanager
def _naming(config: DataConfig) -> Iterator[None]:
    """Name the folder of the data in an error of theirs."""
    try:
        yield
    except DataError as error:
        if config.root is None or config.root in str(error):
            raise
        raise DataError(f"{config.root}: {error}") from error


@contextmanager
def prepared_for(config: DataConfig, folder: Path, opened: "PairedData | None", *, begun: bool) -> "Iterator[Prepared]":
    """The data in `folder/data`; of something new they are put there only once the block has found no fault.

    So what an earlier attempt left is not taken for this one's, and a fault leaves nothing behind.
    """
    place = folder / "data"
    if begun:
        yield prepare_data(config, place, opened)
        return
    with tempfile.TemporaryDirectory() as first:
        prepared = prepare_data(config, Path(first), opened)
        yield prepared
        place.mkdir(parents=True, exist_ok=True)
        for file in Path(first).iterdir():
            shutil.copyfile(file, place / file.name)
