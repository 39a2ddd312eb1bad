"""Help, the version, and commands that were mistyped."""

from typing import TYPE_CHECKING

import pytest

import tune_cmx

if TYPE_CHECKING:
    from conftest import Refusal, Run


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["train"], "name the images' folder with --data DIR"),
        (["train", "--no-cssa", "--fusion-type", "cssa"], "contradict each other"),
        (["train", "--stages", "1,2"], "--stages and --threshold need --fusion-type"),
        (["train", "--threshold", "0.5"], "--stages and --threshold need --fusion-type"),
        (
            ["train", "--fusion-type", "add", "--threshold", "0.5"],
            "--threshold needs --fusion-type cssa; got --fusion-type add",
        ),
        (["train", "--fusion-type", "cssa", "--stages", "two"], "--stages: needs whole numbers of 1..4"),
        (["train", "--fusion-type", "cssa", "--stages", ""], "--stages: needs whole numbers of 1..4"),
        (["train", "--fusion-type", "cssa", "--stages", "5"], "stages: must be of 1, 2, 3, 4; got 5"),
        (["train", "--preset", "fast"], "--preset: unknown preset 'fast'. Known: aggressive, conservative."),
        (["train", "--epochs", "0"], "flags: schedule.epochs: must be from 1 to 10000; got 0"),
        (["train", "--split-by", "video"], "'sequence', 'block' or 'frame'; got 'video'"),
        (["train", "--bands", "rgb"], "--bands: needs modality=channels"),
        (["train", "--bands", "rgb=a"], "--bands: needs modality=channels"),
        (["train", "--bands", "rgb=0 rgb=1"], "--bands: names a modality twice"),
        (["train", "--set", "schedule.epochs"], "--set: needs path=value"),
        (["train", "--set", "schedule.epoch=3"], "schedule.epoch: unknown key. Known: preset, epochs,"),
        (["train", "--set", "schedule.epochs=[3"], "--set schedule.epochs:1: not valid YAML"),
        (["train", "--set", "seed.a=1", "--set", "seed.a.b=2"], "nothing can be set below it"),
        (["train", "--config", "gone.json"], "gone.json: cannot be read: No such file"),
        (["check", "gone.yaml"], "gone.yaml: cannot be read: No such file"),
        (["check", "."], ".: cannot be read: Is a directory"),
        (["report", "gone"], "no study.json here"),
        (["robustness", "gone"], "gone: there is no such folder"),
        (["robustness", "."], "neither study.json nor trial.json is in it"),
        (
            ["robustness", "x", "--missing", "termal"],
            "--missing: unknown modality 'termal'. Known: event, rgb,",
        ),
        (
            ["robustness", "x", "--shifted", "thermal"],
            "--shifted: needs modality=right,down in pixels",
        ),
        (["robustness", "x", "--shifted", "thermal=4"], "--shifted: needs modality=right,down"),
        (["robustness", "x", "--shifted", "rgb=0,0"], "--shifted: a shift by 0,0 changes nothing"),
        (["robustness", "x", "--delayed", "event=a"], "--delayed: needs modality=frames, as in event=2; got 'event=a'"),
        (["robustness", "x", "--delayed", "event=0"], "--delayed: frames: Input should be greater than or equal to 1"),
        (["robustness", "x", "--blank", "thermal"], "--blank: this flag was renamed; use --missing"),
        (["robustness", "x", "--delay=event=2"], "--delay: this flag was renamed; use --delayed"),
        (["robustness", "x", "--split", "train"], "--split: needs val or test; got 'train'"),
        (["describe", "--input-size", "320"], "--input-size: needs rows x columns"),
        (["describe", "--input-size", "320x100"], "multiples of 32"),
        (["describe", "--frame", "320x416"], "--frame: this flag was renamed; use --input-size"),
        (["search", "x", "--go-on"], "--go-on: this flag was renamed; use --resume-or-start"),
        (["describe", "--backbone", "resnet"], "resnet"),
        (["data", "synth", "x", "--images", "3", "--sequences", "4"], "1 <= sequences <= images"),
    ],
)
def test_a_mistyped_command_gets_one_message(arguments: list[str], said: str, refusal: "Refusal") -> None:
    assert said in refusal(*arguments)


@pytest.mark.parametrize("arguments", [["train", "--epoch"], ["search"], ["serch"], ["train", "--epochs", "many"]])
def test_what_typer_refuses_ends_with_2_as_well(arguments: list[str], run: "Run") -> None:
    code, _, error = run(*arguments)
    assert code == 2
    assert "Traceback" not in error


def commands() -> list[list[str]]:
    names = ("check", "plan", "search", "report", "robustness", "claims", "import", "board", "train", "describe")
    return [*([name] for name in names), ["data", "synth"]]


@pytest.mark.parametrize("command", commands(), ids=" ".join)
def test_the_help_of_each_command_shows_an_example(command: list[str], run: "Run") -> None:
    code, output, _ = run(*command, "--help")
    assert code == 0
    assert f"tune-cmx {' '.join(command)} " in output.split("Example")[1]


def test_help_names_every_command_and_the_version_is_the_packages(run: "Run") -> None:
    code, output, _ = run("--help")
    assert code == 0
    assert all(command[0] in output for command in commands())
    assert run("--version") == (0, f"tune-cmx {tune_cmx.__version__}\n", "")
