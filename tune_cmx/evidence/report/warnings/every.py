"""All warnings of a study, the gravest first."""

from tune_cmx.evidence.report.warnings.of_data import of_data
from tune_cmx.evidence.report.warnings.of_runs import of_runs
from tune_cmx.evidence.report.warnings.warning import Warning
from tune_cmx.evidence.results.study_results import StudyResults


def warnings(records: StudyResults) -> list[Warning]:
    """Everything that limits what can be said, each once, by severity."""
    found = dict.fromkeys([*of_data(records), *of_runs(records)])
    return sorted(found, key=lambda warning: warning.severity)
