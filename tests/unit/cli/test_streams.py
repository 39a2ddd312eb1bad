"""Streams that nobody names: from the data, printed by every command, kept in the run folders."""

import json
import shutil
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from PIL import Image

from tune_cmx.cli.earlier import streams_of_session
from tune_cmx.cli.options.streams import streams_line, study_on_data
from tune_cmx.config.arms import BASELINE
from tune_cmx.config.space import read_space
from tune_cmx.state.study_state import STUDY_FILE, StudyState, new_study_state

if TYPE_CHECKING:
    from conftest import Refusal, Run

NAMED = "streams: rgb | thermal, "
LINE = "streams: rgb | thermal (from the data)"


@pytest.fixture
def unnamed(space: Path) -> Path:
    """The search-space file without its streams."""
    space.write_text(space.read_text().replace(NAMED, ""))
    return space


def add_events(data: Path) -> None:
    """A third modality beside the two."""
    (data / "event").mkdir()
    for path in (data / "thermal").iterdir():
        Image.new("L", (32, 32), 9).save(data / "event" / path.name)


def test_check_and_plan_say_which_streams_the_data_give(run: "Run", data: Path, unnamed: Path, earlier: Path) -> None:
    code, output, error = run("check", unnamed, "--data", data)
    assert (code, error) == (0, "")
    assert LINE in output.splitlines()
    code, output, _ = run("plan", unnamed, "--data", data, "--gpus", 0, "--from", earlier)
    assert code == 0
    assert LINE in output.splitlines()


def test_check_says_that_streams_are_written(run: "Run", data: Path, space: Path) -> None:
    assert "streams: rgb | thermal (as written)" in run("check", space, "--data", data)[1].splitlines()


def test_without_data_check_and_describe_say_what_they_assume(run: "Run", unnamed: Path) -> None:
    line = "streams: rgb | thermal+event (assumed, as no data are named)"
    assert line in run("check", unnamed)[1].splitlines()
    assert line in run("describe", "--backbone", "mit_nano")[1].splitlines()
    written = run("describe", "--backbone", "mit_nano", "--streams", "rgb | thermal")[1]
    assert "streams: rgb | thermal (as written)" in written.splitlines()


def test_bands_of_packed_files_are_their_modalities(run: "Run", data: Path, unnamed: Path, tmp_path: Path) -> None:
    import numpy as np

    packed = tmp_path / "packed"
    packed.mkdir()
    for label in (data / "labels").iterdir():
        np.save(packed / f"{label.stem}.npy", np.full((32, 32, 5), len(label.stem), np.uint8))
    (packed / "classes.txt").write_text("person\n")
    labels = ("--labels", data / "labels")
    for bands, expected in (
        ("rgb=0,1,2 thermal=3", "rgb | thermal"),
        ("event=4 rgb=0,1,2", "rgb | event"),
        ("rgb=0,1,2 thermal=3 event=4", "rgb | thermal+event"),
    ):
        code, output, error = run("check", unnamed, "--data", packed, *labels, "--bands", bands, "--split-by", "frame")
        assert (code, error) == (0, "")
        assert f"streams: {expected} (from the data)" in output.splitlines()


@pytest.mark.parametrize("command", ["check", "plan", "search"])
def test_streams_that_the_data_lack_are_refused_with_the_spaces_that_fit(
    command: str, refusal: "Refusal", data: Path, space: Path, tmp_path: Path
) -> None:
    text = space.read_text()
    (tmp_path / "other.yaml").write_text(text.replace(NAMED, ""))
    (tmp_path / "events.yaml").write_text(text.replace(NAMED, "streams: event, "))
    (tmp_path / "no_space.yaml").write_text("classes: [person]\n")
    space.write_text(text.replace(NAMED, "streams: rgb | thermal+event, "))
    assert refusal(command, space, "--data", data).splitlines() == [
        f"{space}:3: fixed.model.streams: 'rgb | thermal+event' needs event; the data have rgb, thermal",
        "Streams that fit the data: 'rgb | thermal'",
        f"Search spaces in {tmp_path} that fit the data: other",
    ]
    assert not (tmp_path / "runs").exists()


def test_a_fusion_on_data_of_one_modality_is_refused(
    refusal: "Refusal", data: Path, unnamed: Path, tmp_path: Path
) -> None:
    shutil.rmtree(data / "rgb")
    said = "a fusion joins two streams, and the data have one modality, thermal."
    assert f"{unnamed}:5: baseline.model.fusion: {said}" in refusal("check", unnamed, "--data", data)
    assert f"flags: model.fusion: {said}" in refusal("train", "--data", data, "--fusion-type", "add")
    assert not (tmp_path / "runs").exists()


def test_a_trial_keeps_the_streams_of_the_data(run: "Run", data: Path, tmp_path: Path, tiny: tuple[str, ...]) -> None:
    unnamed = [word.replace(NAMED, "") for word in tiny]
    code, output, error = run("train", "--data", data, *unnamed)
    assert (code, error) == (0, "")
    assert LINE in output.splitlines()
    config = tmp_path / "runs/trial/config.json"
    assert json.loads(config.read_text())["model"]["streams"] == "rgb | thermal"
    add_events(data)
    again = ("train", "--config", config, "--device", "cpu", "--output-dir", tmp_path / "again")
    code, output, error = run(*again)
    assert (code, error) == (0, "")
    assert "streams: rgb | thermal (as written)" in output.splitlines()


def test_data_of_one_modality_train_one_stream(
    run: "Run", data: Path, unnamed: Path, tmp_path: Path, tiny: tuple[str, ...]
) -> None:
    shutil.rmtree(data / "rgb")
    line = "streams: thermal (from the data)"
    code, output, error = run("train", "--data", data, *[word.replace(NAMED, "") for word in tiny])
    assert (code, error) == (0, "")
    assert line in output.splitlines()
    content = json.loads((tmp_path / "runs/trial/config.json").read_text())
    assert content["model"]["streams"] == "thermal"
    search, baseline = "{model.fusion: {choice: [{kind: add}]}}", "{model.fusion: {kind: frm_ffm}}"
    rates = unnamed.read_text().replace(search, "{schedule.lr: {choice: [0.1]}}")
    unnamed.write_text(rates.replace(baseline, "{schedule.lr: 0.02}"))
    code, output, error = run("check", unnamed, "--data", data)
    assert (code, error) == (0, "")
    assert line in output.splitlines()


def test_the_streams_of_a_session_are_those_that_the_search_does_not_name(tmp_path: Path) -> None:
    def begun(*arms: tuple[str, dict[str, object], str]) -> StudyState:
        content = {
            name: {"values": values, "config": {"model": {"streams": streams}}} for name, values, streams in arms
        }
        return new_study_state(tmp_path / STUDY_FILE, study="demo", arms=content)

    assert streams_of_session(begun((BASELINE, {"model.fusion": {"kind": "add"}}, "rgb"))) == "rgb"
    searched = (BASELINE, {"model.streams": "rgb"}, "rgb")
    assert streams_of_session(begun(searched)) is None
    assert streams_of_session(begun(searched, ("a", {"schedule.lr": 0.1}, "rgb | event"))) == "rgb | event"
    assert streams_of_session(new_study_state(tmp_path / STUDY_FILE, study="demo")) is None


def test_a_resumed_study_keeps_its_streams_though_the_data_have_more(data: Path, unnamed: Path, tmp_path: Path) -> None:
    space, of_data = read_space(unnamed), {"data.root": str(data)}
    study, _ = study_on_data(space, of_data)
    arms = {
        name: {"values": dict(arm.values), "config": arm.config.model_dump(mode="json")}
        for name, arm in study.arms.items()
    }
    before = new_study_state(tmp_path / STUDY_FILE, study="tiny", arms=arms)
    add_events(data)
    resumed, _ = study_on_data(space, of_data, before)
    assert {name: arm.config for name, arm in resumed.arms.items()} == {
        name: arm.config for name, arm in study.arms.items()
    }
    assert streams_line(resumed) == "streams: rgb | thermal (as the study began)"
    anew, _ = study_on_data(space, of_data)
    assert streams_line(anew) == "streams: rgb | thermal+event (from the data)"


def test_streams_that_only_some_configurations_name_are_said(data: Path, space: Path) -> None:
    text = space.read_text().replace(NAMED, "")
    listed = "search: {arms: {choice: [{model.fusion: {kind: add}}, {model.streams: rgb}]}}"
    whole = "search: {model.streams: {choice: [rgb]}}"
    search = "search: {model.fusion: {choice: [{kind: add}]}}"
    of_data = {"data.root": str(data)}
    space.write_text(text.replace(search, listed))
    line = "streams where a configuration names none: rgb | thermal (from the data)"
    assert streams_line(study_on_data(read_space(space), of_data)[0]) == line
    space.write_text(text.replace(search, whole).replace("{model.fusion: {kind: frm_ffm}}", "{model.streams: thermal}"))
    assert streams_line(study_on_data(read_space(space), of_data)[0]) == ""
