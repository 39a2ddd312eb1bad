"""What is lost when one modality is missing, shifted or delayed: a table of the runs, and the report's section."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import pandas as pd

from tune_cmx.data.corruption.kinds import Corruption, Delayed, Missing, Shifted
from tune_cmx.data.corruption.robustness_file import ROBUSTNESS, OnSplit, read_robustness
from tune_cmx.errors import DataError
from tune_cmx.evidence.report.page import Page
from tune_cmx.evidence.results.stored_detections import left_out
from tune_cmx.evidence.results.study_results import StudyResults, Trial
from tune_cmx.evidence.wording import UNKNOWN, mean_sd, number
from tune_cmx.metrics import SPLITS, scored

LARGEST_GAP = 0.05
"""Points between a run's recorded mAP and that of the same weights clean; GPUs and numbers of threads round
differently, which moves a match here and there."""
HEADER = ("configuration", "modality", "corruption", "n", "mAP, points", "loss, points")
LEFT = 3
"""Columns of words."""


@dataclass(frozen=True)
class Corrupted:
    """An arm's runs under one corruption."""

    arm: str
    corruption: Corruption | None
    """None: clean."""
    values: tuple[float, ...]
    """mAP of each run, in points."""
    losses: tuple[float, ...]
    """Of each run, against the same weights clean; negative: it found more."""

    def cells(self, label: str) -> list[str]:
        """As a row under `HEADER`."""
        what = ("", "clean") if self.corruption is None else (self.corruption.modality, str(self.corruption))
        loss = UNKNOWN if self.corruption is None else mean_sd(self.losses)
        return [label, *what, str(len(self.values)), mean_sd(self.values), loss]


def stored_robustness(trial: Trial) -> dict[str, OnSplit]:
    """By split what a run folder has; empty where nothing was measured.

    Raises:
        DataError: The file is damaged, or is of other data than the run.
    """
    found = read_robustness(trial.folder)
    for split, one in {} if found is None else found.splits.items():
        for key in ("split_hash", "data_fingerprint"):
            here, recorded = getattr(one.basis, key), getattr(trial.state, key)
            if here != recorded:
                raise DataError(f"{ROBUSTNESS} is of other data: {key} of {split} is {here}, of the run {recorded}")
    return {} if found is None else dict(found.splits.items())


def gap_words(trial: Trial, split: str, found: OnSplit) -> str | None:
    """A sentence where the weights, on clean images, do not give the recorded mAP; else None."""
    recorded, here = trial.result(f"{split}/mAP"), found.clean.get("mAP")
    if recorded is None or here is None or abs(recorded - here) <= LARGEST_GAP:
        return None
    return (
        f"{trial.name}: the weights give {number(here)} mAP on {split} clean, and the run folder says "
        f"{number(recorded)}; the images, the code or the device are not those of the run"
    )


def corrupted_arms(trials: Sequence[Trial], split: str) -> tuple[list[Corrupted], dict[str, list[str]]]:
    """Each arm's runs clean and under each corruption, arms in the order given; and by reason the runs left out.

    Args:
        trials: Complete runs; those of one arm are replicates.
        split: `val` or `test`.
    """
    by_arm: dict[str, list[OnSplit]] = {}
    lacking: dict[str, list[str]] = {}
    for trial in trials:
        try:
            found = stored_robustness(trial).get(split)
        except DataError as error:
            lacking.setdefault(str(error), []).append(trial.name)
            continue
        if found is None:
            lacking.setdefault(f"nothing was measured on {split}", []).append(trial.name)
        else:
            by_arm.setdefault(trial.arm, []).append(found)
    return [row for arm, runs in by_arm.items() for row in _arm_rows(arm, runs)], lacking


def robustness_table(trials: Sequence[Trial]) -> pd.DataFrame:
    """One row a run, split and corruption, with all metrics; records that cannot be read are left out.

    `loss` is in points of mAP, against the same weights clean.
    """
    rows: list[dict[str, Any]] = []
    for trial in trials:
        try:
            splits = stored_robustness(trial)
        except DataError:
            continue
        for split, found in splits.items():
            run = {"arm": trial.arm, "label": trial.state.label, "trial": trial.name, "seed": trial.seed}
            for corruption in _ordered([found]):
                results = found.clean if corruption is None else found.results(corruption)
                assert results is not None
                fields = {} if corruption is None else corruption.model_dump()
                clean, value = found.clean.get("mAP"), results.get("mAP")
                rows.append(
                    {
                        **run,
                        "split": split,
                        "corruption": "clean" if corruption is None else str(corruption),
                        **{key: fields.get(key) for key in ("modality", "kind", "right", "down", "frames")},
                        "loss": None if clean is None or value is None else clean - value,
                        **{name: results.get(name) for name in scored()},
                    }
                )
    return pd.DataFrame(rows).astype(dict.fromkeys(("right", "down", "frames"), "Int64")) if rows else pd.DataFrame()


def robustness_section(page: Page, study: StudyResults, arms: pd.DataFrame) -> None:
    """mAP and loss of the confirmed arms with one modality corrupted; nothing where no run has that.

    Args:
        page: Receives the section.
        study: A study.
        arms: As `compare_arms` gives them, in whose order they stand here.
    """
    runs = [trial for arm in arms["arm"] for trial in study.confirmed if trial.arm == arm]
    if not any((trial.folder / ROBUSTNESS).exists() for trial in runs):
        return
    page.heading("When a modality fails")
    page.paragraph(
        "The confirmed runs' own weights, on images with one modality missing (its mean over the training images), "
        "shifted, or delayed (its image from some frames before in the same sequence). The boxes stay. "
        "Nothing here is tested, and no verdict rests on it. A configuration that finds less has less to lose, so read "
        "the loss beside the mAP."
    )
    first = study.primary_metric.partition("/")[0]
    notes: list[str] = []
    for split in sorted(SPLITS, key=lambda split: split != first):
        rows, lacking = corrupted_arms(runs, split)
        if rows:
            chosen = ", the split that selected" if split == study.selection_split else ""
            page.paragraph(
                f"On {split}{chosen}, means over seeds ± sd. The loss is against the same weights on clean images:"
            )
            page.table(HEADER, [row.cells(study.label(row.arm)) for row in rows], left=LEFT)
            notes += _gaps(runs, split)
        if rows or split == first:
            notes += left_out(lacking)
    if notes:
        page.bullets(dict.fromkeys(notes))


def _gaps(trials: Sequence[Trial], split: str) -> list[str]:
    found = []
    for trial in trials:
        try:
            one = stored_robustness(trial).get(split)
        except DataError:
            continue
        words = None if one is None else gap_words(trial, split, one)
        found += [f"{words}."] if words else []
    return found


def _arm_rows(arm: str, runs: Sequence[OnSplit]) -> list[Corrupted]:
    rows = []
    for corruption in _ordered(runs):
        values, losses = [], []
        for run in runs:
            results = run.clean if corruption is None else run.results(corruption)
            value, clean = (results or {}).get("mAP"), run.clean.get("mAP")
            if value is not None and clean is not None:
                values.append(value)
                losses.append(clean - value)
        rows.append(Corrupted(arm, corruption, tuple(values), tuple(losses)))
    return rows


def _ordered(runs: Sequence[OnSplit]) -> list[Corruption | None]:
    """None, for clean, and then every corruption of the runs: by modality as first met, kind and strength."""
    found = list(dict.fromkeys(one.corruption for run in runs for one in run.corrupted))
    modalities = list(dict.fromkeys(one.modality for one in found))
    kinds = (Missing, Shifted, Delayed)

    def place(one: Corruption) -> tuple[int, int, tuple[int, ...]]:
        return modalities.index(one.modality), kinds.index(type(one)), one.strength

    return [None, *sorted(found, key=place)]
