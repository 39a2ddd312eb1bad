"""What a claim names and the table does not have: columns, and configurations."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from tune_cmx.config.names import FUSION_TITLES
from tune_cmx.config.parse import flatten
from tune_cmx.errors import ConfigError
from tune_cmx.evidence.claims.form import Condition, claim_text
from tune_cmx.evidence.claims.rows import Row
from tune_cmx.evidence.wording import listed, listed_in_clause
from tune_cmx.metrics import SPLITS
from tune_cmx.registry import suggestion

NO_RIVAL = "any configuration to compare with"


def check_metric(claim: Mapping[str, Any], rows: Sequence[Row]) -> None:
    """Raises ConfigError where no row has the claim's metric as a column."""
    metric, columns = claim["metric"], columns_of(rows)
    if not rows or metric in columns:
        return
    split, _, name = metric.rpartition("/")
    if split in SPLITS and name in columns:
        hint = f" Did you mean '{name}'? Or add `reported_on: {split}` to the rows."
    else:
        hint = suggestion(metric, columns)
    raise ConfigError(
        f"claim '{claim_text(claim)}': no row has a column '{metric}', its metric. Columns: {listed(columns)}.{hint}"
    )


def check_filters(claim: Mapping[str, Any], sides: Mapping[str, Condition], rows: Sequence[Row]) -> None:
    """Raises ConfigError where a side filters by a field that no row has."""
    columns = columns_of(rows)
    for side, condition in sides.items():
        fields = () if isinstance(condition, str) else _fields(condition, columns)
        unknown = [field for field in fields if field not in (*columns, "best_of")]
        if rows and unknown:
            raise ConfigError(
                f"claim '{claim_text(claim)}': no row has a column '{unknown[0]}', which {side} filters by. "
                f"Columns: {listed(columns)}.{suggestion(unknown[0], columns)}"
            )


def columns_of(rows: Iterable[Row]) -> list[str]:
    """All of the rows, in their order."""
    return list(dict.fromkeys(column for row in rows for column in row))


def absent_words(missing: Sequence[str], arms: Sequence[str], like: Row) -> str:
    """Why a claim is BLOCKED: the configurations without runs, those that the table has, and how to run the first.

    Args:
        missing: Names of sides without a row.
        arms: All configurations of the table.
        like: A row whose protocol the new run must share; empty: there is none.
    """
    name, known = missing[0], f"configurations in the table: {listed_in_clause(arms) or 'none'}"
    words = f"no run of {listed_in_clause(missing)}; {known}"
    if "baseline" in missing:
        words += "; the word 'baseline' stands for none of them: name one, as in `baseline: {arm: NAME}`"
    if name == "baseline":
        return words
    how = _train_words(name, like)
    return f"{words}.{suggestion(name, arms)}" + (f" To run {name}: {how}" if how else "")


def protocol_flags(row: Row) -> str:
    """The row's protocol as flags of `tune-cmx train`, with a space before each."""
    flags = {"backbone": "--backbone", "epochs": "--epochs", "batch": "--batch-size", "lr": "--lr"}
    return "".join(f" {flag} {row[field]}" for field, flag in flags.items() if row.get(field) is not None)


def _train_words(arm: str, like: Row) -> str:
    """The command that trains a configuration that is named as a fusion; empty: the name is none."""
    if arm not in FUSION_TITLES:
        return ""
    # --fusion-type gaff trains se_gated, so the guided fusion needs a file
    model = f"--config FILE, where FILE has `model: {{fusion: {{kind: {arm}}}}}`" if arm == "gaff" else ""
    given = f"--data IMAGES --labels LABELS{protocol_flags(like)} --output-dir DIR"
    return f"tune-cmx train {given} {model or f'--fusion-type {arm}'}; use at least two seeds"


def _fields(condition: Mapping[str, Any], columns: Sequence[str]) -> list[str]:
    """The fields that a filter names; those below a path that is no column itself."""
    found: list[str] = []
    for field, wanted in condition.items():
        below = isinstance(wanted, Mapping) and field not in columns
        found += flatten(wanted, field) if below else [field]
    return found
