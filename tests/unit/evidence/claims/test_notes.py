"""What notes beside a run say."""

import pytest

from tune_cmx.evidence.claims.notes import speaks_of_resuming


@pytest.mark.parametrize(
    "text",
    [
        *("resumed at epoch 7", "Continued from epoch 7", "picked up again", "part 2 of 2", "crashed at 7"),
        *("second segment", "interrupted twice", "restarted", "preempted at epoch 3", "Part 1/2"),
    ],
)
def test_a_note_speaks_of_resuming(text: str) -> None:
    assert speaks_of_resuming(text)


@pytest.mark.parametrize(
    "text",
    [
        *("", "never resumed", "without interruption", "no crash", "not restarted", "cosine with warm restarts"),
        *("segmentation weights", "continuous depth", "uninterrupted", "part of the ablation"),
    ],
)
def test_other_notes_do_not(text: str) -> None:
    assert not speaks_of_resuming(text)
