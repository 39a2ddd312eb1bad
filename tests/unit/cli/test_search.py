"""What `tune-cmx search` finds in its way before Ray is started."""

import contextlib
import json
import shutil
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from conftest import Refusal, Run


def test_a_search_that_failed_on_its_data_starts_when_they_are_mended(
    run: "Run", data: Path, space: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Begun(Exception):
        """Training would start here."""

    def begin(*_: object, **__: object) -> None:
        raise Begun

    from tune_cmx.search import cluster, runner

    monkeypatch.setattr(cluster, "ray_cluster", lambda *_: contextlib.nullcontext())
    monkeypatch.setattr(runner, "run_study", begin)
    label = data / "labels" / "f03.txt"
    sound = label.read_text()
    label.write_text("0 0.5 0.5 0 0.5\n")
    assert run("search", space, "--data", data)[0] == 2
    label.write_text(sound)
    assert run("search", space, "--data", data, "--set", "schedule.batch_size=99")[0] == 2
    with pytest.raises(Begun):
        run("search", space, "--data", data, "--split-by", "frame")
    assert json.loads((tmp_path / "runs/tiny/data/split.json").read_text())["how"] == "frame"
    with pytest.raises(Begun):  # what never came to a study does not decide the next one's split
        run("search", space, "--data", data)
    assert json.loads((tmp_path / "runs/tiny/data/split.json").read_text())["how"] == "sequence"


def test_a_study_that_is_there_is_not_started_again_nor_one_resumed_that_is_not(
    refusal: "Refusal", data: Path, space: Path, tmp_path: Path
) -> None:
    assert "no study to resume; leave --resume out" in refusal("search", space, "--data", data, "--resume")
    (tmp_path / "runs/tiny").mkdir(parents=True)
    (tmp_path / "runs/tiny/study.json").write_text('{"form": 2}')
    message = refusal("search", space, "--data", data)
    assert "a study of that name exists; add --resume, or choose another --output-dir" in message


def test_a_study_file_that_was_spoilt_is_named(refusal: "Refusal", data: Path, space: Path, tmp_path: Path) -> None:
    folder = tmp_path / "runs/tiny"
    folder.mkdir(parents=True)
    (folder / "study.json").write_text("{")
    assert "study.json: not valid JSON" in refusal("search", space, "--data", data, "--resume")


@pytest.mark.parametrize(
    ("flags", "said"),
    [
        (["--device", "cpu", "--gpus-per-trial", "0.5"], "contradict each other"),
        (["--gpus-per-trial", "2"], "from 0 to 1"),
        (["--gpus-per-trial", "-1"], "from 0 to 1"),
        (["--device", "cuda:1", "--address", "somewhere:1"], "Ray picks the GPU"),
        (["--device", "cuda", "--gpus-per-trial", "0", "--address", "somewhere:1"], "contradict each other"),
    ],
)
def test_a_gpu_that_no_trial_could_use_is_refused(
    flags: list[str], said: str, refusal: "Refusal", data: Path, space: Path
) -> None:
    assert said in refusal("search", space, "--data", data, *flags)
    assert not Path("runs/tiny/study.json").exists()


def test_a_study_of_version_0_1_0_is_not_resumed(refusal: "Refusal", data: Path, space: Path, tmp_path: Path) -> None:
    shutil.copytree(Path(__file__).parents[2] / "golden/study_of_version_0.1.0", tmp_path / "runs/tiny")
    before = sorted((tmp_path / "runs/tiny").rglob("*"))
    for how in ("--resume", "--resume-or-start"):
        message = refusal("search", space, "--data", data, how)
        assert "version 0.1.0+4d018bc4cf of tune-cmx wrote this study" in message
        assert "Resume it with that version, or start a new study" in message
    assert sorted((tmp_path / "runs/tiny").rglob("*")) == before
