"""Importance of factors: what optuna says of records, against chance and against noise."""

from __future__ import annotations

import random
import re
from typing import TYPE_CHECKING, Any

import pytest

from tune_cmx.evidence.report.page import Page
from tune_cmx.evidence.report.sections.importance import importance_section, importances, limits, run_to_run_sd
from tune_cmx.evidence.results.reading import read_study
from tune_cmx.evidence.results.searched_factors import common_point, factors

if TYPE_CHECKING:
    from conftest import StudyWriter

DECIDES, IDLE, LATE = "schedule.lr", "schedule.momentum", "model.fusion.options.eca"


def section(writer: StudyWriter) -> str:
    page = Page()
    importance_section(page, read_study(writer.write()))
    return page.text()


def fill(writer: StudyWriter, trials: int, **how: Any) -> StudyWriter:
    """Trials whose value depends on the first factor alone, and on a little noise."""
    writer.study["space"] = {
        "search": {
            DECIDES: {"when": {}, "loguniform": [0.001, 1.0]},
            IDLE: {"when": {}, "uniform": [0.0, 1.0]},
            LATE: {"when": {}, "choice": [True, False]},
        }
    }
    draw = random.Random(3)
    for n in range(trials):
        values = {DECIDES: 10 ** draw.uniform(-3, 0), IDLE: draw.random(), LATE: n % 2 == 0}
        writer.study["arms"][f"a{n}"] = {"label": f"a{n}", "values": values, "config": {}, "differs": []}
        value = 30 + 60 * values[DECIDES] + draw.gauss(0, 0.3)
        writer.trial(f"s-{n:02d}", f"a{n}", "search", val=value, **how)
    return writer


def test_the_factor_that_decides_stands_first_and_above_chance(writer: StudyWriter) -> None:
    records = read_study(fill(writer, 30).write())
    point = common_point(records)
    assert point is not None
    found = importances(records, point, factors(records))
    assert found[0].factor.path == DECIDES
    assert found[0].chance <= 0.05
    assert all(one.chance > 0.05 for one in found[1:])
    assert sum(one.share for one in found) == pytest.approx(1)


def test_chance_counts_every_choice_that_scores_as_high(writer: StudyWriter) -> None:
    """The demo's grid and values: 54 of the 70 ways to choose the upper 4 of 8 give `stages` as much, counted by hand.

    A choice scores as high where its trials fall on the stages as 2 + 2 or 2 + 1 + 1, and lower where as 1 + 1 + 1 + 1:
    that is 2^4 = 16 of 70.
    """
    stages, threshold = "model.fusion.stages", "model.fusion.options.switching_threshold"
    writer.study["space"] = {
        "search": {
            stages: {"when": {}, "choice": [[1], [4], [2, 3], [1, 2, 3, 4]]},
            threshold: {"when": {}, "choice": [0.3, 0.5]},
        }
    }
    grid = [(placed, gate) for placed in ([1, 2, 3, 4], [1], [2, 3], [4]) for gate in (0.3, 0.5)]
    found_on_val = [13.553084508195221, 10.197233350466027, 15.124886791530418, 11.365287607247875]
    found_on_val += [11.424180465518807, 20.52300684930628, 35.02202734786907, 32.17030674300623]
    for n, ((placed, gate), value) in enumerate(zip(grid, found_on_val, strict=True)):
        values = {stages: placed, threshold: gate}
        writer.study["arms"][f"a{n}"] = {"label": f"a{n}", "values": values, "config": {}, "differs": []}
        writer.trial(f"s-{n:02d}", f"a{n}", "search", val=value)
    records = read_study(writer.write())
    point = common_point(records)
    assert point is not None
    chance = {one.factor.path: one.chance for one in importances(records, point, factors(records))}
    assert chance == {stages: 54 / 70, threshold: 1.0}
    assert "stages 100 % (as high by chance: 77 %)" in section(writer)
    assert "the share of 70 ways to choose the upper trials" in section(writer)


def test_the_same_records_give_the_same_figures(writer: StudyWriter) -> None:
    folder = fill(writer, 8).write()
    first, second = (
        importances(records, point, factors(records))
        for records in (read_study(folder), read_study(folder))
        if (point := common_point(records)) is not None
    )
    assert first == second


def test_what_lifts_the_upper_trials_counts_and_not_what_spoils_the_lower(writer: StudyWriter) -> None:
    lifts, spoils = "schedule.batch_size", "schedule.step_epochs"
    writer.study["space"] = {"search": {path: {"when": {}, "choice": list(range(8))} for path in (lifts, spoils)}}
    for n in range(32):
        values = {lifts: n % 8, spoils: (n // 8 + n) % 8}
        writer.study["arms"][f"a{n}"] = {"label": f"a{n}", "values": values, "config": {}, "differs": []}
        value = 30 + 0.01 * n + 10 * (values[lifts] == 0) - 20 * (values[spoils] == 0)
        writer.trial(f"s-{n:02d}", f"a{n}", "search", val=value)
    records = read_study(writer.write())
    point = common_point(records)
    assert point is not None
    assert importances(records, point, factors(records))[0].factor.path == lifts


def said(writer: StudyWriter) -> str:
    """The limits of the figures."""
    records = read_study(writer.write())
    point = common_point(records)
    assert point is not None
    return "; ".join(limits(records, point, factors(records)))


def test_few_trials_are_warned_of_and_enough_are_not(writer: StudyWriter) -> None:
    fill(writer, 29)
    assert "Unreliable: 29 trials for 3 factors; at least 10 a factor are needed" in said(writer)
    writer.trial("s-more", "a0", "search")
    assert "Unreliable" not in said(writer)


def test_unequal_ends_are_said(writer: StudyWriter) -> None:
    fill(writer, 12)
    writer.trial("s-early", "a0", "search", epochs=2, status="stopped")
    assert "1 of 13 trials stopped early, so all are compared at epoch 2" in said(writer)


def test_noise_is_measured_on_the_confirmed_runs(writer: StudyWriter) -> None:
    """Runs of 30, 31, 32 on val have sd 1 in full, and a third of it at epoch 2 of 6."""
    fill(writer, 12)
    writer.arm("baseline", [31.0, 32.0, 33.0])
    writer.trial("s-early", "a0", "search", epochs=2, status="stopped")
    records = read_study(writer.write())
    point = common_point(records)
    assert point is not None
    assert run_to_run_sd(records, point) == pytest.approx(1 / 3)
    assert "differ by sd 0.33 at epoch 2" in said(writer)


def test_without_replicates_the_noise_is_unknown(writer: StudyWriter) -> None:
    assert "no confirmed configuration has two runs" in said(fill(writer, 12))


def test_a_factor_that_some_trials_do_not_use(writer: StudyWriter) -> None:
    fill(writer, 12)
    for n in range(5):
        del writer.study["arms"][f"a{n}"]["values"][LATE]
    records = read_study(writer.write())
    point = common_point(records)
    assert point is not None
    (one,) = [one for one in importances(records, point, factors(records)) if one.factor.path == LATE]
    assert (one.values, one.trials) == (2, 7)


def test_the_section_is_one_sentence_and_its_limits(writer: StudyWriter) -> None:
    text = section(fill(writer, 12))
    assert re.search(r"PED-ANOVA on val mAP at epoch 6: lr \d+ % \(as high by chance: \d+ %\), ", text)
    assert "- Unreliable: 12 trials for 3 factors; at least 10 a factor are needed." in text
    assert "|" not in text


@pytest.mark.parametrize("trials", [0, 3])
def test_too_few_to_weigh_anything(writer: StudyWriter, trials: int) -> None:
    assert section(fill(writer, trials)) == "\n"


def test_one_factor_has_nothing_to_be_weighed_against(undecided: StudyWriter) -> None:
    assert section(undecided) == "\n"


def test_arms_listed_one_by_one_have_no_factors(undecided: StudyWriter) -> None:
    undecided.study["space"] = {"search": {"arms": {"when": {}, "choice": [{"model.streams": "rgb"}]}}}
    assert section(undecided) == "\n"


def test_optuna_keeps_its_loudness(writer: StudyWriter, caplog: pytest.LogCaptureFixture) -> None:
    import optuna

    before = optuna.logging.get_verbosity()
    section(fill(writer, 5))
    assert optuna.logging.get_verbosity() == before
    assert not caplog.records
