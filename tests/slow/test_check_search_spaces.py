"""`tune-cmx check` on each file of search_spaces/: every arm built in earnest and stepped once."""

import shutil
from pathlib import Path

import pytest

from tune_cmx import cli
from tune_cmx.data.synthetic import synthesize

FILES = sorted((Path(__file__).parents[2] / "search_spaces").iterdir())
ASK_FOR_EVENTS = ("modalities_event",)


@pytest.fixture(scope="module")
def rgb_and_thermal(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A data set without events, of more images than a batch has."""
    root = synthesize(tmp_path_factory.mktemp("data") / "set", images=48, size=64, sequences=12, seed=0)
    shutil.rmtree(root / "event")
    return root


def checked(*arguments: str) -> int:
    """The exit status of `tune-cmx check`."""
    with pytest.raises(SystemExit) as end:
        cli.main(["check", *arguments])
    return int(end.value.code or 0)


@pytest.mark.slow
@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_the_command_finds_nothing_wrong(path: Path) -> None:
    """Three to four minutes for all on one core."""
    assert checked(str(path)) == 0


@pytest.mark.slow
@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_rgb_and_thermal_data_are_enough_unless_it_asks_for_events(path: Path, rgb_and_thermal: Path) -> None:
    """As long again."""
    assert checked(str(path), "--data", str(rgb_and_thermal)) == (2 if path.stem in ASK_FOR_EVENTS else 0)
