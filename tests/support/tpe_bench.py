"""A TPE search whose records nothing trains."""

import json
import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import optuna
from optuna.trial import TrialState

from tune_cmx.config.domains import Domains, parse_domains
from tune_cmx.config.searchers import TpeSearcher
from tune_cmx.search.optuna.journal import STORAGE
from tune_cmx.search.optuna.known_trials import Outcome
from tune_cmx.search.optuna.tpe import TpeSearch

METRIC = "val/mAP"
EPOCHS = 9
TOY: dict[str, Any] = {
    "fusion": {"choice": ["cssa", "toy", "add"]},
    "stages": {"choice": [[1], [4], [1, 2, 3, 4]]},
    "threshold": {"uniform": [0.1, 0.9], "when": {"fusion": "cssa"}},
    "toy_mode": {"choice": [{"gate": "hard"}, {"gate": "soft"}], "when": {"fusion": "toy"}},
    "toy_width": {"int": [1, 8], "when": {"toy_mode": {"gate": "soft"}, "fusion": ["toy"]}},
    "lr": {"loguniform": [1e-4, 1e-1]},
}
"""An option only where its fusion is, and one of that option's."""


def parsed(space: Mapping[str, Any]) -> Domains:
    return parse_domains(space, "space.yaml", {})


def merit(values: Mapping[str, Any]) -> float:
    """A peak at cssa with threshold 0.4, in points."""
    base = {"cssa": 40.0, "toy": 30.0, "add": 20.0}[values["fusion"]]
    off = abs(values.get("threshold", 0.9) - 0.4)
    return float(base - 30 * off - 3 * abs(math.log10(values["lr"]) + 2) + len(values["stages"]))


@dataclass
class Bench:
    """A study's folder, its records in memory: what outlives a driver that is killed."""

    folder: Path
    records: dict[str, Outcome] = field(default_factory=dict)
    values: dict[str, Mapping[str, Any]] = field(default_factory=dict)
    arms_elsewhere: set[str] = field(default_factory=set)

    def propose(self, values: Mapping[str, Any]) -> dict[str, Any] | None:
        """Plan a record, or open it."""
        name = json.dumps(values, sort_keys=True)
        if name in self.arms_elsewhere:
            return None
        self.values[name] = values
        self.records.setdefault(name, Outcome("running", (), {}))
        return {"name": name}

    def open(self, space: Mapping[str, Any] = TOY, *, trials: int = 30, seed: int = 0, **settings: Any) -> TpeSearch:
        """A session of the search."""
        return TpeSearch(
            parsed(space),
            TpeSearcher(trials=trials, **settings),
            study_name="search",
            storage=self.folder / STORAGE,
            seed=seed,
            metric=METRIC,
            propose=self.propose,
            outcome=self.records.__getitem__,
        )

    def end(self, name: str, status: str = "complete", *, epochs: int = EPOCHS, **given: Any) -> None:
        """The trial's record as it is in the end."""
        value = merit(self.values[name]) if "lr" in self.values[name] else 0.0
        curve = {epoch: value * epoch / EPOCHS for epoch in range(1, epochs + 1)}
        self.records[name] = Outcome(status, given.get("values", (value,)), curve)

    def run(
        self,
        search: TpeSearch,
        count: int = 1000,
        how: Callable[[int], tuple[str, int]] = lambda _: ("complete", EPOCHS),
    ) -> list[Mapping[str, Any]]:
        """Train one trial after another; `how` says how the nth ends."""
        drawn = []
        for number in range(count):
            suggested = search.suggest(f"ray-{number}")
            if suggested == TpeSearch.FINISHED:
                break
            assert isinstance(suggested, dict)
            name = suggested["trial"]["name"]
            drawn.append(self.values[name])
            status, epochs = how(len(self.values))
            self.end(name, status, epochs=epochs)
            search.on_trial_complete(f"ray-{number}")
        return drawn

    def stored(self) -> list[optuna.trial.FrozenTrial]:
        """What the storage has, read as another program would."""
        backend = optuna.storages.journal.JournalFileBackend(str(self.folder / STORAGE))
        return optuna.load_study(study_name="search", storage=optuna.storages.JournalStorage(backend)).trials

    def states(self) -> dict[str, TrialState]:
        """Optuna's state of each record's trial, the last where there are two."""
        return {trial.user_attrs["record"]: trial.state for trial in self.stored() if "record" in trial.user_attrs}


def name_of(suggested: Any) -> str:
    return str(suggested["trial"]["name"])
