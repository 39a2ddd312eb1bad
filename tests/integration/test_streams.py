"""RGB + thermal data, the field's normal case: a search space that names no streams, from check to report."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from conftest import Tiny

SPACES = Path(__file__).parents[2] / "search_spaces"
RGBT = "rgb | thermal"


@pytest.fixture(scope="module")
def two(data: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The images without their events."""
    found = tmp_path_factory.mktemp("two") / "set"
    shutil.copytree(data, found, ignore=shutil.ignore_patterns("event"))
    return found


def checked(tiny: Tiny, name: str, data: Path) -> subprocess.CompletedProcess[str]:
    """`tune-cmx check` of a shipped search space."""
    command = [*tiny.command, "check", str(SPACES / name), "--data", str(data)]
    return subprocess.run(command, capture_output=True, text=True, check=False, timeout=300)


@pytest.mark.parametrize(
    ("name", "said"), [("demo.yaml", f"streams: {RGBT} (from the data)"), ("demo_modalities.yaml", "thermal only")]
)
def test_a_shipped_space_takes_the_data(name: str, said: str, tiny: Tiny, two: Path) -> None:
    found = checked(tiny, name, two)
    assert found.returncode == 0, found.stderr
    assert said in found.stdout


def test_the_space_that_asks_for_events_names_those_that_do_not(tiny: Tiny, two: Path) -> None:
    found = checked(tiny, "modalities_event.yaml", two)
    assert found.returncode == 2
    lines = found.stderr.splitlines()
    assert lines[0].endswith("'rgb | thermal+event' needs event; the data have rgb, thermal")
    assert lines[2] == "Streams that fit the data: 'rgb', 'thermal', 'rgb | thermal'"
    fitting = re.fullmatch(rf"Search spaces in {re.escape(str(SPACES))} that fit the data: (.*)", lines[3])
    assert fitting is not None
    assert set(fitting[1].split(", ")) == {path.stem for path in SPACES.iterdir()} - {"modalities_event"}


def test_a_study_keeps_the_streams_of_its_data(tiny: Tiny, two: Path, tmp_path: Path) -> None:
    own = shutil.copytree(two, tmp_path / "own")
    of_two = type(tiny)(own, tiny.folder)
    space = tiny.space(search={"model.fusion.stages": {"choice": [[4]]}}, early_stopping={"kind": "none"})
    short = ("--set", "schedule.epochs=2")
    assert of_two.search(space, *short) == 0, tiny.log()
    folder = tiny.folder / "tiny"
    assert f"streams: {RGBT} (from the data)" in tiny.log().splitlines()
    state = json.loads((folder / "study.json").read_text())
    assert state["protocol"]["model.streams"] == RGBT
    configs = [json.loads(path.read_text()) for path in folder.glob("trials/*/config.json")]
    assert [config["model"]["streams"] for config in configs] == [RGBT] * 3
    report = (folder / "report/report.md").read_text()
    assert re.search(r"^\| model\.streams +\| rgb \\\| thermal +\|$", report, re.M)

    shutil.copytree(tiny.data / "event", own / "event")
    assert of_two.search(space, *short, "--resume") == 0, tiny.log()
    assert f"streams: {RGBT} (as the study began)" in tiny.log().splitlines()
