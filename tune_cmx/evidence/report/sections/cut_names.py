"""The searched values of configurations whose names were cut, or alike without a number."""

import json
import re

from tune_cmx.config.parse import flatten
from tune_cmx.evidence.report.page import Page
from tune_cmx.evidence.results.study_results import StudyResults

_CUT = re.compile(r" #\d+$|\.\.\.")
"""What `config.names` puts at the end of such a name."""


def cut_names_section(page: Page, study: StudyResults) -> None:
    """A row a configuration with such a name, its values with all digits; nothing where every name is whole."""
    rows = [
        [study.label(arm), ", ".join(f"{path}: {_exact(value)}" for path, value in flatten(about.values).items())]
        for arm, about in study.arms.items()
        if _CUT.search(study.label(arm).removesuffix(" (baseline)")) and any(run.arm == arm for run in study.trials)
    ]
    if rows:
        page.heading("Names of configurations")
        page.paragraph("These names do not hold every searched value. The values are:")
        page.table(["configuration", "searched values"], rows, left=2, in_paper=False)


def _exact(value: object) -> str:
    return value if isinstance(value, str) else json.dumps(value, default=str)
