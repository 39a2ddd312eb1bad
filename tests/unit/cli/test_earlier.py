import json
from pathlib import Path
from typing import Any

import pytest

from tune_cmx.cli.earlier import data_of_session, earlier_session
from tune_cmx.config.arms import BASELINE
from tune_cmx.config.study_rules import OPEN_DATA
from tune_cmx.errors import ConfigError, DataError
from tune_cmx.state.study_state import STUDY_FILE, new_study_state


@pytest.mark.parametrize("arms", [{}, {"a": {"config": {"data": {}}}}, {BASELINE: {}}, {BASELINE: {"config": {}}}])
def test_a_study_file_without_the_baselines_data_is_named(arms: dict[str, Any], tmp_path: Path) -> None:
    state = new_study_state(tmp_path / STUDY_FILE, study="demo", arms=arms)
    with pytest.raises(ConfigError, match=r"study\.json: arms\.baseline\.config\.data is missing; restore .* --data"):
        data_of_session(state)


def test_the_baselines_data_are_taken_without_the_split_and_what_can_be_searched(tmp_path: Path) -> None:
    data: dict[str, Any] = {"root": "images", "labels": None, "split": "a.json"}
    data |= {path.removeprefix("data."): {"any": 1} for path in OPEN_DATA}
    state = new_study_state(tmp_path / STUDY_FILE, study="demo", arms={BASELINE: {"config": {"data": data}}})
    assert data_of_session(state) == {"data.root": "images"}


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ({"form": 2, "status": "serching"}, r"status: Input should be 'searching'.*got 'serching'"),
        ({"form": 2, "early_stopping": {"compare_at": "epochs"}}, r"early_stopping\.compare_at: .*got 'epochs'"),
    ],
)
def test_a_damaged_word_of_a_study_file_is_named(content: dict[str, Any], message: str, tmp_path: Path) -> None:
    (tmp_path / STUDY_FILE).write_text(json.dumps({"study": "demo", **content}))
    with pytest.raises(DataError, match=message):
        earlier_session(tmp_path, resume=True, resume_or_start=False)
