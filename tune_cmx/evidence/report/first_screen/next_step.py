"""The command that follows from the answer."""

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
    words, command = _next(study, arms, learning)
    page.paragraph(f"{words} `{command}`")


def _next(study: StudyResults, arms: pd.DataFrame, learning: Learning) -> tuple[str, str]:
    folder = shlex.quote(str(study.folder))
    search = _search_command(study)
    selected = selected_arm(study, arms)
    if study.state.status != "complete" or not study.confirmed or selected is None:
        return "Continue the study:", f"{search} --resume"
    if learning.nothing:
        return "Look at curves and images, mend the cause, then start a new study:", f"tune-cmx board {folder}"
    verdict = str(arms.loc[arms["arm"] == selected, "verdict"].iloc[0])
    if verdict in ("INCONCLUSIVE", "INSUFFICIENT_REPLICATION"):
        seeds = max(2 * (seeds_planned(study) or 1), 3)
        changes = f"`confirm: {{seeds: {seeds}}}`, another `study` and another `seed`"
        return f"Confirm in a new study with more seeds: set {changes}, then", search
    if verdict in ("SUPPORTED", "CONTRADICTED"):
        return "Measure what the confirmed runs lose when a modality fails:", f"tune-cmx robustness {folder}"
    return "Mend what the verdict names, then continue the study:", f"{search} --resume"


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
