"""The command that follows from the answer."""

import re
import shlex

import pandas as pd

from tune_cmx.evidence.report.page import Page
from tune_cmx.evidence.results.floor import Learning
from tune_cmx.evidence.results.interval_width import seeds_planned
from tune_cmx.evidence.results.selection import selected_arm
from tune_cmx.evidence.results.study_results import StudyResults


def next_section(page: Page, study: StudyResults, arms: pd.DataFrame, learning: Learning) -> None:
    """What to do, and the command."""
    page.heading("Next command")
    words, command = next_command(study, arms, learning)
    page.paragraph(f"{words} `{command}`")


def next_command(study: StudyResults, arms: pd.DataFrame, learning: Learning) -> tuple[str, str]:
    """What to do, in words, and the command that does it."""
    folder = shlex.quote(str(study.folder))
    search = _search_command(study)
    selected = selected_arm(study, arms)
    lost = [trial for trial in study.of_phase("confirm") if trial.status in ("failed", "interrupted")]
    if lost and not _is_old(study):
        words = "Runs did not finish. Mend the cause (see `error.txt` in each run folder), then resume them:"
        return words, f"{search} --resume --retry-failed"
    if study.state.status != "complete" or not study.confirmed or selected is None:
        return _continued(study, "Continue the study:")
    if learning.nothing:
        return "Look at curves and images, mend the cause, then start a new study:", f"tune-cmx board {folder}"
    verdict = str(arms.loc[arms["arm"] == selected, "verdict"].iloc[0])
    if verdict == "INSUFFICIENT_REPLICATION":
        seeds = max(seeds_planned(study) or 1, 3)
        return _continued(
            study, f"Set `confirm: {{seeds: {seeds}}}` in the search-space file, then continue the study:"
        )
    if verdict == "INCONCLUSIVE":
        seeds = max(2 * (seeds_planned(study) or 1), 3)
        changes = f"`confirm: {{seeds: {seeds}}}`, another `study` and another `seed`"
        return f"Confirm in a new study with more seeds: set {changes}{_renamed(study)}, then", search
    if verdict in ("SUPPORTED", "CONTRADICTED"):
        return "Measure what the confirmed runs lose when a modality fails:", f"tune-cmx robustness {folder}"
    return _continued(study, "Mend what the verdict names, then continue the study:")


def _continued(study: StudyResults, words: str) -> tuple[str, str]:
    """Resume the study; one of version 0.1.0 cannot be resumed, so that its file starts a new one."""
    if not _is_old(study):
        return words, f"{_search_command(study)} --resume"
    changes = f"set another `study`{_renamed(study)}"
    return f"Version 0.1.0 wrote this study, and this version cannot resume it. Start a new study: {changes}, then", (
        _search_command(study)
    )


def _is_old(study: StudyResults) -> bool:
    return study.state.form is None


def _renamed(study: StudyResults) -> str:
    """What the search-space file of version 0.1.0 needs besides."""
    space = study.folder / "space.yaml"
    if not space.is_file() or not re.search("^control:", space.read_text(encoding="utf-8"), re.MULTILINE):
        return ""
    return f", and rename `control:` to `baseline:` in {space.name}"


def _search_command(study: StudyResults) -> str:
    """With the study's own file and data, where they are recorded."""
    space = study.folder / "space.yaml"
    root = study.state.data.root
    return " ".join(
        [
            "tune-cmx search",
            shlex.quote(str(space)) if space.is_file() else "SPACE",
            f"--data {shlex.quote(root) if root else 'DATA'}",
        ]
    )
