"""Warnings: what limits the figures, what to do about it, each once."""

from __future__ import annotations

import json
import re
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest

from tune_cmx import metrics
from tune_cmx.evidence.report.stamps import stamps
from tune_cmx.evidence.report.warnings.every import warnings
from tune_cmx.evidence.report.warnings.warning import Severity
from tune_cmx.evidence.results.reading import read_study
from tune_cmx.evidence.results.study_claims import evaluate_study_claim
from tune_cmx.model_audit import AuditWarning

if TYPE_CHECKING:
    from conftest import StudyWriter


def found(writer: StudyWriter, words: str = "") -> list[str]:
    return [warning for warning in map(str, warnings(read_study(writer.write()))) if words in warning]


def write_data(writer: StudyWriter, name: str, content: Any) -> None:
    (writer.folder / "data").mkdir(parents=True, exist_ok=True)
    (writer.folder / "data" / name).write_text(content if isinstance(content, str) else json.dumps(content))


def test_a_trial_whose_micro_batches_were_halved(decided: StudyWriter) -> None:
    assert not found(decided, "Out of memory")
    decided.trial("confirm-stages-1-s9", "stages-1", seed=9, test=34.0, micro_batch=1)
    (warning,) = found(decided, "Out of memory")
    assert "confirm-stages-1-s9 (1 image)" in warning
    assert "Set `schedule.micro_batch: 1` for all configurations" in warning


def test_a_run_that_diverged(decided: StudyWriter) -> None:
    assert not found(decided, "diverged")
    lost = {"epoch": 2, "what": "loss", "value": 1.4e22}
    decided.trial("confirm-stages-1-s9", "stages-1", seed=9, test=0.0, divergence=lost)
    decided.trial(
        "search-stages-1-s9", "stages-1", phase="search", divergence={**lost, "what": "gradient norm", "value": None}
    )
    confirmed, searched = found(decided, "diverged")
    assert confirmed.startswith("Training diverged in 1 confirmation run, which the comparison counts: ")
    assert "confirm-stages-1-s9 (loss 1.4e+22 in epoch 2)" in confirmed
    assert "search-stages-1-s9 (gradient norm not finite in epoch 2)" in searched
    assert "Lower `schedule.lr`" in confirmed


@pytest.mark.parametrize(
    ("batches", "halved_to", "advised"), [((16, 16), 4, 4), ((14, 14), 3, 2), ((12, 16), 3, 2), ((15, 16), 3, 1)]
)
def test_the_micro_batch_advised_divides_every_batch(
    decided: StudyWriter, batches: tuple[int, int], halved_to: int, advised: int
) -> None:
    decided.trial("confirm-stages-1-s9", "stages-1", seed=9, test=34.0, micro_batch=halved_to)
    for path in decided.folder.glob("trials/*/config.json"):
        config = json.loads(path.read_text())
        config["schedule"]["batch_size"] = batches["stages-1" in path.parent.name]
        path.write_text(json.dumps(config))
    (warning,) = found(decided, "Out of memory")
    assert f"Set `schedule.micro_batch: {advised}` for all configurations" in warning


@pytest.mark.parametrize("damage", [{"batch_size": "many"}, {"batch_size": 4, "processes": 0}, None])
def test_a_damaged_schedule_or_a_number_that_cannot_be_is_no_end_of_the_report(
    decided: StudyWriter, damage: dict[str, Any] | None
) -> None:
    decided.trial("confirm-stages-1-s8", "stages-1", seed=8, test=34.0, micro_batch=0)
    decided.trial("confirm-stages-1-s9", "stages-1", seed=9, test=34.0, micro_batch=2)
    path = decided.folder / "trials" / "confirm-stages-1-s9" / "config.json"
    config = json.loads(path.read_text())
    path.write_text(json.dumps({**config, "schedule": damage}))
    (warning,) = found(decided, "Out of memory")
    assert "stages-1-s8" not in warning
    assert "schedule.micro_batch: 2` for all configurations" in warning


def halved(micro_batch: int, *places: tuple[int, int]) -> dict[str, Any]:
    """What a trial's record says of its memory."""
    halvings = [{"epoch": epoch, "step": step, "micro_batch": micro_batch} for epoch, step in places]
    return {"micro_batch": micro_batch, "halvings": halvings}


@pytest.mark.parametrize(
    ("treatment", "baseline", "verdict"),
    [
        ({}, {}, "SUPPORTED"),
        (halved(4, (1, 1)), {}, "NOT_COMPARABLE"),
        (halved(4, (1, 1)), halved(4, (1, 1)), "SUPPORTED"),
        (halved(4, (3, 2)), halved(4, (1, 1)), "NOT_COMPARABLE"),
        (halved(4, (3, 2)), halved(4, (3, 9)), "NOT_COMPARABLE"),
        ({"micro_batch": 4, "halvings": ["damaged"]}, halved(4, (1, 1)), "NOT_COMPARABLE"),
    ],
)
def test_runs_compare_whose_steps_all_had_the_same_micro_batches(
    writer: StudyWriter, treatment: dict[str, Any], baseline: dict[str, Any], verdict: str
) -> None:
    writer.search()
    values = {"baseline": [30.0, 31.0, 32.0, 30.5], "stages-1": [33.0, 34.1, 34.9, 33.6]}
    for arm, memory in (("baseline", baseline), ("stages-1", treatment)):
        for seed, value in enumerate(values[arm]):
            writer.trial(f"confirm-{arm}-s{seed}", arm, seed=seed, test=value, **memory)
    claim = {"kind": "superiority", "treatment": {"arm": "stages-1"}, "baseline": "baseline", "metric": "test/mAP"}
    found = evaluate_study_claim(read_study(writer.write()), claim)
    assert found["verdict"] == verdict
    if verdict == "NOT_COMPARABLE":
        assert found["numbers"]["mismatched_fields"] == ["schedule.micro_batch"]


def test_images_in_two_parts(decided: StudyWriter) -> None:
    write_data(decided, "split.json", {"train": ["a", "b"], "val": ["c"], "test": ["b", "d"]})
    (warning,) = found(decided, "image in both")
    assert warning.startswith("1 image in both train and test, such as b")
    assert "run again" in warning


def test_sequences_in_two_parts_are_said_once(decided: StudyWriter) -> None:
    decided.study["split"]["sequences"]["test"] = ["val03", *decided.study["split"]["sequences"]["test"]]
    decided.study["split"]["warnings"] = [{"kind": "leak", "text": "sequence val03 is in val and test"}]
    (warning,) = found(decided, "val03")
    assert warning.startswith("1 sequence in both val and test (val03)")


def test_a_clean_split_is_not_warned_of(decided: StudyWriter) -> None:
    write_data(decided, "split.json", {"train": ["a"], "val": ["b"], "test": ["c"]})
    assert not found(decided, "in both")


def test_a_split_over_images_is_said_once_with_what_to_do(decided: StudyWriter) -> None:
    decided.study["split"]["how"] = "frame"
    text = "split over single images: neighbouring video frames leak from train"
    decided.study["split"]["warnings"] = [{"kind": "single images", "text": text}]
    (warning,) = found(decided, "single images")
    assert warning.lower().startswith(stamps(read_study(decided.folder))[0])
    assert "data.split_by" in warning


def test_the_audit_of_the_data_is_said_once(decided: StudyWriter) -> None:
    decided.study["split"]["warnings"] = [{"kind": "data", "text": "class 'bus' has no box"}]
    write_data(decided, "audit.json", {"warnings": ["class 'bus' has no box", "rgb: 3 of 9 images are grey"]})
    assert len(found(decided, "bus")) == 1
    assert len(found(decided, "3 of 9 images")) == 1


@pytest.mark.parametrize("file", ["audit.json", "split.json"])
@pytest.mark.parametrize(
    ("content", "said"),
    [("{", " is damaged"), ("[]", " is damaged"), ({"warnings": 3, "test": 3}, ": FIELD cannot be 3; it is left out")],
)
def test_damaged_data_files_are_named(decided: StudyWriter, file: str, content: Any, said: str) -> None:
    write_data(decided, file, content)
    (warning,) = found(decided, f"data/{file}")
    said = said.replace("FIELD", {"audit.json": "warnings", "split.json": "test"}[file])
    assert f"data/{file}{said}. Restore the file" in warning


def test_gates_without_gradient_are_one_warning_for_all_configurations(decided: StudyWriter) -> None:
    one = AuditWarning("no gradient: eca_rgb.conv.weight", "no_gradient", "fusion", "CssaFusion", 1)
    note = AuditWarning("threshold 0.3", part="fusion", stage=1)
    decided.trial("s-a", "stages-1", "search", audit_warnings=[one.as_record(), note.as_record()])
    decided.trial("s-b", "stages-4", "search", audit_warnings=[replace(one, stage=4).as_record()])
    (warning,) = found(decided, "no gradient")
    assert "stage 1+4" in warning
    assert "(2 configurations). Count active parameters" in warning
    assert not found(decided, "threshold 0.3")


def test_factors_that_change_nothing(decided: StudyWriter) -> None:
    path = "model.fusion.options.eca"
    decided.extra_arm("twin", "twin", {path: False})
    decided.study["equivalent"] = [["stages-4", "twin"]]
    (warning,) = found(decided, "has no effect")
    assert path in warning
    assert warning.endswith("Keep one of them in the search-space file.")


def test_saturated_map_50_names_its_step(writer: StudyWriter) -> None:
    writer.study["data"]["classes"] = ["person", "car"]
    writer.arm("baseline", [70.0, 79.2])
    writer.arm("stages-1", [70.0, 71.0])
    (warning,) = found(writer, "saturated")
    assert "a run at 99.20; baseline)" in warning
    assert "0.50 points" in warning
    assert "mAP_75" in warning


def test_map_50_below_that_is_not_saturated(writer: StudyWriter) -> None:
    writer.arm("baseline", [78.0, 78.9])
    assert not found(writer, "saturated")


def test_mixed_records_among_confirmed_runs_are_told_from_others(decided: StudyWriter) -> None:
    decided.trial("s-odd", "stages-4", "search", device="gpu")
    (warning,) = found(decided, "different devices")
    assert "Confirmed runs agree in it" in warning
    decided.trial("confirm-odd", "stages-4", seed=900, test=31.0, device="gpu")
    (warning,) = found(decided, "different devices")
    assert "Confirmed runs are compared across them" in warning


def test_every_warning_says_what_to_do_and_none_stands_twice(writer: StudyWriter) -> None:
    writer.study["split"].update(how="frame", warnings=["class 'bus' has no box"])
    writer.study["split"]["counts"]["test"]["boxes"] = 12
    writer.study["split"]["sequences"]["test"] = ["one"]
    writer.study["selection"] = {"split": "test", "metric": "test/mAP", "finalists": ["stages-1"]}
    writer.study["allow_differences"] = ["schedule.lr"]
    writer.arm("baseline", [80.0])
    writer.arm("stages-1", [31.0, 32.0])
    writer.trial("confirm-x", "stages-1", seed=900, status="failed", epochs=1)
    all_of_them = found(writer)
    assert len(all_of_them) >= 10
    assert len(set(all_of_them)) == len(all_of_them)
    assert not any(re.search(r"\b(best|better|significant)\b", warning) for warning in all_of_them)


def test_the_gravest_warnings_come_first(writer: StudyWriter) -> None:
    writer.study["split"]["counts"]["test"]["boxes"] = 12
    writer.study["selection"] = {"split": "test", "metric": "test/mAP", "finalists": ["stages-1"]}
    writer.arm("baseline", [80.0])
    severities = [warning.severity for warning in warnings(read_study(writer.write()))]
    assert severities == sorted(severities)
    assert severities[0] is Severity.INVALID


def test_missing_runs_are_named_by_configuration_and_seed(undecided: StudyWriter) -> None:
    undecided.trial("confirm-bad", "baseline", seed=103, epochs=2, status="failed", reason="loss is nan")
    undecided.arm("stages-1", [33.0], first_seed=103)
    (warning,) = found(undecided, "No complete confirmation run of")
    assert "baseline (seed 103); stages 4 (seed 103)" in warning
    (warning,) = found(undecided, "did not finish")
    assert warning.startswith("1 confirmation run did not finish (confirm-bad)")


def test_finalists_that_were_not_confirmed_are_named(writer: StudyWriter) -> None:
    writer.arm("baseline", [30.0, 31.0])
    writer.arm("stages-1", [30.0, 31.0])
    assert found(writer, "Finalists without a complete confirmation run: stages 4")


def test_resumed_runs_are_named(undecided: StudyWriter) -> None:
    sessions = [{"first_epoch": 1, "last_epoch": 2}, {"first_epoch": 3, "last_epoch": 6}]
    undecided.trial("s-again", "stages-1", "search", lineage=sessions)
    assert found(undecided, "1 run resumed after an interruption: s-again")


def test_a_metric_of_all_sizes_that_no_run_has_is_not_recorded(
    decided: StudyWriter, monkeypatch: pytest.MonkeyPatch
) -> None:
    recall = metrics.Metric("AR@100", "a recall", "points", "higher", score=lambda _: 0.0)
    monkeypatch.setitem(metrics.METRICS, "AR_100", recall)
    warning = next(one for one in found(decided) if "AR@100" in one and " test " in one)
    assert warning.startswith("AR@100 not recorded on test by these runs.")
    assert not any("AR@100" in one for one in found(decided, "no boxes of that size"))
