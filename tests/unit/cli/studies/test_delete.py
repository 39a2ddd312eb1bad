"""`tune-cmx delete`: only what was said goes, and nothing outside the study."""

from __future__ import annotations

import fcntl
import json
import os
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tune_cmx.evidence.studies.disk import freed_bytes, size_bytes

if TYPE_CHECKING:
    from collections.abc import Callable

    Run = Callable[..., tuple[int, str, str]]
    Refusal = Callable[..., str]
KEPT_RUNS = ("confirm-baseline-101", "confirm-stages-1-101")


@pytest.fixture
def heavy(study: Path) -> Path:
    """The study with weights, a model folder that shares them, and TensorBoard events in each run; and Ray's files."""
    for run in sorted((study / "trials").iterdir()):
        checkpoint = run / "checkpoint" / "epoch_0006"
        checkpoint.mkdir(parents=True)
        (checkpoint / "model.safetensors").write_bytes(bytes(1000))
        (run / "model").mkdir()
        os.link(checkpoint / "model.safetensors", run / "model" / "model.safetensors")
        (run / "events.out.tfevents.1").write_bytes(bytes(10))
    (study / "search" / "ray").mkdir()
    (study / "search" / "ray" / "state.json").write_bytes(bytes(100))
    return study


def files(folder: Path) -> set[str]:
    return {path.relative_to(folder).as_posix() for path in folder.rglob("*") if not path.is_dir()}


def test_the_report_can_be_written_again_after_keep_best(run: Run, heavy: Path) -> None:
    run("report", heavy)
    before, report = files(heavy), (heavy / "report" / "report.md").read_bytes()
    best = run("best", heavy)
    assert "confirm-stages-1-101" in best[1]
    code, output, error = run("delete", heavy, "--keep", "best", "--yes")
    assert (code, error) == (0, "")
    assert "trials/confirm-stages-1-101" in output
    assert run("best", heavy) == best
    assert (heavy / "report" / "report.md").read_bytes() == report
    (heavy / "report" / "report.md").unlink()
    assert run("report", heavy)[0] == 0
    assert (heavy / "report" / "report.md").read_bytes() == report
    gone = before - files(heavy)
    assert {path.split("/")[2] for path in gone if path.startswith("trials/")} == {
        "checkpoint",
        "model",
        "events.out.tfevents.1",
    }
    assert {path for path in gone if not path.startswith("trials/")} == {"search/ray/state.json"}
    weights = {path.split("/")[1] for path in files(heavy) if path.endswith("model.safetensors")}
    assert weights == {*KEPT_RUNS}
    assert "nothing to remove" in run("delete", heavy, "--keep", "best")[1]


def test_what_it_says_is_what_it_frees(run: Run, heavy: Path) -> None:
    before = size_bytes([heavy])
    content = json.loads(run("delete", heavy, "--keep", "best", "--yes", "--json")[1])
    assert content["removed"]
    assert content["bytes_freed"] == 10 * 1000 + 12 * 10 + 100
    (heavy / ".lock").unlink()
    assert size_bytes([heavy]) == before - content["bytes_freed"] == content["bytes_kept"]
    assert [kept["run"] for kept in content["kept_runs"]] == [f"trials/{name}" for name in reversed(KEPT_RUNS)]
    assert not any((heavy / place).exists() for place in content["places"])


def test_a_file_with_a_second_name_outside_is_not_freed(heavy: Path, tmp_path: Path) -> None:
    run = heavy / "trials" / "s-0"
    os.link(run / "checkpoint" / "epoch_0006" / "model.safetensors", tmp_path / "copy")
    assert freed_bytes([run / "checkpoint", run / "model"]) == 0
    assert size_bytes([run / "checkpoint", run / "model"]) == 1000


def test_without_a_terminal_it_needs_yes(refusal: Refusal, heavy: Path) -> None:
    before = files(heavy)
    assert "there is no terminal to ask on: add --yes" in refusal("delete", heavy, "--keep", "best")
    assert files(heavy) == before


@pytest.mark.parametrize(("answer", "code"), [(True, 0), (False, 1)])
def test_on_a_terminal_it_asks(
    run: Run, heavy: Path, monkeypatch: pytest.MonkeyPatch, *, answer: bool, code: int
) -> None:
    monkeypatch.setattr("sys.stdin.isatty", lambda: True)
    monkeypatch.setattr("typer.confirm", lambda *_, **__: answer)
    before = files(heavy)
    found, output, _ = run("delete", heavy)
    assert found == code
    assert heavy.exists() != answer
    assert answer or (files(heavy) == before and "nothing was removed" in output)


def test_a_whole_study_goes_and_what_is_not_its_own_stays(run: Run, heavy: Path) -> None:
    (heavy / "notes.txt").write_text("mine")
    assert "left: notes.txt is not the study's" in run("delete", heavy, "--yes")[1]
    assert files(heavy) == {"notes.txt"}


def test_links_are_removed_and_their_targets_stay(run: Run, heavy: Path, tmp_path: Path) -> None:
    outside = tmp_path / "outside"
    (heavy / "trials" / "s-0").rename(outside)
    (heavy / "trials" / "s-0").symlink_to(outside)
    other = tmp_path / "weights"
    (heavy / "trials" / "s-1" / "checkpoint").rename(other)
    (heavy / "trials" / "s-1" / "checkpoint").symlink_to(other)
    before = files(outside) | files(other)
    assert "s-0 is a link; what it points to stays" in run("delete", heavy, "--keep", "best", "--yes")[1]
    assert files(outside) | files(other) == before
    assert not (heavy / "trials" / "s-1" / "checkpoint").is_symlink()
    assert run("delete", heavy, "--yes")[0] == 0
    assert not heavy.exists()
    assert files(outside) | files(other) == before


@pytest.mark.parametrize("place", ["", "trials/confirm-baseline-100"])
def test_a_study_that_a_process_works_on_is_refused(refusal: Refusal, heavy: Path, place: str) -> None:
    before = files(heavy)
    with (heavy / place / ".lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        words = refusal("delete", heavy, "--yes")
    assert "is running" in words or "a process is training this run" in words
    assert files(heavy) == before | {f"{place}/.lock".removeprefix("/")}


def test_what_is_no_study_is_refused(refusal: Refusal, heavy: Path, tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    (tmp_path / "link").symlink_to(heavy)
    assert "no study.json is in it" in refusal("delete", tmp_path / "empty", "--yes")
    assert "no study.json is in it" in refusal("delete", heavy / "trials" / "s-0", "--yes")
    assert "there is no such folder" in refusal("delete", tmp_path / "none", "--yes")
    assert "is a symbolic link" in refusal("delete", tmp_path / "link", "--yes")
    (heavy / "study.json").write_text("{")
    assert "not valid JSON" in refusal("delete", heavy, "--yes")


def test_best_needs_a_finished_study_with_weights(refusal: Refusal, study: Path) -> None:
    assert "has neither checkpoint nor model" in refusal("delete", study, "--keep", "best", "--yes")
    content = json.loads((study / "study.json").read_text())
    (study / "study.json").write_text(json.dumps({**content, "status": "interrupted"}))
    assert "the study is interrupted" in refusal("delete", study, "--keep", "best", "--yes")
