"""The command line as a newcomer meets it: bad input gets one clear message and exit code 2, before any training."""

import io
import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from rich.console import Console

import tune_cmx
from tune_cmx import cli

BOX = "0 0.5 0.5 0.5 0.5\n"
IDS = tuple(f"f{number:02d}" for number in range(12))
MODEL = (
    "{backbone: mit_nano, streams: rgb | thermal, "
    "detector: {image_size: 32, max_size: 64, fpn_channels: 8, head_width: 16, rois_per_image: 8}}"
)
SPACE = f"""# Which fusion?
study: tiny
fixed: {{model: {MODEL}, schedule: {{epochs: 3, batch_size: 2}}}}
search: {{model.fusion: {{choice: [{{kind: add}}]}}}}
control: {{model.fusion: {{kind: frm_ffm}}}}
early_stopping: {{kind: none}}
"""
Run = Callable[..., tuple[int, str, str]]


@pytest.fixture
def run(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path) -> Run:
    """Run a command in the test's folder: exit code, what it prints, what it complains of."""
    monkeypatch.chdir(tmp_path)

    def call(*arguments: object) -> tuple[int, str, str]:
        text = io.StringIO()
        monkeypatch.setattr(cli, "out", Console(file=text, width=100, highlight=False))
        try:
            cli.main([str(argument) for argument in arguments])
            code = 0
        except SystemExit as end:
            code = int(end.code or 0)
        captured = capsys.readouterr()
        return code, text.getvalue() + captured.out, captured.err

    return call


@pytest.fixture
def data(tmp_path: Path) -> Path:
    """Twelve RGB + thermal frames in three sequences."""
    root = tmp_path / "frames"
    for name in ("rgb", "thermal", "labels"):
        (root / name).mkdir(parents=True)
    for number, id in enumerate(IDS):
        Image.new("RGB", (32, 32), (number, 9, 9)).save(root / "rgb" / f"{id}.png")
        Image.new("L", (32, 32), number).save(root / "thermal" / f"{id}.png")
        (root / "labels" / f"{id}.txt").write_text(BOX)
    (root / "classes.txt").write_text("person\n")
    rows = [f"{id},s{number // 4}" for number, id in enumerate(IDS)]
    (root / "sequences.csv").write_text("\n".join(["id,sequence", *rows]) + "\n")
    return root


@pytest.fixture
def space(tmp_path: Path) -> Path:
    path = tmp_path / "space.yaml"
    path.write_text(SPACE)
    return path


def one_message(code: int, error: str) -> str:
    """The message, where it is the only thing said and the code is 2."""
    assert code == 2, error
    assert error.startswith("error: ")
    assert error.count("error: ") == 1
    assert "Traceback" not in error
    return error.removeprefix("error: ").strip()


def label(text: str) -> Callable[[Path], object]:
    return lambda root: (root / "labels" / "f03.txt").write_text(text)


def of_other_size(root: Path) -> None:
    Image.new("L", (30, 32)).save(root / "thermal" / "f03.png")


def emptied(root: Path) -> None:
    for path in sorted(root.rglob("*"), reverse=True):
        path.rmdir() if path.is_dir() else path.unlink()


def of_two_sequences(root: Path) -> None:
    rows = [f"{id},s{number // 6}" for number, id in enumerate(IDS)]
    (root / "sequences.csv").write_text("\n".join(["id,sequence", *rows]) + "\n")


BAD_DATA: dict[str, tuple[Callable[[Path], object], str]] = {
    "a label out of range": (label("0 1.5 0.5 0.5 0.5\n"), "labels/f03.txt:1: x centre is 1.5"),
    "a box of no area": (label(BOX + "0 0.5 0.5 0 0.5\n"), "labels/f03.txt:2: the box has no area"),
    "a class id too high": (label("1 0.5 0.5 0.5 0.5\n"), "labels/f03.txt:1: class is 1; allowed: 0 (person)"),
    "a missing partner image": (lambda root: (root / "thermal/f03.png").unlink(), "missing: thermal/f03.png"),
    "a pair of unequal size": (of_other_size, "frame f03: images differ in size (width×height): rgb 32×32"),
    "a corrupt image": (lambda root: (root / "rgb/f03.png").write_bytes(b"no image"), "rgb/f03.png: corrupt"),
    "an empty folder": (emptied, "no images; it should hold"),
    "a split with an empty part": (of_two_sequences, "the part test of the split would be empty: 2 sequences"),
    "no classes": (lambda root: (root / "classes.txt").unlink(), "with --classes"),
}


@pytest.mark.parametrize("command", ["check", "search", "train"])
@pytest.mark.parametrize("fault", BAD_DATA)
def test_bad_data_get_one_message_and_leave_nothing(
    command: str, fault: str, run: Run, data: Path, space: Path, tmp_path: Path
) -> None:
    spoil, said = BAD_DATA[fault]
    spoil(data)
    before = sorted(tmp_path.rglob("*"))
    arguments = ["train"] if command == "train" else [command, space]
    code, _, error = run(*arguments, "--data", data)
    assert said in one_message(code, error)
    assert str(data) in error
    assert sorted(tmp_path.rglob("*")) == before


def test_a_nan_in_a_packed_frame_is_named_by_its_place(run: Run, tmp_path: Path, space: Path) -> None:
    (tmp_path / "packed" / "labels").mkdir(parents=True)
    for id in IDS:
        frame = np.full((32, 32, 5), 0.5, dtype=np.float32)
        frame[4, 5, 3] = np.nan if id == "f02" else 0.5
        np.save(tmp_path / "packed" / f"{id}.npy", frame)
        (tmp_path / "packed" / "labels" / f"{id}.txt").write_text(BOX)
    for arguments in (["check", space], ["train"]):
        code, _, error = run(*arguments, "--data", tmp_path / "packed", "--classes", "person")
        assert "f02.npy: nan at row 4, column 5, band 3" in one_message(code, error)


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ("study:", "studdy:", "space.yaml:2: studdy: unknown key."),
        ("epochs: 3", "epoch: 3", "space.yaml:3: schedule.epoch: unknown key."),
        ("backbone:", "fusion: {kind: add}, backbone:", "space.yaml:4: search.model.fusion is both fixed"),
        ("{kind: add}", "{kind: cssa, stages: [5], elsewhere: add}", "stages must be of 1, 2, 3, 4; got 5"),
        ("{kind: add}", "{kind: ad}", "unknown fusion 'ad'. Known: add, concat, cssa, frm_ffm, se_gated."),
        ("{kind: add}", "{kind: cssa, options: {ecca: true}}", "'cssa' has no option 'ecca'"),
        ("mit_nano", "mit_b9", "mit_b9"),
        ("epochs: 3", "epochs: 3, epochs: 4", "space.yaml:3: fixed.schedule.epochs stands twice, first in line 3"),
        ("study: tiny", "study: [tiny", "not valid YAML"),
        ("early_stopping: {kind: none}", "early_stopping: {grace: 3}", "must be below the 3 epochs"),
        ("rgb | thermal,", "rgb | event,", "needs event; the data have rgb, thermal"),
        ("batch_size: 2", "batch_size: 99", "is more than the 4 training frames"),
    ],
)
def test_a_bad_file_gets_one_message_and_can_be_mended(
    old: str, new: str, said: str, run: Run, data: Path, space: Path, tmp_path: Path
) -> None:
    assert old in SPACE
    space.write_text(SPACE.replace(old, new, 1))
    for command in ("check", "search"):
        code, _, error = run(command, space, "--data", data)
        assert said in one_message(code, error)
        assert not (tmp_path / "runs").exists()


def test_check_says_what_will_be_compared(run: Run, data: Path, space: Path) -> None:
    code, output, error = run("check", space, "--data", data)
    assert (code, error) == (0, "")
    lines = output.splitlines()
    assert lines[0].endswith("train 4 frames with 4 boxes, val 4 frames with 4 boxes, test 4 frames with 4 boxes")
    assert "Which fusion?" in lines
    assert any(line.startswith("fusion frm_ffm (control) ") for line in lines)
    sentence = (
        "search: 1 trial, 3 epochs if none is stopped; confirmation: control, 1 finalist on 6 fresh seeds, 36 epochs"
    )
    assert sentence in lines
    assert lines[-1].endswith("space.yaml: the control and 1 arm can be built and compared")


def test_check_says_the_same_each_time(run: Run, space: Path) -> None:
    space.write_text(SPACE.replace("{kind: add}", "{kind: cssa}"))
    first, second = run("check", space), run("check", space)
    assert "warning: " in first[1]
    assert first == second


def test_a_search_that_failed_on_its_data_starts_when_they_are_mended(
    run: Run, data: Path, space: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Begun(Exception):
        """Training would start here."""

    def begin(*_: object, **__: object) -> None:
        raise Begun

    from tune_cmx.search import runner

    monkeypatch.setattr(runner, "run_study", begin)
    label("0 0.5 0.5 0 0.5\n")(data)
    assert run("search", space, "--data", data)[0] == 2
    label(BOX)(data)
    assert run("search", space, "--data", data, "--set", "schedule.batch_size=99")[0] == 2
    with pytest.raises(Begun):
        run("search", space, "--data", data, "--split-by", "frame")
    assert json.loads((tmp_path / "runs/tiny/data/split.json").read_text())["how"] == "frame"
    with pytest.raises(Begun):  # what never came to a study does not decide the next one's split
        run("search", space, "--data", data)
    assert json.loads((tmp_path / "runs/tiny/data/split.json").read_text())["how"] == "sequence"


def test_a_study_that_is_there_is_not_started_again_nor_one_resumed_that_is_not(
    run: Run, data: Path, space: Path, tmp_path: Path
) -> None:
    code, _, error = run("search", space, "--data", data, "--resume")
    assert "no study to resume; leave --resume out" in one_message(code, error)
    (tmp_path / "runs/tiny").mkdir(parents=True)
    (tmp_path / "runs/tiny/study.json").write_text("{}")
    code, _, error = run("search", space, "--data", data)
    assert "a study of that name is there; add --resume, or take another --output-dir" in one_message(code, error)


TINY = ("--set", f"model={MODEL}", "--set", "schedule={epochs: 1, batch_size: 2}", "--device", "cpu")


def test_train_says_what_it_did_and_what_is_in_its_way(run: Run, data: Path, tmp_path: Path) -> None:
    code, _, error = run("train", "--data", data, *TINY, "--fusion-type", "cssa", "--set", "model.fusion.option={}")
    assert "model.fusion.option: unknown key" in one_message(code, error)
    code, output, error = run("train", "--data", data, *TINY)
    assert (code, error) == (0, "")
    assert "epoch 1 of 1  train/loss " in output
    record = tmp_path / "runs/trial"
    assert output.splitlines()[-1] == f"results: {record / 'final_results.json'}"
    results = json.loads((record / "final_results.json").read_text())
    assert set(results["results"]) == {"mAP", "mAP_50", "mAP_75", "mAP_small", "mAP_medium", "mAP_large"}

    code, again, _ = run("train", "--data", data, *TINY)
    assert (code, again.splitlines()[-2:]) == (0, output.splitlines()[-2:])
    code, _, error = run("train", "--data", data, *TINY, "--epochs", 2)
    assert "its schedule.epochs is 1, not 2; take another --output-dir" in one_message(code, error)
    code, _, error = run("train", "--data", data, *TINY, "--seed", 2)
    assert "its seed is 0, not 2" in one_message(code, error)

    state = json.loads((record / "trial.json").read_text())
    (record / "trial.json").write_text(json.dumps({**state, "status": "failed", "reason": "loss is nan"}))
    code, _, error = run("train", "--data", data, *TINY)
    assert "this trial failed: loss is nan; delete it, or take another --output-dir" in one_message(code, error)


def test_train_with_a_model_that_cannot_be_leaves_nothing(run: Run, data: Path, tmp_path: Path) -> None:
    for arguments, said in (
        (("--backbone", "mit_b9"), "mit_b9"),
        (("--streams", "rgb | event"), "the data have rgb, thermal"),
        (("--fusion-type", "csa"), "Did you mean 'cssa'?"),
        (("--device", "gpu"), "--device: torch knows no 'gpu'"),
        (("--split", "gone.json"), "gone.json: no such split file"),
    ):
        code, _, error = run("train", "--data", data, *TINY, *arguments)
        assert said in one_message(code, error)
        assert not (tmp_path / "runs").exists()


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["train"], "name the images' folder with --data DIR"),
        (["train", "--no-cssa", "--fusion-type", "cssa"], "contradict each other"),
        (["train", "--stages", "1,2"], "--stages and --threshold go with --fusion-type"),
        (["train", "--threshold", "0.5"], "--stages and --threshold go with --fusion-type"),
        (["train", "--fusion-type", "add", "--threshold", "0.5"], "--threshold is CSSA's; --fusion-type is add"),
        (["train", "--fusion-type", "cssa", "--stages", "two"], "--stages: needs whole numbers of 1..4"),
        (["train", "--fusion-type", "cssa", "--stages", ""], "--stages: needs whole numbers of 1..4"),
        (["train", "--fusion-type", "cssa", "--stages", "5"], "stages must be of 1, 2, 3, 4; got 5"),
        (["train", "--preset", "fast"], "--preset: unknown preset 'fast'. Known: aggressive, conservative."),
        (["train", "--epochs", "0"], "flags: schedule.epochs: Input should be greater than or equal to 1; got 0"),
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
        (["describe", "--frame", "320"], "--frame: needs rows x columns"),
        (["describe", "--frame", "320x100"], "multiples of 32"),
        (["describe", "--backbone", "resnet"], "resnet"),
        (["data", "synth", "x", "--frames", "3", "--sequences", "4"], "1 <= sequences <= frames"),
    ],
)
def test_a_mistyped_command_gets_one_message(arguments: list[str], said: str, run: Run) -> None:
    code, _, error = run(*arguments)
    assert said in one_message(code, error)


@pytest.mark.parametrize("arguments", [["train", "--epoch"], ["search"], ["serch"], ["train", "--epochs", "many"]])
def test_what_typer_refuses_ends_with_2_as_well(arguments: list[str], run: Run) -> None:
    code, _, error = run(*arguments)
    assert code == 2
    assert "Traceback" not in error


def test_an_output_folder_that_cannot_be_made_is_named(run: Run, data: Path, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    code, _, error = run("train", "--data", data, *TINY, "--output-dir", tmp_path / "file" / "below")
    assert f"{tmp_path / 'file'}" in one_message(code, error)


def resolved(run: Run, data: Path, tmp_path: Path, *arguments: str) -> dict[str, object]:
    """The configuration that a command would train, read from the record of a training run of one epoch."""
    folder = tmp_path / "resolved"
    code, _, error = run("train", "--data", data, *TINY, *arguments, "--output-dir", folder)
    assert code == 0, error
    content: dict[str, object] = json.loads((folder / "config.json").read_text())
    return content


def test_the_groups_own_flags_are_taken(run: Run, data: Path, tmp_path: Path) -> None:
    flags = [
        "--backbone",
        "mit_nano",
        "--epochs",
        "1",
        "--batch-size",
        "4",
        "--lr",
        "0.002",
        "--fusion-type",
        "gaff",
        "--no-cssa",
    ]
    content = resolved(
        run, data, tmp_path, "--labels", str(data / "labels"), "--set", "schedule.weight_decay=1e-3", *flags
    )
    assert content["model"]["fusion"]["kind"] == "se_gated"  # type: ignore[index]
    assert content["schedule"]["lr"] == 0.002  # type: ignore[index]
    assert content["schedule"]["weight_decay"] == 1e-3  # type: ignore[index]
    assert content["data"]["root"] == str(data)  # type: ignore[index]


def test_a_preset_by_flag_goes_before_the_files_schedule(tmp_path: Path) -> None:
    path = tmp_path / "c.json"
    path.write_text(json.dumps({"schedule": {"preset": "aggressive", "epochs": 15, "lr": 0.02}}))
    parsed = cli._trial_config(path, {"schedule.lr": 0.1}, preset="conservative")
    assert (parsed.schedule.preset, parsed.schedule.epochs, parsed.schedule.lr) == ("conservative", 25, 0.1)


def test_a_fault_in_a_file_keeps_its_line_and_one_by_flag_has_none(tmp_path: Path, run: Run) -> None:
    path = tmp_path / "c.yaml"
    path.write_text("schedule:\n  epochs: 0\n")
    assert f"{path}:2: schedule.epochs" in run("train", "--config", path)[2]
    assert ":2" not in run("train", "--config", path, "--epochs", "-1")[2]


def commands() -> list[list[str]]:
    return [["check"], ["search"], ["train"], ["report"], ["describe"], ["data", "synth"]]


@pytest.mark.parametrize("command", commands(), ids=" ".join)
def test_the_help_of_each_command_shows_an_example(command: list[str], run: Run) -> None:
    code, output, _ = run(*command, "--help")
    assert code == 0
    assert f"tune-cmx {' '.join(command)} " in output.split("Example")[1]


def test_help_names_every_command_and_the_version_is_the_packages(run: Run) -> None:
    code, output, _ = run("--help")
    assert code == 0
    assert all(command[0] in output for command in commands())
    assert run("--version") == (0, f"tune-cmx {tune_cmx.__version__}\n", "")


def test_describe_counts_the_published_control(run: Run) -> None:
    code, output, _ = run("describe", "--backbone", "mit_nano", "--fusion-type", "cssa", "--stages", "2,3")
    assert code == 0
    assert "fusion frm_ffm / cssa / cssa / frm_ffm at stages 1..4" in output
    assert "1 class and background" in output


@pytest.mark.parametrize(
    ("flags", "said"),
    [
        (["--device", "cpu", "--gpus-per-trial", "0.5"], "contradict each other"),
        (["--gpus-per-trial", "2"], "from 0 to 1"),
        (["--gpus-per-trial", "-1"], "from 0 to 1"),
        (["--device", "cuda:1", "--address", "somewhere:1"], "Ray picks the card"),
        (["--device", "cuda", "--gpus-per-trial", "0", "--address", "somewhere:1"], "contradict each other"),
    ],
)
def test_a_card_that_no_trial_could_use_is_refused(
    flags: list[str], said: str, run: Run, data: Path, space: Path
) -> None:
    code, _, error = run("search", space, "--data", data, *flags)
    assert said in one_message(code, error)
    assert not (Path("runs") / "tiny" / "study.json").exists()


def test_a_study_file_that_was_spoilt_is_named(run: Run, data: Path, space: Path, tmp_path: Path) -> None:
    name = next(line.split()[1] for line in SPACE.splitlines() if line.startswith("study:"))
    folder = tmp_path / "runs" / name
    folder.mkdir(parents=True)
    (folder / "study.json").write_text("{")
    code, _, error = run("search", space, "--data", data, "--resume")
    assert "study.json: not valid JSON" in one_message(code, error)
