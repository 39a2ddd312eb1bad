"""A study's folder: `study.json`, which the report reads, and the planned records of its trials."""

import json
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tune_cmx.config.parse import dump, flatten
from tune_cmx.config.study import CONTROL, Arm, Study, differing
from tune_cmx.config.trial import TrialConfig
from tune_cmx.data.prepare import Prepared
from tune_cmx.errors import ConfigError
from tune_cmx.search.plan import schedule_end
from tune_cmx.search.schedulers import STOP, read_decisions, rungs
from tune_cmx.training.protocol import protocol, protocol_hash
from tune_cmx.training.record import Phase, TrialRecord, now, write_json

STUDY_FILE, SPACE_FILE, DECISIONS = "study.json", "space.yaml", "search/rungs.jsonl"


@dataclass
class StudyFolder:
    """Where a study's files are, and what it is made of."""

    folder: Path
    study: Study
    prepared: Prepared

    @property
    def decisions(self) -> Path:
        """ASHA's log."""
        return self.folder / DECISIONS

    def config(self, arm: Arm, seed: int, phase: Phase) -> TrialConfig:
        """The arm's configuration with a seed; a confirmation reports on test, a search never reads it."""
        data = arm.config.data.model_copy(update={"split": str(self.prepared.split_file)})
        update = {"seed": seed, "data": data, "report_split": "test" if phase == "confirm" else "val"}
        return arm.config.model_copy(update=update)

    def plan(self, arm: Arm, seed: int, phase: Phase) -> TrialRecord:
        """The planned record of one trial; one that is there already is left as it is."""
        config = self.config(arm, seed, phase)
        name = f"{phase}-{arm.id}-s{seed}"
        return TrialRecord.plan(
            self.folder / "records" / name,
            config,
            arm=arm.id,
            phase=phase,
            protocol_hash=self.protocol_hash(),
            **self.prepared.hashes(),
        )

    def protocol(self) -> dict[str, Any]:
        """Every field in which the arms do not differ."""
        factors = [*self.study.factor_fields(), *self.study.file.allow_differences]
        return protocol(self.study.arms[CONTROL].config, factors, self.prepared.hashes())

    def protocol_hash(self) -> str:
        """The hash that stands on every record."""
        return protocol_hash(self.protocol())

    def write(self, **progress: Any) -> None:
        """Write `study.json`, with `progress` (status, finalists, seconds) as it stands."""
        study = self.study
        data = {
            "root": str(self.prepared.data.root),
            "fingerprint": self.prepared.audit.fingerprint,
            "classes": list(self.prepared.data.classes),
        }
        content = {
            "study": study.file.study,
            "question": study.question,
            "factors": list(study.factors),
            "control": CONTROL,
            "arms": self._arms(),
            "protocol": self.protocol(),
            "protocol_hash": self.protocol_hash(),
            "split": self.prepared.summary(),
            "data": data,
            "early_stopping": self._early_stopping(),
            "searcher": dump(study.file.searcher),
            "confirm": dump(study.file.confirm),
            "claims": [claim.model_dump(exclude_none=True, mode="json") for claim in study.file.claims],
            "selection": {
                "split": "val",
                "metric": study.file.early_stopping.metric,
                "finalists": progress.pop("finalists", []),
            },
            "allow_differences": list(study.file.allow_differences),
            **progress,
        }
        write_json(self.folder / STUDY_FILE, content)

    def _arms(self) -> dict[str, dict[str, Any]]:
        """Each arm by id, as `study.json` has it."""
        control = self.study.arms[CONTROL].config
        return {
            arm.id: {
                "label": arm.label,
                "values": dict(arm.values),
                "config": dump(arm.config),
                "differs": list(differing(arm.config, control)),
            }
            for arm in self.study.arms.values()
        }

    def _early_stopping(self) -> dict[str, Any]:
        """The settings, and the rungs that follow from them."""
        stopping = self.study.file.early_stopping
        points = rungs(stopping, schedule_end(self.study)) if stopping.kind == "asha" else []
        return {**dump(stopping), "rungs": points}

    def identity(self) -> dict[str, Any]:
        """What cannot change when a study is taken up, by a name for people: records and rungs hang on it."""
        arms = {f"arm {name}": {**arm["config"], "data": None} for name, arm in self._arms().items()}
        stopping = {f"early_stopping.{key}": value for key, value in self._early_stopping().items()}
        content: dict[str, Any] = json.loads(json.dumps({**self.protocol(), **stopping, **arms}))
        return content

    def settle(self) -> None:
        """Mark what ASHA stopped, where the driver died before it could, and what no process trains any more."""
        for file in sorted((self.folder / "records").glob("*/trial.json")):
            record = TrialRecord(file.parent)
            mark_stopped(record, self.decisions)
            if record.state()["status"] == "running":
                record.update(status="interrupted", reason="its process ended before the trial did")

    def retry_failed(self) -> None:
        """Let failed trials go on from their last checkpoint."""
        for file in sorted((self.folder / "records").glob("*/trial.json")):
            record = TrialRecord(file.parent)
            if record.state()["status"] == "failed":
                record.update(status="interrupted", reason="failed before, tried again")


def mark_stopped(record: TrialRecord, decisions: Path) -> None:
    """Note on the record of a trial that is not over where ASHA stopped it, and by which values, if it did."""
    if record.over:
        return
    for found in read_decisions(decisions):
        if found.trial == record.folder.name and found.decision == STOP:
            stopped = {
                "epoch": record.state()["epochs"],
                "rung": found.rung,
                "value": found.value,
                "cutoff": found.cutoff,
            }
            reason = f"ASHA: {found.value:.2f} is below {found.cutoff:.2f} at rung {found.rung:g}"
            record.update(status="stopped", stopped=stopped, reason=reason, finished=now())


def open_folder(folder: Path, study: Study, prepared: Prepared, space: Path) -> StudyFolder:
    """Start a study's folder, or take one up again.

    Raises:
        ConfigError: The folder holds a study of another protocol, other arms, or made by other code.
    """
    opened = StudyFolder(folder, study, prepared)
    kept = folder / SPACE_FILE
    if kept.exists():
        _refuse_change(opened)
    else:
        folder.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(space, kept)
    return opened


def _refuse_change(opened: StudyFolder) -> None:
    path = opened.folder / STUDY_FILE
    if not path.exists():
        return
    kept: Mapping[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    arms = {f"arm {name}": {**arm["config"], "data": None} for name, arm in kept["arms"].items()}
    stopping = {f"early_stopping.{key}": value for key, value in kept["early_stopping"].items()}
    before, here = {**kept["protocol"], **stopping, **arms}, opened.identity()
    changed = sorted(key for key in {*before, *here} if before.get(key) != here.get(key))
    if changed:
        what = _change(changed[0], before.get(changed[0]), here.get(changed[0]))
        more = f" (and {len(changed) - 1} more)" if changed[1:] else ""
        raise ConfigError(
            f"{opened.folder}: the study is not the one that it began as: {what}{more}; "
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


def finalists(records: Sequence[TrialRecord], metric: str, smooth_epochs: int, count: int) -> list[str]:
    """The arms that the search ends with: furthest trained first, then by the smoothed validation metric.

    Failed trials do not count. Ties go to the arm drawn first.
    """

    def merit(record: TrialRecord) -> tuple[float, float]:
        rows = record.rows()
        recent = [row[metric] for row in rows[-smooth_epochs:]]
        return rows[-1]["fraction"], sum(recent) / len(recent)

    able = [record for record in records if record.state()["status"] in ("complete", "stopped") and record.rows()]
    ranked = sorted(able, key=merit, reverse=True)
    return [str(record.state()["arm"]) for record in ranked[:count]]
