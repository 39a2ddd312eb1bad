"""A study's folder: planned records, what is settled after a crash, finalists, and what refuses to go on."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml

from tune_cmx.config.arms import BASELINE
from tune_cmx.config.study import read_study
from tune_cmx.data.prepare import Prepared, prepare
from tune_cmx.data.synthetic import synthesize
from tune_cmx.errors import ConfigError
from tune_cmx.search.study_folder import SPACE_FILE, STUDY_FILE, StudyFolder, mark_stopped, open_folder
from tune_cmx.state.rung_log import Decision
from tune_cmx.state.trial_state import Stopped
from tune_cmx.training.run_folder import RunFolder

Opener = Callable[..., StudyFolder]
SPACE: dict[str, Any] = {
    "study": "stages",
    "fixed": {
        "model": {"backbone": "mit_nano", "fusion": {"kind": "cssa", "elsewhere": "frm_ffm"}},
        "schedule": {"epochs": 5, "batch_size": 2},
    },
    "search": {"model.fusion.stages": {"choice": [[1], [2], [3]]}},
    "baseline": {"model.fusion": {"kind": "frm_ffm"}},
    "early_stopping": {"reduction_factor": 2, "grace": 2},
    "confirm": {"finalists": 2, "seeds": 2},
}


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Images."""
    return synthesize(tmp_path_factory.mktemp("data") / "set", images=12, size=32, sequences=6, seed=0)


@pytest.fixture(scope="module")
def prepared(data: Path, tmp_path_factory: pytest.TempPathFactory) -> Prepared:
    """The images, audited and split."""
    space = tmp_path_factory.mktemp("space") / "space.yaml"
    space.write_text(yaml.safe_dump(SPACE))
    study = read_study(space, overrides={"data.root": str(data)})
    return prepare(study.arms["baseline"].config.data, space.parent / "data")


@pytest.fixture
def opener(tmp_path: Path, data: Path, prepared: Prepared) -> Opener:
    """Open the study's folder, with some keys of its file changed."""

    def opened(**changes: Any) -> StudyFolder:
        space = tmp_path / "space.yaml"
        space.write_text("# Which stage?\n" + yaml.safe_dump({**SPACE, **changes}))
        study = read_study(space, overrides={"data.root": str(data)})
        return open_folder(tmp_path / "study", study, prepared, space)

    return opened


@pytest.fixture
def opened(opener: Opener) -> StudyFolder:
    return opener()


def _searched(opened: StudyFolder) -> list[RunFolder]:
    return [opened.plan(opened.study.arms[name], 0, "search") for name in opened.study.searched]


def _train(record: RunFolder, values: list[float], status: str) -> None:
    """Write epochs of these metrics into a record, as training would."""
    record.begin_session(1)
    for epoch, value in enumerate(values, start=1):
        row = {"epoch": epoch, "fraction": epoch / 5, "seconds": 1.0 * epoch, "val/mAP": value}
        record.add_epoch(row, session_seconds=1.0 * epoch)
    record.update(status=status)


def _decide(opened: StudyFolder, record: RunFolder, rung: float, decision: str) -> Decision:
    opened.decisions.parent.mkdir(parents=True, exist_ok=True)
    line = Decision(record.folder.name, str(record.state().arm), rung, rung, 10.0, 12.5, decision)
    with opened.decisions.open("a") as file:
        file.write(json.dumps(vars(line)) + "\n")
    return line


GROWING: dict[str, Any] = {
    "searcher": {"kind": "tpe", "trials": 2},
    "search": {"model.fusion.stages": {"choice": [[1], [2], [3]]}},
}


def test_arms_that_a_search_drew_are_taken_up_with_their_records(opener: Opener) -> None:
    opened = opener(**GROWING)
    opened.write(status="searching", seconds=0.0)
    arm = opened.study.arm({"model.fusion.stages": [2]})
    record = opened.plan(arm, 0, "search")
    again = opener(**GROWING)
    assert again.study.arms[arm.id] == arm
    assert again.plan(again.study.arms[arm.id], 0, "search").folder == record.folder


def test_a_search_that_draws_must_keep_its_space(opener: Opener) -> None:
    opener(**GROWING).write(status="searching", seconds=0.0)
    with pytest.raises(ConfigError, match=r"search: model\.fusion\.stages: choice was \[\[1\], \[2\], \[3\]\]"):
        opener(**{**GROWING, "search": {"model.fusion.stages": {"choice": [[1], [2]]}}})


def test_a_search_never_reads_test_and_a_confirmation_reports_on_it(opened: StudyFolder) -> None:
    arm = opened.study.arms["stages-1"]
    search, confirm = opened.plan(arm, 0, "search"), opened.plan(arm, 1000, "confirm")
    assert (search.folder.name, confirm.folder.name) == ("search-stages-1-s0", "confirm-stages-1-s1000")
    assert (search.config().report_split, confirm.config().report_split) == ("val", "test")
    assert (search.config().seed, confirm.config().seed) == (0, 1000)
    assert confirm.config().model == search.config().model


def test_all_records_have_the_protocol_and_the_split(opened: StudyFolder) -> None:
    states = [record.state() for record in (*_searched(opened), opened.plan(opened.study.arms[BASELINE], 7, "confirm"))]
    for key in ("protocol_hash", "split_hash", "data_fingerprint"):
        assert len({getattr(state, key) for state in states}) == 1
    assert {RunFolder(opened.folder / "trials" / s.id).config().data.split for s in states} == {
        str(opened.prepared.split_file)
    }


def test_where_and_why_a_trial_was_stopped(opened: StudyFolder) -> None:
    first, second, _ = _searched(opened)
    for record in (first, second):
        _train(record, [10.0, 10.0], "running")
    mark_stopped(first, _decide(opened, first, 2, "stop"))
    mark_stopped(second, None)
    state = first.state()
    assert state.status == "stopped"
    assert state.stopped == Stopped(epoch=2, rung=2, value=10.0, cutoff=12.5)
    assert state.reason == "ASHA: 10.00 is not above 12.50 at rung 2"
    assert second.state().status == "running"


@pytest.mark.parametrize("status", ["complete", "failed"])
def test_a_trial_that_is_over_stays_as_it_ended(opened: StudyFolder, status: str) -> None:
    record = _searched(opened)[0]
    _train(record, [10.0] * 2, status)
    mark_stopped(record, _decide(opened, record, 2, "stop"))
    assert record.state().status == status


def test_settling_after_a_driver_that_died(opened: StudyFolder) -> None:
    """It died after ASHA's decision on the first trial and before the record said so; the second was training."""
    first, second, third = _searched(opened)
    _train(first, [10.0] * 2, "running")
    _train(second, [10.0], "running")
    _decide(opened, first, 2, "stop")
    opened.settle()
    assert [record.state().status for record in (first, second, third)] == ["stopped", "interrupted", "planned"]
    assert "its process ended" in second.state().reason
    before = [record.state() for record in (first, second, third)]
    opened.settle()
    assert [record.state() for record in (first, second, third)] == before


def test_failed_trials_go_on_when_asked(opened: StudyFolder) -> None:
    failed, complete = _searched(opened)[:2]
    failed.update(status="failed", reason="out of memory")
    complete.update(status="complete")
    opened.retry_failed()
    assert not failed.over
    assert complete.state().status == "complete"


def test_the_study_file(opened: StudyFolder) -> None:
    opened.write(status="confirming", finalists=["stages-2"], seconds=3.5)
    content = json.loads((opened.folder / STUDY_FILE).read_text())
    assert (content["status"], content["seconds"]) == ("confirming", 3.5)
    assert content["selection"] == {
        "split": "val",
        "metric": "val/mAP",
        "finalists": ["stages-2"],
        "winner": None,
    }
    assert content["question"] == "Which stage?"
    assert list(content["arms"]) == ["baseline", "stages-1", "stages-2", "stages-3"]
    assert all(path.startswith("model.fusion.") for path in content["arms"]["stages-1"]["differs"])
    assert content["early_stopping"]["rungs"] == [2, 3]
    assert content["data"]["ranges"]["thermal"] == "0 to 255 (full range; default for uint8)"
    assert not [path for path in content["protocol"] if path.startswith("model.fusion")]
    assert (opened.folder / SPACE_FILE).read_text().startswith("# Which stage?")


def test_the_number_of_seeds_is_written_with_what_the_pilot_found(opener: Opener) -> None:
    confirm = {"finalists": 2, "half_width": 1.0, "pilot_seeds": 2, "max_seeds": 9}
    opened = opener(confirm=confirm)
    opened.write(status="confirming", finalists=["stages-2"], seconds=1.0)
    assert len(opened.confirm_seeds()) == 2
    opened.write(status="confirming", two_stage={"metric": "test/mAP", "seeds": 5})
    content = json.loads((opened.folder / STUDY_FILE).read_text())
    assert (content["confirm"]["seeds"], content["two_stage"]["seeds"], content["seconds"]) == (5, 5, 1.0)
    assert content["selection"]["finalists"] == ["stages-2"]
    again = opener(confirm=confirm)
    assert (len(again.confirm_seeds()), again.state.selection.finalists) == (5, ())
    with pytest.raises(ConfigError, match=r"confirm\.half_width was 1\.0, is 2\.0; the pilot has fixed"):
        opener(confirm={**confirm, "half_width": 2.0})


def test_the_same_study_is_resumed(opener: Opener) -> None:
    first = opener()
    first.write(status="searching", seconds=7.0)
    again = opener(confirm={"finalists": 3, "seeds": 6})
    assert again.folder == first.folder
    assert (again.state.status, again.state.seconds) == ("searching", 7.0)
    assert list(again.state.arms) == list(first.state.arms)
    assert len(again.confirm_seeds()) == 6


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        (
            {"fixed": {**SPACE["fixed"], "schedule": {"epochs": 5, "batch_size": 2, "lr": 0.5}}},
            r"arm baseline: schedule\.lr was 0\.02, is 0\.5 .*start a new study with another --output-dir",
        ),
        (
            {"fixed": {**SPACE["fixed"], "data": {"range": {"thermal": {"kind": "image"}}}}},
            r"arm baseline: data\.range\.thermal\.kind was None, is image",
        ),
        ({"search": {"model.fusion.stages": {"choice": [[1], [2], [4]]}}}, r"arm stages-3 is gone \(and 2 more\)"),
        ({"search": {"model.fusion.stages": {"choice": [[1], [2], [3], [4]]}}}, "arm stages-4 is new"),
        ({"early_stopping": {"reduction_factor": 2, "grace": 3}}, r"early_stopping\.grace was 2.*, is 3"),
        ({"seed": 1}, r"arm baseline: seed was 0, is 1"),
    ],
)
def test_another_study_is_refused(opener: Opener, changes: dict[str, Any], message: str) -> None:
    opener().write(status="searching", seconds=0.0)
    with pytest.raises(ConfigError, match=message):
        opener(**changes)


def test_a_second_search_of_the_same_study_is_kept_out(opener: Opener) -> None:
    said = "a search of this study is running; wait for it, end it"
    with opener().alone(), pytest.raises(ConfigError, match=said), opener().alone():
        pass
    with opener().alone():
        pass
