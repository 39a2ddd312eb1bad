"""All warnings of a study, the gravest first."""

from collections.abc import Iterator

from tune_cmx.evidence.report.metric_text import title
from tune_cmx.evidence.report.warnings.of_data import of_data
from tune_cmx.evidence.report.warnings.of_runs import of_runs
from tune_cmx.evidence.report.warnings.warning import Severity, Warning
from tune_cmx.evidence.results.floor import Learning
from tune_cmx.evidence.results.study_results import StudyResults
from tune_cmx.evidence.wording import listed, number


def warnings(study: StudyResults, learning: Learning | None = None) -> list[Warning]:
    """Everything that limits what can be said, each once, by severity.

    Args:
        study: A study.
        learning: Its configurations against the floor; None: not looked at.
    """
    found = [*of_data(study), *of_runs(study)]
    found += _of_learning(study, learning) if learning is not None else []
    return sorted(dict.fromkeys(found), key=lambda warning: warning.severity)


def _of_learning(study: StudyResults, learning: Learning) -> Iterator[Warning]:
    """Where all are at the floor, that is the answer and no warning."""
    if learning.intervals and learning.problem is not None:
        fact = f"Floor is {number(learning.floor, 1)} points only: {learning.problem}"
        yield Warning("floor", Severity.LIMITED, fact, "The commonest box on every image may reach more")
    idle = [study.label(arm) for arm in learning.intervals if not learning.has_learnt(arm)]
    if idle and not learning.nothing:
        fact = (
            f"No interval above the floor of {number(learning.floor)} points of {title(study.primary_metric)}: "
            f"{listed(idle)} may have learnt nothing"
        )
        yield Warning("floor", Severity.INVALID, fact, "Look at its curves before you compare it with others")
