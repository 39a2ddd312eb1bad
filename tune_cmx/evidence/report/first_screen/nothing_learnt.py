"""What the first screen says where no configuration exceeds the floor: likely causes, and nothing else."""

from tune_cmx.evidence.report.page import Page
from tune_cmx.evidence.results.floor import Learning
from tune_cmx.evidence.results.study_results import StudyResults
from tune_cmx.evidence.results.training_curves import likely_causes
from tune_cmx.evidence.wording import sentence


def causes_section(page: Page, study: StudyResults, learning: Learning) -> None:
    """The likely causes from the curves, and what cannot be written."""
    page.heading("Likely causes")
    causes = likely_causes(study, learning.floor)
    page.bullets(
        [f"{sentence(cause.fact)} {sentence(cause.advice)}" for cause in causes] or ["None found in the curves."]
    )
    page.heading("What you may write")
    page.paragraph(
        "You may not write that one configuration is above another, or that they are equal. "
        "This report has no differences, no selected configuration and no example images, because none would mean "
        "anything. It does not answer the claims of the study's file either."
    )
