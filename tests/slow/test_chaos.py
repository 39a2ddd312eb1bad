"""Studies that are killed again and again, by scripts/chaos.py; and how often a trial may lose its worker."""

import importlib.util
import os
import signal
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
import yaml

from tune_cmx.training.run_folder import RunFolder

SCRIPTS = Path(__file__).parents[2] / "scripts"

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def chaos() -> ModuleType:
    sys.path.insert(0, str(SCRIPTS))  # as Python does for a script
    spec = importlib.util.spec_from_file_location("chaos", SCRIPTS / "chaos.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules["chaos"] = module  # its dataclasses look for it
    spec.loader.exec_module(module)
    return module


@pytest.mark.parametrize(
    "words",
    [
        ("--kills", "25"),
        ("--kills", "12", "--variant", "stop", "--seed", "1"),
        ("--kills", "12", "--searcher", "tpe", "--seed", "2"),
        ("--kills", "12", "--at-a-time", "2", "--seed", "3"),
    ],
    ids=["promote", "stop", "tpe", "two at a time"],
)
def test_it_ends_as_if_nothing_had_been(
    chaos: ModuleType, words: tuple[str, ...], capfd: pytest.CaptureFixture[str]
) -> None:
    code = chaos.main(words)
    told = capfd.readouterr().out
    assert code == 0, told
    assert f"{words[1]} kills, 0 differences" in told


@pytest.fixture
def study(chaos: ModuleType, tmp_path: Path) -> Iterator[Any]:
    """Two arms, trained in full."""
    data = chaos.synthesize(tmp_path / "data", images=24, size=64, sequences=6, seed=0)
    space = chaos.space_file(tmp_path / "space.yaml", "stop", "grid")
    content = yaml.safe_load(space.read_text())
    content["fixed"]["schedule"]["epochs"] = 8
    content |= {"early_stopping": {"kind": "none"}, "search": {"model.fusion.stages": {"choice": [[1], [2]]}}}
    space.write_text("# Two arms?\n" + yaml.safe_dump(content))
    (tmp_path / "runs").mkdir()
    with tempfile.TemporaryDirectory(prefix="tc", dir="/tmp") as short:
        study = chaos.Study(tmp_path / "runs", space, data, 1, Path(short))
        study.start()
        yield study
        study.end()


def _wait(condition: Callable[[], bool], study: Any) -> None:
    deadline = time.monotonic() + 180
    while not condition():
        assert time.monotonic() < deadline, study.log.read_text()
        assert study.ended() is None, study.log.read_text()
        time.sleep(0.02)


def test_only_losses_without_an_epoch_in_between_make_a_trial_given_up(chaos: ModuleType, study: Any) -> None:
    def epochs(name: str) -> int:
        return study.records()[name].state().epochs if name in study.records() else -1

    def holder(name: str) -> int | None:
        return next((pid for pid, held in chaos.holders(study).items() if held == name), None)

    def lose(name: str, *, after: int) -> None:
        """Kill its worker, once it has finished so many epochs."""
        _wait(lambda: epochs(name) >= after and holder(name) is not None, study)
        pid = holder(name)
        assert pid is not None
        os.kill(pid, signal.SIGKILL)
        _wait(lambda: holder(name) != pid, study)

    steady, stuck = "search-stages-1-s0", "search-stages-2-s0"
    for after in (1, 2, 3, 4, 5):
        lose(steady, after=after)
    for _ in range(chaos.WORKER_LOSSES + 1):
        lose(stuck, after=0)
    assert study.driver.wait(300) == 0, study.log.read_text()
    states = {name: RunFolder(record.folder).state() for name, record in study.records().items()}
    assert states[steady]["status"] == "complete"
    assert len(states[steady]["lineage"]) == 6
    assert states[stuck]["status"] == "failed"
    assert states[stuck]["reason"].startswith("its worker ended 4 times without a new epoch in between")
    assert {state.status for name, state in states.items() if name != stuck} == {"complete"}
