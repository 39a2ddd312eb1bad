"""`study.json`: what a study folder says of its study. One model, read and written here."""

from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BeforeValidator

from tune_cmx.state.json_file import State, changed, parsed, read_model, refuse_unknown, write_json

STUDY_FILE = "study.json"


class ArmState(State):
    """One configuration of the study."""

    label: str | None = None
    """Its name for people."""
    values: dict[str, Any] = {}
    """The searched values, by dotted path."""
    config: dict[str, Any] = {}
    """The whole configuration, defaults included."""
    differs: tuple[str, ...] = ()
    """The fields in which it differs from the baseline, by dotted path."""


class SplitWarningState(State):
    """What the audit found in the split or the data."""

    kind: str | None = None
    """single images, leak, sequences unknown, left out, no boxes, completed, data. None: an older study holds the text
    alone."""
    text: str
    """A sentence without its full stop."""


def _with_kind(entry: Any) -> Any:
    """Older studies hold a sentence where there is an object now."""
    return SplitWarningState(text=entry) if isinstance(entry, str) else entry


class SplitState(State):
    """How the data were divided."""

    how: str | None = None
    """By what: official, sequence, block, frame or given."""
    hash: str | None = None
    """Hash of the division."""
    counts: dict[str, dict[str, int]] = {}
    """Of train, val and test: images, boxes, images without boxes (negatives), ignore regions (ignored)."""
    sequences: dict[str, tuple[str, ...]] = {}
    """Names of the sequences in each part; empty where they are not known."""
    warnings: tuple[Annotated[SplitWarningState, BeforeValidator(_with_kind)], ...] = ()
    """What the audit found in the split and the data."""


class DataState(State):
    """The data set."""

    root: str | None = None
    """Its folder or URI."""
    fingerprint: str | None = None
    """Hash of the images' and labels' content."""
    classes: tuple[str, ...] = ()
    """Names of the object classes."""
    ranges: dict[str, str] = {}
    """By modality the raw values that become 0 to 1, and where they come from; of the baseline."""
    layout: str | None = None
    """Title of the layout in which it was read, such as `LLVIP`."""
    notes: tuple[str, ...] = ()
    """What of the folder was not read, and other choices of the reader."""


class EarlyStoppingState(State):
    """The settings of early stopping, and the rungs that follow from them."""

    kind: Literal["asha", "none"] | None = None
    """The method: asha or none."""
    metric: str | None = None
    """The metric that trials are compared on, with its split, such as val/mAP."""
    smooth_epochs: int | None = None
    """The metric is averaged over this many last epochs."""
    compare_at: Literal["epoch", "fraction", "gpu_seconds"] | None = None
    """What is equal when trials are compared: epoch, fraction or gpu_seconds."""
    reduction_factor: float | None = None
    """At each rung one of this many trials continues."""
    brackets: int | None = None
    """How many brackets the trials are dealt to."""
    variant: Literal["promote", "stop"] | None = None
    """Whether a trial is paused and promoted (promote) or decided at once (stop)."""
    last: float | None = None
    """The fraction of the schedule at which the search ends."""
    rungs: tuple[float, ...] = ()
    """The rungs, in the unit of `compare_at`."""


class SearcherState(State):
    """The searcher's options; each searcher has further ones."""

    kind: str | None = None
    """The searcher's name."""
    trials: int | None = None
    """How many trials it draws."""
    objectives: tuple[str, ...] | None = None
    """The metrics that it optimises, where there are several."""
    warm_start: dict[str, Any] | None = None
    """The earlier trials that the search began with, as they were read then."""


class ConfirmState(State):
    """The settings of the confirmation."""

    finalists: int | None = None
    """How many configurations the search selects."""
    seeds: int | None = None
    """Seeds of each configuration, as far as they are fixed."""
    half_width: float | None = None
    """The half width wanted of the 95 % interval, in the metric's unit. None: the number of seeds is given."""
    pilot_seeds: int | None = None
    """Seeds of the pilot that fixes the number of seeds."""
    max_seeds: int | None = None
    """The most seeds that the pilot may ask for."""


class SelectionState(State):
    """What the search selected."""

    split: str | None = None
    """The split that it was selected on."""
    metric: str | None = None
    """The metric, with its split."""
    finalists: tuple[str, ...] = ()
    """Ids of the selected configurations, the highest value first."""
    winner: str | None = None
    """Id of the finalist with the highest validation mean once all are confirmed."""


class PhaseState(State):
    """A phase of the search that has ended."""

    name: str
    """Its name in the search-space file."""
    arms: tuple[str, ...] = ()
    """Ids of the configurations that it trained."""
    kept: tuple[str, ...] = ()
    """Ids of the configurations that the next phase starts from."""


class ArmPilotState(State):
    """What the pilot found of one configuration."""

    sd: float | None = None
    """Standard deviation of its paired differences from the baseline. None: fewer than two pairs."""
    wanted: int | None = None
    """Seeds that the wanted interval takes. None: not known."""


class TwoStageState(State):
    """The number of seeds as the pilot fixed it, by Stein's two-stage rule."""

    metric: str | None = None
    """The metric, with its split."""
    half_width: float | None = None
    """The half width wanted of the 95 % interval."""
    pilot_seeds: tuple[int, ...] = ()
    """The pilot's seeds."""
    seeds: int | None = None
    """Seeds of each configuration, the pilot's included."""
    wanted: int | None = None
    """The largest number that a configuration wants, before the maximum. None: not known."""
    by_arm: dict[str, ArmPilotState] = {}
    """The pilot's finding by configuration."""


class Repeated(State):
    """A run that several sources of an import have."""

    left_out: str
    """The source that was left out."""
    same_as: str
    """The source that was taken."""


class ImportedStudy(State):
    """Where imported runs come from."""

    at: str | None = None
    """When they were imported, in UTC."""
    sources: tuple[str, ...] = ()
    """Files and folders that were read."""
    baselines: tuple[str, ...] = ()
    """Ids of the configurations that can serve as baseline."""
    refused: tuple[str, ...] = ()
    """What could not be read, and why."""
    repeated: tuple[Repeated, ...] = ()
    """Runs that several sources have."""
    notes: tuple[str, ...] = ()
    """What was assumed."""
    columns: dict[str, str] = {}
    """The names that the sources' columns stand for."""
    protocol: tuple[str, ...] = ()
    """Columns that the file of `--claims` names as settings."""
    claims: tuple[dict[str, Any], ...] = ()
    """The claims that were given with the import."""


class StudyState(State):
    """The content of `study.json`."""

    form: int | None = None
    """The number of this form of study folders. None: version 0.1.0 wrote it."""
    study: str
    """The study's name."""
    question: str | None = None
    """The question, from the head of the search-space file."""
    factors: tuple[str, ...] = ()
    """The configuration fields that the study varies, by dotted path."""
    baseline: str | None = None
    """Id of the baseline."""
    arms: dict[str, ArmState] = {}
    """The configurations, by id."""
    space: dict[str, dict[str, dict[str, Any]]] = {}
    """By phase and dotted path the domain that is searched."""
    protocol: dict[str, Any] = {}
    """Every field in which the configurations do not differ, by dotted path."""
    protocol_hash: str | None = None
    """Hash of the protocol."""
    split: SplitState = SplitState()
    """How the data were divided."""
    data: DataState = DataState()
    """The data set."""
    early_stopping: EarlyStoppingState = EarlyStoppingState()
    """How the search stops trials early."""
    searcher: SearcherState = SearcherState()
    """How the search draws trials."""
    confirm: ConfirmState = ConfirmState()
    """How finalists and baseline are confirmed."""
    claims: tuple[dict[str, Any], ...] = ()
    """The claims of the search-space file."""
    selection: SelectionState = SelectionState()
    """What the search selected."""
    allow_differences: tuple[str, ...] = ()
    """Fields in which configurations may differ besides the factors."""
    status: Literal["searching", "confirming", "complete", "interrupted", "failed", "imported"] | None = None
    """searching, confirming, complete, interrupted, failed, or imported."""
    seconds: float | None = None
    """Wall time over all sessions, in seconds."""
    phases: tuple[PhaseState, ...] = ()
    """The phases that have ended; empty where the search has one phase."""
    two_stage: TwoStageState | None = None
    """The number of seeds as a pilot fixed it. None: no pilot, or not finished."""
    equivalent: tuple[tuple[str, ...], ...] = ()
    """Groups of equivalent configurations, by id."""
    imported: ImportedStudy | None = None
    """Where imported runs come from. None: this software ran the study."""

    def with_fields(self, place: Path, **fields: Any) -> "StudyState":
        """The state with some fields set.

        Raises:
            DataError: A value that its field does not allow.
            TypeError: There is no such field.
        """
        return changed(self, fields, place)


def new_study_state(place: Path, **fields: Any) -> StudyState:
    """The state of a study.

    Raises:
        DataError: A value that its field does not allow.
        TypeError: There is no such field.
    """
    refuse_unknown(StudyState, fields)
    return parsed(StudyState, fields, place)


def read_study_state(path: Path) -> StudyState:
    """The state in a `study.json` of today's form.

    Raises:
        DataError: Not JSON, or a value that its field does not allow; file, field and value are named.
        OSError: There is no such file.
    """
    return read_model(StudyState, path)


def write_study_state(path: Path, state: StudyState) -> None:
    """Write a `study.json`, whole or not at all."""
    write_json(path, state.as_json())
