"""What a trained detector finds when one of its modalities is missing, shifted or delayed."""

import math
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path

import torch
from safetensors import SafetensorError

from tune_cmx.config.trial import TrialConfig
from tune_cmx.data.corruption.corrupted import CorruptedDataset
from tune_cmx.data.corruption.kinds import Corruption, Shifted
from tune_cmx.data.corruption.robustness_file import ROBUSTNESS, Basis, OnSplit, Results, Robustness, read_robustness
from tune_cmx.data.dataset import PairedDataset
from tune_cmx.data.ground_truth import ground_truth
from tune_cmx.data.pixel_range import means_of, scales_of
from tune_cmx.data.prepare import Prepared
from tune_cmx.errors import ConfigError, DataError, TrialError
from tune_cmx.models.detector import Detector
from tune_cmx.state.json_file import write_json
from tune_cmx.training.assembly import build_trial_model
from tune_cmx.training.checkpoint import checkpoints, load_scored_weights, scored_weights_hash
from tune_cmx.training.protocol import code_version
from tune_cmx.training.run_folder import RunFolder
from tune_cmx.training.score import score_images


def measure_robustness(
    run_folder: RunFolder,
    prepared: Prepared,
    corruptions: Iterable[Corruption],
    part: str,
    *,
    device: str = "cpu",
    workers: int = 0,
    progress: Callable[[], None] = lambda: None,
) -> int:
    """Evaluate the weights of a complete trial clean and under each corruption, and write `robustness.json`.

    What is there for the same weights, data, code and kind of device is not evaluated again; each result is written as
    it comes.

    Args:
        run_folder: Of a complete trial.
        prepared: The data that it was trained on.
        corruptions: Each of a modality that the model has.
        part: `val` or `test`.
        device: As torch names it.
        workers: Loader processes.
        progress: Called after each evaluation, also where its result was there.

    Returns:
        How many evaluations were made.

    Raises:
        ConfigError: The trial is not complete.
        TrialError: Its weights cannot be used, or another process holds it.
        DataError: The data are not those of the trial, a delay is asked for and sequences are not known, or a shift
            leaves nothing of an image.
    """
    with run_folder.held():
        basis, weights = _basis(run_folder, prepared, torch.device(device))
        corruptions = tuple(corruptions)
        _refuse_large_shifts(corruptions, prepared)
        config = run_folder.config()
        schedule = config.schedule
        at_once = schedule.images_at_once(run_folder.micro_batch(schedule.micro_batch))  # as the trial was evaluated
        kept = _kept(run_folder)
        found = kept.get(part)
        if found is not None and found.basis != basis:
            found = None
        made = 0
        bench: _Bench | None = None
        for corruption in (None, *corruptions):
            there = found is not None and (corruption is None or found.results(corruption) is not None)
            if not there:
                bench = bench or _Bench(config, prepared, part, weights, torch.device(device), workers, at_once)
                results = bench.results(corruption)
                if corruption is None:
                    found = OnSplit(basis=basis, clean=results)
                else:
                    assert found is not None
                    found = found.with_results(corruption, results)
                made += 1
                content = Robustness.model_validate({"splits": {**kept, part: found}})
                write_json(run_folder.folder / ROBUSTNESS, content.model_dump(mode="json"))
            progress()
        return made


def _refuse_large_shifts(corruptions: Iterable[Corruption], prepared: Prepared) -> None:
    height, width = (min(sides) for sides in zip(*prepared.audit.sizes.values(), strict=True))
    for corruption in corruptions:
        if isinstance(corruption, Shifted) and (abs(corruption.right) >= width or abs(corruption.down) >= height):
            raise DataError(
                f"{prepared.data.root}: {corruption.modality} {corruption}: an image of {width} x {height} pixels "
                "has nothing left after this shift; use a smaller --shifted, or --missing"
            )


def refuse_unfinished(folder: Path, status: str) -> None:
    """Raise an error where a trial is not complete.

    Args:
        folder: Of the trial.
        status: Of the trial.

    Raises:
        ConfigError: It is not complete.
    """
    if status != "complete":
        raise ConfigError(
            f"{folder}: this trial is not complete (status: {status}), and only complete trials are measured; "
            "resume it: `tune-cmx search ... --resume` for a study, the same `tune-cmx train` for a single trial"
        )


class _Bench:
    """A trained detector and a part of the split."""

    def __init__(
        self,
        config: TrialConfig,
        prepared: Prepared,
        part: str,
        weights: Path,
        device: torch.device,
        workers: int,
        at_once: int,
    ) -> None:
        self._prepared, self._device = prepared, device
        self._ids = {"val": prepared.split.val, "test": prepared.split.test}[part]
        self._modalities = config.model.modalities()
        self._truth = ground_truth(prepared.data, self._ids, prepared.audit.sizes)
        self._load = {"at_once": at_once, "workers": workers}
        self._statistics = prepared.pixel_statistics(config.data.range)
        self._model = _trained(config, prepared, weights).to(device)

    def results(self, corruption: Corruption | None) -> Results:
        """Metrics in points; None: of the clean images."""
        data, ids, order = self._prepared.data, self._ids, self._modalities
        means, scales = means_of(self._statistics), scales_of(self._statistics)
        frames = (
            PairedDataset(data, ids, order, augment=None, seed=0, scales=scales)
            if corruption is None
            else CorruptedDataset(data, ids, order, corruption, means=means, scales=scales)
        )
        score = score_images(self._model, frames, self._truth, self._device, **self._load)
        return {name: None if math.isnan(value) else value for name, value in score.metrics.items()}


def _trained(config: TrialConfig, prepared: Prepared, weights: Path) -> Detector:
    model = build_trial_model(config, prepared)
    try:
        load_scored_weights(weights, model)
    except (SafetensorError, RuntimeError, OSError) as error:
        reason = str(error).splitlines()[0]
        raise TrialError(f"{weights}: these weights cannot be used: {reason}; restore them, or train again") from error
    return model


def _basis(run_folder: RunFolder, prepared: Prepared, device: torch.device) -> tuple[Basis, Path]:
    """What the results depend on, and the checkpoint."""
    state = run_folder.state()
    refuse_unfinished(run_folder.folder, state.status)
    for key, value in prepared.hashes().items():
        if getattr(state, key) != value:
            raise DataError(
                f"{prepared.data.root}: {key} is {value} here and {getattr(state, key)} in "
                f"{run_folder.folder.name}/trial.json; name the data that it was trained on with --data"
            )
    weights = next(reversed(checkpoints(run_folder.checkpoints)), None)
    if weights is None:
        raise TrialError(f"{run_folder.checkpoints}: no checkpoint is there; restore it, or train the trial again")
    try:
        digest = scored_weights_hash(weights)
    except OSError as error:
        raise TrialError(f"{weights}: the weights cannot be read: {error.strerror}; restore them") from error
    hashes = prepared.hashes()
    return Basis(
        weights=digest,
        split_hash=hashes["split_hash"],
        data_fingerprint=hashes["data_fingerprint"],
        code_version=code_version(),
        device=device.type,
    ), weights


def _kept(run_folder: RunFolder) -> Mapping[str, OnSplit]:
    """What is there, by part; a damaged file is measured anew."""
    try:
        kept = read_robustness(run_folder.folder)
    except DataError:
        return {}
    return {} if kept is None else dict(kept.splits.items())
