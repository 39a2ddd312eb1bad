"""`tune-cmx robustness` on weights that were trained for it: measured, taken up, and what is refused."""

from __future__ import annotations

import csv
import io
import json
import shutil
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import pytest
import torch
from rich.console import Console

from tune_cmx.cli import main
from tune_cmx.cli.output import out
from tune_cmx.config.parse import parse_trial
from tune_cmx.data.prepare import prepare
from tune_cmx.data.synthetic import synthesize
from tune_cmx.evidence.report.write import write_report
from tune_cmx.training.run import run_trial
from tune_cmx.training.run_folder import RunFolder

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from conftest import Tiny

FIRST, SECOND = "confirm-baseline-s1000", "confirm-baseline-s1001"


pytestmark = pytest.mark.usefixtures("one_thread")


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory, tiny_at: type[Tiny]) -> Path:
    """A study's folder with one arm confirmed on two seeds, of which the second run is a copy of the first."""
    root = tmp_path_factory.mktemp("robust")
    frames = synthesize(root / "set", images=96, size=64, sequences=12, seed=0)
    tiny = tiny_at(frames, root)
    folder = root / "study"
    content = {
        "model": {**tiny.fixed["model"], "streams": "thermal | event", "fusion": {"kind": "add"}},
        "data": {"root": str(frames)},
        "schedule": {**tiny.fixed["schedule"], "epochs": 12, "lr": 0.003},
        "compute": tiny.fixed["compute"],
        "report_split": "test",
        "seed": 1000,
    }
    config = parse_trial(content, source="test")
    prepared = prepare(config.data, folder / "data")
    first = folder / "trials" / FIRST
    list(run_trial(RunFolder.plan(first, config, arm="baseline", phase="confirm", **prepared.hashes()), prepared))
    second = shutil.copytree(first, folder / "trials" / SECOND)
    for name in ("trial.json", "config.json"):
        change(second / name, seed=1001)
    arms = {"baseline": {"label": "baseline", "values": {}, "config": {}}}
    study = {
        "form": 2,
        "study": "tiny",
        "baseline": "baseline",
        "arms": arms,
        "status": "complete",
        "factors": ["model.fusion"],
    }
    (folder / "study.json").write_text(json.dumps(study))
    return folder


def change(path: Path, **fields: Any) -> None:
    """Set fields of a JSON file."""
    path.write_text(json.dumps({**json.loads(path.read_text()), **fields}))


@pytest.fixture
def study(trained: Path, tmp_path: Path) -> Path:
    """A copy of its own, so that it may be spoilt."""
    return shutil.copytree(trained, tmp_path / "study")


@dataclass(frozen=True)
class Done:
    """What a command left: exit code, what it printed, what it complained of."""

    returncode: int
    stdout: str
    stderr: str


@pytest.fixture
def run(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Callable[..., Done]:
    """The command, in this process: torch is loaded once."""

    def call(*arguments: object) -> Done:
        text = io.StringIO()
        monkeypatch.setattr(out, "__dict__", vars(Console(file=text, width=200, highlight=False)))
        threads = torch.get_num_threads()
        try:
            main(["robustness", *map(str, arguments), "--device", "cpu", "--threads", "1"])
            code = 0
        except SystemExit as end:
            code = int(end.code or 0)
        finally:
            torch.set_num_threads(threads)
        return Done(code, text.getvalue(), capsys.readouterr().err)

    return call


def rows(study: Path) -> list[dict[str, str]]:
    with (study / "robustness.csv").open(newline="") as file:
        return list(csv.DictReader(file))


def test_a_study_is_measured_and_taken_up(study: Path, run: Callable[..., Done]) -> None:
    asked = ("--missing", "thermal", "--missing", "event", "--shifted", "thermal=4,-2", "--delayed", "event=2")
    done = run(study, *asked)
    assert (done.returncode, done.stderr) == (0, "")
    assert "clean, and the run folder says" not in done.stdout
    assert done.stdout.splitlines()[-1] == f"results: {study / 'robustness.csv'}"
    found = rows(study)
    assert len(found) == 10
    assert [row["corruption"] for row in found if row["trial"] == FIRST] == [
        *("clean", "missing", "shifted 4 px right, 2 px up", "missing", "delayed by 2 frames")
    ]
    final = json.loads((study / "trials" / FIRST / "final_results.json").read_text())["results"]
    for row in found:
        assert row["split"] == "test"
        assert abs(final["mAP"] - float(row["mAP"]) - float(row["loss"])) < 1e-9
        if row["corruption"] == "clean":
            assert {name: float(row[name]) for name in ("mAP", "mAP_50")} == {
                name: final[name] for name in ("mAP", "mAP_50")
            }
    assert final["mAP"] > 5, "it learnt too little to lose anything"
    (lost,) = {float(row["loss"]) for row in found if (row["modality"], row["kind"]) == ("thermal", "missing")}
    assert lost > final["mAP"] / 2
    (line,) = [line for line in done.stdout.splitlines() if "thermal" in line and "missing" in line]
    assert line.split() == [
        *("thermal", "missing", "2"),
        *(f"{final['mAP'] - lost:.2f}", "±", "0.00", f"{lost:.2f}", "±", "0.00"),
    ]

    files = {path: path.stat().st_mtime_ns for path in study.glob("trials/*/robustness.json")}
    assert len(files) == 2
    assert run(study, *asked).stdout.count("0 evaluations made, 5 taken from before") == 2
    assert {path: path.stat().st_mtime_ns for path in files} == files
    assert (
        run(study, "--missing", "thermal", "--shifted", "event=0,3").stdout.count(
            "1 evaluation made, 2 taken from before"
        )
        == 2
    )
    assert len(rows(study)) == len(found) + 2


def test_one_record_by_default_and_the_report_then_has_it(study: Path, run: Callable[..., Done]) -> None:
    record = study / "trials" / SECOND
    done = run(record, "--split", "val")
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines()[-1] == f"results: {record / 'robustness.json'}"
    outcomes = json.loads((record / "robustness.json").read_text())["splits"]["val"]["corrupted"]
    kinds = [(one["corruption"]["modality"], one["corruption"]["kind"]) for one in outcomes]
    usual = ["missing", *["shifted"] * 4, *["delayed"] * 3]
    assert kinds == [(modality, kind) for modality in ("thermal", "event") for kind in usual]
    assert not (study / "robustness.csv").exists()
    text = write_report(study).read_text()
    assert "On val" in text.split("## When a modality fails")[1]


def test_a_measurement_that_was_cut_or_is_of_another_basis_is_made_anew(study: Path, run: Callable[..., Done]) -> None:
    record = study / "trials" / SECOND
    assert run(record, "--missing", "event").returncode == 0
    path = record / "robustness.json"
    whole = json.loads(path.read_text())
    path.write_text("{")
    assert "2 evaluations made, 0 taken from before" in run(record, "--missing", "event").stdout
    assert json.loads(path.read_text()) == whole
    for part, other in (("weights", "another"), ("device", "cuda")):
        basis = {**whole["splits"]["test"]["basis"], part: other}
        path.write_text(json.dumps({"splits": {"test": {**whole["splits"]["test"], "basis": basis}}}))
        assert "2 evaluations made, 0 taken from before" in run(record, "--missing", "event").stdout


def test_data_that_moved_are_named_and_other_data_refused(
    study: Path, run: Callable[..., Done], tiny: Tiny, trained: Path
) -> None:
    record = study / "trials" / SECOND
    config = json.loads((record / "config.json").read_text())
    change(record / "config.json", data={**config["data"], "root": str(study / "gone")})
    refused = run(record, "--missing", "event")
    assert (refused.returncode, "no such folder" in refused.stderr) == (2, True)
    assert run(record, "--missing", "event", "--data", trained.parent / "set").returncode == 0
    other = run(record, "--missing", "event", "--data", tiny.data)
    assert (other.returncode, "added or removed" in other.stderr) == (2, True)


def test_what_cannot_be_measured_is_named_and_the_rest_is(study: Path, run: Callable[..., Done]) -> None:
    (weights,) = study.glob(f"trials/{SECOND}/checkpoint/*/model.safetensors")
    weights.write_bytes(b"no weights")
    state = study / "trials" / FIRST / "trial.json"
    done = run(study, "--missing", "event")
    assert done.returncode == 1
    assert "these weights cannot be used" in done.stdout
    assert "1 of 2 runs could not be measured" in done.stderr
    assert {row["trial"] for row in rows(study)} == {FIRST}
    strangers = run(study, "--missing", "rgb")
    assert (strangers.returncode, "no model here sees rgb; they see thermal, event" in strangers.stderr) == (2, True)
    for path in (state, study / "trials" / SECOND / "trial.json"):
        change(path, status="interrupted")
    nothing = run(study)
    assert (nothing.returncode, "no confirmation run is complete" in nothing.stderr) == (2, True)
    one = run(state.parent)
    assert (one.returncode, "interrupted" in one.stderr) == (2, True)
    assert "Traceback" not in one.stderr + nothing.stderr + done.stderr


def test_a_shift_out_of_the_frame_is_refused(study: Path, run: Callable[..., Done]) -> None:
    refused = run(study / "trials" / FIRST, "--shifted", "thermal=64,0")
    assert (refused.returncode, "an image of 64 x 64 pixels has nothing left after this shift" in refused.stderr) == (
        2,
        True,
    )


def test_a_delay_without_sequences_is_refused_and_not_looked_at_unasked(
    tmp_path: Path, run: Callable[..., Done], tiny: Tiny
) -> None:
    frames = shutil.copytree(tiny.data, tmp_path / "set")
    (frames / "sequences.csv").unlink()
    content = {
        "model": {**tiny.fixed["model"], "streams": "thermal", "fusion": {"kind": "add"}},
        "schedule": {**tiny.fixed["schedule"], "epochs": 1},
        "data": {"root": str(frames), "guard": 0},
    }
    config = parse_trial(content, source="test")
    record = RunFolder(tmp_path / "trial")
    prepared = prepare(config.data, record.folder / "data")
    list(run_trial(RunFolder.plan(record.folder, config, arm="single", phase="single", **prepared.hashes()), prepared))
    refused = run(record.folder, "--delayed", "thermal=1")
    assert (refused.returncode, "a delay needs sequences" in refused.stderr) == (2, True)
    assert run(record.folder).returncode == 0
    outcomes = json.loads((record.folder / "robustness.json").read_text())["splits"]["val"]["corrupted"]
    assert [one["corruption"]["kind"] for one in outcomes] == ["missing", *["shifted"] * 4]
