"""A study's folder: `study.json`, which the report reads, and the run folders of its trials."""

import fcntl
import json
import shutil
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

from tune_cmx.config.arms import BASELINE, Arm, differing
from tune_cmx.config.parse import dump, flatten
from tune_cmx.config.study import Study
from tune_cmx.config.trial import TrialConfig
from tune_cmx.data.prepare import Prepared
from tune_cmx.errors import ConfigError
from tune_cmx.old_form import FORM
from tune_cmx.search.optuna.journal import STORAGE
from tune_cmx.search.planning.checked_models import BuiltArm
from tune_cmx.search.planning.study_size import schedule_end
from tune_cmx.search.rungs import STOP, Decision, read_decisions, rungs
from tune_cmx.state.study_state import STUDY_FILE, new_study_state, read_study_state, write_study_state
from tune_cmx.state.trial_state import Phase
from tune_cmx.storage import Mirror
from tune_cmx.training.protocol import protocol, protocol_hash
from tune_cmx.training.run_folder import RunFolder, now

SPACE_FILE, DECISIONS = "space.yaml", "search/rungs.jsonl"
_MEMORY = (DECISIONS, STORAGE)
"""What scheduler and searcher remember."""
_COURSE = ("status", "seconds", "phases", "two_stage", "equivalent")


@dataclass
class StudyFolder:
    """Where a study's files are, and what it is made of."""

    folder: Path
    study: Study
    prepared: Prepared
    mirror: Mirror | None = None
    """Brings the folder to storage that is named by a URI; None: the folder itself is where all nodes see it."""
    progress: dict[str, Any] = field(default_factory=dict)
    """What `study.json` says of the course: status, seconds, finalists, phases, seeds."""
    built: Mapping[str, BuiltArm] = field(default_factory=dict)
    """The arms as the check built them, by id."""

    @property
    def decisions(self) -> Path:
        """ASHA's log."""
        return self.folder / DECISIONS

    def config(self, arm: Arm, seed: int, phase: Phase) -> TrialConfig:
        """The arm's configuration with a seed; a confirmation reports on test, a search never reads it."""
        data = arm.config.data.model_copy(update={"split": str(self.prepared.split_file)})
        update = {"seed": seed, "data": data, "report_split": "test" if phase == "confirm" else "val"}
        return arm.config.model_copy(update=update)

    def plan(self, arm: Arm, seed: int, phase: Phase) -> RunFolder:
        """Plan the run folder of one trial; an existing one stays as it is."""
        config = self.config(arm, seed, phase)
        name = f"{phase}-{arm.id}-s{seed}"
        record = RunFolder.plan(
            self.folder / "trials" / name,
            config,
            arm=arm.id,
            label=arm.label,
            values=dict(arm.values),
            phase=phase,
            protocol_hash=self.protocol_hash,
            **self.prepared.hashes(),
            **self._inspected(arm),
        )
        self.publish(f"trials/{name}")
        return record

    def _inspected(self, arm: Arm) -> dict[str, Any]:
        """What the check found out of the arm; nothing for an arm that the search added later."""
        built = self.built.get(arm.id)
        if built is None:
            return {}
        audit = [warning.as_record() for warning in built.warnings]
        return {"parameters": built.parameters, "gflops": built.gflops, "audit_warnings": audit}

    def publish(self, *relative: str) -> None:
        """Push changed files or run folders to the storage."""
        for name in relative if self.mirror is not None else ():
            assert self.mirror is not None
            if (self.folder / name).exists():
                self.mirror.push(name)

    def refresh(self, record: RunFolder, *, whole: bool = False) -> None:
        """Pull what a worker wrote into its copy of a run folder; `whole`: the results too."""
        if self.mirror is None:
            return
        name = f"trials/{record.folder.name}"
        if whole:
            if self.mirror.exists(f"{name}/trial.json"):
                self.mirror.pull(name, checkpoints=False)
            return
        for file in ("trial.json", "metrics.csv"):
            if self.mirror.exists(f"{name}/{file}"):
                self.mirror.pull(f"{name}/{file}")

    @contextmanager
    def alone(self) -> Iterator[None]:
        """Keep a second search of the same study out, as when a job is started again before the first has ended.

        Raises:
            ConfigError: One is running.
        """
        with (self.folder / ".lock").open("w") as lock:
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError as error:
                raise ConfigError(
                    f"{self.folder}: a search of this study is running; wait for it, end it, or take another "
                    "--output-dir"
                ) from error
            yield

    def record(self, name: str) -> RunFolder:
        """The run folder of that name."""
        return RunFolder(self.folder / "trials" / name)

    def records(self) -> Iterator[RunFolder]:
        """All run folders, in the order of their names."""
        for file in sorted((self.folder / "trials").glob("*/trial.json")):
            yield RunFolder(file.parent)

    def restore_arms(self) -> None:
        """Restore the configurations that the search of an earlier session added."""
        for record in self.records():
            state = record.state()
            if state.arm not in self.study.arms:
                config = self.study.config(state.values)
                self.study.arms.restore(Arm(state.arm, state.label or state.arm, state.values, config))

    def confirm_seeds(self) -> tuple[int, ...]:
        """The fresh seeds of finalists and baseline, as far as they are fixed."""
        fixed = self.progress.get("two_stage")
        return self.study.seeds(fixed["seeds"] if fixed else self.study.file.confirm.first_seeds)

    @cached_property
    def protocol(self) -> dict[str, Any]:
        """Every field in which the arms do not differ."""
        return protocol(self.study.baseline.config, self.study.allowed(), self.prepared.hashes())

    @cached_property
    def protocol_hash(self) -> str:
        """The hash that every run folder holds."""
        return protocol_hash(self.protocol)

    def write(self, **progress: Any) -> None:
        """Write `study.json`; `progress` joins what it said before of the course of the study."""
        self.progress.update(progress)
        study = self.study
        chosen = {"split": "val", "metric": study.file.early_stopping.metric}
        data = {
            "root": str(self.prepared.data.root),
            "fingerprint": self.prepared.audit.fingerprint,
            "classes": list(self.prepared.data.classes),
        }
        content: dict[str, Any] = {
            "form": FORM,
            "study": study.file.study,
            "question": study.question,
            "factors": list(study.factors),
            "baseline": BASELINE,
            "arms": self._arms(),
            "space": self._space(),
            "protocol": self.protocol,
            "protocol_hash": self.protocol_hash,
            "split": self.prepared.summary(),
            "data": data,
            "early_stopping": self._early_stopping(),
            "searcher": dump(study.file.searcher),
            "confirm": {**dump(study.file.confirm), "seeds": len(self.confirm_seeds())},
            "claims": [claim.model_dump(exclude_none=True, mode="json") for claim in study.file.claims],
            "selection": {
                **chosen,
                "finalists": self.progress.get("finalists", []),
                "winner": self.progress.get("winner"),
            },
            "allow_differences": list(study.file.allow_differences),
            **{key: self.progress[key] for key in _COURSE if key in self.progress},
        }
        path = self.folder / STUDY_FILE
        write_study_state(path, new_study_state(path, **content))
        self.publish(STUDY_FILE, SPACE_FILE, "data", *_MEMORY)

    def _space(self) -> dict[str, dict[str, Any]]:
        """What each phase varies, as the file has it."""
        return {
            phase.name: {path: domain.model_dump(mode="json") for path, domain in phase.domains.items()}
            for phase in self.study.phases
        }

    def _arms(self) -> dict[str, dict[str, Any]]:
        """Each arm by id, as `study.json` has it."""
        baseline = self.study.arms[BASELINE].config
        return {
            arm.id: {
                "label": arm.label,
                "values": dict(arm.values),
                "config": dump(arm.config),
                "differs": list(differing(arm.config, baseline)),
            }
            for arm in self.study.arms.values()
        }

    def _early_stopping(self) -> dict[str, Any]:
        """The settings, and the rungs that follow from them."""
        stopping = self.study.file.early_stopping
        points = rungs(stopping, schedule_end(self.study)) if stopping.kind == "asha" else []
        return {**dump(stopping), "rungs": points}

    def identity(self) -> dict[str, Any]:
        """What cannot change when a study is resumed, by a name for people: run folders and rungs depend on it."""
        here = _identity(self.protocol, self._early_stopping(), self._space(), self._arms())
        content: dict[str, Any] = json.loads(json.dumps(here))
        return content

    def publish_memory(self) -> None:
        """Bring what scheduler and searcher remember to the storage."""
        self.publish(*_MEMORY)

    def settle(self) -> None:
        """Mark what ASHA stopped, where the driver died before it could, and what no process trains any more."""
        stops = {found.trial: found for found in read_decisions(self.decisions) if found.decision == STOP}
        for record in self.records():
            if not record.over:
                self.refresh(record, whole=True)  # a worker may have gone on for some seconds
            mark_stopped(record, stops.get(record.folder.name))
            if record.state().status == "running":
                record.update(status="interrupted", reason="its process ended before the trial did")
            self.publish(f"trials/{record.folder.name}/trial.json")

    def retry_failed(self) -> None:
        """Let failed trials resume from their last checkpoint."""
        for record in self.records():
            if record.state().status == "failed":
                record.update(status="interrupted", reason="failed before, tried again")
                self.publish(f"trials/{record.folder.name}/trial.json")


def _identity(
    protocol: Mapping[str, Any], stopping: Mapping[str, Any], space: Mapping[str, Any], arms: Mapping[str, Any]
) -> dict[str, Any]:
    return {
        **protocol,
        **{f"early_stopping.{key}": value for key, value in stopping.items()},
        **{f"{phase}: {path}": domain for phase, domains in space.items() for path, domain in domains.items()},
        **{f"arm {name}": {**arm["config"], "data": None} for name, arm in arms.items()},
    }


def mark_stopped(record: RunFolder, stop: Decision | None) -> None:
    """Note in the run folder where ASHA stopped an unfinished trial, and by which values, if it did."""
    if stop is None or record.over:
        return
    epochs = record.state().epochs
    stopped = {"epoch": epochs, "rung": stop.rung, "value": stop.value, "cutoff": stop.cutoff}
    if stop.cutoff is None:
        reason = f"reached {stop.value:.2f} at rung {stop.rung:g}, where the search ends"
    else:
        reason = f"ASHA: {stop.value:.2f} is not above {stop.cutoff:.2f} at rung {stop.rung:g}"
    record.update(status="stopped", stopped=stopped, reason=reason, finished=now())


def open_folder(
    folder: Path, study: Study, prepared: Prepared, space: Path, mirror: Mirror | None = None
) -> StudyFolder:
    """Start a study folder, or open an existing one.

    Raises:
        ConfigError: The folder holds a study of another protocol, other arms, or made by other code.
    """
    opened = StudyFolder(folder, study, prepared, mirror)
    kept = folder / SPACE_FILE
    if kept.exists():
        opened.restore_arms()
        _refuse_change(opened)
    else:
        folder.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(space, kept)
    return opened


def _refuse_change(opened: StudyFolder) -> None:
    path = opened.folder / STUDY_FILE
    if not path.exists():
        return
    kept = read_study_state(path).as_json()
    opened.progress.update({key: kept[key] for key in _COURSE if key in kept})
    if kept.get("two_stage"):
        for key in ("half_width", "pilot_seeds", "max_seeds"):
            then, now_is = kept["confirm"][key], getattr(opened.study.file.confirm, key)
            if then != now_is:
                raise ConfigError(
                    f"{opened.folder}: confirm.{key} was {then}, is {now_is}; the pilot has fixed the number of seeds: "
                    "put it back, or start a new study with another --output-dir"
                )
    before = _identity(kept["protocol"], kept["early_stopping"], kept.get("space", {}), kept["arms"])
    here = opened.identity()
    new = {key for key in {*here} - {*before} if opened.study.grows and key.startswith("arm ")}  # since it was written
    changed = sorted(key for key in {*before, *here} - new if before.get(key) != here.get(key))
    if changed:
        what = _change(changed[0], before.get(changed[0]), here.get(changed[0]))
        more = f" (and {len(changed) - 1} more)" if changed[1:] else ""
        raise ConfigError(
            f"{opened.folder}: the study has changed since it began: {what}{more}; "
            "repeat the --set that it was started with, or start a new study with another --output-dir"
        )


def _change(key: str, then: Any, here: Any) -> str:
    """One change in words; where a whole arm differs, the first of its fields."""
    if isinstance(then, Mapping) and isinstance(here, Mapping):
        before, now_is = flatten(then), flatten(here)
        field = min(path for path in {*before, *now_is} if before.get(path) != now_is.get(path))
        return f"{key}: {field} was {before.get(field)}, is {now_is.get(field)}"
    if isinstance(then, Mapping) or isinstance(here, Mapping):
        return f"{key} {'is new' if then is None else 'is gone'}"
    return f"{key} was {then}, is {here}"
