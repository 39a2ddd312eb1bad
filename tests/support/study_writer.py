"""Study folders in the form that a search writes them, small and exact."""

import csv
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any

from tune_cmx.config.trial import FusionConfig, ModelConfig, ScheduleConfig, TrialConfig

BASELINE = FusionConfig(kind="frm_ffm")
CSSA_1 = FusionConfig(kind="cssa", stages=(1,), elsewhere="frm_ffm", options={"switching_threshold": 0.5})
CSSA_4 = FusionConfig(kind="cssa", stages=(4,), elsewhere="frm_ffm", options={"switching_threshold": 0.5})
FUSIONS = {"baseline": BASELINE, "stages-1": CSSA_1, "stages-4": CSSA_4}
EPOCHS = 6
VAL_COLUMNS = ("val/mAP", "val/mAP_50", "val/mAP_small")


def config_of(arm: str, seed: int, report_split: str) -> dict[str, Any]:
    content: dict[str, Any] = json.loads(config_text(arm, seed, report_split))
    return content


@cache
def config_text(arm: str, seed: int, report_split: str) -> str:
    config = TrialConfig(
        model=ModelConfig(backbone="mit_nano", fusion=FUSIONS.get(arm, CSSA_4)),
        schedule=ScheduleConfig(epochs=EPOCHS, batch_size=2),
        seed=seed,
        report_split=report_split,  # type: ignore[arg-type]
    )
    return json.dumps(config.model_dump(mode="json"))


@dataclass
class StudyWriter:
    """Writes a study folder; each method adds to it, `study` may be changed before `write`."""

    folder: Path
    study: dict[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        fixed = config_of("baseline", 0, "val")
        self.study = {
            "form": 2,
            "study": "cssa-stages",
            "question": "Where should CSSA replace FRM+FFM?",
            "factors": ["model.fusion.stages"],
            "baseline": "baseline",
            "arms": {
                arm: {
                    "label": arm.replace("-", " "),
                    "values": {} if fusion.stages is None else {"model.fusion.stages": list(fusion.stages)},
                    "config": config_of(arm, 0, "val"),
                    "differs": [] if arm == "baseline" else ["model.fusion"],
                }
                for arm, fusion in FUSIONS.items()
            },
            "protocol": {
                "model.backbone": "mit_nano",
                "model.streams": "rgb | thermal+event",
                "model.carry": "separate",
                "model.drop_path": 0.1,
                **{f"model.detector.{key}": value for key, value in fixed["model"]["detector"].items()},
                **{f"schedule.{key}": value for key, value in fixed["schedule"].items()},
                "data.augment.flip": 0.5,
                "data.augment.scale": [0.8, 1.25],
                "data.fractions": [0.7, 0.15, 0.15],
                "data.guard": 8,
                "data.split_by": None,
                "data.split_seed": 0,
            },
            "protocol_hash": "0123456789ab",
            "split": {
                "how": "sequence",
                "hash": "5p1175p1175p",
                "counts": {
                    "train": {"images": 70, "boxes": 410},
                    "val": {"images": 15, "boxes": 140},
                    "test": {"images": 15, "boxes": 133},
                },
                "sequences": {part: [f"{part}{n:02d}" for n in range(10)] for part in ("train", "val", "test")},
                "warnings": [],
            },
            "data": {"root": "frames", "fingerprint": "da7ada7ada7a", "classes": ["person"]},
            "early_stopping": {
                "kind": "asha",
                "metric": "val/mAP",
                "smooth_epochs": 3,
                "compare_at": "epoch",
                "reduction_factor": 3,
                "grace": 2,
                "rungs": [2],
            },
            "searcher": {"kind": "grid"},
            "confirm": {"finalists": 2, "seeds": 3},
            "claims": [],
            "selection": {"split": "val", "metric": "val/mAP", "finalists": ["stages-1", "stages-4"]},
            "allow_differences": [],
            "status": "complete",
            "seconds": 1234.0,
        }

    def trial(
        self,
        name: str,
        arm: str,
        phase: str = "confirm",
        seed: int = 0,
        val: float = 30.0,
        test: float | None = None,
        epochs: int = EPOCHS,
        milliseconds: float | None = None,
        **info: Any,
    ) -> None:
        """A record; it has final results if its status is complete, and on test if `test` is given."""
        status = info.get("status", "complete")
        place = self.folder / "trials" / name
        place.mkdir(parents=True)
        content = {
            "id": name,
            "arm": arm,
            "phase": phase,
            "seed": seed,
            "status": "complete",
            "reason": None,
            "protocol_hash": "0123456789ab",
            "split_hash": "5p1175p1175p",
            "split_how": self.study["split"]["how"],
            "data_fingerprint": "da7ada7ada7a",
            "code_version": "0.1.0+abc",
            "packages": {"torch": "2.15.0"},
            "device": "cpu",
            "seconds": 10.0 * epochs,
            "epochs": epochs,
            "epochs_planned": EPOCHS,
            "lineage": [{"started": "t0", "ended": "t1", "seconds": 60.0, "first_epoch": 1, "last_epoch": epochs}],
            "parameters": {"total": 60_014_945, "active": 60_000_000 - 1000 * len(arm), "by_part": {}},
            "audit_warnings": [],
            "stopped": None,
            "created": "t0",
            "finished": "t1",
            **info,
        }
        (place / "trial.json").write_text(json.dumps(content))
        split = "val" if test is None else "test"
        (place / "config.json").write_text(config_text(arm, seed, split))
        self._metrics(place, val, epochs, milliseconds)
        if status == "complete":
            by_split = {"val": points(val)} if test is None else {"val": points(val), "test": points(test)}
            final = {
                "experiment_id": name,
                "config": {},
                "results": by_split[split],
                "split": split,
                "results_by_split": by_split,
                "training": {"total_time_hours": epochs / 360},
                "model": {"total_params": 60_014_945, "total_params_M": 60.01},
            }
            (place / "final_results.json").write_text(json.dumps(final))

    def arm(self, arm: str, test: Sequence[float], first_seed: int = 100, **info: Any) -> None:
        """Confirmed runs, one for each value on test, on successive seeds."""
        for offset, value in enumerate(test):
            seed = first_seed + offset
            self.trial(f"confirm-{arm}-{seed}", arm, seed=seed, val=value - 1, test=value, **info)

    def search(self) -> None:
        """Three search trials, one of which was stopped at the rung of epoch 2."""
        self.trial("s-0", "baseline", "search", val=30.0)
        self.trial("s-1", "stages-1", "search", val=31.0)
        stop = {"epoch": 2, "rung": 2, "value": 9.5, "cutoff": 10.25}
        self.trial("s-4", "stages-4", "search", val=29.0, epochs=2, status="stopped", stopped=stop)
        (self.folder / "search").mkdir()
        decisions = [("s-0", 10.0, None, "continue"), ("s-1", 10.25, 10.0, "continue"), ("s-4", 9.5, 10.25, "stop")]
        lines = [
            json.dumps(
                {"trial": name, "arm": "", "rung": 2, "at": 2, "value": value, "cutoff": cutoff, "decision": what}
            )
            for name, value, cutoff, what in decisions
        ]
        (self.folder / "search" / "rungs.jsonl").write_text("\n".join(lines) + "\n")

    def write(self) -> Path:
        """The folder, with study.json in it."""
        self.folder.mkdir(exist_ok=True)
        (self.folder / "study.json").write_text(json.dumps(self.study))
        return self.folder

    def rungs(self, *decisions: Mapping[str, Any]) -> None:
        """Lines of rungs.jsonl, in their order."""
        (self.folder / "search").mkdir(parents=True)
        filled = [{"arm": "", "rung": 2, "at": 2, "cutoff": None, **decision} for decision in decisions]
        (self.folder / "search" / "rungs.jsonl").write_text("".join(f"{json.dumps(line)}\n" for line in filled))

    def extra_arm(self, arm: str, label: str, values: Mapping[str, Any]) -> None:
        """An arm that differs from stages 4 in what its values say."""
        config = config_of("stages-4", 0, "val")
        for path, value in values.items():
            *sections, last = path.split(".")
            place = config
            for section in sections:
                place = place[section]
            place[last] = value
        self.study["arms"][arm] = {"label": label, "values": dict(values), "config": config, "differs": []}

    def _metrics(self, place: Path, val: float, epochs: int, milliseconds: float | None) -> None:
        with (place / "metrics.csv").open("w", newline="") as file:
            writer = csv.writer(file)
            timed = [] if milliseconds is None else ["val/milliseconds"]
            writer.writerow(
                ["epoch", "fraction", "seconds", "lr", "train/loss", "val/mAP", "val/mAP_50", "val/mAP_small", *timed]
            )
            for epoch in range(1, epochs + 1):
                value = val * epoch / EPOCHS
                writer.writerow(
                    [
                        epoch,
                        epoch / EPOCHS,
                        10.0 * epoch,
                        0.02,
                        2.0 / epoch,
                        value,
                        value * 1.5,
                        "",
                        *[milliseconds for _ in timed],
                    ]
                )


def points(value: float) -> Mapping[str, float | None]:
    return {
        "mAP": value,
        "mAP_50": value + 20,
        "mAP_75": value - 5,
        "mAP_small": None,
        "mAP_medium": value + 1,
        "mAP_large": value + 2,
    }
