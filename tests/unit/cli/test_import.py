"""`tune-cmx import`, and `search --warm-start` up to where training would begin."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
import yaml

from tune_cmx.cli.options.warm_start import warm_started
from tune_cmx.config.study import Study, read_study
from tune_cmx.errors import ConfigError
from tune_cmx.search.optuna.priors import observations_of
from tune_cmx.state.study_state import StudyState

if TYPE_CHECKING:
    from conftest import Refusal, Run

GOLDEN = Path(__file__).parents[2] / "golden"
TABLE, CLAIMS = GOLDEN / "published_results.csv", GOLDEN / "published_claims.yaml"
SPACE: dict[str, Any] = {
    "study": "warm",
    "fixed": {"model": {"backbone": "mit_b1", "fusion": {"kind": "cssa", "elsewhere": "frm_ffm"}}},
    "search": {
        "model.fusion.stages": {"choice": [[1], [2], [3], [4], [2, 3]]},
        "model.fusion.options.switching_threshold": {"uniform": [0.2, 0.6]},
    },
    "baseline": {"model.fusion": {"kind": "frm_ffm"}},
    "searcher": {"kind": "tpe", "trials": 5},
}
Parse = Callable[..., Study]


@pytest.fixture
def published(run: "Run", tmp_path: Path) -> Path:
    """The thirteen published runs, imported."""
    assert run("import", TABLE, "--claims", CLAIMS)[0] == 0
    return tmp_path / "runs/published"


@pytest.fixture
def parse(tmp_path: Path) -> Parse:
    """A study from the space above, with some keys changed."""

    def call(**changes: Any) -> Study:
        path = tmp_path / "space.yaml"
        path.write_text(yaml.safe_dump({**SPACE, **changes}))
        return read_study(path)

    return call


def searcher_of(study: Study) -> dict[str, Any]:
    """As `study.json` keeps it."""
    content: dict[str, Any] = json.loads(study.file.searcher.model_dump_json())
    return content


def test_an_import_says_what_it_took_and_ends_with_where_the_study_is(run: "Run", tmp_path: Path) -> None:
    (tmp_path / "bad").mkdir()
    (tmp_path / "bad/final_results.json").write_text("{")
    code, said, error = run("import", TABLE, tmp_path / "bad", TABLE.parent / "." / TABLE.name)
    assert (code, error) == (0, "")
    assert "imported: 13 runs" in said
    assert "left out: " in said
    assert "bad/final_results.json: not valid JSON" in said
    assert "BLOCKED" not in said
    assert said.strip().splitlines()[-1] == f"study: {tmp_path / 'runs/published'}"


def test_claims_with_the_word_baseline_are_named_as_blocked_where_no_run_can_be_it(run: "Run", tmp_path: Path) -> None:
    given, said = tmp_path / "given.yaml", []
    for place, side in enumerate(('baseline: "baseline"', "control: control", "baseline: {arm: x}")):
        given.write_text(f"claims:\n  - {{kind: superiority, metric: mAP, treatment: {{arm: y}}, {side}}}\n")
        said.append(run("import", TABLE, "--claims", given, "--name", f"given{place}")[1])
    words = "claims with the word baseline are BLOCKED; name another configuration there, as in `baseline: {arm: NAME}`"
    assert [words in text for text in said] == [True, True, False]


def test_a_known_setting_is_no_result_of_an_import(refusal: "Refusal", tmp_path: Path) -> None:
    given = tmp_path / "given.yaml"
    given.write_text("results: [FPS, lr]\n")
    said = refusal("import", TABLE, "--claims", given, "--name", "settings")
    assert "given.yaml: results: 'lr' says how a run was made, so it is no result" in said


def test_a_baseline_that_is_found_is_named(run: "Run", tmp_path: Path) -> None:
    (tmp_path / "exp_7").mkdir()
    config = {"fusion_type": "frm_ffm", "no_cssa": True}
    content = {"experiment_id": "exp_7", "config": config, "results": {"mAP": 82.6}}
    (tmp_path / "exp_7/final_results.json").write_text(json.dumps(content))
    said = run("import", tmp_path / "exp_7", "--name", "baseline")[1]
    assert "can serve as baseline (FRM+FFM at all four stages): exp_7 (" in said


def test_what_cannot_be_imported_is_refused(refusal: "Refusal", published: Path, tmp_path: Path) -> None:
    assert "take another --name, or delete the folder" in refusal("import", TABLE)
    assert published.is_dir()
    assert "does not exist; name a final_results.json" in refusal("import", "nowhere", "--name", "x")
    assert "needs the name of one folder" in refusal("import", TABLE, "--name", "../x")
    assert "needs a local folder" in refusal("import", TABLE, "--output-dir", "s3://bucket/runs")
    (tmp_path / "claims.yaml").write_text("claims: [{kind: best, metric: mAP}]\n")
    message = refusal("import", TABLE, "--name", "x", "--claims", tmp_path / "claims.yaml")
    assert "'treatment' is missing" in message
    assert not (tmp_path / "runs/x").exists()


def test_a_table_with_wrong_cells_is_refused_and_nothing_is_written(refusal: "Refusal", tmp_path: Path) -> None:
    (tmp_path / "table.csv").write_text("fusion,stages,seed,mAP\ncssa,1,0,84.1\ncssa,01-Feb,0.5,84.3\n")
    message = refusal("import", "table.csv")
    assert message.splitlines()[0] == (
        "table.csv:3: column seed: found '0.5'; allowed: a whole number from 0 to 2^63 - 1. Correct it"
    )
    assert message.splitlines()[1].startswith("table.csv:3: column stages: found '01-Feb'; allowed: stages of 1 to 4")
    assert not (tmp_path / "runs").exists()


def test_the_file_of_claims_maps_columns_and_names_results(run: "Run", refusal: "Refusal", tmp_path: Path) -> None:
    (tmp_path / "table.csv").write_text(
        "arm,seed,score,LAMR,date\na,0,84.1,20.1,2026-01-02\nb,0,83.1,21.5,2026-01-03\n"
    )
    given = tmp_path / "claims.yaml"
    given.write_text("columns: {score: mAP}\nresults: [LAMR]\n")
    code, said, error = run("import", "table.csv", "--claims", given)
    assert (code, error) == (0, "")
    assert "imported: 2 runs" in said
    assert "column date: has no known name and is kept beside the run" in said
    assert "LAMR" not in said
    trial = json.loads((tmp_path / "runs/published/trials/a-seed-0/trial.json").read_text())
    assert trial["imported"]["figures"] == {"mAP": 84.1, "LAMR": 20.1}
    given.write_text("columns: {score: mAQ}\n")
    assert "columns: score: unknown name 'mAQ'" in refusal("import", "table.csv", "--name", "x", "--claims", given)
    given.write_text("claim: []\n")
    assert "claim: unknown key. Known: claims, columns, results, protocol" in refusal(
        "import", "table.csv", "--name", "x", "--claims", given
    )


def test_the_claims_of_an_import_are_answered_by_a_command(run: "Run", published: Path) -> None:
    code, said, error = run("claims", published)
    assert (code, error) == (0, "")
    answers = [json.loads(line) for line in said.splitlines()]
    assert [answer["verdict"] for answer in answers][:3] == ["INSUFFICIENT_REPLICATION"] * 2 + ["CONTRADICTED"]


def test_a_search_begins_with_the_imported_runs_in_its_space(published: Path, parse: Parse) -> None:
    study = warm_started(parse(), [published], None)
    found, _ = observations_of(study.file.searcher, study.phases[0].domains, ("val/mAP",))
    by_name = {observation.place.rpartition("/")[2]: observation for observation in found}
    assert len(by_name) == len(found) == 10
    values = by_name["exp_005_s23_t0.5"].values
    assert values == {"model.fusion.stages": [2, 3], "model.fusion.options.switching_threshold": 0.5}
    assert by_name["exp_005_s23_t0.5"].reached == [82.32]
    warm = searcher_of(study)["warm_start"]
    reasons = {left["name"].rpartition("/")[2]: left["reason"] for left in warm["left_out"]}
    assert set(reasons) == {"exp_006_s34_t0.5", "exp_007_s1234_t0.5", "exp_009_s1_t0.7"}
    assert "model.fusion.stages is [3, 4]" in reasons["exp_006_s34_t0.5"]
    assert "switching_threshold is 0.7" in reasons["exp_009_s1_t0.7"]
    said = " ".join(warm["notes"])
    assert "schedule.epochs is 25 there and 15 here (1 of 10)" in said
    assert "the split of some values is not known" in said
    assert "model.carry" in said


def test_a_fusion_that_the_space_holds_still_is_part_of_it(published: Path, parse: Parse) -> None:
    only_stages = {"model.fusion.stages": SPACE["search"]["model.fusion.stages"]}
    fixed = {"model": {"fusion": {"kind": "cssa", "elsewhere": "frm_ffm", "options": {"switching_threshold": 0.5}}}}
    warm = searcher_of(warm_started(parse(search=only_stages, fixed=fixed), [published], None))["warm_start"]
    assert {used["name"].rpartition("_")[2] for used in warm["used"]} == {"t0.5", "fast"}
    gated = {"model": {"fusion": {"kind": "se_gated", "elsewhere": "frm_ffm"}}}
    with_none = searcher_of(warm_started(parse(search=only_stages, fixed=gated), [published], None))["warm_start"]
    assert with_none["used"] == []
    assert all("model.fusion.kind is cssa" in left["reason"] for left in with_none["left_out"][:3])


def earlier_study(folder: Path, *trials: tuple[str, dict[str, Any], dict[str, Any] | None]) -> Path:
    """A study's records: name, what trial.json says, final results by split."""
    for name, info, by_split in trials:
        place = folder / "trials" / name
        place.mkdir(parents=True)
        config = {"model": {"fusion": {"kind": "cssa", "stages": [1], "elsewhere": "frm_ffm", "options": {}}}}
        config["model"]["fusion"]["options"] = {"switching_threshold": 0.3}
        (place / "trial.json").write_text(json.dumps({"id": name, "phase": "search", **info}))
        (place / "config.json").write_text(json.dumps(config))
        if by_split is not None:
            split = next(iter(by_split))
            content = {"results": by_split[split], "split": split, "results_by_split": by_split}
            (place / "final_results.json").write_text(json.dumps(content))
    (folder / "study.json").write_text(json.dumps({"study": folder.name}))
    return folder


def test_a_trial_that_was_stopped_is_never_taken_as_finished(parse: Parse, tmp_path: Path) -> None:
    folder = earlier_study(
        tmp_path / "earlier",
        ("done", {"status": "complete"}, {"val": {"mAP": 41.0}, "test": {"mAP": 43.0}}),
        ("tested", {"status": "complete"}, {"test": {"mAP": 44.0}}),
        ("stopped", {"status": "stopped", "epochs": 4, "stopped": {"epoch": 4, "cutoff": 9.0}}, None),
        ("last-rung", {"status": "stopped", "epochs": 9, "stopped": {"epoch": 9, "cutoff": None}}, None),
        ("failed", {"status": "failed", "epochs": 2}, None),
    )
    warm = searcher_of(warm_started(parse(), [folder], None))["warm_start"]
    assert [(used["name"], used["value"]) for used in warm["used"]] == [("earlier/done", 41.0)]
    reasons = {left["name"]: left["reason"] for left in warm["left_out"]}
    assert reasons["earlier/stopped"].startswith("stopped at epoch 4")
    assert reasons["earlier/last-rung"].startswith("stopped at epoch 9")
    assert reasons["earlier/failed"].startswith("failed at epoch 2")
    assert reasons["earlier/tested"].endswith("is not known; it reports test")


def test_an_imported_run_that_ended_early_is_left_out(run: "Run", parse: Parse, tmp_path: Path) -> None:
    table = tmp_path / "table.csv"
    rows = ["a,1,0.3,15,1-8,70.0,", "b,1,0.4,15,1-15,80.0,", "c,2,0.4,15,,81.0,stopped"]
    table.write_text("\n".join(["exp_id,stages,threshold,epochs,epochs_logged,mAP,status", *rows]) + "\n")
    assert run("import", table, "--name", "some")[0] == 0
    warm = searcher_of(warm_started(parse(), [tmp_path / "runs/some"], None))["warm_start"]
    assert [used["name"] for used in warm["used"]] == ["some/b"]
    reasons = {left["name"]: left["reason"] for left in warm["left_out"]}
    assert reasons["some/a"].startswith("ended after 8 of 15 epochs")
    assert reasons["some/c"].startswith("stopped")


def test_a_search_that_is_taken_up_begins_with_what_it_began_with(published: Path, parse: Parse) -> None:
    begun = warm_started(parse(), [published], None)
    searcher = searcher_of(begun)
    before = StudyState.model_validate_json(json.dumps({"study": "some", "searcher": searcher}))
    for trial in published.glob("trials/*/trial.json"):
        trial.unlink()  # what became of the folder since is of no account
    assert searcher_of(warm_started(parse(), None, before)) == searcher
    assert searcher_of(warm_started(parse(), [published], before)) == searcher
    with pytest.raises(ConfigError, match="the search began with"):
        warm_started(parse(), [published / "trials"], before)
    with pytest.raises(ConfigError, match="began without earlier trials"):
        warm_started(parse(), [published], StudyState(study="some"))


def test_a_searcher_that_learns_nothing_is_refused_with_the_fix(
    refusal: "Refusal", published: Path, parse: Parse, tmp_path: Path, data: Path
) -> None:
    parse(searcher={"kind": "random", "trials": 3})
    message = refusal("search", tmp_path / "space.yaml", "--data", data, "--warm-start", published)
    assert "searcher random" in message
    assert "set searcher: {kind: tpe, trials: N}" in message
    parse(searcher={"kind": "tpe", "trials": 3, "objectives": ["val/mAP", "parameters"]})
    message = refusal("search", tmp_path / "space.yaml", "--data", data, "--warm-start", published)
    assert "leave --warm-start or the objectives out" in message


def test_a_folder_without_records_is_refused(refusal: "Refusal", parse: Parse, tmp_path: Path, data: Path) -> None:
    parse()
    message = refusal("search", tmp_path / "space.yaml", "--data", data, "--warm-start", tmp_path)
    assert "no study.json here" in message
