"""`tune-cmx train`."""

import json
from pathlib import Path
from typing import TYPE_CHECKING

from tune_cmx.cli.options.configuration import given_trial
from tune_cmx.config.model_sections import ASSUMED

if TYPE_CHECKING:
    from conftest import Refusal, Run


def test_train_says_what_it_did_and_what_is_in_its_way(
    run: "Run", refusal: "Refusal", data: Path, tmp_path: Path, tiny: tuple[str, ...]
) -> None:
    train = ("train", "--data", data, *tiny)
    message = refusal(*train, "--fusion-type", "cssa", "--set", "model.fusion.option={}")
    assert "model.fusion.option: unknown key" in message
    code, output, error = run(*train)
    assert (code, error) == (0, "")
    assert "epoch 1 of 1  train/loss " in output
    record = tmp_path / "runs/trial"
    assert output.splitlines()[-1] == f"results: {record / 'final_results.json'}"
    results = json.loads((record / "final_results.json").read_text())
    assert set(results["results"]) == {"mAP", "mAP_50", "mAP_75", "mAP_small", "mAP_medium", "mAP_large"}

    code, again, _ = run(*train)
    assert (code, again.splitlines()[-2:]) == (0, [f"{record}: complete", output.splitlines()[-1]])
    assert "its schedule.epochs is 1, not 2; choose another --output-dir" in refusal(*train, "--epochs", 2)
    assert "its seed is 0, not 2" in refusal(*train, "--seed", 2)

    state = json.loads((record / "trial.json").read_text())
    (record / "trial.json").write_text(json.dumps({**state, "status": "failed", "reason": "loss is nan"}))
    assert "this trial failed: loss is nan; delete it, or choose another --output-dir" in refusal(*train)


def test_train_with_a_model_that_cannot_be_leaves_nothing(
    refusal: "Refusal", data: Path, tmp_path: Path, tiny: tuple[str, ...]
) -> None:
    for arguments, said in (
        (("--backbone", "mit_b9"), "mit_b9"),
        (("--streams", "rgb | event"), "the data have rgb, thermal"),
        (("--fusion-type", "csa"), "Did you mean 'cssa'?"),
        (("--device", "gpu"), "--device: torch knows no 'gpu'"),
        (("--split", "gone.json"), "gone.json: no such split file"),
    ):
        assert said in refusal("train", "--data", data, *tiny, *arguments)
        assert not (tmp_path / "runs").exists()


def test_an_output_folder_that_cannot_be_made_is_named(
    refusal: "Refusal", data: Path, tmp_path: Path, tiny: tuple[str, ...]
) -> None:
    (tmp_path / "file").write_text("")
    message = refusal("train", "--data", data, *tiny, "--output-dir", tmp_path / "file" / "below")
    assert f"{tmp_path / 'file'}" in message


def test_the_groups_own_flags_are_taken(run: "Run", data: Path, tmp_path: Path, tiny: tuple[str, ...]) -> None:
    model = ("--backbone", "mit_nano", "--fusion-type", "gaff", "--no-cssa")
    schedule = ("--epochs", 1, "--batch-size", 4, "--lr", 0.002)
    folder = tmp_path / "resolved"
    more = ("--labels", data / "labels", "--set", "schedule.weight_decay=1e-3", "--output-dir", folder)
    code, _, error = run("train", "--data", data, *tiny, *model, *schedule, *more)
    assert code == 0, error
    content = json.loads((folder / "config.json").read_text())
    assert content["model"]["fusion"]["kind"] == "se_gated"
    assert content["schedule"]["lr"] == 0.002
    assert content["schedule"]["weight_decay"] == 1e-3
    assert content["data"]["root"] == str(data)


def test_a_preset_by_flag_goes_before_the_files_schedule(tmp_path: Path) -> None:
    path = tmp_path / "c.json"
    path.write_text(json.dumps({"schedule": {"preset": "aggressive", "epochs": 15, "lr": 0.02}}))
    parsed = given_trial(path, {"schedule.lr": 0.1}, preset="conservative").config(ASSUMED)
    assert (parsed.schedule.preset, parsed.schedule.epochs, parsed.schedule.lr) == ("conservative", 25, 0.1)


def test_a_fault_in_a_file_keeps_its_line_and_one_by_flag_has_none(tmp_path: Path, run: "Run") -> None:
    path = tmp_path / "c.yaml"
    path.write_text("schedule:\n  epochs: 0\n")
    assert f"{path}:2: schedule.epochs" in run("train", "--config", path)[2]
    assert ":2" not in run("train", "--config", path, "--epochs", "-1")[2]
