"""State files: what they take, what they refuse, and what survives a rewrite."""

import json
from pathlib import Path

import pytest

from tune_cmx.errors import DataError
from tune_cmx.state.damaged import parsed_as_far
from tune_cmx.state.trial_state import TrialState, new_trial_state, read_trial_state, write_trial_state

CONTENT = {"id": "t", "arm": "a", "phase": "search", "status": "running", "seed": 3, "epochs": 1, "seconds": 2.5}
SESSION = {"started": "t0", "ended": None, "seconds": 0.0, "first_epoch": 1, "last_epoch": None}


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "trial.json"


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        ({"seed": "abc"}, "seed: Input should be a valid integer; got 'abc'"),
        ({"status": "resting"}, "status: Input should be 'planned', 'running'"),
        ({"lineage": [{**SESSION, "seconds": True}]}, "lineage.0.seconds: Input should be a valid number; got True"),
        ({"micro_batch": 0}, "micro_batch: Input should be greater than or equal to 1; got 0"),
    ],
)
def test_an_error_names_file_field_and_value(path: Path, wrong: dict[str, object], said: str) -> None:
    path.write_text(json.dumps({**CONTENT, **wrong}))
    with pytest.raises(DataError) as raised:
        read_trial_state(path)
    assert f"{path}: {said}" in str(raised.value)


def test_a_file_that_is_cut_short_is_named(path: Path) -> None:
    path.write_text('{"id": ')
    with pytest.raises(DataError, match=r"trial\.json: not valid JSON"):
        read_trial_state(path)


def test_keys_of_another_version_survive_a_rewrite(path: Path) -> None:
    content = {**CONTENT, "colour": "red", "lineage": [{**SESSION, "host": "a"}]}
    path.write_text(json.dumps(content))
    write_trial_state(path, read_trial_state(path).with_fields(path, epochs=2))
    assert json.loads(path.read_text()) == {**content, "epochs": 2}


def test_a_field_that_code_misspells_is_refused(path: Path) -> None:
    state = new_trial_state(path, **CONTENT)
    with pytest.raises(TypeError, match="TrialState has no field epoch; it has id, arm"):
        state.with_fields(path, epoch=2)
    with pytest.raises(TypeError, match="has no field armm"):
        new_trial_state(path, **CONTENT, armm="b")


def test_a_number_that_is_not_finite_is_written_as_null(path: Path) -> None:
    write_trial_state(path, new_trial_state(path, **CONTENT, gflops=float("nan")))
    assert json.loads(path.read_text())["gflops"] is None


def test_damage_is_left_out_and_named() -> None:
    content = {
        **CONTENT,
        "seconds": float("nan"),
        "status": 3,
        "lineage": [SESSION, {"seconds": 1.0}, {**SESSION, "last_epoch": "two"}],
        "stopped": {"epoch": 2},
    }
    problems: list[str] = []
    least = {"status": "unknown"}
    state = parsed_as_far(TrialState, content, "t/trial.json", problems, least)
    assert (state.status, state.seconds, state.epochs, state.stopped) == ("unknown", 0.0, 1, None)
    assert [session.last_epoch for session in state.lineage] == [None, None]
    assert problems == [
        "t/trial.json: status cannot be 3; it is left out",
        "t/trial.json: seconds cannot be nan; it is left out",
        "t/trial.json: lineage.1 cannot be {'seconds': 1.0} (it lacks first_epoch); it is left out",
        "t/trial.json: lineage.1.last_epoch cannot be 'two'; it is left out",
        "t/trial.json: stopped cannot be {'epoch': 2} (it lacks rung); it is left out",
    ]


def test_every_field_is_described() -> None:
    """docs/reference is made of these lines."""
    assert [name for name, field in TrialState.model_fields.items() if not field.description] == []
