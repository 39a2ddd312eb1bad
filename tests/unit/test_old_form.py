"""A study that version 0.1.0 wrote: it opens in every command that reads studies, and `search` refuses to resume it."""

import json
import shutil
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from tune_cmx.cli.board import logdir_of
from tune_cmx.cli.claims import claims
from tune_cmx.cli.earlier import earlier_session
from tune_cmx.cli.options.warm_start import warm_started
from tune_cmx.cli.study import report
from tune_cmx.config.study import read_study as read_space
from tune_cmx.data.corruption.robustness_file import read_robustness
from tune_cmx.errors import ConfigError, DataError
from tune_cmx.evidence.results.comparison import compare_arms
from tune_cmx.evidence.results.reading import read_study
from tune_cmx.evidence.results.stored_detections import stored_truth
from tune_cmx.evidence.results.study_claims import evaluate_study_claims
from tune_cmx.old_form import FORM, current_study, current_trial

OLD = Path(__file__).parents[1] / "golden" / "study_of_version_0.1.0"
FINALIST, OTHER = "stages-4-switching-threshold-0.3", "stages-4-switching-threshold-0.5"
SPACE = """# Which threshold?
study: next
fixed: {model: {backbone: mit_nano, fusion: {kind: cssa, elsewhere: frm_ffm}}}
search:
  model.fusion.stages: {choice: [[1], [4], [2, 3], [1, 2, 3, 4]]}
  model.fusion.options.switching_threshold: {choice: [0.3, 0.5]}
baseline: {model.fusion: {kind: frm_ffm}}
searcher: {kind: tpe, trials: 4}
"""


@pytest.fixture
def old(tmp_path: Path) -> Path:
    """A copy, to which reports can be written."""
    return shutil.copytree(OLD, tmp_path / "demo")


def test_its_trials_have_the_names_of_today() -> None:
    study = read_study(OLD)
    assert study.problems == ()
    assert study.baseline == "baseline"
    assert next(iter(study.arms)) == "baseline"
    assert len(study.trials) == 17
    assert {trial.arm for trial in study.confirmed} == {"baseline", FINALIST, OTHER}
    assert study.winner == FINALIST
    assert study.label("baseline") == "FRM+FFM (baseline)"
    assert study.label(FINALIST) == "CSSA at stage 4, threshold 0.3"
    assert study.label("stages-1+2+3+4-switching-threshold-0.5") == "CSSA at all stages, threshold 0.5"
    assert study.state.equivalent == ()
    assert {rung.decision for rung in study.rungs} == {"continue", "stop"}


def test_its_runs_compare_as_they_did() -> None:
    rows = compare_arms(read_study(OLD)).set_index("arm")
    assert rows.loc["baseline", "mean"] == pytest.approx(46.05, abs=0.005)
    assert rows.loc[FINALIST, "mean"] == pytest.approx(57.77, abs=0.005)
    assert rows.loc[OTHER, ["difference", "ci95_low", "ci95_high"]].tolist() == pytest.approx(
        [11.0, -1.37, 23.37], abs=0.005
    )
    assert list(rows["n"]) == [3, 3, 3]


def test_its_claim_is_answered_though_it_says_control() -> None:
    ((text, answer),) = evaluate_study_claims(read_study(OLD))
    assert text == "CSSA at stage 4, threshold 0.5, is above FRM+FFM"
    assert answer["verdict"] == "INCONCLUSIVE"  # as version 0.1.0 said
    assert answer["numbers"]["n_per_arm"] == 3


def test_the_command_claims_answers_the_claims_of_a_folder(capsys: pytest.CaptureFixture[str]) -> None:
    claims(OLD)
    (line,) = capsys.readouterr().out.splitlines()
    answer = json.loads(line)
    assert (answer["id"], answer["text"]) == (1, "CSSA at stage 4, threshold 0.5, is above FRM+FFM")
    assert answer["verdict"] == "INCONCLUSIVE"
    assert answer["numbers"]["difference"] == pytest.approx(11.0, abs=0.005)


def test_report_is_written_and_links_to_its_run_folders(old: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without its pictures, which other tests render."""
    monkeypatch.setattr("matplotlib.figure.Figure.savefig", lambda _, path: Image.new("1", (9, 9)).save(path))
    before = (old / "study.json").read_bytes()
    report(str(old))
    text = (old / "report/report.md").read_text()
    assert "](../records/confirm-control-s1000/)" in text
    assert "| thermal  | missing " in text  # the table of corruptions, from robustness.json
    assert (old / "report/report.html").is_file()
    assert (old / "study.json").read_bytes() == before


def test_board_looks_into_its_run_folders() -> None:
    assert logdir_of(OLD) == OLD / "records"


def test_a_search_begins_with_its_trials(tmp_path: Path) -> None:
    space = tmp_path / "space.yaml"
    space.write_text(SPACE)
    searcher: Any = warm_started(read_space(space), [OLD], None).file.searcher
    used = {trial.name: trial.value for trial in searcher.warm_start.used}
    run = f"confirm-{FINALIST}-s1000"
    final = json.loads((OLD / "records" / run / "final_results.json").read_text())
    assert used[f"{OLD.name}/{run}"] == final["results_by_split"]["val"]["mAP"]


def test_search_does_not_resume_it_and_says_which_version_does(old: Path) -> None:
    for resume, resume_or_start in ((True, False), (False, True), (False, False)):
        with pytest.raises(ConfigError) as error:
            earlier_session(old, resume=resume, resume_or_start=resume_or_start)
        assert "version 0.1.0+4d018bc4cf of tune-cmx wrote this study" in str(error.value)
        assert f"--output-dir ANOTHER --warm-start {old}" in str(error.value)


@pytest.mark.parametrize("form", [FORM + 1, 1, "2", None])
def test_a_study_of_an_unknown_form_is_an_error(old: Path, form: object) -> None:
    (old / "study.json").write_text(json.dumps({"form": form, "study": "demo"}))
    with pytest.raises(DataError, match=rf"study\.json: form is {form!r}; this version reads form {FORM}"):
        read_study(old)
    with pytest.raises(ConfigError, match=r"A newer version wrote it: install that version"):
        earlier_session(old, resume=True, resume_or_start=False)


def test_robustness_of_the_old_form_is_read() -> None:
    found = read_robustness(OLD / "records/confirm-control-s1000")
    assert found is not None
    test = found.splits["test"]
    assert test.clean["mAP"] == pytest.approx(49.361, abs=0.001)
    assert [one.results["mAP"] for one in test.corrupted] == pytest.approx([29.149, 35.815, 46.902], abs=0.001)


def test_old_names_stay_where_they_are_a_name_of_somebody_else() -> None:
    content = {"form": FORM, "baseline": "baseline", "arms": {"control": {}}, "claims": [{"baseline": "control"}]}
    assert current_study(content, Path("study.json")) == content
    assert current_trial({"id": "confirm-control-s0", "label": "control"}) == {
        "id": "confirm-control-s0",
        "label": "control",
    }


def test_a_study_whose_configurations_cannot_be_read_keeps_its_labels() -> None:
    arms = {
        "control": {"label": "fusion frm_ffm", "values": {}, "config": {"model": {"backbone": 7}}},
        "a": {"label": "b"},
    }
    study = current_study({"control": "control", "arms": arms}, Path("study.json"))
    assert {arm: about["label"] for arm, about in study["arms"].items()} == {"baseline": "fusion frm_ffm", "a": "b"}


def test_an_old_import_keeps_its_baselines() -> None:
    content = {"control": None, "arms": {}, "imported": {"controls": ["frm-ffm"], "claims": []}, "claims": []}
    study = current_study(content, Path("study.json"))
    assert study["imported"] == {"baselines": ["frm-ffm"], "claims": []}
    assert study["baseline"] is None


def test_the_ground_truth_is_found_under_its_old_name(old: Path) -> None:
    truth = stored_truth(read_study(old), "test")
    assert len(truth["images"]) > 0
    (old / "data" / "truth_test.json.gz").unlink()
    with pytest.raises(DataError, match=r"data/ground_truth_test\.json\.gz is missing"):
        stored_truth(read_study(old), "test")
