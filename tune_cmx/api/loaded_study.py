"""`tune_cmx.Study`: a study folder in Python, as pandas tables."""

import os
from functools import cached_property
from pathlib import Path

import pandas as pd

from tune_cmx.counting import count
from tune_cmx.evidence.results.comparison import compare_arms, where_learnt
from tune_cmx.evidence.results.floor import Learning, learning
from tune_cmx.evidence.results.reading import read_study
from tune_cmx.evidence.results.selection import selected_arm
from tune_cmx.evidence.results.study_results import StudyResults, trials_table

_NUMBERS = (
    *("n", "mean", "sd", "difference", "ci95_low", "ci95_high", "p", "adjusted_p", "exact_p"),
    *("pairs", "pilot_pairs"),
)
"""Columns of `Study.results` that hold numbers."""


class Study:
    """A study that a search or an import wrote. It is read once, when it is loaded, and never changed."""

    def __init__(self, results: StudyResults) -> None:
        self._results = results

    @classmethod
    def load(cls, folder: str | os.PathLike[str]) -> "Study":
        """Read a study folder, also an unfinished one or one of version 0.1.0.

        Args:
            folder: As in `runs/demo`.

        Raises:
            DataError: The folder has no `study.json` that can be read. Other damage is in `problems`.
        """
        return cls(read_study(Path(folder)))

    def __repr__(self) -> str:
        runs = count(len(self._results.trials), "run")
        return f"Study('{self.folder}': {self.name}, {self.status or 'status unknown'}, {runs})"

    @property
    def name(self) -> str:
        """The study's name."""
        return self._results.state.study

    @property
    def folder(self) -> Path:
        """The study's folder."""
        return self._results.folder

    @property
    def question(self) -> str | None:
        """The question that the search-space file asks. None: an import has no question."""
        return self._results.state.question

    @property
    def status(self) -> str | None:
        """searching, confirming, complete, interrupted, failed or imported. None: not recorded."""
        return self._results.state.status

    @property
    def problems(self) -> tuple[str, ...]:
        """What could not be read, a sentence each. Empty for a sound study."""
        return self._results.problems

    @property
    def metric(self) -> str:
        """The metric of `results`, with its split, such as `test/mAP`."""
        return self._results.primary_metric

    @property
    def baseline(self) -> str | None:
        """The baseline's id in the column `arm`. None: an import may have no baseline."""
        return self._results.baseline

    @property
    def selected(self) -> str | None:
        """The selected configuration's id in the column `arm`. None: it has no confirmed run yet."""
        return selected_arm(self._results, self._compared)

    @property
    def learnt(self) -> bool:
        """Whether a configuration is above the floor, which a detector reaches that has learnt nothing."""
        return bool(self._learning.intervals) and not self._learning.nothing

    def runs(self) -> pd.DataFrame:
        """A row for each run, as in `trials.csv` of the report.

        Returns:
            Columns `trial`, `arm` (the configuration's id), `label` (its name), `phase`, `seed`, `status`, `epochs`,
            `seconds`, a column for each factor, one for each metric and split (`test/mAP`, in points), and hashes of
            protocol, split and data.
        """
        return trials_table(self._results)

    def results(self) -> pd.DataFrame:
        """A row for each confirmed configuration, the baseline first, as on the first screen of the report.

        Returns:
            Columns `arm` (the configuration's id), `label` (its name), `n` (seeds), `mean` and `sd` of `metric`;
            `difference` from the baseline with its 95 % interval (`ci95_low`, `ci95_high`); `p`, `adjusted_p` (Holm),
            `exact_p`; `pairs`, `pilot_pairs`; `verdict` and `why`; `detectable`. Metrics are in points. A number that
            is not known is NaN. Where nothing was learnt, all but the means is unknown.
        """
        shown = where_learnt(self._compared, self._learning)
        return shown.reset_index(drop=True).astype(dict.fromkeys(_NUMBERS, float))

    @cached_property
    def _learning(self) -> Learning:
        return learning(self._results)

    @cached_property
    def _compared(self) -> pd.DataFrame:
        return compare_arms(self._results)
