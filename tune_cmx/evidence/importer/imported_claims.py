"""Imported runs as rows for claims, and the claims of the earlier report answered by them."""

from collections.abc import Mapping, Sequence
from typing import Any

from tune_cmx.evidence.claims.absent import protocol_flags
from tune_cmx.evidence.claims.evaluate import evaluate_claim
from tune_cmx.evidence.claims.form import claim_text, in_current_words
from tune_cmx.evidence.claims.parsed_claim import Answer
from tune_cmx.evidence.claims.rows import Row, as_rows, matches
from tune_cmx.evidence.claims.run_table import Table
from tune_cmx.evidence.importer.vocabulary import (
    BASELINE_KIND,
    FUSION_FIELDS,
    IMPORTED,
    RUN_FIELDS,
    Names,
    is_fusion,
    is_partly_timed,
    normal,
)
from tune_cmx.evidence.results.study_results import StudyResults, Trial
from tune_cmx.metrics import METRICS, SPLITS, scored

_SIDES = ("treatment", "baseline")
_FIELD_LISTS = ("factor", "match_on", "among")


def imported_rows(study: StudyResults) -> list[Row]:
    """The imported runs as rows for claims; what a source does not say is None."""
    return [run_row(trial) for trial in study.of_phase(IMPORTED)]


def answered(study: StudyResults) -> list[tuple[str, Answer]]:
    """Each claim that was given with the import: its sentence and what the imported rows allow to be said of it.

    A claim may stand under `claim`, beside it under `where` the rows that it speaks of: `{epochs: 15}` leaves the
    others out. The word `baseline` stands for the runs that were found to be the baseline.

    Raises:
        ConfigError: A claim cannot be read.
    """
    about = study.imported
    rows = imported_rows(study)
    baselines = about.baselines
    names = Names(about.columns)
    results = {name for trial in study.of_phase(IMPORTED) for name in trial.imported.figures}
    found = []
    for entry in about.claims:
        claim, where = (entry.get("claim"), entry.get("where")) if "claim" in entry else (entry, None)
        wanted = _condition(where or {}, names)
        asked = _translated(in_current_words(claim or {}), names)
        chosen = [row for row in rows if matches(row, wanted)]
        baseline = _nearest(baselines, asked, rows)
        compared = _with_baseline(chosen, rows, baseline)
        table = Table(compared, results=results, protocol=about.protocol, in_points=True)
        answer = evaluate_claim(asked, table, baseline=baseline, factor=_factor(asked))
        if baseline in answer["numbers"].get("missing_arms", ()) and baseline not in baselines:
            answer = {**answer, "why": _how_to_unblock(asked, rows)}
        found.append((claim_text(claim or {}), answer))
    return found


def _factor(claim: Mapping[str, Any]) -> tuple[str, ...]:
    """Fields in which the sides may differ where the claim names none: of two arms named as such, their fusions."""
    sides = [claim.get(side) for side in _SIDES]
    by_arm = all(isinstance(side, str) or (isinstance(side, Mapping) and set(side) == {"arm"}) for side in sides)
    return (*FUSION_FIELDS, "model.fusion") if by_arm else ()


def _how_to_unblock(claim: Mapping[str, Any], rows: Sequence[Row]) -> str:
    """The baseline is missing; a new run cannot be matched with an imported one in what is not known of it."""
    treatment = claim.get("treatment")
    treated = next((row for row in rows if isinstance(treatment, Mapping) and matches(row, treatment)), {})
    return (
        "no run has FRM+FFM at all four stages; to run it: "
        f"tune-cmx train --data IMAGES --labels LABELS{protocol_flags(treated)} "
        "--fusion-type frm_ffm --no-cssa --output-dir DIR, and the treatment again beside it, each on at least two "
        "seeds, as split, code and seed of the imported runs are not known"
    )


def run_row(trial: Trial) -> Row:
    """An imported run under the names that claims use."""
    about = trial.imported
    named = {f"{split}/{name}": trial.result(f"{split}/{name}") for split in SPLITS for name in scored()}
    row = {
        "run_id": trial.name,
        "exp_id": about.name,
        "seed": trial.seed,
        **about.says,
        "arm": trial.arm,
        "source": about.source,
        **about.fields,
        **about.figures,
        **{key: value for key, value in named.items() if value is not None},
        **{key: getattr(trial.state, key) for key in ("split_hash", "data_fingerprint", "code_version")},
    }
    if is_partly_timed(about.says):
        row.pop("seconds", None)  # of a source's column: it may cover the last segment only
    return as_rows([row])[0]


def _translated(claim: Mapping[str, Any], names: Names) -> dict[str, Any]:
    """The claim with the names that imported rows have, for those of tables, scripts and configurations."""
    asked = {key: value for key, value in claim.items() if value not in (None, "")}
    for key, value in asked.items():
        if key == "metric":
            prefix, slash, metric = str(value).rpartition("/")
            asked[key] = f"{prefix}{slash}{names.of(metric)}"
        elif key in _SIDES and isinstance(value, Mapping):
            asked[key] = _condition(value, names)
        elif key in _FIELD_LISTS and isinstance(value, str | list):
            asked[key] = names.of(value) if isinstance(value, str) else [names.of(str(field)) for field in value]
    return asked


def _condition(side: Mapping[str, Any], names: Names) -> dict[str, Any]:
    return {names.of(str(field)): normal(names.of(str(field)), value) for field, value in side.items()}


def _nearest(baselines: Sequence[str], claim: Mapping[str, Any], rows: Sequence[Row]) -> str:
    """Of the runs that can serve as baseline, the arm that differs from the treatment in the fewest other fields."""
    treated = [row for row in rows if isinstance(claim.get("treatment"), Mapping) and matches(row, claim["treatment"])]

    def distance(arm: str) -> int:
        own = next(row for row in rows if row["arm"] == arm)
        return sum(
            1 for field in protocol_fields([own, *treated]) if len({row.get(field) for row in (own, *treated)}) > 1
        )

    return min(baselines, key=distance, default=BASELINE_KIND)


def _with_baseline(chosen: list[Row], rows: Sequence[Row], baseline: str) -> list[Row]:
    """The rows that a claim speaks of, and the baseline, which is spoken of wherever it is named."""
    return [row for row in rows if row in chosen or row["arm"] == baseline]


def protocol_fields(rows: Sequence[Row]) -> list[str]:
    """Fields that say how a run was made, those of the fusion aside."""
    hidden = {*RUN_FIELDS, *METRICS}
    fields = dict.fromkeys(field for row in rows for field in row if field not in hidden and "/" not in field)
    return [field for field in fields if not is_fusion(field)]
