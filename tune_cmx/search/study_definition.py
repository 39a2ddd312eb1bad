"""What a study consists of, as `study.json` says it, and what of it must stay when the study is resumed."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from tune_cmx.config.arms import BASELINE, differing
from tune_cmx.config.parse import dump, flatten
from tune_cmx.config.study import Study
from tune_cmx.config.study_rules import OPEN_DATA
from tune_cmx.data.pixel_range import range_text
from tune_cmx.data.prepare import Prepared
from tune_cmx.errors import ConfigError
from tune_cmx.old_form import FORM
from tune_cmx.registry import has_plugins
from tune_cmx.search.planning.study_size import schedule_end
from tune_cmx.search.rungs import rungs
from tune_cmx.state.study_state import StudyState, new_study_state
from tune_cmx.training.protocol import plugins_of, protocol, protocol_hash


def study_protocol(study: Study, prepared: Prepared) -> dict[str, Any]:
    """Every field in which the configurations do not differ."""
    return protocol(study.baseline.config, study.allowed(), prepared.hashes(), study_plugins(study, prepared))


def study_plugins(study: Study, prepared: Prepared) -> dict[str, str]:
    """The other packages on which a number of the study depends, with their versions.

    A searcher of another package is none: it draws configurations, and changes no trial of them.
    """
    if not has_plugins():
        return {}
    stopping = study.file.early_stopping
    named = [*study.file.searcher.optimised(stopping.metric), *(claim.metric for claim in study.file.claims)]
    configs = [*(arm.config for arm in study.arms.values()), *(config for _, config in study.range_ends())]
    return plugins_of(configs, prepared.data.layout, [name.rpartition("/")[2] for name in named])


def definition(study: Study, prepared: Prepared, *, seeds: int, place: Path) -> StudyState:
    """The part of `study.json` that is known before the first trial.

    Args:
        study: Parsed; a search may have added configurations.
        prepared: The data.
        seeds: Of each confirmed configuration.
        place: Of the file, for errors.
    """
    file, stopping = study.file, study.file.early_stopping
    points = rungs(stopping, schedule_end(study)) if stopping.kind == "asha" else []
    of_protocol = study_protocol(study, prepared)
    baseline = study.arms[BASELINE].config
    statistics = prepared.pixel_statistics(baseline.data.range)
    return new_study_state(
        place,
        form=FORM,
        study=file.study,
        question=study.question,
        factors=list(study.factors),
        baseline=BASELINE,
        arms={
            arm.id: {
                "label": arm.label,
                "values": dict(arm.values),
                "config": dump(arm.config),
                "differs": list(differing(arm.config, baseline)),
            }
            for arm in study.arms.values()
        },
        space={
            phase.name: {path: domain.model_dump(mode="json") for path, domain in phase.domains.items()}
            for phase in study.phases
        },
        protocol=of_protocol,
        protocol_hash=protocol_hash(of_protocol),
        split=prepared.summary(),
        data={
            "root": str(prepared.data.root),
            "fingerprint": prepared.audit.fingerprint,
            "classes": list(prepared.data.classes),
            "ranges": {modality: range_text(found) for modality, found in statistics.items()},
            "layout": prepared.data.reader.title,
            "notes": list(prepared.data.remarks),
        },
        early_stopping={**dump(stopping), "rungs": points},
        searcher=dump(file.searcher),
        confirm={**dump(file.confirm), "seeds": seeds},
        claims=[claim.model_dump(exclude_none=True, mode="json") for claim in file.claims],
        allow_differences=list(file.allow_differences),
    )


def refuse_change(before: StudyState, here: StudyState, study: Study, folder: Path) -> None:
    """Refuse to resume a study that is not the one that began.

    Args:
        before: What `study.json` says.
        here: The study as it would be resumed.
        study: The same, parsed.
        folder: Of the study, for the message.

    Raises:
        ConfigError: Its protocol, its configurations, its space or its rungs have changed.
    """
    if before.two_stage is not None:
        for key in ("half_width", "pilot_seeds", "max_seeds"):
            then, now_is = getattr(before.confirm, key), getattr(here.confirm, key)
            if then != now_is:
                raise ConfigError(
                    f"{folder}: confirm.{key} was {then}, is {now_is}; the pilot has fixed the number of seeds: "
                    "put it back, or start a new study with another --output-dir"
                )
    old, new = _identity(before), _identity(here)
    added = {key for key in new.keys() - old.keys() if study.grows and key.startswith("arm ")}  # by the search
    changed = sorted(key for key in {*old, *new} - added if old.get(key) != new.get(key))
    if changed:
        what = _change(changed[0], old.get(changed[0]), new.get(changed[0]))
        more = f" (and {len(changed) - 1} more)" if changed[1:] else ""
        raise ConfigError(
            f"{folder}: the study has changed since it began: {what}{more}; "
            "repeat the --set that it was started with, or start a new study with another --output-dir"
        )


def _identity(state: StudyState) -> dict[str, Any]:
    """What run folders and rungs depend on, by a name for people. Where the data are may change."""
    return {
        **state.protocol,
        **{f"early_stopping.{key}": value for key, value in state.early_stopping.as_json().items()},
        **{f"{phase}: {path}": domain for phase, found in state.space.items() for path, domain in found.items()},
        **{f"arm {name}": {**arm.config, "data": _varied(arm.config.get("data"))} for name, arm in state.arms.items()},
    }


def _varied(data: Mapping[str, Any] | None) -> dict[str, Any]:
    """Of a configuration's data, what a study can vary."""
    return {part: (data or {}).get(part) for part in (path.removeprefix("data.") for path in OPEN_DATA)}


def _change(key: str, then: Any, here: Any) -> str:
    """One change in words; where a whole configuration differs, the first of its fields."""
    if isinstance(then, Mapping) and isinstance(here, Mapping):
        before, now_is = flatten(then), flatten(here)
        field = min(path for path in {*before, *now_is} if before.get(path) != now_is.get(path))
        return f"{key}: {field} was {before.get(field)}, is {now_is.get(field)}"
    if isinstance(then, Mapping) or isinstance(here, Mapping):
        return f"{key} {'is new' if then is None else 'is gone'}"
    return f"{key} was {then}, is {here}"
