"""A model folder: all that a trained detector needs, in files that are read without executing anything.

`model.json` describes it, `model.safetensors` has the weights that were scored, `split.json` the images of train, val
and test, and `README.md` is the model card.
"""

import hashlib
import logging
import os
import shutil
import tempfile
from collections.abc import Callable, Mapping
from contextlib import suppress
from functools import partial
from pathlib import Path
from statistics import median
from typing import Any

from tune_cmx.config.parse import dump
from tune_cmx.config.trial import TrialConfig
from tune_cmx.data.prepare import Prepared
from tune_cmx.data.split import write_split
from tune_cmx.errors import ConfigError, DataError, TuneCmxError
from tune_cmx.inference.model_card import card
from tune_cmx.state.data_files import SPLIT_FILE
from tune_cmx.state.final_results import RESULTS_FILE, FinalResults
from tune_cmx.state.json_file import changed, read_model, write_atomically
from tune_cmx.state.model_state import (
    CARD_FILE,
    MODEL_FILE,
    WEIGHTS_FILE,
    ModelState,
    new_model_state,
    read_model_state,
    write_model_state,
)
from tune_cmx.training.checkpoint import checkpoints, scored_weights
from tune_cmx.training.run_folder import RunFolder, now

IN_RUN = "model"
"""The model folder of a complete run, in its run folder. Its weights are a hard link to those of the checkpoint."""
_PHASES = ("confirm", "single")
"""What a run is trained for that leaves a model folder."""
_log = logging.getLogger(__name__)


def leave_model(run_folder: RunFolder, prepared: Prepared) -> Path | None:
    """Write the model folder of a complete confirmation run or single trial into its run folder.

    Args:
        run_folder: Of the trial.
        prepared: The data that it was trained on.

    Returns:
        The folder; None: the trial is not complete, is of the search, or has no weights.
    """
    folder, state = run_folder.folder / IN_RUN, run_folder.state()
    checkpoint = next(reversed(checkpoints(run_folder.checkpoints)), None)
    if state.status != "complete" or state.phase not in _PHASES or checkpoint is None:
        return None
    if (folder / MODEL_FILE).is_file():
        return folder
    weights = scored_weights(checkpoint)
    described = _described(run_folder, prepared, weights)
    write_model_folder(folder, described, weights, partial(write_split, prepared.split), links=True)
    return folder


def try_to_leave_model(run_folder: RunFolder, prepared: Prepared) -> None:
    """As `leave_model`; a disk that fails is a warning, as the trial itself is complete."""
    try:
        leave_model(run_folder, prepared)
    except (TuneCmxError, OSError) as error:
        _log.warning("%s: no model folder was written: %s", run_folder.folder.name, error)


def write_model_folder(
    folder: Path,
    state: ModelState,
    weights: Path,
    put_split: Callable[[Path], object] | None,
    *,
    links: bool = False,
    force: bool = False,
) -> None:
    """Write a model folder whole or not at all.

    Args:
        folder: Does not exist, or is empty, or holds a model and `force` is set.
        state: Its description; its hash is that of `weights`.
        weights: A file of safetensors.
        put_split: Writes `split.json` at a path; None: the images of the training are not known.
        links: Share the content of the weights with the file given, where the disk can.
        force: Replace the model that is there.

    Raises:
        ConfigError: Another folder is in the way.
    """
    refuse_occupied(folder, force=force)
    folder.parent.mkdir(parents=True, exist_ok=True)
    place = Path(tempfile.mkdtemp(dir=folder.parent, prefix=f".{folder.name}.", suffix=".partial"))
    try:
        _put(weights, place / WEIGHTS_FILE, links=links)
        if put_split is not None:
            put_split(place / SPLIT_FILE)
        write_atomically(place / CARD_FILE, card(state))
        write_model_state(place / MODEL_FILE, state)
        place.chmod(0o755)  # mkdtemp lets nobody else read it
        if folder.exists():
            shutil.rmtree(folder)
        place.rename(folder)
    except BaseException:
        shutil.rmtree(place, ignore_errors=True)
        raise


def refuse_occupied(folder: Path, *, force: bool) -> None:
    """Refuse to write a model over something else.

    Raises:
        ConfigError: The folder holds other files, or a model and `force` is not set.
    """
    if not folder.exists() or (folder.is_dir() and not any(folder.iterdir())):
        return
    if not (folder / MODEL_FILE).is_file():
        raise ConfigError(f"{folder}: exists and is no model folder; choose another --export")
    if not force:
        raise ConfigError(f"{folder}: a model is there; add --force to replace it, or choose another --export")


def export_run(run: Path, folder: Path, *, force: bool = False, **fields: Any) -> ModelState:
    """Copy the model of a run folder out of it.

    Args:
        run: The run folder of a complete trial, with its `model/`.
        folder: Receives the model.
        force: Replace a model that is there.
        fields: Fields of `model.json` to be set, by name.

    Raises:
        ConfigError: The run has no model folder, or another folder is in the way.
        DataError: The run's `model.json` is damaged, or its weights are missing.
    """
    own = run / IN_RUN
    if not (own / MODEL_FILE).is_file():
        raise ConfigError(
            f"{run}: no {IN_RUN}/{MODEL_FILE}, as an earlier version trained this run; name its data with --data, and "
            "it is written"
        )
    state = changed(read_model_state(own / MODEL_FILE), fields, own / MODEL_FILE)
    split = own / SPLIT_FILE
    put_split = partial(shutil.copyfile, split) if split.is_file() else None
    write_model_folder(folder, state, _weights_of(run), put_split, force=force)
    return state


def _weights_of(run: Path) -> Path:
    """The scored weights of a run: in its model folder, else in its checkpoint, as on object storage."""
    own = run / IN_RUN / WEIGHTS_FILE
    if own.is_file():
        return own
    checkpoint = next(reversed(checkpoints(run / "checkpoint")), None)
    if checkpoint is None:
        raise DataError(f"{run}: neither {IN_RUN}/{WEIGHTS_FILE} nor a checkpoint is there; restore one of them")
    return scored_weights(checkpoint)


def _described(run_folder: RunFolder, prepared: Prepared, weights: Path) -> ModelState:
    """The `model.json` of a complete trial."""
    config, state, place = run_folder.config(), run_folder.state(), run_folder.folder / IN_RUN / MODEL_FILE
    final = read_model(FinalResults, run_folder.folder / RESULTS_FILE)
    heights, widths = zip(*(prepared.audit.sizes[id] for id in prepared.split.train), strict=True)
    counts = {"val": len(prepared.split.val), "test": len(prepared.split.test)}
    return new_model_state(
        place,
        name=run_folder.folder.name,
        license=None,
        created=now(),
        code_version=state.code_version,
        config=dump(config.placeless()),
        classes=list(prepared.data.classes),
        streams=config.model.streams,
        modalities=_modalities(config, prepared),
        image_sizes={
            "smallest": [min(heights), min(widths)],
            "usual": [float(median(heights)), float(median(widths))],
            "largest": [max(heights), max(widths)],
        },
        images_at_once=config.schedule.images_at_once(run_folder.micro_batch(config.schedule.micro_batch)),
        ema=config.schedule.ema_decay is not None,
        weights_sha256=sha256_of(weights),
        parameters=state.parameters and state.parameters.total,
        seed=config.seed,
        epochs=state.epochs,
        layout=prepared.data.layout,
        **prepared.hashes(),
        metrics={
            split: {
                name: {"value": value, "interval": None, "n": counts.get(split), "unit": "images"}
                for name, value in metrics.items()
            }
            for split, metrics in final.on_splits.items()
        },
    )


def _modalities(config: TrialConfig, prepared: Prepared) -> dict[str, dict[str, Any]]:
    statistics = prepared.pixel_statistics(config.data.range)
    return {name: _modality(statistics[name], prepared.data.bands[name]) for name in config.model.modalities()}


def _modality(found: Mapping[str, Any], channels: tuple[int, ...]) -> dict[str, Any]:
    return {
        "channels": list(channels),
        "number_type": found.get("type", "uint8"),
        "scale": found.get("scale", {"kind": "type"}),
        "mean": list(found["mean"]),
        "std": list(found["std"]),
    }


def sha256_of(path: Path) -> str:
    """The SHA-256 hash of a file's content."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _put(source: Path, target: Path, *, links: bool) -> None:
    """A hard link, where one is wanted and the disk has them; else a copy."""
    if links:
        with suppress(OSError):
            os.link(source, target)
            return
    shutil.copyfile(source, target)
