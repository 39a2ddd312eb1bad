"""`tune-cmx plan`: what a study will take, said before it starts."""

from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tune_cmx.cli.output import bytes_text, hours_text, time_text
from tune_cmx.search.planning.costs import EpochTime, Times

if TYPE_CHECKING:
    from conftest import Refusal, Run


def test_the_example_is_in_the_help(run: "Run") -> None:
    code, output, _ = run("plan", "--help")
    assert code == 0
    assert "tune-cmx plan search_spaces/cssa_stages.yaml --data DATA --gpus 4" in " ".join(output.split())


def test_a_plan_by_earlier_records_says_trials_epochs_hours_and_disk(
    run: "Run", data: Path, space: Path, earlier: Path, tmp_path: Path
) -> None:
    flags = ("--data", data, "--from", earlier)
    code, output, error = run("plan", space, *flags, "--gpus", 0, "--max-concurrent", 1)
    assert (code, error) == (0, "")
    table = " ".join(output.split())
    assert "trials 13 13 12" in table
    assert "epochs of the search 3 3 - epochs of the confirmation 36 36 - epochs in total 39 39 36 " in table
    lines = output.splitlines()
    assert "Which fusion?" in lines
    assert any(line.startswith("wall time, 1 trial at a time ") for line in lines)
    assert any(line.startswith("disk ") for line in lines)
    assert "early stopping: none" in lines
    assert "times: 1 earlier trial on the CPU" in lines
    assert lines[-1].startswith("plan: tiny takes about 39 epochs and ")
    assert "of the whole grid on 6 seeds. Worst case: " in lines[-1]
    assert not (tmp_path / "runs").exists(), "nothing is begun"


def test_records_of_the_cpu_say_nothing_of_gpus(refusal: "Refusal", data: Path, space: Path, earlier: Path) -> None:
    said = refusal("plan", space, "--data", data, "--from", earlier, "--gpus", 2, "--no-probe")
    why = "no trial of --from says how long an epoch takes: 1 (another device)"
    assert said == f"--no-probe: {why}; name one with --from, or leave --no-probe out"


def test_a_probe_in_place_of_records_says_why_they_do_not_count(
    run: "Run", data: Path, space: Path, earlier: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    probed = Times([EpochTime("", "", gflop=1.0, batch_size=4, seconds=1.0)], image_s=0.1, source="a probe")
    monkeypatch.setattr("tune_cmx.search.planning.costs.probed_times", lambda *_, **__: probed)
    flags = ("--data", data, "--from", earlier, "--gpus", 0, "--set", "compute.precision=bf16")
    code, output, _ = run("plan", space, *flags)
    assert code == 0
    said = "--from: no trial says how long an epoch takes: 1 (computed in another way). A probe measures it instead."
    assert said in " ".join(output.split())


@pytest.mark.parametrize(
    ("flags", "said"),
    [
        (["--no-probe", "--gpus", "0"], "--no-probe: no earlier study is named; name one"),
        (["--gpus", "0", "--gpus-per-trial", "0.5"], "--gpus-per-trial 0.5 needs GPUs: name them with --gpus"),
        (
            ["--gpus", "2", "--gpus-per-trial", "auto"],
            "--gpus-per-trial auto: this machine has no GPU to measure the memory",
        ),
        (["--gpus", "2", "--gpus-per-trial", "0"], "--gpus-per-trial 0: trials would use none of the 2 GPUs"),
        (["--gpus", "2", "--gpus-per-trial", "2"], "--gpus-per-trial: from 0 to 1"),
        (["--gpus", "0", "--cpus-per-trial", "9999"], "--cpus-per-trial: a trial needs 9999 of "),
        (["--gpus", "1", "--set", "schedule.processes=2"], "--gpus: a trial needs 2 of 1 GPU"),
        (["--gpus", "0", "--from", "nowhere"], "--from: nowhere holds no run folders"),
        (["--set", "schedule.epoch=3"], "unknown key"),
    ],
)
def test_what_cannot_be_planned_is_refused(
    flags: list[str], said: str, refusal: "Refusal", data: Path, space: Path
) -> None:
    assert said in refusal("plan", space, "--data", data, *flags)


def test_a_plan_needs_data(refusal: "Refusal", space: Path) -> None:
    assert "no data: name the images' folder with --data DIR" in refusal("plan", space, "--gpus", 0)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (time_text(9.6), "10 s"),
        (time_text(59.7), "1 min 0 s"),
        (time_text(200), "3 min 20 s"),
        (time_text(3599.8), "1.0 h"),
        (time_text(15_000), "4.2 h"),
        (time_text(360_000), "100 h"),
        (hours_text(150), "0.042"),
        (hours_text(35_900), "10"),
        (bytes_text(41_300_000), "41.3 MB"),
        (bytes_text(3_200_000_000), "3.2 GB"),
        (bytes_text(2.5e12), "2.5 TB"),
    ],
)
def test_amounts_are_said_in_the_unit_that_fits(text: str, said: str) -> None:
    assert text == said
