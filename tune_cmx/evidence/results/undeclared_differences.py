"""Differences that the factors do not name, and factors that make no difference."""

from collections.abc import Mapping
from typing import Any

from tune_cmx.config.parse import flatten
from tune_cmx.evidence.claims.rows import covered, plain
from tune_cmx.evidence.results.study_results import NOT_PROTOCOL, StudyResults
from tune_cmx.evidence.wording import cell_text, listed


def allowed_differences(study: StudyResults) -> list[str]:
    """For each field that the file lets differ besides the factors: the baseline's value, and the arms with another."""
    found = []
    for allowed in study.state.allow_differences:
        by_arm = {arm: _values(study, arm, allowed) for arm in study.arms}
        own = by_arm.pop(str(study.baseline), {})
        fields = sorted({field for values in by_arm.values() for field in values if values[field] != own.get(field)})
        if not fields:
            found.append(f"{allowed}: no configuration differs from the baseline in it")
        found.extend(_field_words(study, field, own, by_arm) for field in fields)
    return found


def equivalent_warnings(study: StudyResults) -> list[str]:
    """A sentence for each set of fields that has no effect on the models of some arms."""
    by_fields: dict[str, list[str]] = {}
    for equivalent in study.state.equivalent:
        arms = list(equivalent)
        configs = [_config(study, arm) for arm in arms]
        fields = sorted({field for one in configs for field in one if any(one[field] != c.get(field) for c in configs)})
        of_model = [field for field in fields if field.startswith("model.")]
        by_fields.setdefault(" with ".join(of_model), []).append(" and ".join(f"'{study.label(arm)}'" for arm in arms))
    return [
        f"{fields or 'what the search varies'} has no effect between {'; '.join(sets[:8])}"
        f"{f' and {len(sets) - 8} more' if len(sets) > 8 else ''}: "
        "the built models are equivalent (the same function and parameters), so differences in their results are noise"
        for fields, sets in by_fields.items()
    ]


def _field_words(
    study: StudyResults, field: str, own: Mapping[str, Any], by_arm: Mapping[str, Mapping[str, Any]]
) -> str:
    arms_of: dict[str, list[str]] = {}
    for arm, values in by_arm.items():
        if values.get(field) != own.get(field):
            arms_of.setdefault(cell_text(values.get(field)), []).append(study.label(arm))
    others = "; ".join(f"{value} in {listed(arms)}" for value, arms in arms_of.items())
    return f"{field}: {cell_text(own.get(field))} in the baseline; {others}"


def _values(study: StudyResults, arm: str, path: str) -> dict[str, Any]:
    """The arm's values at and below the path; of what no configuration holds, as code_version, those of its records."""
    config = {field: value for field, value in _config(study, arm).items() if covered(field, [path])}
    if config:
        return config
    recorded = {
        plain(value) for trial in study.trials if trial.arm == arm and (value := getattr(trial.state, path, None))
    }
    return {path: " / ".join(sorted(map(str, recorded)))} if recorded else {}


def _config(study: StudyResults, arm: str) -> dict[str, Any]:
    flat = flatten(study.arms[arm].config if arm in study.arms else {})
    return {field: plain(value) for field, value in flat.items() if field not in NOT_PROTOCOL}
