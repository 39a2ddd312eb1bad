"""TPE on Ray, with trials that train nothing; and its storage, opened by optuna-dashboard."""

import contextlib
import json
import math
import os
import pickle
import signal
import socket
import statistics
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Literal

import numpy as np
import optuna
import pytest
import ray
from optuna.trial import TrialState
from ray import tune
from ray.tune.experiment import Trial

from tune_cmx.config.domains import parse_domains, sample_all
from tune_cmx.config.searchers import TpeSearcher
from tune_cmx.config.space import EarlyStopping
from tune_cmx.search.optuna.journal import STORAGE
from tune_cmx.search.optuna.known_trials import Outcome
from tune_cmx.search.optuna.tpe import TpeSearch
from tune_cmx.search.ray_start import start_ray
from tune_cmx.search.schedulers import PromotingASHA, RecordedASHA, build_scheduler
from tune_cmx.state.json_file import write_json

METRIC = "val/mAP"
EPOCHS = 6
SPACE = parse_domains(
    {
        "fusion": {"choice": ["cssa", "se_gated", "add"]},
        "stages": {"choice": [[1], [4], [1, 2, 3, 4]]},
        "threshold": {"uniform": [0.1, 0.9], "when": {"fusion": "cssa"}},
        "lr": {"loguniform": [1e-4, 1e-1]},
    },
    "space.yaml",
    {},
)
STATES = {"complete": TrialState.COMPLETE, "stopped": TrialState.PRUNED}


def merit(values: Mapping[str, Any]) -> float:
    """A peak at cssa with threshold 0.4, in points."""
    off = abs(values.get("threshold", 0.9) - 0.4)
    base = {"cssa": 40.0, "se_gated": 30.0, "add": 20.0}[values["fusion"]]
    return float(base - 30 * off - 3 * abs(math.log10(values["lr"]) + 2) + len(values["stages"]))


class Records:
    """A folder of records that are one small file each."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        folder.mkdir(parents=True, exist_ok=True)

    def path(self, name: str) -> Path:
        return self.folder / f"{name}.json"

    def propose(self, values: dict[str, Any]) -> dict[str, Any]:
        """Plan a record, or open it."""
        known = {path.stem: json.loads(path.read_text())["values"] for path in self.folder.glob("*.json")}
        name = next((name for name, kept in known.items() if kept == values), f"trial-{len(known):02d}")
        if name not in known:
            self.write(name, values=values, status="running", curve={})
        return {"name": name, "arm": name, "record": str(self.path(name)), "merit": merit(values)}

    def write(self, name: str, **changes: Any) -> None:
        path = self.path(name)
        write_json(path, {**(json.loads(path.read_text()) if path.exists() else {}), **changes})

    def read(self, name: str) -> dict[str, Any]:
        content: dict[str, Any] = json.loads(self.path(name).read_text())
        return content

    def outcome(self, name: str) -> Outcome:
        record = self.read(name)
        curve = {int(epoch): value for epoch, value in record["curve"].items()}
        return Outcome(record["status"], tuple(curve.values())[-1:], curve)

    def search(self, storage: Path, trials: int, seed: int = 0) -> TpeSearch:
        """A session of the search."""
        return TpeSearch(
            SPACE,
            TpeSearcher(trials=trials, startup_trials=4),
            study_name="search",
            storage=storage,
            seed=seed,
            metric=METRIC,
            propose=self.propose,
            outcome=self.outcome,
        )

    def all(self) -> dict[str, dict[str, Any]]:
        return {path.stem: self.read(path.stem) for path in sorted(self.folder.glob("*.json"))}


class Keeper(tune.Callback):
    """Notes on the record that ASHA stopped it, after the searcher was told: the order in which Ray calls them."""

    def __init__(self, records: Records) -> None:
        self._records = records

    def on_trial_complete(self, iteration: int, trials: list[Trial], trial: Trial, **_: Any) -> None:  # noqa: ARG002
        name = trial.config["trial"]["name"]
        if self._records.read(name)["status"] == "running":
            self._records.write(name, status="stopped")


def run(folder: Path, variant: Literal["stop", "promote"], trials: int) -> Records:
    """A search of `trials`, two at once, a minute at most."""
    records = Records(folder / "trials")

    def train(config: dict[str, Any]) -> None:
        facts = config["trial"]
        path = Path(facts["record"])
        record = json.loads(path.read_text())
        record.setdefault("began", time.time())
        write_json(path, record)
        late = time.monotonic() + 20  # two workers do not begin at the same moment
        while sum("began" in other for other in records.all().values()) < 2 and time.monotonic() < late:
            time.sleep(0.05)
        for epoch in range(1, EPOCHS + 1):
            record["curve"][str(epoch)] = facts["merit"] * epoch / EPOCHS
            record["status"] = "complete" if epoch == EPOCHS else "running"
            record["ended"] = time.time()
            write_json(path, record)
            value = record["curve"][str(epoch)]
            tune.report({METRIC: value, "smooth": value, "epoch": epoch, "fraction": epoch / EPOCHS})
            time.sleep(0.05)

    search = records.search(folder / STORAGE, trials)
    log = folder / "rungs.jsonl"
    stopping = EarlyStopping(variant=variant, reduction_factor=2, grace=2, spacing=None, last=1.0)
    scheduler = build_scheduler(stopping, metric="smooth", full=EPOCHS, log=log, slots=lambda: 2)
    assert isinstance(scheduler, RecordedASHA | PromotingASHA)
    tuner = tune.Tuner(
        tune.with_resources(train, {"cpu": 1}),
        tune_config=tune.TuneConfig(
            search_alg=search,
            scheduler=scheduler,
            num_samples=-1,
            max_concurrent_trials=2,
            reuse_actors=True,
            time_budget_s=60,
            trial_dirname_creator=lambda trial: str(trial.config["trial"]["name"]),
        ),
        run_config=tune.RunConfig(name="ray", storage_path=str(folder), callbacks=[Keeper(records)], verbose=0),
    )
    tuner.fit()
    search.settle()
    return records


@pytest.fixture(scope="module")
def cluster() -> Iterator[None]:
    """Two CPUs, this machine alone."""
    start_ray(None, 2)
    yield
    ray.shutdown()


def stored(folder: Path) -> list[optuna.trial.FrozenTrial]:
    backend = optuna.storages.journal.JournalFileBackend(str(folder / STORAGE))
    return optuna.load_study(study_name="search", storage=optuna.storages.JournalStorage(backend)).trials


@pytest.mark.slow
@pytest.mark.filterwarnings("default")
@pytest.mark.parametrize("variant", ["stop", "promote"])
@pytest.mark.usefixtures("cluster")
def test_a_search_on_ray(tmp_path: Path, variant: Literal["stop", "promote"]) -> None:
    records = run(tmp_path, variant, trials=8).all()
    assert len(records) == 8
    ends = {name: record["status"] for name, record in records.items()}
    assert set(ends.values()) == {"complete", "stopped"}
    trials = {trial.user_attrs["record"]: trial for trial in stored(tmp_path)}
    assert {name: trial.state for name, trial in trials.items()} == {name: STATES[end] for name, end in ends.items()}
    for name, trial in trials.items():
        curve = {int(epoch): value for epoch, value in records[name]["curve"].items()}
        assert trial.intermediate_values == curve or ends[name] == "complete"
        assert trial.value == list(curve.values())[-1]
        assert trial.user_attrs["values"] == records[name]["values"]
    began = sorted(record["began"] for record in records.values())
    assert began[1] < min(record["ended"] for record in records.values())  # two at once from the start
    assert not list(tmp_path.rglob("*searcher-state*"))
    assert pickle.loads((tmp_path / "ray" / "tuner.pkl").read_bytes())["_tune_config"].search_alg.__dict__ == {}


@pytest.mark.slow
def test_optuna_dashboard_opens_the_storage(tmp_path: Path) -> None:
    records = Records(tmp_path / "trials")
    search = records.search(tmp_path / STORAGE, 3)
    for number in range(3):
        facts = search.suggest(str(number))
        assert isinstance(facts, dict)
        status = ["complete", "stopped", "running"][number]
        records.write(facts["trial"]["name"], status=status, curve={"1": 3.0, "2": 4.0})
        search.on_trial_complete(str(number))
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    command = [str(Path(sys.executable).with_name("optuna-dashboard")), str(tmp_path / STORAGE)]
    with (tmp_path / "dashboard.log").open("wb") as log:
        server = subprocess.Popen(
            [*command, "--host", "127.0.0.1", "--port", str(port)], stdout=log, stderr=log, start_new_session=True
        )
    try:
        (study,) = _get(f"http://127.0.0.1:{port}/api/studies")["study_summaries"]
        assert study["study_name"] == "search"
        detail = _get(f"http://127.0.0.1:{port}/api/studies/{study['study_id']}")
        assert [trial["state"] for trial in detail["trials"]] == ["Complete", "Pruned", "Running"]
        assert {param["name"] for param in detail["trials"][0]["params"]} >= {"fusion", "lr", "stages"}
    finally:
        os.killpg(server.pid, signal.SIGKILL)
        server.wait(60)


def _get(url: str) -> dict[str, Any]:
    """The answer, once the server is up."""
    deadline = time.monotonic() + 240
    while True:
        with contextlib.suppress(urllib.error.URLError, ConnectionError), urllib.request.urlopen(url) as answer:
            content: dict[str, Any] = json.load(answer)
            return content
        assert time.monotonic() < deadline, "the dashboard does not answer"
        time.sleep(0.2)


def best_of(records: Records, search: TpeSearch) -> float:
    """The best of a search whose trials all train to their end, one after the other."""
    reached = [-math.inf]
    while isinstance(facts := search.suggest(str(len(reached))), dict):
        reached.append(facts["trial"]["merit"])
        records.write(facts["trial"]["name"], status="complete", curve={"1": reached[-1]})
        search.on_trial_complete(str(len(reached) - 1))
    return max(reached)


def test_tpe_finds_more_than_random_draws(tmp_path: Path) -> None:
    found, random = [], []
    for seed in range(3):
        records = Records(tmp_path / str(seed))
        found.append(best_of(records, records.search(tmp_path / f"{seed}.log", 40, seed)))
        generator = np.random.default_rng(seed)
        random.append(max(merit(sample_all(SPACE, generator)) for _ in range(40)))
    assert statistics.mean(found) > statistics.mean(random) + 1


@pytest.mark.slow
def test_draws_hang_neither_on_the_process_nor_on_its_hash_seed(tmp_path: Path) -> None:
    program = (
        "import importlib.util, pathlib, sys\n"
        f"spec = importlib.util.spec_from_file_location('test_tpe', {__file__!r})\n"
        "tests = importlib.util.module_from_spec(spec)\n"
        "spec.loader.exec_module(tests)\n"
        "folder = pathlib.Path(sys.argv[1])\n"
        "records = tests.Records(folder / 'records')\n"
        "tests.best_of(records, records.search(folder / 'optuna.log', 15))\n"
    )
    drawn = []
    for seed in ("1", "2"):
        folder = tmp_path / seed
        environment = {**os.environ, "PYTHONHASHSEED": seed}
        subprocess.run([sys.executable, "-c", program, str(folder)], check=True, timeout=240, env=environment)
        drawn.append([record["values"] for record in Records(folder / "trials").all().values()])
    assert len(drawn[0]) == 15
    assert drawn[0] == drawn[1]
