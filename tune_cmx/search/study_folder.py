"""A study's folder: `study.json`, which the report reads, and the run folders of its trials."""

import fcntl
import shutil
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

from tune_cmx.config.arms import Arm
from tune_cmx.config.study import Study
from tune_cmx.config.trial import TrialConfig
from tune_cmx.data.prepare import Prepared
from tune_cmx.errors import ConfigError
from tune_cmx.old_form import TRIALS
from tune_cmx.search.optuna.journal import STORAGE
from tune_cmx.search.planning.checked_models import BuiltArm
from tune_cmx.search.rungs import STOP, read_decisions
from tune_cmx.search.study_definition import definition, refuse_change, study_protocol
from tune_cmx.state.rung_log import Decision
from tune_cmx.state.study_state import STUDY_FILE, SelectionState, StudyState, read_study_state, write_study_state
from tune_cmx.state.trial_state import TRIAL_FILE, Phase
from tune_cmx.storage import Mirror
from tune_cmx.training.protocol import protocol_hash
from tune_cmx.training.run_folder import RunFolder, now

SPACE_FILE, DECISIONS = "space.yaml", "search/rungs.jsonl"
_MEMORY = (DECISIONS, STORAGE)
"""What scheduler and searcher remember."""
_COURSE = ("status", "seconds", "phases", "two_stage", "equivalent")


@dataclass
class StudyFolder:
    """A study's files, and the study itself."""

    folder: Path
    study: Study
    prepared: Prepared
    mirror: Mirror | None = None
    """Copies the folder to storage that a URI names. None: all nodes see the folder itself."""
    state: StudyState = field(default_factory=lambda: StudyState(study=""))
    """The state that `study.json` had when this session resumed it, or that it wrote last."""
    built: Mapping[str, BuiltArm] = field(default_factory=dict)
    """The configurations as the check built them, by id."""

    @property
    def decisions(self) -> Path:
        """ASHA's log."""
        return self.folder / DECISIONS

    def config(self, arm: Arm, seed: int, phase: Phase) -> TrialConfig:
        """The trial's configuration. A confirmation reports on test; a search trial never reads test."""
        data = arm.config.data.model_copy(update={"split": str(self.prepared.split_file)})
        update = {"seed": seed, "data": data, "report_split": "test" if phase == "confirm" else "val"}
        return arm.config.model_copy(update=update)

    def plan(self, arm: Arm, seed: int, phase: Phase) -> RunFolder:
        """Plan the run folder of one trial; an existing one stays as it is."""
        config = self.config(arm, seed, phase)
        name = f"{phase}-{arm.id}-s{seed}"
        run_folder = RunFolder.plan(
            self.folder / TRIALS / name,
            config,
            arm=arm.id,
            label=arm.label,
            values=dict(arm.values),
            phase=phase,
            protocol_hash=self.protocol_hash,
            **self.prepared.hashes(),
            **self._inspected(arm),
        )
        self.publish(f"{TRIALS}/{name}")
        return run_folder

    def _inspected(self, arm: Arm) -> dict[str, Any]:
        """What the check found; nothing for a configuration that the search added later."""
        built = self.built.get(arm.id)
        if built is None:
            return {}
        audit = [warning.as_record() for warning in built.warnings]
        return {"parameters": built.parameters, "gflops": built.gflops, "audit_warnings": audit}

    def publish(self, *relative: str) -> None:
        """Copy changed files or run folders to the storage."""
        for name in relative if self.mirror is not None else ():
            assert self.mirror is not None
            if (self.folder / name).exists():
                self.mirror.push(name)

    def refresh(self, run_folder: RunFolder, *, whole: bool = False) -> None:
        """Fetch what a worker wrote into its copy of a run folder; `whole`: the results too."""
        if self.mirror is None:
            return
        name = f"{TRIALS}/{run_folder.folder.name}"
        if whole:
            if self.mirror.exists(f"{name}/trial.json"):
                self.mirror.pull(name, checkpoints=False)
            return
        for file in (TRIAL_FILE, "metrics.csv"):
            if self.mirror.exists(f"{name}/{file}"):
                self.mirror.pull(f"{name}/{file}")

    @contextmanager
    def alone(self) -> Iterator[None]:
        """Refuse a second search of the same study, as when a scheduler requeues a job before the first has ended.

        Raises:
            ConfigError: One is running.
        """
        with (self.folder / ".lock").open("w") as lock:
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError as error:
                raise ConfigError(
                    f"{self.folder}: a search of this study is running; wait for it, end it, or give another "
                    "--output-dir"
                ) from error
            yield

    def run_folder(self, name: str) -> RunFolder:
        """The run folder of that name."""
        return RunFolder(self.folder / TRIALS / name)

    def run_folders(self) -> Iterator[RunFolder]:
        """All run folders, in the order of their names."""
        for file in sorted((self.folder / TRIALS).glob(f"*/{TRIAL_FILE}")):
            yield RunFolder(file.parent)

    def restore_arms(self) -> None:
        """Restore the configurations that the search of an earlier session added."""
        for run_folder in self.run_folders():
            state = run_folder.state()
            if state.arm not in self.study.arms:
                config = self.study.config(state.values)
                self.study.arms.restore(Arm(state.arm, state.label or state.arm, state.values, config))

    def confirm_seeds(self) -> tuple[int, ...]:
        """The seeds of finalists and baseline, none of them used by the search; before the pilot ends, the pilot's."""
        fixed = self.state.two_stage
        planned = self.study.file.confirm.first_seeds
        return self.study.seeds(planned if fixed is None or fixed.seeds is None else fixed.seeds)

    @cached_property
    def protocol_hash(self) -> str:
        """The hash that every run folder holds."""
        return protocol_hash(study_protocol(self.study, self.prepared))

    def write(self, *, finalists: Sequence[str] | None = None, winner: str | None = None, **course: Any) -> None:
        """Write `study.json`.

        Args:
            finalists: Ids of the selected configurations. None: as before.
            winner: Id of the finalist with the highest validation mean. None: as before.
            course: Fields of `StudyState` that change while a study runs; the others stay.
        """
        path = self.folder / STUDY_FILE
        self.state = self.state.with_fields(path, **course)  # first: the number of seeds may be in it
        selection = {
            "split": "val",
            "metric": self.study.file.early_stopping.metric,
            "finalists": list(self.state.selection.finalists if finalists is None else finalists),
            "winner": winner or self.state.selection.winner,
        }
        of_course = {key: value for key, value in self.state.as_json().items() if key in _COURSE}
        self.state = self.definition().with_fields(path, selection=selection, **of_course)
        write_study_state(path, self.state)
        self.publish(STUDY_FILE, SPACE_FILE, "data", *_MEMORY)

    def definition(self) -> StudyState:
        """What the study consists of, for `study.json`. Of its course it has the number of seeds only."""
        return definition(self.study, self.prepared, seeds=len(self.confirm_seeds()), place=self.folder / STUDY_FILE)

    def publish_memory(self) -> None:
        """Copy what scheduler and searcher remember to the storage."""
        self.publish(*_MEMORY)

    def settle(self) -> None:
        """After a driver that died: mark the trials that ASHA stopped, and those that no process trains any more."""
        stops = {found.trial: found for found in read_decisions(self.decisions) if found.decision == STOP}
        for run_folder in self.run_folders():
            if not run_folder.over:
                self.refresh(run_folder, whole=True)  # a worker may have trained some seconds longer
            mark_stopped(run_folder, stops.get(run_folder.folder.name))
            if run_folder.state().status == "running":
                run_folder.update(status="interrupted", reason="its process ended before the trial did")
            self.publish(f"{TRIALS}/{run_folder.folder.name}/{TRIAL_FILE}")

    def retry_failed(self) -> None:
        """Let failed trials resume from their last checkpoint."""
        for run_folder in self.run_folders():
            if run_folder.state().status == "failed":
                run_folder.update(status="interrupted", reason="failed before; resumed")
                self.publish(f"{TRIALS}/{run_folder.folder.name}/{TRIAL_FILE}")


def mark_stopped(run_folder: RunFolder, stop: Decision | None) -> None:
    """Note in an unfinished trial's run folder where ASHA stopped it, and by which values.

    Args:
        run_folder: Of the trial.
        stop: ASHA's decision. None: ASHA did not stop it, and nothing is noted.
    """
    if stop is None or run_folder.over:
        return
    epochs = run_folder.state().epochs
    stopped = {"epoch": epochs, "rung": stop.rung, "value": stop.value, "cutoff": stop.cutoff}
    if stop.cutoff is None:
        reason = f"reached {stop.value:.2f} at rung {stop.rung:g}, where the search ends"
    else:
        reason = f"ASHA: {stop.value:.2f} is not above {stop.cutoff:.2f} at rung {stop.rung:g}"
    run_folder.update(status="stopped", stopped=stopped, reason=reason, finished=now())


def open_folder(
    folder: Path, study: Study, prepared: Prepared, space: Path, mirror: Mirror | None = None
) -> StudyFolder:
    """Start a study folder, or open an existing one.

    Raises:
        ConfigError: The folder holds a study of another protocol, of other configurations, or of other code.
    """
    opened = StudyFolder(folder, study, prepared, mirror)
    kept = folder / SPACE_FILE
    if kept.exists():
        opened.restore_arms()
        path = folder / STUDY_FILE
        if path.exists():
            before = read_study_state(path)
            opened.state = before.model_copy(update={"selection": SelectionState()})
            refuse_change(before, opened.definition(), study, folder)
    else:
        folder.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(space, kept)
    return opened
