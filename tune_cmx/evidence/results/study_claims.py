"""A study's confirmed runs as rows for claims, and its own claims answered by them."""

import fnmatch
import re
from collections.abc import Mapping, Sequence
from typing import Any

from tune_cmx import metrics
from tune_cmx.config.parse import flatten
from tune_cmx.evidence.claims.evaluate import evaluate_claim
from tune_cmx.evidence.claims.form import claim_text, in_current_words, side_name
from tune_cmx.evidence.claims.parsed_claim import Answer, answer
from tune_cmx.evidence.claims.rows import Row, as_rows, covered, matches
from tune_cmx.evidence.claims.run_table import Table
from tune_cmx.evidence.results.interval_width import pilot_seeds
from tune_cmx.evidence.results.study_results import StudyResults, Trial


def study_rows(study: StudyResults, metric: str) -> list[Row]:
    """A row a confirmed run; the machine is protocol for times only."""
    chosen = _chosen_arms(study)
    return [
        {
            "arm": trial.arm,
            "seed": trial.seed,
            "run_id": trial.name,
            "study": study.state.study,
            "status": trial.status,
            "resumed": len(trial.state.lineage) > 1,
            "selected_on": study.selection_split if trial.arm in chosen else None,
            "reported_on": trial.reported_on,
            **trial.flat_config,
            **{key: getattr(trial.state, key) for key in ("split_hash", "data_fingerprint", "code_version")},
            **({"device": trial.state.device} if metrics.is_time(metric) else {}),
            **_outcomes(trial),
        }
        for trial in study.confirmed
    ]


def study_factor(study: StudyResults) -> list[str]:
    """Fields in which the study's arms may differ: its factors, and the differences allowed by name.

    A configuration field that the study's protocol does not hold counts as a factor: where the baseline replaces a
    section whole, other fields differ than the ones searched.
    """
    protocol = study.state.protocol
    named = [*study.state.factors, *study.state.allow_differences]
    paths = {path for trial in study.confirmed for path in trial.flat_config}
    unheld = [path for path in paths if protocol and not _held(path, protocol)]
    return sorted({*named, *unheld})


def evaluate_study_claims(study: StudyResults) -> list[tuple[str, Answer]]:
    """Each claim of the study: its sentence and its answer."""
    claims = study.state.claims
    return [(claim_text(claim), evaluate_study_claim(study, claim)) for claim in claims]


def evaluate_study_claim(study: StudyResults, claim: Mapping[str, Any], table: Table | None = None) -> Answer:
    """The claim answered by the confirmed runs.

    A `best_of` stands for the first finalist that its pattern covers, unless the claim is about the split that chose
    it: the choice was made on the search's runs, and the confirmation ran on fresh seeds.

    Args:
        study: A study.
        claim: As its file has it.
        table: Of `study_rows` for this metric, where other claims share it.
    """
    claim = in_current_words(claim)
    metric = str(claim.get("metric"))
    rows = table or Table(study_rows(study, metric), in_points=True, complete=False)
    fresh_split = metric.partition("/")[0] != study.selection_split
    resolved = {side: _resolve(study, value) if fresh_split else value for side, value in claim.items()}
    found = evaluate_claim(
        resolved, rows, baseline=study.baseline, factor=study_factor(study), pilot=pilot_seeds(study)
    )
    named = [side for side in resolved.values() if isinstance(side, Mapping)]
    found = {**found, "why": _with_labels(study, found["why"], named)}
    if found["verdict"] == "BLOCKED":
        missing = found["numbers"]["missing_arms"]
        sides = [resolved[side] for side in ("treatment", "baseline") if isinstance(resolved.get(side), Mapping)]
        how = "to run it" if all(_planned(study, side) for side in sides) else "add it under search:, then"
        why = f"no complete confirmation run of {', '.join(missing)}; {how}: {resume_command()}"
        return answer("BLOCKED", found["numbers"], _with_labels(study, why, named))
    return _without_load(found) if metrics.is_time(metric) else found


def _with_labels(study: StudyResults, why: str, sides: Sequence[Mapping[str, Any]]) -> str:
    """The reason with the names that the report prints, in place of ids and of filters that cover one configuration.

    An id of letters alone, such as `add`, stays: it may be a word of the reason.
    """
    names = {arm: arm for arm in study.arms if not arm.isalpha()}
    for side in sides:
        covered_arms = [arm for arm in study.arms if _covers(study, arm, side)]
        if len(covered_arms) == 1 and set(side) != {"arm"}:
            names[side_name(side)] = covered_arms[0]
    if not names:
        return why
    longest_first = sorted(names, key=len, reverse=True)
    pattern = rf"(?<![\w.=-])({'|'.join(map(re.escape, longest_first))})(?![\w-]|\.\d)"
    return re.sub(pattern, lambda found: _quoted(study.label(names[found[0]])), why)


def _quoted(label: str) -> str:
    """In quotation marks if it has commas, so that a list of such texts stays clear."""
    return f"“{label}”" if "," in label else label


def _without_load(found: Answer) -> Answer:
    """A study's trials may share a machine, and no run folder says how busy it was."""
    if found["verdict"] not in ("SUPPORTED", "EQUIVALENT", "CONTRADICTED", "INCONCLUSIVE"):
        return found
    why = f"{found['why']}; a study does not record this load, so its times have no verdict"
    return answer("DESCRIPTIVE_ONLY", found["numbers"], why)


def resume_command() -> str:
    """What continues a study whose runs are not all there."""
    return "tune-cmx search SPACE --data DATA --resume"


def _resolve(study: StudyResults, side: Any) -> Any:
    if not isinstance(side, Mapping) or set(side) != {"best_of"}:
        return side
    pattern = str(side["best_of"])
    covered_finalists = [arm for arm in study.finalists if fnmatch.fnmatchcase(arm, pattern)]
    return {"arm": covered_finalists[0]} if covered_finalists else side


def _chosen_arms(study: StudyResults) -> set[str]:
    """Finalists, where the search left other arms out."""
    candidates = [arm for arm in study.arms if arm != study.baseline]
    return set(study.finalists) if any(arm not in study.finalists for arm in candidates) else set()


def _planned(study: StudyResults, side: Mapping[str, Any]) -> bool:
    """Whether the study has an arm of this description."""
    return "best_of" in side or any(_covers(study, arm, side) for arm in study.arms)


def _covers(study: StudyResults, arm: str, side: Mapping[str, Any]) -> bool:
    (row,) = as_rows([{"arm": arm, **flatten(study.arms[arm].config)}])
    return matches(row, side)


def _held(path: str, protocol: Mapping[str, Any]) -> bool:
    """Whether the protocol holds the field, a section above it, or fields below it."""
    return covered(path, protocol) or any(key.startswith(f"{path}.") for key in protocol)


def _outcomes(trial: Trial) -> dict[str, Any]:
    scored = metrics.scored()
    named = {f"{split}/{name}": trial.result(f"{split}/{name}") for split in metrics.SPLITS for name in scored}
    plain = {name: trial.result(name) for name in scored}
    hours = trial.seconds / 3600
    gpu_hours = 0.0 if trial.on_cpu else hours * trial.devices
    times = {"seconds": trial.seconds, "hours": hours, "gpu_hours": gpu_hours} if trial.seconds else {}
    counts = {f"params_{which}": trial.parameters(which) for which in ("total", "active")}
    return {**named, **plain, **times, **counts, "gflops": trial.state.gflops}
