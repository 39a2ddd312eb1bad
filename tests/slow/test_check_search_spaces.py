"""`tune-cmx check` on each file of search_spaces/: every arm built in earnest and stepped once."""

from pathlib import Path

import pytest

from tune_cmx import cli

FILES = sorted((Path(__file__).parents[2] / "search_spaces").iterdir())


@pytest.mark.slow
@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_the_command_finds_nothing_wrong(path: Path) -> None:
    """Three to four minutes for all on one core."""
    with pytest.raises(SystemExit) as end:
        cli.main(["check", str(path)])
    assert end.value.code == 0
