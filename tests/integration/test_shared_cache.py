"""Trials and searches that read images from shared memory: the same numbers, and nothing left there."""

from __future__ import annotations

import contextlib
import io
import os
import subprocess
import time
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from rich.console import Console

from tune_cmx.cli import main
from tune_cmx.cli.output import out
from tune_cmx.data.shared import image_cache
from tune_cmx.training.run import run_trial
from tune_cmx.training.run_folder import RunFolder

if TYPE_CHECKING:
    from conftest import Tiny

    from tune_cmx.config.trial import TrialConfig
    from tune_cmx.data.prepare import Prepared


pytestmark = pytest.mark.usefixtures("one_thread")


def folder_of(prepared: Prepared) -> Path:
    """Where the images of these data lie while they are shared; other data, also a leftover's, have another folder."""
    name = image_cache._family() + image_cache._key(prepared.data, prepared.audit)
    return image_cache._memory() / name


def in_memory(prepared: Prepared) -> list[Path]:
    """That folder, also under the name that it gets while it is removed."""
    folder = folder_of(prepared)
    return list(folder.parent.glob(f"{folder.name}*"))


def with_schedule(config: TrialConfig, **changes: object) -> TrialConfig:
    return config.model_copy(update={"schedule": config.schedule.model_copy(update={"epochs": 2, **changes})})


@pytest.mark.parametrize("processes", [1, pytest.param(2, marks=pytest.mark.slow)])
def test_a_trial_has_the_same_numbers_with_and_without(tiny: Tiny, prepared: Prepared, processes: int) -> None:
    config = with_schedule(tiny.study().arms["baseline"].config, processes=processes)
    plain, shared = (
        RunFolder.plan(tiny.folder / name, config, arm="baseline", phase="single") for name in ("plain", "shared")
    )
    list(run_trial(plain, prepared))
    with closing(run_trial(shared, prepared, shared_cache=True)) as reports:
        assert next(reports).epoch == 1
        assert in_memory(prepared) == [folder_of(prepared)]
    assert not in_memory(prepared)
    list(run_trial(shared, prepared, shared_cache=True, workers=1))
    assert not in_memory(prepared)
    assert tiny.numbers(shared) == tiny.numbers(plain)
    assert tiny.weights(shared) == tiny.weights(plain)


def test_a_trial_decodes_nothing_itself(
    tiny: Tiny, prepared: Prepared, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tune_cmx.data.dataset.read_image", None)
    config = with_schedule(tiny.study().arms["baseline"].config)
    record = RunFolder.plan(tmp_path / "record", config, arm="baseline", phase="single")
    assert len(list(run_trial(record, prepared, shared_cache=True))) == 2


def test_a_trial_goes_on_where_they_do_not_fit(
    tiny: Tiny, prepared: Prepared, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(image_cache, "USABLE", 0.0)
    config = with_schedule(tiny.study().arms["baseline"].config)
    record = RunFolder.plan(tmp_path / "record", config, arm="baseline", phase="single")
    assert len(list(run_trial(record, prepared, shared_cache=True))) == 2
    assert "every process decodes its own images" in caplog.text


def test_a_search_keeps_them_from_one_trial_to_the_next_and_leaves_none(tiny: Tiny, prepared: Prepared) -> None:
    """The driver holds them between the search and its confirmation: the index is the same file all the while."""
    fixed = {**tiny.fixed, "schedule": {**tiny.fixed["schedule"], "epochs": 1}}
    space = tiny.space(fixed=fixed, search={"model.fusion.stages": {"choice": [[1]]}}, early_stopping={"kind": "none"})
    process = tiny.start(space, "--max-concurrent", "1", "--shared-cache")
    index, seen = folder_of(prepared) / "index.json", set()
    try:
        while process.poll() is None:
            with contextlib.suppress(FileNotFoundError):
                seen.add(index.stat().st_ino)
            time.sleep(0.02)
    finally:
        process.kill()
        process.wait()
    assert process.returncode == 0, tiny.log()
    assert len(seen) == 1
    assert not in_memory(prepared)
    assert {record.state().status for record in tiny.records().values()} == {"complete"}


def test_a_trial_that_is_asked_to_end_says_how_to_resume_it(
    tiny: Tiny, prepared: Prepared, monkeypatch: pytest.MonkeyPatch
) -> None:
    """By SIGTERM, as clusters do; it leaves no images in shared memory, and is resumed where it was."""
    config, ended = tiny.study().arms["stages-2"].config, tiny.folder / "ended"
    whole = RunFolder.plan(tiny.folder / "whole", config, arm="stages-2", phase="single")
    list(run_trial(whole, prepared))
    words = ["train", "--config", str(whole.folder / "config.json"), "--output-dir", str(ended)]
    words += ["--threads", "1", "--device", "cpu", "--shared-cache"]
    record, environment = RunFolder(ended), {**os.environ, "OMP_NUM_THREADS": "1"}
    with subprocess.Popen([*tiny.command, *words], env=environment, stdout=subprocess.PIPE, text=True) as process:
        tiny.wait_until(lambda: (ended / "trial.json").exists() and record.state().epochs >= 1)
        process.terminate()
        said, _ = process.communicate(timeout=240)
    reached = record.state().epochs
    assert process.returncode == 130
    assert said.splitlines()[-1] == f"interrupted after epoch {reached}; run the same command to resume"
    assert not in_memory(prepared)
    again = io.StringIO()
    monkeypatch.setattr(out, "__dict__", vars(Console(file=again, width=200, highlight=False)))
    with pytest.raises(SystemExit, match=r"^0$"):  # in this process, which has torch already
        main(words)
    assert f"ended: resumed after epoch {reached} of 3" in again.getvalue()
    assert tiny.numbers(record) == tiny.numbers(whole)
