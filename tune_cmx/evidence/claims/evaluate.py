"""A claim and the rows of runs give a verdict, its numbers, and the reason.

The checks of `validity.CHECKS` come first, in their order; then the test of `verdicts.TESTS`, or the comparison of
`exact_metrics.EXACT`.
"""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import pandas as pd

from tune_cmx import metrics
from tune_cmx.evidence.claims.columns import columns_words, is_host, not_compared
from tune_cmx.evidence.claims.exact_metrics import EXACT
from tune_cmx.evidence.claims.measure import READ_AS_FRACTIONS
from tune_cmx.evidence.claims.parsed_claim import Answer, Case, read_case
from tune_cmx.evidence.claims.run_table import Table
from tune_cmx.evidence.claims.validity import CHECKS
from tune_cmx.evidence.claims.verdicts import TESTS
from tune_cmx.evidence.wording import listed


def evaluate_claim(
    claim: Mapping[str, Any],
    rows: Table | pd.DataFrame | Iterable[Mapping[str, Any]],
    *,
    baseline: str | None = None,
    factor: Sequence[str] = (),
    pilot: Iterable[int] = (),
    results: Iterable[str] = (),
    protocol: Iterable[str] = (),
) -> Answer:
    """Answer a claim from the rows.

    Args:
        claim: `kind`, `metric`, `treatment` and what the kind needs besides.
        rows: One row a run. `columns.read_columns` says which columns are protocol. A `Table` of the rows is read once
            for many claims.
        baseline: The configuration that the word `baseline` stands for in the claim.
        factor: Fields, or sections, in which configurations may differ where the claim names no factor.
        pilot: Seeds of a pilot that fixed the number of seeds; differences keep its spread and degrees of freedom
            (Stein's two-stage rule). Empty: the number was given.
        results: Columns that are results, besides those of the table of metrics. A `Table` has its own.
        protocol: Columns that are protocol whatever they look like. A `Table` has its own.

    Returns:
        `verdict`, `numbers` (mAP as the rows have it; `n_per_arm` is the smallest) and `why`, a sentence.

    Raises:
        ConfigError: The claim itself cannot be read.
        DataError: A row cannot be read.
    """
    table = rows if isinstance(rows, Table) else Table(rows, results=results, protocol=protocol)
    case = read_case(claim, table, baseline, factor, pilot)
    objection = next((found for check in CHECKS if (found := check(case)) is not None), None)
    found = objection or (EXACT if case.exact else TESTS)[case.kind](case)
    if case.table.fractions and found["verdict"] not in ("BLOCKED", "DATA_ERROR"):
        found = {**found, "why": f"{found['why']}; {case.metric} {READ_AS_FRACTIONS}"}
    if objection is None and metrics.is_time(case.metric):
        found = {**found, "why": f"{found['why']}; times depend on the load of the machine"}
    machines = _machines_words(case)
    if machines and found["verdict"] not in ("BLOCKED", "DATA_ERROR"):
        found = {**found, "why": f"{found['why']}; {machines}"}
    columns = case.table.columns
    unchecked = not_compared(columns, case.compared, (*case.factor, *case.match_on))
    named = {"taken_as_results": list(columns.found), "not_compared": unchecked}
    numbers = {**found["numbers"], **{key: names for key, names in named.items() if names}}
    return {**found, "numbers": numbers, "why": "; ".join([found["why"], *columns_words(columns.found, unchecked)])}


def _machines_words(case: Case) -> str:
    """Warns of times from several hosts; empty: one host, none known, or no time. A `device` is protocol already."""
    if not metrics.is_time(case.metric):
        return ""
    rows = case.compared
    columns = dict.fromkeys(column for row in rows for column in row if is_host(column))
    hosts = dict.fromkeys(str(row[name]) for name in columns for row in rows if row.get(name) is not None)
    if len(hosts) < 2:
        return ""
    return f"the runs come from {len(hosts)} hosts ({listed(hosts)}), so their times differ by the machine too"
