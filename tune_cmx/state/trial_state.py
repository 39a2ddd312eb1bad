"""`trial.json`: what a run folder says of its trial. One model, read and written here."""

from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, Field

from tune_cmx.model_audit import AuditWarning
from tune_cmx.state.json_file import State, changed, parsed, read_model, refuse_unknown, write_json

TRIAL_FILE = "trial.json"
Phase = Literal["search", "confirm", "single", "imported"]
Status = Literal["planned", "running", "paused", "complete", "stopped", "failed", "interrupted", "imported", "unknown"]
OVER: tuple[Status, ...] = ("complete", "stopped", "failed")
"""The states of a trial that is not trained any further."""


def _zero(value: Any) -> Any:
    return 0 if value is None else value


def _finding(entry: Any) -> Any:
    """Version 0.1.0 wrote a sentence where there is an object now."""
    return AuditWarning.read(entry) if isinstance(entry, str) else entry


class Parameters(State):
    """Parameter counts of the model. Further keys count its parts, such as `stream.rgb`, `fusion.1` and `fpn`."""

    total: int
    """All parameters."""
    active: int | None = None
    """Parameters that received a gradient in one training step on noise."""


class Session(State):
    """One process that trained the trial."""

    started: str | None = None
    """When it began, in UTC."""
    ended: str | None = None
    """When its last epoch ended, in UTC. None: it finished no epoch."""
    seconds: float = 0.0
    """Time it trained, in seconds."""
    first_epoch: int
    """The first epoch that it trained."""
    last_epoch: int | None = None
    """The last epoch that it finished. None: it finished none."""


class Halving(State):
    """Out of memory; micro-batch halved."""

    epoch: int
    """The epoch in which memory ran out."""
    step: int
    """The optimizer step of that epoch."""
    micro_batch: int
    """Images in memory at once from then on."""
    reason: str | None = None
    """The error."""


UNTRAINED_LOSS = 10.0
"""The loss of an untrained detector lies below: cross entropies of random guesses, and the losses of the boxes."""
GROWTH = 10.0
"""Times the loss of the first epoch. Training that works ends below the first epoch, and noise is far smaller."""


def loss_diverged(loss: float, first_loss: float) -> bool:
    """Whether an epoch's training loss shows divergence.

    It is above `UNTRAINED_LOSS` and above `GROWTH` times the first epoch's loss; a first epoch above `UNTRAINED_LOSS`
    counts as that, as it may have diverged itself.
    """
    return loss > max(UNTRAINED_LOSS, GROWTH * min(first_loss, UNTRAINED_LOSS))


class Divergence(State):
    """Where training was first seen to diverge."""

    epoch: int
    """The epoch."""
    what: Literal["loss", "gradient norm", "detections"]
    """What showed it: the mean loss, the largest gradient norm, or a trained model that detects nothing."""
    value: float | None = None
    """The loss, the norm, or 0 detections. None: not finite."""

    def __str__(self) -> str:
        return f"{self.what} {'not finite' if self.value is None else f'{self.value:.3g}'} in epoch {self.epoch}"


class Stopped(State):
    """Where and why the search stopped the trial early."""

    epoch: int
    """Epochs trained."""
    rung: float
    """The rung, in the unit of `early_stopping.compare_at`."""
    value: float | None = None
    """The trial's value of the compared metric there."""
    cutoff: float | None = None
    """The value that it needed. None: the search ends at this rung for all trials."""


class Transfer(State):
    """Which pretrained weights one stream took over."""

    stream: str
    """The stream: rgb, aux or single."""
    source: str
    """The file or model name that the weights came from; `random` where none is configured."""
    sha256: str | None = None
    """The hash of the file's content."""
    loaded: int
    """Tensors taken over as they are."""
    adapted: dict[str, str] = {}
    """Tensors taken over after a change, and the change."""
    random: int
    """Tensors that kept their random initial values."""
    random_names: tuple[str, ...] = ()
    """Some of their names."""
    unused: int
    """Tensors of the file that the model has no place for."""
    unused_names: tuple[str, ...] = ()
    """Some of their names."""


class ImportedRun(State):
    """What the source of an imported run says of it."""

    source: str
    """The file, and the row, that the run was read from."""
    name: str
    """The run's name there."""
    fields: dict[str, Any] = {}
    """Its configuration, by the source's columns."""
    figures: dict[str, float] = {}
    """Its results; mAP in points."""
    printed: dict[str, str] = {}
    """The same as the source prints them."""
    says: dict[str, Any] = {}
    """What else the source says of the run: notes, status, study."""


class TrialState(State):
    """The content of `trial.json`."""

    id: str
    """The trial's name, which is its folder's."""
    arm: str
    """The configuration that the trial runs: its id in `study.json`."""
    phase: Phase
    """What it is trained for: search, confirm, single (by `tune-cmx train`), or imported."""
    status: Status
    """planned, running, paused, complete, stopped, failed, interrupted, or imported; unknown in a damaged file."""
    seed: int | None = None
    """The random seed. None: the source of an imported run does not name it."""
    reason: str | None = None
    """Why the trial is paused, stopped, failed or interrupted."""
    label: str | None = None
    """The configuration's name for people."""
    values: dict[str, Any] = {}
    """What the configuration changes of the baseline, by dotted path."""
    created: str | None = None
    """When the trial was planned, in UTC."""
    finished: str | None = None
    """When it ended for good, in UTC."""
    seconds: Annotated[float, BeforeValidator(_zero)] = 0.0
    """Training time over all sessions, in seconds. 0 where an imported run has none."""
    epochs: Annotated[int, BeforeValidator(_zero)] = 0
    """Epochs finished. 0 where an imported run has no curve."""
    epochs_planned: int | None = None
    """Epochs of the whole schedule."""
    lineage: tuple[Session, ...] = ()
    """The sessions that trained the trial, the first one first."""
    stopped: Stopped | None = None
    """Where the search stopped it. None: it did not."""
    protocol_hash: str | None = None
    """Hash of everything in which the study's configurations do not differ."""
    split_hash: str | None = None
    """Hash of the division into train, val and test."""
    split_how: str | None = None
    """How images were divided: sequence, block, frame or given."""
    data_fingerprint: str | None = None
    """Hash of the images' and labels' content."""
    code_version: str | None = None
    """Version of this software, and a hash of the code that the numbers come from."""
    packages: dict[str, str] | None = None
    """Versions of the packages that the numbers come from."""
    device: str | None = None
    """What it was trained on, such as `2 x NVIDIA H200` or `cpu, 4 threads`."""
    gpus: float | None = None
    """GPUs that the trial takes; 0.5 where two trials share one, 0 on a CPU."""
    parameters: Parameters | None = None
    """Parameter counts of the model. None: not counted yet."""
    gflops: float | None = None
    """GFLOPs of one forward of one image."""
    micro_batch: Annotated[int | None, Field(ge=1)] = None
    """Images in memory at once since the last halving. None: as the configuration says."""
    halvings: tuple[Halving, ...] = ()
    """Where memory ran out."""
    divergence: Divergence | None = None
    """Where training was first seen to diverge. None: it was not."""
    audit_warnings: tuple[Annotated[AuditWarning, BeforeValidator(_finding)], ...] = ()
    """What the check of the built model found, such as a part that gets no gradient."""
    transfer: tuple[Transfer, ...] = ()
    """What was loaded of pretrained weights, by stream."""
    imported: ImportedRun | None = None
    """What an imported run's source says. None: this software trained the trial."""

    @property
    def over(self) -> bool:
        """Whether the trial has ended for good."""
        return self.status in OVER

    def with_fields(self, place: Path, **fields: Any) -> "TrialState":
        """The state with some fields set.

        Raises:
            DataError: A value that its field does not allow.
            TypeError: There is no such field.
        """
        return changed(self, fields, place)


def new_trial_state(place: Path, **fields: Any) -> TrialState:
    """The state of a trial that begins.

    Raises:
        DataError: A value that its field does not allow.
        TypeError: There is no such field.
    """
    refuse_unknown(TrialState, fields)
    return parsed(TrialState, fields, place)


def read_trial_state(path: Path, *, retry_s: float | None = None) -> TrialState:
    """The state in a `trial.json`.

    Raises:
        DataError: Not JSON, or a value that its field does not allow; file, field and value are named.
        OSError: There is no such file.
    """
    return read_model(TrialState, path, retry_s=retry_s)


def write_trial_state(path: Path, state: TrialState, *, retry_s: float | None = None) -> None:
    """Write a `trial.json`, whole or not at all."""
    write_json(path, state.as_json(), retry_s=retry_s)
