"""`tune-cmx list`."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    Run = Callable[..., tuple[int, str, str]]
    Refusal = Callable[..., str]


def listed(run: Run, folder: Path) -> dict[str, dict[str, Any]]:
    code, output, _ = run("list", folder, "--json")
    assert code == 0
    content = json.loads(output)
    return {entry["folder"].removeprefix(f"{content['folder']}/"): entry for entry in content["studies"]}


def test_every_study_and_run_is_listed_once(run: Run, runs: Path) -> None:
    found = listed(run, runs)
    assert {name: entry["kind"] for name, entry in found.items()} == {
        "cssa": "study",
        "cut": "damaged",
        "group/baseline": "run",
        "headless": "damaged",
        "old": "study",
    }
    assert (found["cssa"]["form"], found["old"]["form"]) == (2, None)


def test_what_is_said_of_a_study(run: Run, runs: Path) -> None:
    found = listed(run, runs)["cssa"]
    assert (found["status"], found["running"], found["trials_done"], found["trials_planned"]) == (
        "complete",
        False,
        12,
        12,
    )
    assert found["metric"] == "test/mAP"
    assert (found["selected"]["id"], found["selected"]["n"]) == ("stages-1", 3)
    assert (found["baseline"]["mean"], found["baseline"]["sd"]) == (31.0, 1.0)
    assert found["bytes"] == sum(file.stat().st_size for file in (runs / "cssa").rglob("*") if file.is_file())


def test_the_table_names_what_is_damaged(run: Run, runs: Path) -> None:
    code, output, error = run("list", runs)
    assert (code, error) == (0, "")
    assert "stages 1: 34.10 ± 1.10 (n = 3)" in output
    assert "baseline: 30.00 (n = 1)" in output
    assert "cut      " in output
    assert "not valid JSON" in output
    assert "no study.json here" in output


def test_a_split_over_single_images_is_never_silent(run: Run, study: Path) -> None:
    content = json.loads((study / "study.json").read_text())
    content["split"]["how"] = "frame"
    (study / "study.json").write_text(json.dumps(content))
    assert "cssa: split over single images" in " ".join(run("list", study.parent)[1].split())


def test_a_study_that_nothing_trains_any_more(run: Run, study: Path) -> None:
    content = json.loads((study / "study.json").read_text())
    content |= {"status": "searching", "selection": {}}
    (study / "study.json").write_text(json.dumps(content))
    assert "searching, no process" in run("list", study.parent)[1]


def test_links_are_not_followed(run: Run, study: Path, tmp_path: Path) -> None:
    (study.parent / "again").symlink_to(study)
    assert list(listed(run, study.parent)) == ["cssa"]
    (tmp_path / "empty").mkdir()
    assert "no study and no run is here" in run("list", tmp_path / "empty")[1]


def test_a_folder_that_is_not_there(refusal: Refusal, tmp_path: Path) -> None:
    assert "there is no such folder" in refusal("list", tmp_path / "none")
