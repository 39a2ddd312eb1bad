"""Earlier results as records: what is taken, what is refused, what stays unknown."""

import json
from pathlib import Path
from typing import Any

import pytest

from tune_cmx.errors import ConfigError
from tune_cmx.evidence.importer.collect import Collected, collect
from tune_cmx.evidence.importer.imported_claims import run_row
from tune_cmx.evidence.importer.imported_study import write_import
from tune_cmx.evidence.importer.vocabulary import Names, modalities_text, read_stages, serves_as_baseline
from tune_cmx.evidence.report.imported import imported_page
from tune_cmx.evidence.results.reading import read_study
from tune_cmx.evidence.results.study_results import StudyResults
from tune_cmx.state.study_state import read_study_state
from tune_cmx.state.trial_state import read_trial_state

CSSA = {"cssa_stages": [1], "threshold": 0.5, "kernel_size": 3}
SCHEDULE = {"backbone": "mit_b1", "epochs": 15, "batch_size": 16, "lr": 0.02}
OWN = {"model": {"backbone": "mit_b1", "streams": "rgb | thermal", "fusion": {"kind": "frm_ffm"}}, "schedule": {}}


def results(folder: Path, config: dict[str, Any], mAP: float = 83.4, name: str = "", **more: Any) -> Path:
    folder.mkdir(parents=True)
    path = folder / "final_results.json"
    content = {
        "experiment_id": name or folder.name,
        "config": config,
        "results": {"mAP": mAP, "mAP_50": 97.45, "mAP_75": 95.14, "mAP_small": -1},
        "training": {"total_time_hours": 3.77},
        "model": {"total_params": 60_014_945, "total_params_M": 60.01},
    }
    path.write_text(json.dumps({**content, **more}))
    return path


def imported(found: Collected, folder: Path) -> StudyResults:
    write_import(found, folder)
    read_study_state(folder / "study.json")
    for file in folder.glob("trials/*/trial.json"):
        read_trial_state(file)
    return read_study(folder)


def test_folders_are_searched_through_and_each_file_is_read_once(tmp_path: Path) -> None:
    results(tmp_path / "a/deep/run_1", {**CSSA, **SCHEDULE})
    file = results(tmp_path / "a/run_2", {**CSSA, **SCHEDULE, "cssa_stages": [2, 3]}, 82.1)
    found = collect([tmp_path / "a", file, tmp_path / "a/deep"])
    assert [run.name for run in found.runs] == ["run_1", "run_2"]
    assert not found.refused
    assert not found.repeated


def test_what_is_not_known_stays_unknown(tmp_path: Path) -> None:
    records = imported(collect([results(tmp_path / "run", {**CSSA, **SCHEDULE})]), tmp_path / "earlier")
    (trial,) = records.trials
    assert records.problems == ()
    assert (trial.phase, trial.status, trial.seed, trial.reported_on) == ("imported", "imported", None, None)
    for key in ("code_version", "packages", "split_hash", "protocol_hash", "data_fingerprint"):
        assert getattr(trial.state, key) is None, key
    assert trial.epochs == 0
    assert trial.imported.source.endswith("run/final_results.json")
    assert "mAP_small" not in trial.imported.figures  # -1 is how evaluators write 'no such boxes'
    assert trial.config["model"]["fusion"] == {
        "kind": "cssa",
        "stages": [1],
        "elsewhere": "frm_ffm",
        "options": {"switching_threshold": 0.5, "eca_kernel": 3},
    }
    assert trial.config["schedule"] == {"epochs": 15, "batch_size": 16, "lr": 0.02}
    assert records.confirmed == []


def test_a_record_of_our_own_keeps_what_it_knows(tmp_path: Path) -> None:
    config = {**OWN, "seed": 7}
    by_split = {"val": {"mAP": 80.0}, "test": {"mAP": 79.0}}
    path = results(tmp_path / "run", config, 79.0, split="test", results_by_split=by_split)
    trial = {
        "id": "run",
        "seed": 7,
        "status": "complete",
        "code_version": "0.1.0+abc",
        "split_hash": "5p1175",
        "lineage": [{"first_epoch": 1}, {"first_epoch": 4}],
        "seconds": 13572.0,
    }
    (path.parent / "trial.json").write_text(json.dumps(trial))
    (read,) = imported(collect([path]), tmp_path / "earlier").trials
    assert (read.seed, read.state.code_version, read.state.split_hash) == (7, "0.1.0+abc", "5p1175")
    assert (read.result("val/mAP"), read.result("test/mAP")) == (80.0, 79.0)
    row = run_row(read)
    assert (row["resumed"], row["cumulative_seconds"]) == (True, 13572.0)
    assert "‡" not in imported_page(read_study(tmp_path / "earlier")).text()


def test_a_wrong_value_of_our_own_trial_file_is_named_and_the_run_left_out(tmp_path: Path) -> None:
    path = results(tmp_path / "run", {**OWN, "seed": 7}, results_by_split={})
    results(tmp_path / "good", {**CSSA, **SCHEDULE})
    (path.parent / "trial.json").write_text(json.dumps({"id": "run", "seed": 7, "epochs_planned": "fifteen"}))
    found = collect([tmp_path])
    assert [run.name for run in found.runs] == ["good"]
    wrong = f"{path.parent / 'trial.json'}: epochs_planned: Input should be a valid integer; got 'fifteen'"
    assert found.refused == [wrong]


def test_a_damaged_trial_file_of_our_own_is_named_and_the_run_left_out(tmp_path: Path) -> None:
    """Without it the run would lose its seed and its hashes."""
    path = results(tmp_path / "run", {**OWN, "seed": 7}, results_by_split={})
    results(tmp_path / "good", {**CSSA, **SCHEDULE})
    (path.parent / "trial.json").write_text('{"id": "run", "se')
    found = collect([tmp_path])
    assert [run.name for run in found.runs] == ["good"]
    assert found.refused[0].startswith(f"{path.parent / 'trial.json'}: not valid JSON")


def test_a_table_and_records_of_our_own_stand_in_one_report(tmp_path: Path) -> None:
    detector = {"anchor_sizes": [8, 16, 24, 32, 48]}
    results(tmp_path / "own", {**OWN, "model": {**OWN["model"], "detector": detector}}, 80.0, results_by_split={})
    table = tmp_path / "table.csv"
    table.write_text("exp_id,fusion,stages,epochs,mAP\na,frm_ffm,,15,81.0\nb,cssa,3,15,82.0\n")
    page = imported_page(imported(collect([tmp_path / "own", table]), tmp_path / "earlier"))
    assert "The runs also differ in model.streams, model.detector.anchor_sizes, or it is unknown" in page.text()


@pytest.mark.parametrize(
    ("config", "baseline"),
    [
        ({"fusion_type": "frm_ffm", "no_cssa": True}, True),
        ({"fusion": "FRM+FFM", "modalities": ["rgb", "thermal"]}, True),
        ({"cssa_stages": []}, True),
        (OWN, True),
        (
            {"model": {"streams": "rgb | event", "fusion": {"per_stage": [{"kind": "frm_ffm"}] * 4}}, "schedule": {}},
            True,
        ),
        ({"model": {"streams": "rgb", "fusion": {"kind": "frm_ffm"}}, "schedule": {}}, False),
        ({"fusion_type": "frm_ffm", "stages": [1, 2]}, False),
        ({"fusion_type": "cssa", "stages": [1, 2, 3, 4]}, False),
        ({"cssa_stages": [1]}, False),
        (SCHEDULE, False),
    ],
)
def test_a_baseline_is_found_by_its_configuration_and_never_by_its_name(
    config: dict[str, Any], baseline: bool, tmp_path: Path
) -> None:
    name = "exp_042" if baseline else "baseline_frm_ffm"
    found = collect([results(tmp_path / name, config)])
    assert [run.name for run in found.baselines] == ([name] if baseline else [])


def test_damaged_files_are_named_and_the_rest_is_kept(tmp_path: Path) -> None:
    results(tmp_path / "good", {**CSSA, **SCHEDULE})
    results(tmp_path / "impossible", CSSA, 183.0)
    results(tmp_path / "seed", {**CSSA, "seed": 0.5})
    results(tmp_path / "nothing", CSSA, results={"mAP_50": 97.0})
    results(tmp_path / "nan", CSSA, float("nan"))
    (tmp_path / "cut").mkdir()
    (tmp_path / "cut/final_results.json").write_text('{"results": {"mAP": 8')
    (tmp_path / "list").mkdir()
    (tmp_path / "list/final_results.json").write_text("[]")
    table = tmp_path / "table.csv"
    table.write_text("exp_id,fusion,stages,mAP\nfine,cssa,2,81.0\nbare,cssa,4,\nundefined,cssa,3,-1\n")
    found = collect([tmp_path, table])
    assert sorted(run.name for run in found.runs) == ["fine", "good"]
    assert len(found.refused) == 8
    for place, what in {
        "cut": "not valid JSON",
        "list": "needs a JSON object",
        "impossible": "mAP: found 183.0; allowed: a number from 0 to 100",
        "seed": "seed: found 0.5; allowed: a whole number from 0 to 2^63 - 1",
        "nan": "mAP: found nan; allowed: a number from 0 to 100. Leave it empty",
        "nothing": "has no mAP",
        "table.csv:3": "column mAP: has no value",
        "table.csv:4": "column mAP: has no value, or -1 (undefined)",
    }.items():
        assert any(place in entry and what in entry for entry in found.refused), place
    assert read_study_of(found, tmp_path).imported.refused == tuple(found.refused)


def read_study_of(found: Collected, tmp_path: Path) -> StudyResults:
    return imported(found, tmp_path / "earlier")


def test_where_nothing_can_be_taken_nothing_is_written(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="does not exist"):
        collect([tmp_path / "nowhere"])
    with pytest.raises(ConfigError, match=r"nothing to import: .*no final_results\.json"):
        collect([tmp_path])
    (tmp_path / "notes.txt").write_text("")
    with pytest.raises(ConfigError, match=r"neither \.json, \.csv nor a folder"):
        collect([tmp_path / "notes.txt"])


def test_the_same_run_given_twice_is_taken_once(tmp_path: Path) -> None:
    first = results(tmp_path / "a", {**CSSA, **SCHEDULE}, 83.4412, name="exp_1")
    results(tmp_path / "copy", {**CSSA, **SCHEDULE}, 83.4412, name="exp_1")
    results(tmp_path / "renamed", {**CSSA, **SCHEDULE}, 83.4412, name="exp_9")
    results(tmp_path / "other", {**CSSA, **SCHEDULE}, 83.4413, name="exp_2")
    table = tmp_path / "table.csv"
    table.write_text("exp_id,fusion,stages,threshold,mAP,hours\nexp_1,cssa,1,0.5,83.44,3.77\n")
    found = collect([first, tmp_path, table])
    assert [run.name for run in found.runs] == ["exp_1", "exp_2"]
    assert [Path(run.source).name for run, _ in found.repeated] == [
        "final_results.json",
        "final_results.json",
        "table.csv:2",
    ]


def test_runs_that_differ_are_kept_though_they_share_a_name(tmp_path: Path) -> None:
    results(tmp_path / "a", {**CSSA, **SCHEDULE}, 83.4, name="exp_1")
    results(tmp_path / "b", {**CSSA, **SCHEDULE}, 82.0, name="exp_1")
    found = collect([tmp_path])
    assert len(found.runs) == 2
    assert any("called exp_1" in note for note in found.notes)
    assert len({trial.name for trial in read_study_of(found, tmp_path).trials}) == 2


def test_fractions_become_points_and_that_is_said(tmp_path: Path) -> None:
    fractions = {"mAP": 0.84071, "mAP_50": 0.9737, "mAP_small": -1.0}
    results(tmp_path / "run", CSSA, results=fractions)
    table = tmp_path / "table.csv"
    table.write_text("exp_id,fusion,stages,mAP,mAP50\nx,cssa,3,0.8280,0.9734\n")
    found = collect([tmp_path / "run", table])
    assert found.runs[0].figures["mAP"] == pytest.approx(84.071)
    assert found.runs[1].printed == {"mAP": "82.80", "mAP_50": "97.34"}
    assert any("multiplied by 100" in note for note in found.notes)


def test_an_import_is_never_overwritten(tmp_path: Path) -> None:
    found = collect([results(tmp_path / "run", CSSA)])
    write_import(found, tmp_path / "earlier")
    before = (tmp_path / "earlier/study.json").read_bytes()
    with pytest.raises(ConfigError, match="take another --name"):
        write_import(found, tmp_path / "earlier")
    assert (tmp_path / "earlier/study.json").read_bytes() == before


def test_a_claim_that_cannot_be_read_leaves_no_folder(tmp_path: Path) -> None:
    found = collect([results(tmp_path / "run", CSSA)])
    with pytest.raises(ConfigError, match="unknown kind"):
        write_import(found, tmp_path / "earlier", [{"kind": "finest", "metric": "mAP", "treatment": {"stages": [1]}}])
    assert sorted(path.name for path in tmp_path.iterdir()) == ["run"]


def test_millions_of_parameters_come_from_the_count_where_the_file_has_it(tmp_path: Path) -> None:
    for name, total in (("a", 60_011_000), ("b", 60_014_945)):
        results(tmp_path / name, CSSA, model={"total_params": total, "total_params_M": 60.01})
    results(tmp_path / "rounded", CSSA, model={"total_params_M": 60.01})
    runs = {run.name: run.figures["params_M"] for run in collect([tmp_path]).runs}
    assert runs == {"a": 60.011, "b": 60.014945, "rounded": 60.01}


@pytest.mark.parametrize("value", ["1+2", "[1, 2]", "1,2", "1-2", [1, 2], (2, 1), "2 1"])
def test_stages_are_read_as_people_write_them(value: Any) -> None:
    assert read_stages(value) == "1+2"


@pytest.mark.parametrize(
    ("value", "stages"),
    [("2-4", "2+3+4"), ("1-4", "1+2+3+4"), ("1–3", "1+2+3"), ("1, 3-4", "1+3+4"), ("[2 - 3]", "2+3")],
)
def test_a_hyphen_between_stages_is_a_range(value: str, stages: str) -> None:
    assert read_stages(value) == stages


def test_other_values_are_no_stages() -> None:
    assert [read_stages(value) for value in ("early", "5", 7, "01-Feb", "1-9", "4-1", "", True)] == [None] * 8
    assert read_stages("all") == "1+2+3+4"
    assert not serves_as_baseline({"fusion": "frm_ffm", "stages": None})


def test_a_modality_that_is_not_known_is_not_dropped() -> None:
    assert modalities_text("Thermal + RGB") == "rgb+thermal"
    assert modalities_text("rgb+depth") == "rgb+depth"


def test_keys_of_a_configuration_without_a_known_name_are_named_and_can_be_mapped(tmp_path: Path) -> None:
    path = results(tmp_path / "run", {**CSSA, "learning_rate": 0.02, "loss": "focal"})
    found = collect([path])
    assert "config without a known name are kept as settings: learning_rate" in found.notes[0]
    assert found.runs[0].fields["learning_rate"] == 0.02
    mapped = collect([path], Names.given({"learning_rate": "schedule.lr"}))
    assert mapped.runs[0].fields["lr"] == 0.02
    assert "learning_rate" not in " ".join(mapped.notes)


def test_paths_dates_and_notes_of_a_configuration_are_no_settings(tmp_path: Path) -> None:
    for seed in (0, 1):
        config = {**CSSA, "seed": seed, "output_dir": f"runs/{seed}", "timestamp": f"2026-01-0{seed + 1}T10:00:00"}
        results(tmp_path / f"run_{seed}", config, 83.0 + seed, notes="resumed at epoch 7" if seed else "")
    found = collect([tmp_path])
    assert found.runs[0].fields == found.runs[1].fields
    assert found.runs[1].says["output_dir"] == "runs/1"
    assert (found.runs[0].partly_timed, found.runs[1].partly_timed) == (False, True)
    assert len(imported(found, tmp_path / "earlier").arms) == 1
