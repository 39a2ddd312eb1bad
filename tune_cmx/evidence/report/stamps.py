"""Sentences without which no table and no picture of a study is shown."""

from tune_cmx.evidence.results.study_results import StudyResults

FRAME_SPLIT = "split over single images: neighbouring images leak"
TEST_CHOSE = "test was used for choosing: test figures contain the luck of the choice"


def stamps(study: StudyResults) -> list[str]:
    """Those that this study needs; none for a sound one."""
    found = []
    if study.split_how == "frame":
        found.append(FRAME_SPLIT)
    if study.selection_split == "test":
        found.append(TEST_CHOSE)
    return found
