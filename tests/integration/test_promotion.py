"""The promoting variant of ASHA under Ray's own controller: pauses, promotions, lost workers, an interruption."""

import os
import signal
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import ray
from ray import tune
from ray.tune.experiment import Trial

from tune_cmx.config.space import EarlyStopping
from tune_cmx.search.cluster import ClusterSlots
from tune_cmx.search.ray_start import start_ray
from tune_cmx.search.rungs import CONTINUE, PAUSE, STOP, read_decisions, stops
from tune_cmx.search.schedulers import build_scheduler

EPOCHS, TRIALS = 9, 12
LEVEL = {f"t{number:02d}": float(number * 7 % TRIALS) for number in range(TRIALS)}
BEST = sorted(LEVEL, key=lambda name: -LEVEL[name])
SETTINGS = EarlyStopping(reduction_factor=3, spacing=3, last=1)


@pytest.fixture(scope="module", autouse=True)
def cluster() -> Iterator[None]:
    start_ray(None, 2)
    try:
        yield
    finally:
        ray.shutdown()


def stand_in(config: dict[str, Any]) -> None:
    """Trains nothing: reports its level plus the epoch, goes on from its own record, dies once where it is told to."""
    facts = config["trial"]
    record = Path(facts["folder"]) / facts["name"]
    for epoch in range(1, EPOCHS + 1):
        done = len(record.read_text().split()) if record.exists() else 0
        if epoch > done:
            with record.open("a") as file:
                file.write(f"{epoch}\n")
            if facts["dies_at"] == epoch:
                os.kill(os.getpid(), signal.SIGKILL)
        result = {"m": facts["level"] + epoch, "epoch": epoch, "fraction": epoch / EPOCHS}
        if facts["fails_at"] == epoch:
            tune.report({**result, "m": -1.0, "failed": "loss is nan"})
            return
        tune.report(result)


class _Interrupt(tune.Callback):
    """Ends the driver's loop, as Ctrl-C does, once so many decisions have been made."""

    def __init__(self, log: Path, after: int) -> None:
        self._log, self._after, self._sent = log, after, False

    def on_step_end(self, *_: Any, **__: Any) -> None:
        if not self._sent and len(read_decisions(self._log)) >= self._after:
            self._sent = True
            os.kill(os.getpid(), signal.SIGINT)


def _name(trial: Trial) -> str:
    return str(trial.config["trial"]["name"])


def _search(
    folder: Path,
    session: int,
    *,
    reuse: bool,
    names: list[str] | None = None,
    dies: dict[str, int] | None = None,
    fails: dict[str, int] | None = None,
    after: int | None = None,
) -> Any:
    (folder / "trials").mkdir(exist_ok=True)
    log = folder / "rungs.jsonl"
    facts = [
        {
            "name": name,
            "arm": f"arm-{name}",
            "level": LEVEL[name],
            "folder": str(folder / "trials"),
            "dies_at": (dies or {}).get(name),
            "fails_at": (fails or {}).get(name),
        }
        for name in names or LEVEL
    ]
    scheduler = build_scheduler(
        SETTINGS, metric="m", full=EPOCHS, log=log, slots=ClusterSlots({"CPU": 1}, ahead=1 if reuse else 0)
    )
    tuner = tune.Tuner(
        tune.with_resources(stand_in, {"cpu": 1}),
        param_space={"trial": tune.grid_search(facts)},
        tune_config=tune.TuneConfig(
            scheduler=scheduler, reuse_actors=reuse, trial_name_creator=_name, trial_dirname_creator=_name
        ),
        run_config=tune.RunConfig(
            name=f"session-{session}",
            storage_path=str(folder / "ray"),
            verbose=0,
            callbacks=[] if after is None else [_Interrupt(log, after)],
            failure_config=tune.FailureConfig(max_failures=2),
        ),
    )
    return tuner.fit()


def _epochs(folder: Path, names: list[str]) -> dict[str, int]:
    """Epochs trained of each trial; none twice."""
    trained = {name: (folder / "trials" / name).read_text().split() for name in names}
    assert all(Counter(epochs).most_common(1)[0][1] == 1 for epochs in trained.values())
    return {name: len(epochs) for name, epochs in trained.items()}


def _assert_sound(folder: Path, names: list[str] = BEST) -> None:
    """The upper third of each rung was resumed, everything else was stopped, nothing is in the log twice."""
    best = [name for name in BEST if name in names]
    lines = read_decisions(folder / "rungs.jsonl")
    assert len({(one.trial, one.rung, one.decision) for one in lines}) == len(lines)
    epochs = _epochs(folder, names)
    assert {name for name, count in epochs.items() if count >= 3} >= set(best[: len(best) // 3])
    assert epochs[best[0]] == EPOCHS
    assert set(stops(lines)) == {name for name, count in epochs.items() if count < EPOCHS}
    assert {one.decision for one in lines} == {PAUSE, CONTINUE, STOP}


@pytest.mark.parametrize(("reuse", "trials"), [(True, TRIALS), (False, TRIALS // 2)])
def test_paused_trials_are_promoted_and_resume_where_they_were(tmp_path: Path, reuse: bool, trials: int) -> None:
    """Without reuse each start of a trial takes a new process, and some seconds: half the trials."""
    names = list(LEVEL)[:trials]
    found = _search(tmp_path, 1, reuse=reuse, names=names)
    assert not found.errors
    _assert_sound(tmp_path, names)
    paused = {one.trial for one in read_decisions(tmp_path / "rungs.jsonl") if one.decision == PAUSE}
    assert any(one.trial in paused and one.decision == CONTINUE for one in read_decisions(tmp_path / "rungs.jsonl"))
    assert sum(_epochs(tmp_path, names).values()) <= trials * 2 + trials // 2 * 4 + trials // 4 * 3


@pytest.mark.slow
@pytest.mark.parametrize("after", [5, 14])
def test_a_search_that_was_interrupted_goes_on_from_the_log(tmp_path: Path, after: int) -> None:
    _search(tmp_path, 1, reuse=True, after=after)
    before = (tmp_path / "rungs.jsonl").read_bytes()
    lines = read_decisions(tmp_path / "rungs.jsonl")
    assert len(lines) >= after
    assert not stops(lines), "interrupted before its end"
    _search(tmp_path, 2, reuse=True)
    assert (tmp_path / "rungs.jsonl").read_bytes().startswith(before)
    _assert_sound(tmp_path)


@pytest.mark.slow
def test_a_lost_worker_and_a_failed_trial_hold_nobody_up(tmp_path: Path) -> None:
    found = _search(tmp_path, 1, reuse=True, dies={BEST[0]: 2, BEST[5]: 1, BEST[2]: 3}, fails={BEST[1]: 1})
    assert not found.errors
    lines = read_decisions(tmp_path / "rungs.jsonl")
    assert BEST[1] not in {one.trial for one in lines}
    assert len({(one.trial, one.rung, one.decision) for one in lines}) == len(lines)
    epochs = _epochs(tmp_path, BEST)
    assert epochs[BEST[0]] == EPOCHS
    assert set(stops(lines)) == {name for name in LEVEL if epochs[name] < EPOCHS} - {BEST[1]}
