"""The test of a case that passed every check: SUPPORTED, EQUIVALENT, CONTRADICTED or INCONCLUSIVE."""

import math
import statistics
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from tune_cmx import ties
from tune_cmx.evidence.claims.detectable import ALPHA, of_difference, of_margin, of_ratio, of_value
from tune_cmx.evidence.claims.parsed_claim import Answer, Case, answer
from tune_cmx.evidence.claims.rows import Row, arm_of, pair_key
from tune_cmx.evidence.statistics.difference import (
    Comparison,
    Interval,
    compare_independent,
    compare_paired,
    compare_two_stage,
    holm,
    mean_interval,
)
from tune_cmx.evidence.wording import count, figure, interval, metric_interval, number, p_value, signed_figure


def decide_superiority(case: Case) -> Answer:
    """Holm's adjusted p at most 0.05, in the direction claimed or in the other."""
    own, others = _against_baseline(case)
    comparisons = 1 + len(others)
    adjusted = holm([own.p, *(other.p for other in others)])[0]
    more, words = of_difference(case, own, comparisons, (case.treatment, case.baseline))
    numbers = {**_numbers(own, case), "adjusted_p": adjusted, "comparisons": comparisons, **more}
    why = _sentence(own, case, adjusted, comparisons)
    ahead = case.sign * own.difference > 0
    if _significant(adjusted):
        return answer("SUPPORTED" if ahead else "CONTRADICTED", numbers, why)
    if case.margin is not None and _within(own.ci90, case.margin):
        return answer("EQUIVALENT", numbers, f"{why}; 90 % interval inside the margin of {case.margin:g}")
    return answer("INCONCLUSIVE", numbers, f"{why}; {words}")


def decide_equivalence(case: Case) -> Answer:
    """EQUIVALENT: the 90 % interval is inside the margin (two one-sided tests); CONTRADICTED: it is wholly outside."""
    own, others = _against_baseline(case)
    assert case.margin is not None
    comparisons = 1 + len(others)
    adjusted = holm([own.p, *(other.p for other in others)])[0]
    numbers = {**_numbers(own, case), "adjusted_p": adjusted, "comparisons": comparisons}
    ends = metric_interval(own.ci90, case.printed)
    why = f"{_sentence(own, case, adjusted, comparisons)}; 90 % interval {ends}, margin {case.margin:g}"
    if _within(own.ci90, case.margin):
        return answer("EQUIVALENT", numbers, why)
    if ties.above(own.ci90[0], case.margin) or ties.above(-case.margin, own.ci90[1]):
        return answer("CONTRADICTED", numbers, why)
    more, words = of_margin(case, own, (case.treatment, case.baseline))
    return answer("INCONCLUSIVE", {**numbers, **more}, f"{why}; {words}")


def decide_best(case: Case) -> Answer:
    """The treatment against every rival, Holm's correction over the rivals; the answer names the one that decides."""
    sign = case.sign
    against = {name: compare_in(case, case.treatment, rows) for name, rows in case.rivals.items()}
    compared = {name: outcome for name, outcome in against.items() if outcome is not None}
    adjusted = dict(zip(compared, holm([outcome.p for outcome in compared.values()]), strict=True))
    beaten_by = [name for name in compared if _significant(adjusted[name]) and sign * compared[name].difference < 0]
    open_rivals = [
        name for name in compared if not (_significant(adjusted[name]) and sign * compared[name].difference > 0)
    ]
    if beaten_by:
        rival = min(beaten_by, key=lambda name: ties.key(sign * compared[name].difference))
    else:
        rival = min(open_rivals or compared, key=lambda name: ties.key(sign * compared[name].difference))
    own = compared[rival]
    numbers = {**_numbers(own, case), "adjusted_p": adjusted[rival], "comparisons": len(compared), "rival": rival}
    why = f"against {rival}: {_sentence(own, case, adjusted[rival], len(compared))}"
    if beaten_by:
        return answer("CONTRADICTED", numbers, why)
    if not open_rivals:
        return answer("SUPPORTED", numbers, f"{_rivals_words(case, len(compared))}; nearest rival: {why}")
    more, words = of_difference(case, own, len(compared), (case.treatment, case.rivals[rival]))
    undecided = _open_words(case, len(open_rivals), len(compared))
    return answer("INCONCLUSIVE", {**numbers, **more}, f"{undecided}; {why}; {words}")


def decide_ratio(case: Case) -> Answer:
    """The ratio of geometric means with its t interval on the log scale, against the value claimed."""
    logged = [
        [{**row, case.metric: math.log(row[case.metric])} for row in side] for side in (case.treatment, case.baseline)
    ]
    outcome = _compare(case, logged[0], logged[1])
    assert outcome is not None
    ratio, ci95, ci90 = math.exp(outcome.difference), _exp(outcome.ci95), _exp(outcome.ci90)
    numbers = {"ratio": ratio, "ci95": ci95, "ci90": ci90, "n_per_arm": case.fewest}
    found = _against_value(case, f"ratio {number(ratio, 3)}", ci95, ci90, numbers)
    return _with_detectable(found, *of_ratio(case, outcome)) if found["verdict"] == "INCONCLUSIVE" else found


def decide_value(case: Case) -> Answer:
    """The mean of the runs with its t interval, against the value claimed."""
    values = [row[case.metric] for row in case.treatment]
    mean, ci95, ci90 = statistics.fmean(values), mean_interval(values), mean_interval(values, 0.90)
    numbers = {"mean": mean, "ci95": ci95, "ci90": ci90, "n_per_arm": len(values)}
    found = _against_value(case, f"mean {figure(mean, case.printed)}", ci95, ci90, numbers)
    return _with_detectable(found, *of_value(case, values)) if found["verdict"] == "INCONCLUSIVE" else found


TESTS: dict[str, Callable[[Case], Answer]] = {
    "superiority": decide_superiority,
    "equivalence": decide_equivalence,
    "best": decide_best,
    "ratio": decide_ratio,
    "value": decide_value,
}


def compare_in(case: Case, treatment: Sequence[Row], baseline: Sequence[Row]) -> Comparison | None:
    """The test that the case asks for; None: fewer than two runs, or pairs.

    Stein's two-stage rule over the seeds of both sides, where a pilot fixed their number. Otherwise paired, where
    `match_on` or the seeds allow it. Otherwise Welch.
    """
    key = (case.match_on, case.pilot, tuple(map(id, treatment)), tuple(map(id, baseline)))  # the table keeps its rows
    return case.table.remembered(key, lambda: _compare(case, treatment, baseline))


def _compare(case: Case, treatment: Sequence[Row], baseline: Sequence[Row]) -> Comparison | None:
    metric = case.metric
    if case.paired_by_pilot:
        return _compare_by_pilot(treatment, baseline, metric, case.pilot)
    differences = _paired_differences(treatment, baseline, metric, case.match_on)
    if differences is not None:
        return compare_paired(differences) if len(differences) > 1 else None
    if len(treatment) < 2 or len(baseline) < 2:
        return None
    return compare_independent([row[metric] for row in treatment], [row[metric] for row in baseline])


def _compare_by_pilot(
    treatment: Sequence[Row], baseline: Sequence[Row], metric: str, pilot: frozenset[int]
) -> Comparison | None:
    first, second = (_values_by_key(side, metric, ["seed"]) for side in (treatment, baseline))
    by_seed = {
        key[0]: ties.difference(statistics.fmean(first[key]), statistics.fmean(second[key]))
        for key in first
        if key in second and key[0] is not None
    }
    of_pilot = [difference for seed, difference in by_seed.items() if seed in pilot]
    if len(of_pilot) < 2:
        return None
    return compare_two_stage(of_pilot, [value for seed, value in by_seed.items() if seed not in pilot])


def _paired_differences(
    treatment: Sequence[Row], baseline: Sequence[Row], metric: str, match_on: Sequence[str]
) -> list[float] | None:
    """Treatment minus baseline, a difference a pair; None: the runs cannot be paired."""
    fields = list(match_on) or ["seed"]
    first, second = _values_by_key(treatment, metric, fields), _values_by_key(baseline, metric, fields)
    if not match_on:
        known = all(row.get("seed") is not None for row in (*treatment, *baseline))
        once = len(first) == len(treatment) and len(second) == len(baseline)
        if not (known and once and set(first) == set(second)):
            return None
    return [
        ties.difference(statistics.fmean(first[key]), statistics.fmean(second[key])) for key in first if key in second
    ]


def _values_by_key(rows: Sequence[Row], metric: str, fields: Sequence[str]) -> dict[tuple[Any, ...], list[float]]:
    values: dict[tuple[Any, ...], list[float]] = {}
    for row in rows:
        key = pair_key(row, fields)
        if key is not None:
            values.setdefault(key, []).append(float(row[metric]))
    return values


def _against_baseline(case: Case) -> tuple[Comparison, list[Comparison]]:
    """The case's own comparison, and those of all other configurations with two full runs or more."""
    own = compare_in(case, case.treatment, case.baseline)
    assert own is not None, "too_few_runs lets no such case through"
    named = {arm_of(row) for row in case.compared}
    others = [compare_in(case, rows, case.baseline) for arm, rows in case.table.repeated.items() if arm not in named]
    return own, [other for other in others if other is not None]


def _with_detectable(found: Answer, numbers: Mapping[str, Any], words: str) -> Answer:
    return answer(found["verdict"], {**found["numbers"], **numbers}, f"{found['why']}; {words}")


def _against_value(case: Case, found: str, ci95: Interval, ci90: Interval, numbers: dict[str, Any]) -> Answer:
    why = f"{found}, 95 % interval {_ends(case, ci95)}"
    if case.value is None:
        return answer("DESCRIPTIVE_ONLY", numbers, f"{why}; the claim names no value to test")
    if case.tolerance is None:
        if not (ties.at_least(case.value, ci95[0]) and ties.at_least(ci95[1], case.value)):
            return answer("CONTRADICTED", numbers, f"{why}, which does not contain {case.value:g}")
        return answer(
            "INCONCLUSIVE", numbers, f"{why}, which contains {case.value:g}; add a `tolerance` so that it can be shown"
        )
    low, high = case.value - case.tolerance, case.value + case.tolerance
    why = f"{found}, 90 % interval {_ends(case, ci90)}, claimed {low:g} to {high:g}"
    if ties.at_least(ci90[0], low) and ties.at_least(high, ci90[1]):
        return answer("SUPPORTED", numbers, why)
    outside = ties.above(low, ci90[1]) or ties.above(ci90[0], high)
    return answer("CONTRADICTED" if outside else "INCONCLUSIVE", numbers, why)


def _ends(case: Case, ends: Interval) -> str:
    """An interval with the digits of its mean or ratio."""
    return interval(ends, 3) if case.kind == "ratio" else metric_interval(ends, case.printed)


def _numbers(outcome: Comparison, case: Case) -> dict[str, Any]:
    exact = "permutation_p" if outcome.n_pairs is None else "sign_flip_p"
    numbers: dict[str, Any] = {
        "difference": outcome.difference,
        "ci95": outcome.ci95,
        "ci90": outcome.ci90,
        "p": outcome.p,
        exact: outcome.exact_p,
        "n_per_arm": case.fewest,
    }
    pairs = {"n_pairs": outcome.n_pairs, "pilot_pairs": outcome.pilot_pairs}
    return {**numbers, **{name: n for name, n in pairs.items() if n is not None}}


def _sentence(outcome: Comparison, case: Case, adjusted: float, comparisons: int) -> str:
    test = _test_words(outcome)
    words = (
        f"difference {signed_figure(outcome.difference, case.printed)}, "
        f"95 % interval {metric_interval(outcome.ci95, case.printed)}, "
        f"p {p_value(outcome.p)} ({f'exact test, {test}' if outcome.no_spread else test}), "
        f"{p_value(adjusted)} after Holm over {count(comparisons, 'comparison')}"
    )
    if outcome.no_spread:
        words += "; the runs have no spread, so the interval has no width; check that the seed changes the training"
    if case.match_on:
        left_out = len(case.compared) - len(_with_partner(case))
        words += f"; {count(left_out, 'run')} left out: no partner" if left_out else ""
    return words


def _test_words(outcome: Comparison) -> str:
    if outcome.n_pairs is None:
        return "Welch"
    pairs = f"{outcome.n_pairs} pairs"
    if outcome.pilot_pairs is None or outcome.freedom is None:
        return pairs
    if outcome.freedom == outcome.pilot_pairs - 1:
        return f"{pairs}, sd {number(outcome.sd)} of the {outcome.pilot_pairs} pilot pairs"
    return f"{pairs}, sd {number(outcome.sd)} of all pairs, as the {outcome.pilot_pairs} pilot pairs have no spread"


def _with_partner(case: Case) -> list[Row]:
    sides = [_values_by_key(side, case.metric, case.match_on) for side in case.groups.values()]
    return [row for row in case.compared if all(pair_key(row, case.match_on) in side for side in sides)]


def _rivals_words(case: Case, n: int) -> str:
    return f"better than each of {n} rivals" if n > 1 else f"better than the only rival, {next(iter(case.rivals))}"


def _open_words(case: Case, n_open: int, n: int) -> str:
    if n == 1:
        return f"no significant difference from the only rival, {next(iter(case.rivals))}"
    return f"of {n} rivals, {n_open} {'is' if n_open == 1 else 'are'} not significantly different"


def _significant(p: float) -> bool:
    return ties.at_least(ALPHA, p)


def _within(ends: Interval, margin: float) -> bool:
    return ties.above(ends[0], -margin) and ties.above(margin, ends[1])


def _exp(ends: Interval) -> Interval:
    return math.exp(ends[0]), math.exp(ends[1])
