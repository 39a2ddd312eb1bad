"""Likely causes, read off the curves."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tune_cmx.evidence.results.reading import read_study
from tune_cmx.evidence.results.training_curves import divergence_words, likely_causes

if TYPE_CHECKING:
    from conftest import StudyWriter


def losses(writer: StudyWriter, name: str, values: list[float | str]) -> None:
    path = writer.folder / "trials" / name / "metrics.csv"
    header, *rows = path.read_text().splitlines()
    place = header.split(",").index("train/loss")
    lines = [header]
    for row, value in zip(rows, values, strict=True):
        cells = row.split(",")
        cells[place] = str(value)
        lines.append(",".join(cells))
    path.write_text("\n".join(lines) + "\n")


def facts(writer: StudyWriter, floor: float = 0.3) -> str:
    return "; ".join(cause.fact for cause in likely_causes(read_study(writer.write()), floor))


def test_a_loss_that_explodes_is_divergence(writer: StudyWriter) -> None:
    writer.trial("s-1", "stages-1", "search", val=0.0)
    losses(writer, "s-1", [2.0, 1.5, 1.4e22, 5.0, 4.0, 3.0])
    (first, *_) = likely_causes(read_study(writer.write()), 0.3)
    assert first.fact == "training diverged in 1 run: s-1 (loss 1.4e+22 in epoch 3)"
    assert "schedule.lr" in first.advice


def test_a_stored_nan_is_divergence_and_an_empty_cell_is_not(writer: StudyWriter) -> None:
    writer.trial("s-1", "stages-1", "search", val=0.0)
    for cell, words in (("nan", "loss nan in epoch 3"), ("", None)):
        losses(writer, "s-1", [2.0, 1.5, cell, 1.2, 1.1, 1.0])
        (trial,) = read_study(writer.write()).trials
        assert divergence_words(trial) == words


def test_what_the_run_folder_notes_comes_first(writer: StudyWriter) -> None:
    note = {"epoch": 2, "what": "gradient norm", "value": None}
    writer.trial("s-1", "stages-1", "search", val=0.0, divergence=note)
    (trial,) = read_study(writer.write()).trials
    assert divergence_words(trial) == "gradient norm not finite in epoch 2"


def test_a_loss_that_falls_and_one_that_does_not(writer: StudyWriter) -> None:
    writer.trial("s-1", "stages-1", "search", val=0.0)
    assert "the training loss fell (median from 2.00 to 0.33)" in facts(writer)
    losses(writer, "s-1", [2.0, 2.1, 2.0, 1.9, 2.0, 1.95])
    assert "the training loss did not fall (median 2.00 in the first epoch, 1.95 in the last)" in facts(writer)


@pytest.mark.parametrize(("val", "is_flat"), [(0.2, True), (30.0, False)])
def test_a_flat_validation_metric(writer: StudyWriter, val: float, is_flat: bool) -> None:
    writer.trial("s-1", "stages-1", "search", val=val)
    assert ("val/mAP stayed at" in facts(writer)) == is_flat


def test_few_steps_random_weights_and_missing_boxes(writer: StudyWriter) -> None:
    writer.study["split"]["counts"]["train"]["boxes"] = 0
    writer.trial("s-1", "stages-1", "search", val=0.0)
    text = facts(writer)
    assert text.startswith("train has no boxes")
    assert "the longest run took 210 steps (6 epochs of 70 images, batch 2)" in text
    assert "random weights" in text


def test_a_study_without_runs_has_only_what_the_data_say(writer: StudyWriter) -> None:
    assert facts(writer) == ""


def test_an_older_study_diverges_at_the_loss_at_which_training_says_so(writer: StudyWriter) -> None:
    """Ten times the first epoch's loss, and above 10."""
    writer.trial("s-1", "stages-1", "search", val=0.0)
    losses(writer, "s-1", [2.0, 1.5, 19.9, 5.0, 4.0, 3.0])
    assert "diverged" not in facts(writer)
    losses(writer, "s-1", [2.0, 1.5, 20.1, 5.0, 4.0, 3.0])
    assert "training diverged in 1 run: s-1 (loss 20.1 in epoch 3)" in facts(writer)
