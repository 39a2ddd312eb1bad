"""The checks before the test. Each returns an answer, or None where it has no objection.

`CHECKS` holds them in their order; the first objection is the answer.
"""

from collections.abc import Callable, Collection, Sequence
from typing import Any

from tune_cmx import metrics, ties
from tune_cmx.evidence.claims.absent import absent_words
from tune_cmx.evidence.claims.columns import differing_columns, is_setting
from tune_cmx.evidence.claims.invalid_runs import counted_twice, row_damage, two_values
from tune_cmx.evidence.claims.measure import other_measure
from tune_cmx.evidence.claims.parsed_claim import Answer, Case, answer
from tune_cmx.evidence.claims.rows import Row, arm_of, by_arm, mean_of, pair_key
from tune_cmx.evidence.wording import count, digits_apart, figure, number
from tune_cmx.evidence.wording import listed_in_clause as listed


def missing_arm(case: Case) -> Answer | None:
    """BLOCKED: a side has no runs; the answer names the configurations that have."""
    if not case.missing:
        return None
    like = case.compared[0] if case.compared else {}
    why = absent_words(case.missing, list(case.table.arms), like)
    return answer("BLOCKED", {"missing_arms": list(case.missing)}, why)


def damaged_record(case: Case) -> Answer | None:
    """DATA_ERROR: a run is partial, damaged or counted twice, or one seed of a configuration has two values."""
    for row in case.compared:
        damage = row_damage(row, case.metric)
        if damage is not None:
            return answer("DATA_ERROR", {"offending_arm": arm_of(row)}, f"{_run(row)}: {damage}")
        cumulative = row.get("cumulative_seconds")
        known = metrics.find(case.metric)
        if known is not None and known[0] == "hours" and isinstance(cumulative, int | float):
            hours = cumulative / 3600
            if ties.above(abs(row[case.metric] - hours), 0.01 * hours):
                stated = f"its {case.metric} is {number(row[case.metric])}"
                why = f"{_run(row)}: {stated}, but its cumulative_seconds are {number(hours)} hours"
                return answer("DATA_ERROR", {"offending_arm": arm_of(row)}, why)
        if case.kind == "ratio" and row[case.metric] <= 0:
            why = f"{_run(row)}: a ratio needs values above 0; its {case.metric} is {row[case.metric]}"
            return answer("DATA_ERROR", {"offending_arm": arm_of(row)}, why)
    odd = None if case.table.in_points else other_measure(case.compared, case.table.rows, case.metric)
    if odd is not None:
        why = (
            f"{_run(odd)}: its {case.metric} is {odd[case.metric]:g}, a fraction, where other runs of the table have "
            "points above 1; give all values in points, or all as fractions"
        )
        return answer("DATA_ERROR", {"offending_arm": arm_of(odd)}, why)
    twice = counted_twice(case.compared, case.metric, case.table.columns)
    if twice is not None:
        same = "the same run, or the same configuration, seed and value"
        why = f"{_run(twice)} appears twice in the table ({same}); keep one row"
        return answer("DATA_ERROR", {"offending_arm": arm_of(twice)}, why)
    pair = two_values(case.compared, case.metric, case.table.columns)
    if pair is not None:
        values = ", ".join(f"{row[case.metric]:g}" for row in pair)
        why = (
            f"seed {pair[0]['seed']} of {arm_of(pair[0])} has two rows with different {case.metric} ({values}); keep "
            "one, or, if they are two runs, give each row its own `run_id`"
        )
        return answer("DATA_ERROR", {"offending_arm": arm_of(pair[0])}, why)
    return unequal_counts(case)


def unequal_counts(case: Case) -> Answer | None:
    """DATA_ERROR: runs of one configuration differ in a metric that is the same in all of them."""
    if not case.exact:
        return None
    counts: dict[Any, dict[float, Row]] = {}
    for row in case.compared:
        same = (arm_of(row), *(row.get(field) for field in case.match_on))
        counts.setdefault(same, {})[ties.key(row[case.metric])] = row
    for (arm, *_), found in counts.items():
        if len(found) > 1:
            more = digits_apart(found, case.metric)
            values = listed(figure(value, case.metric, more) for value in sorted(found))
            why = (
                f"the runs of {arm} differ in {case.metric} ({values}); every run of a configuration must have the same"
            )
            return answer("DATA_ERROR", {"offending_arm": arm}, why)
    return None


def refuted_by_one_run(case: Case) -> Answer | None:
    """CONTRADICTED: a single run is called the best, and the single run of another configuration is better.

    The protocol does not matter here.
    """
    if case.kind != "best" or len(case.treatment) != 1:
        return None
    sign = case.sign
    rivals = by_arm(row for rows in case.rivals.values() for row in rows)
    single = {name: rows[0][case.metric] for name, rows in rivals.items() if len(rows) == 1}
    if not single:
        return None
    top = max(single, key=lambda name: sign * single[name])
    own = case.treatment[0][case.metric]
    if not ties.above(sign * single[top], sign * own):
        return None
    value, arm = max(((row[case.metric], arm_of(row)) for row in case.compared), key=lambda found: sign * found[0])
    extreme = "overall_max" if sign > 0 else "overall_min"
    why = f"{top} has {figure(single[top], case.printed)}, {case.names[0]} has {figure(own, case.printed)}"
    return answer("CONTRADICTED", {extreme: value, f"{extreme}_arm": arm, **_gaps(case)}, why)


def ratio_of_single_runs(case: Case) -> Answer | None:
    """DESCRIPTIVE_ONLY: a ratio of two single runs cannot be tested; the answer names the fields that differ."""
    if case.kind != "ratio" or case.exact or len(case.treatment) != 1 or len(case.baseline) != 1:
        return None
    ratio = case.treatment[0][case.metric] / case.baseline[0][case.metric]
    fields = _differing(case)
    claimed = f" (claimed: {number(case.value, 3)})" if case.value is not None else ""
    confound = f"; the runs also differ in {listed(fields)}" if fields else ""
    why = f"the ratio of two single runs is {number(ratio, 3)}{claimed}{confound}"
    return answer("DESCRIPTIVE_ONLY", {"ratio": ratio, "mismatched_fields": fields, "n_per_arm": 1}, why)


def different_protocol(case: Case) -> Answer | None:
    """NOT_COMPARABLE: runs differ in more than the factor, or one side mixes configurations."""
    fields = _differing(case)
    if fields:
        of_filter = [field for field in fields if is_setting(field) or any(field in name for name in case.names)]
        advice = f"; if the claim is about {listed(of_filter)}, name it as `factor`" if of_filter else ""
        numbers = [field for field in fields if field not in of_filter and _are_numbers(case.compared, field)]
        advice += f"; if {listed(numbers)} is what came out of the runs, name it in `results`" if numbers else ""
        why = f"the runs differ in {_with_values(case.compared, fields)}, which the claim does not name as its factor"
        return answer("NOT_COMPARABLE", {"mismatched_fields": fields, **_gaps(case)}, f"{why}{advice}")
    if case.match_on or case.candidates > 1:
        return None
    for name, rows in case.groups.items():
        arms = by_arm(rows)
        allowed = {case.metric, *case.factor} - {*case.own_factor}
        fields = differing_columns(case.table.columns, rows, allowed) if case.own_factor else []
        if len(arms) > 1:
            mixed = f"'{name}' covers {count(len(arms), 'configuration')} ({listed(arms)})"
        elif fields:
            mixed = f"the runs of '{name}' differ in {_with_values(rows, fields)}"
        else:
            continue
        why = f"{mixed}, so they are not replicates: name one configuration, or pair the runs with `match_on`"
        return answer("NOT_COMPARABLE", {"mismatched_fields": fields or ["arm"], **_gaps(case)}, why)
    return None


def chosen_where_reported(case: Case) -> Answer | None:
    """SELECTION_BIASED: a configuration is reported on the split that selected it, or is the best of several."""
    for row in case.compared:
        reported = reported_split(row, case.metric)
        if reported is not None and _selection_split(row) == reported:
            baselines = by_arm(case.baseline)
            n = sum(
                arm not in baselines and any(_selection_split(run) == reported for run in runs)
                for arm, runs in case.table.arms.items()
            )
            why = (
                f"{arm_of(row)} was selected on {reported} among {count(n, 'configuration')} and is reported on "
                f"{reported}, so its value is too high by the luck of the selection; report it on another split"
            )
            numbers = {"selected_on": reported, "n_candidates": n, **_gaps(case)}
            return answer("SELECTION_BIASED", numbers, why)
    if case.candidates > 1 and not case.exact:
        n = case.candidates
        why = (
            f"the best of {n} configurations is compared with one, so its value is too high by the luck of the "
            "selection; train the selected configuration on fresh seeds"
        )
        return answer("SELECTION_BIASED", {"n_candidates": n, **_gaps(case)}, why)
    return None


def too_few_runs(case: Case) -> Answer | None:
    """INSUFFICIENT_REPLICATION: a single run, or a single pair, has no spread to test with."""
    if case.paired_by_pilot:
        n = _fewest_pairs(case, ("seed",), case.pilot)
        what = f"{count(n, 'pilot seed')} with a run on both sides"
    elif case.match_on and case.kind != "value":
        n = _fewest_pairs(case, case.match_on)
        what = f"{count(n, 'matched pair')} of {listed(case.match_on)}"
    else:
        n = min(len(rows) for rows in case.groups.values())
        what = f"{listed(name for name, rows in case.groups.items() if len(rows) < 2)} with a single run"
    if n >= (1 if case.exact else 2):
        return None
    why = f"{what} (n = {n}): the run-to-run spread is unknown, so nothing can be claimed; at least 2 runs are needed"
    return answer("INSUFFICIENT_REPLICATION", {"n_per_arm": n, **_gaps(case)}, why)


CHECKS: tuple[Callable[[Case], Answer | None], ...] = (
    missing_arm,
    damaged_record,
    refuted_by_one_run,
    ratio_of_single_runs,
    different_protocol,
    chosen_where_reported,
    too_few_runs,
)


def reported_split(row: Row, metric: str) -> str | None:
    """The split that the metric was measured on: its prefix, or what the row says; None for times and counts."""
    split, _, name = metric.rpartition("/")
    if split:
        return split
    known = metrics.find(name)
    return None if known is not None and known[1].kind != "noisy" else row.get("reported_on")


def _selection_split(row: Row) -> str | None:
    """The split of `selected_on`, which may name a metric with it, as `val/mAP`."""
    chosen_on = row.get("selected_on")
    return None if chosen_on is None else str(chosen_on).partition("/")[0]


def _differing(case: Case) -> list[str]:
    return differing_columns(case.table.columns, case.compared, (*case.factor, case.metric), case.match_on)


def _are_numbers(rows: Sequence[Row], field: str) -> bool:
    values = [row[field] for row in rows if row.get(field) is not None]
    return "." not in field and all(isinstance(value, int | float) and not isinstance(value, bool) for value in values)


def _with_values(rows: Sequence[Row], fields: Sequence[str]) -> str:
    """`epochs (15, 25), lr (0.005, unknown)`."""
    words = []
    for field in fields:
        values = dict.fromkeys("unknown" if row.get(field) is None else str(row[field]) for row in rows)
        words.append(f"{field} ({listed(list(values)[:4])}{', …' if len(values) > 4 else ''})")
    return listed(words)


def _fewest_pairs(case: Case, fields: Sequence[str], seeds: Collection[int] | None = None) -> int:
    """The number of pairs that agree in the fields; with `seeds`, only of these seeds."""
    keys = [
        {pair_key(row, fields) for row in rows if seeds is None or row.get("seed") in seeds} - {None}
        for rows in case.groups.values()
    ]
    return min(len(keys[0] & other) for other in keys)


def _gaps(case: Case) -> dict[str, Any]:
    """Differences of means, without a test; of a `best_of`, the mean of the best configuration."""
    sign = case.sign
    means = [mean_of(rows, case.metric) for rows in case.groups.values()]
    if case.candidates > 1:
        means[0] = max((mean_of(rows, case.metric) for rows in by_arm(case.treatment).values()), key=lambda m: sign * m)
    numbers: dict[str, Any] = {"largest_gap": max(means) - min(means)} if len(means) > 1 else {"mean": means[0]}
    if case.baseline:
        numbers["difference"] = means[0] - means[1]
    return numbers


def _run(row: Row) -> str:
    name = f"run {row['run_id']} of " if row.get("run_id") is not None else ""
    seed = f", seed {row['seed']}" if row.get("seed") is not None else ""
    return f"{name}{arm_of(row)}{seed}"
