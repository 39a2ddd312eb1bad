"""An arm: all trials that share a configuration and differ in seed. Its id, and the table of a study's arms."""

import hashlib
import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from tune_cmx.config.names import baseline_name, configuration_name, free_name, value_text
from tune_cmx.config.parse import dump, flatten
from tune_cmx.config.paths import put
from tune_cmx.config.trial import EventsConfig, TrialConfig

BASELINE = "baseline"


@dataclass(frozen=True)
class Arm:
    """All trials that share a configuration and differ in seed."""

    id: str
    """The name of its run folders, made of the searched values."""
    label: str
    """Its name in every text, at most 40 letters; of the baseline it ends in `(baseline)`."""
    values: Mapping[str, Any]
    """The searched values by dotted path; of the baseline, what it overrides."""
    config: TrialConfig
    """With the search's seed."""


class Arms(Mapping[str, Arm]):
    """The arms of a study by id, the baseline first. TPE and later phases add to them during the search."""

    def __init__(self, baseline: Arm) -> None:
        self._by_id = {baseline.id: baseline}
        self._like = {_likeness(baseline.config): baseline}
        self._labels = {baseline.label}

    def __getitem__(self, name: str) -> Arm:
        return self._by_id[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._by_id)

    def __len__(self) -> int:
        return len(self._by_id)

    def add(self, values: Mapping[str, Any], config: TrialConfig) -> Arm:
        """The arm of this configuration: a new one, or the one with an equal configuration."""
        likeness = _likeness(config)
        if likeness not in self._like:
            self.restore(self._named(values, config))
        return self._like[likeness]

    def restore(self, arm: Arm) -> None:
        """Add an arm under the name that it had."""
        if arm.id not in self._by_id:
            self._like[_likeness(arm.config)] = self._by_id[arm.id] = arm
            self._labels.add(arm.label)

    def _named(self, values: Mapping[str, Any], config: TrialConfig) -> Arm:
        """An arm whose id and label no other has; the hash of its values tells ids apart where their text does not."""
        name = arm_id(values)
        if name in self._by_id:
            mark = hashlib.sha256(json.dumps(values, sort_keys=True, default=str).encode()).hexdigest()[:6]
            name = f"{name[:52]}-{mark}"
        text = configuration_name(config, self._by_id[BASELINE].config, values)
        return Arm(name, free_name(text, self._labels), values, config)


def _likeness(config: TrialConfig) -> str:
    """Equal text for equal configurations: two ways to write the same fusions, or what a model's streams do not use."""
    content = dump(config)
    two = len(config.model.stream_modalities()) > 1
    content["model"]["fusion"] = [dump(stage) for stage in config.model.fusion.stage_fusions()] if two else None
    content["data"]["events"] = dump(config.data.events or EventsConfig())
    for path in config.data.idle(config.model.modalities()):
        put(content, f"data.{path}", None)
    content["schedule"].pop("preset")
    return json.dumps(content, sort_keys=True)


def baseline_arm(values: Mapping[str, Any], config: TrialConfig) -> Arm:
    """The arm that the others are compared with."""
    return Arm(BASELINE, baseline_name(config, values), dict(values), config)


def settings_text(values: Mapping[str, Any]) -> str:
    """Searched values as the file has them, for ids and errors: `stages 1+2, switching_threshold 0.5`."""
    return ", ".join(f"{path.rpartition('.')[2]} {_setting(value)}" for path, value in values.items())


def _setting(value: Any) -> str:
    if isinstance(value, Mapping):
        rest = {key: item for key, item in value.items() if key != "kind"}
        inner = " ".join(
            _setting(item) if key == "options" else f"{key} {_setting(item)}" for key, item in rest.items()
        )
        return " ".join(text for text in (str(value.get("kind", "")), inner) if text)
    return "+".join(map(_setting, value)) if isinstance(value, list | tuple) else value_text(value)


def arm_id(values: Mapping[str, Any]) -> str:
    """The id of an arm, unless another has it already: the last part of each searched path, then its value."""
    return _slug(settings_text(values))


def _slug(text: str) -> str:
    slug = re.sub(r"[^A-Za-z0-9.+]+", "-", text).strip("-")
    return slug if len(slug) <= 60 else f"{slug[:53]}-{hashlib.sha256(text.encode()).hexdigest()[:6]}"


def differing(config: TrialConfig, baseline: TrialConfig) -> tuple[str, ...]:
    """The dotted paths, seed left out, in which two configurations differ."""
    first, second = flatten(dump(config)), flatten(dump(baseline))
    return tuple(
        sorted(path for path in {*first, *second} if path != "seed" and first.get(path, "-") != second.get(path, "-"))
    )
