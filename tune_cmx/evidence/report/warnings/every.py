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
    if learning.nothing:
        return
    apart = [arm for arm in learning.intervals if learning.seeds_disagree(arm)]
    if apart:
        fact = (
            f"The seeds disagree: the 95 % interval of {listed(map(study.label, apart))} reaches the floor of "
            f"{number(learning.floor)} points of {title(study.primary_metric)}, though the mean is far above it"
        )
        yield Warning("floor", Severity.INVALID, fact, "Look at the curve of each seed before you compare means")
    idle = [study.label(arm) for arm in learning.intervals if not learning.has_learnt(arm) and arm not in apart]
    if idle:
        fact = (
            f"No interval above the floor of {number(learning.floor)} points of {title(study.primary_metric)}: "
            f"{listed(idle)} may have learnt nothing"
        )
        yield Warning("floor", Severity.INVALID, fact, "Look at its curves before you compare it with others")
