"""Many trials of a stand-in that trains nothing: every run folder is right, and a trial costs the same among more."""

import copy
import functools
import importlib.util
import io
import json
import sys
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from types import ModuleType
from typing import Any
from unittest.mock import MagicMock

import pytest
import yaml
from ray import cloudpickle
from rich.console import Console

from tune_cmx.data.prepare import prepare
from tune_cmx.search.cluster import Resources, ray_cluster
from tune_cmx.search.console import StudyConsole
from tune_cmx.search.rungs import read_decisions, stops
from tune_cmx.search.runner import run_study
from tune_cmx.search.study_folder import StudyFolder, open_folder
from tune_cmx.training.run_folder import RunFolder

Run = Callable[[int, str], tuple[StudyFolder, Counter[str]]]
FEW, MANY, MORE = 6, 24, 1.3
"""Trials; and what a trial may cost more among many, because the order of arrival differs from run to run."""
RESOURCES = Resources(None, 1, 0, max_concurrent=2, device="cpu", threads=1, workers=0)
ONE_BY_ONE = replace(RESOURCES, cpus_per_trial=2)


def _load() -> ModuleType:
    path = Path(__file__).parents[2] / "scripts" / "benchmark.py"
    spec = importlib.util.spec_from_file_location("benchmark", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules["benchmark"] = module
    spec.loader.exec_module(module)
    cloudpickle.register_pickle_by_value(module)  # type: ignore[no-untyped-call]  # workers cannot import it
    return module


benchmark: Any = _load()


@dataclass(frozen=True)
class _Report:
    """As the package's `EpochReport`."""

    epoch: int
    epochs: int
    seconds: float
    metrics: dict[str, float]

    @property
    def fraction(self) -> float:
        return self.epoch / self.epochs


def _without_models(stand_in: Callable[[dict[str, Any]], None]) -> Callable[[dict[str, Any]], None]:
    """The stand-in for a worker that loads no models: it trains nothing, and loading takes most of a worker's time."""
    stubs: dict[str, dict[str, Any]] = {
        "tune_cmx.training.memory": {"limit_memory": lambda *_: None},
        "tune_cmx.training.run": {"run_trial": None},
        "tune_cmx.training.loop": {"EpochReport": _Report},
        "tune_cmx.training.tensorboard.events": {"TrialBoard": lambda *_: MagicMock()},
    }

    def train(config: dict[str, Any]) -> None:
        for name, content in stubs.items():
            module = ModuleType(name)
            vars(module).update(content)
            sys.modules[name] = module
        stand_in(config)

    return train


@pytest.fixture(scope="module", autouse=True)
def _cluster() -> Iterator[None]:
    with ray_cluster(RESOURCES):
        yield


@pytest.fixture(scope="module")
def run(data: Path, tmp_path_factory: pytest.TempPathFactory) -> Run:
    """A study of so many trials, and what the driver did for it; each once."""

    @functools.cache
    def run(trials: int, variant: str) -> tuple[StudyFolder, Counter[str]]:
        folder = tmp_path_factory.mktemp("study")
        space = benchmark.write_space(folder / "space.yaml", trials, searcher="random", variant=variant)
        content = yaml.safe_load(space.read_text())
        space.write_text(yaml.safe_dump({**content, "confirm": {"finalists": 1, "seeds": 1}}))
        study = benchmark.read_study(space, overrides={"data.root": str(data)})
        opened = open_folder(folder / "study", study, prepare(study.baseline.config.data, folder / "data"), space)
        console = StudyConsole(Console(file=io.StringIO()), "val/mAP")
        with pytest.MonkeyPatch.context() as patch:
            counted = _count(patch)
            resources = RESOURCES if trials == MANY else ONE_BY_ONE
            assert run_study(opened, resources, console, trainable=_without_models(benchmark.train_stand_in))
        return opened, counted

    return run


def _count(patch: pytest.MonkeyPatch) -> Counter[str]:
    """Counts from now on what could be done for all trials whenever something is done for one."""
    counted: Counter[str] = Counter()
    state, deepcopy = RunFolder.state, copy.deepcopy

    def counting_state(record: RunFolder, **given: Any) -> dict[str, Any]:
        counted["reads of trial.json"] += 1
        return state(record, **given)

    def counting_deepcopy(content: Any, *memo: Any) -> Any:
        counted["deep copies"] += 1
        return deepcopy(content, *memo)

    patch.setattr(RunFolder, "state", counting_state)
    patch.setattr(copy, "deepcopy", counting_deepcopy)  # also what Ray copies, and each part of it
    return counted


@pytest.mark.parametrize("variant", ["promote", "stop"])
def test_every_record_of_many_is_right(run: Run, variant: str) -> None:
    opened, _ = run(MANY, variant)
    records = {record.folder.name: record for record in opened.run_folders()}
    stopped = stops(read_decisions(opened.decisions))
    assert sum(name.startswith("search-") for name in records) == MANY
    assert {name for name, record in records.items() if record.state().status == "stopped"} == set(stopped)
    for name, record in records.items():
        state, config = record.state(), record.config()
        epochs = state.epochs
        assert record.rows() == [benchmark.curve(config, epoch) for epoch in range(1, epochs + 1)], name
        assert state.lineage[-1].last_epoch == epochs
        assert (
            epochs < benchmark.EPOCHS if name in stopped else (state.status, epochs) == ("complete", benchmark.EPOCHS)
        )
        assert (record.folder / "final_results.json").exists() == (name not in stopped)
    finalists = json.loads((opened.folder / "study.json").read_text())["selection"]["finalists"]
    states = [record.state() for record in records.values()]
    assert {state.arm for state in states if state.phase == "confirm"} == {"baseline", *finalists}


def test_a_trial_costs_the_driver_no_more_where_there_are_more(run: Run) -> None:
    few, many = (run(trials, "promote")[1] for trials in (FEW, MANY))
    assert set(many) == {"reads of trial.json", "deep copies"}
    for name, count in many.items():
        assert count / MANY <= MORE * few[name] / FEW, (name, few, many)
