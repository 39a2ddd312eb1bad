"""A disk that is full, for a while or for good, while a trial is trained: a small tmpfs, filled up."""

from __future__ import annotations

import subprocess
import threading
from typing import TYPE_CHECKING

import pytest

from tune_cmx import retry
from tune_cmx.errors import TrialError
from tune_cmx.training.checkpoint import checkpoints
from tune_cmx.training.run import run_trial
from tune_cmx.training.run_folder import RunFolder

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from conftest import Tiny

    from tune_cmx.data.prepare import Prepared

pytestmark = pytest.mark.usefixtures("one_thread")

_MIB = 2**20


class Disk:
    """A file system of 16 MiB."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._filler = folder / "filler"

    def fill(self) -> None:
        """To the last byte."""
        with self._filler.open("wb", buffering=0) as file:
            size = _MIB
            while size:
                try:
                    file.write(bytes(size))
                except OSError:
                    size //= 2

    def free(self) -> None:
        """Give the room back."""
        self._filler.unlink()

    def free_once_waited_for(self, monkeypatch: pytest.MonkeyPatch) -> list[str]:
        """Give the room back 2 s after somebody began to wait for it; what was waited for."""
        waited: list[str] = []

        def warning(_: str, place: str, *__: object) -> None:
            if not waited:
                threading.Timer(2, self.free).start()
            waited.append(place)

        monkeypatch.setattr(retry._log, "warning", warning)
        return waited


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[Disk]:
    folder = tmp_path / "disk"
    folder.mkdir()
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=16m", "tmpfs", str(folder)], capture_output=True, text=True, check=False
    )
    if mounted.returncode:
        pytest.skip(f"a file system cannot be mounted here: {mounted.stderr.strip()}")
    yield Disk(folder)
    subprocess.run(["umount", "--lazy", str(folder)], check=True)


@pytest.fixture
def whole(tiny: Tiny, prepared: Prepared) -> RunFolder:
    """The trial on a disk with room."""
    record = _plan(tiny, tiny.folder / "whole")
    list(run_trial(record, prepared))
    return record


def _plan(tiny: Tiny, folder: Path) -> RunFolder:
    return RunFolder.plan(folder, tiny.study().arms["stages-2"].config, arm="stages-2", phase="single")


def _assert_alike(tiny: Tiny, record: RunFolder, whole: RunFolder) -> None:
    assert record.state().status == "complete"
    assert tiny.numbers(record) == tiny.numbers(whole)
    assert tiny.weights(record) == tiny.weights(whole)
    for name in ("detections.json.gz", "config.json"):
        assert (record.folder / name).read_bytes() == (whole.folder / name).read_bytes()


def test_a_disk_that_stays_full(
    tiny: Tiny, prepared: Prepared, disk: Disk, whole: RunFolder, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The trial fails and says why; what it had is intact; with room again it goes on as if nothing had been."""
    monkeypatch.setattr(retry, "RETRY_S", 0.5)
    record = _plan(tiny, disk.folder / "trial")
    reports = run_trial(record, prepared)
    next(reports)
    rows = (record.folder / "metrics.csv").read_bytes()
    disk.fill()
    with pytest.raises(TrialError, match=r"epoch_0002: No space left on device for \d+ s; free some space there, then"):
        next(reports)
    assert (record.folder / "metrics.csv").read_bytes() == rows
    assert [path.name for path in record.checkpoints.iterdir()] == ["epoch_0001"]
    state = record.state()
    assert (state.status, state.epochs) == ("failed", 1)
    assert "epoch_0002: No space left on device" in state.reason
    assert "OSError" in (record.folder / "error.txt").read_text()

    disk.free()
    record.update(status="interrupted", reason="failed before, tried again")
    list(run_trial(record, prepared))
    assert [(part.first_epoch, part.last_epoch) for part in record.state().lineage] == [(1, 1), (2, 3)]
    assert (record.folder / "metrics.csv").read_bytes().startswith(rows)
    _assert_alike(tiny, record, whole)


def test_a_disk_that_is_full_for_a_while(
    tiny: Tiny, prepared: Prepared, disk: Disk, whole: RunFolder, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The trial waits, and nobody else notices."""
    record = _plan(tiny, disk.folder / "trial")
    reports = run_trial(record, prepared)
    next(reports)
    disk.fill()
    waited = disk.free_once_waited_for(monkeypatch)
    list(reports)
    assert waited == [str(record.checkpoints / "epoch_0002")]
    assert len(record.state().lineage) == 1
    _assert_alike(tiny, record, whole)


def test_rows_and_states_wait_too(tiny: Tiny, disk: Disk, monkeypatch: pytest.MonkeyPatch) -> None:
    record = _plan(tiny, disk.folder / "trial")
    record.begin_session(1)
    columns = [f"val/{number:03d}" for number in range(400)]  # a row of several pages
    disk.fill()
    waited = disk.free_once_waited_for(monkeypatch)
    record.add_epoch({"epoch": 1, "seconds": 1.0, **dict.fromkeys(columns, 1 / 3)}, session_seconds=1.0)
    disk.fill()
    waited.clear()
    record.update(reason="long " * 1000)
    assert waited == [str(record.folder / "trial.json")]
    assert (record.folder / "metrics.csv").read_text().count("\n") == 2
    assert record.rows()[0]["val/399"] == 1 / 3
    assert record.state().epochs == 1


def test_half_a_row_is_cut_back(tiny: Tiny, disk: Disk, monkeypatch: pytest.MonkeyPatch) -> None:
    """There is room for one page of a row of several: none of it stays, neither while it waits nor after."""
    monkeypatch.setattr(retry, "RETRY_S", 0.3)
    record = _plan(tiny, disk.folder / "trial")
    record.begin_session(1)
    path = record.folder / "metrics.csv"
    columns = [f"val/{number:03d}" for number in range(400)]
    record.add_epoch({"epoch": 1, "seconds": 1.0, **dict.fromkeys(columns, 1 / 3)}, session_seconds=1.0)
    before, state = path.read_bytes(), record.state()
    disk.fill()
    for _ in range(3):
        with pytest.raises(TrialError, match=r"metrics\.csv: No space left on device for \d s"):
            record.add_epoch({"epoch": 2, "seconds": 2.0, **dict.fromkeys(columns, 1 / 7)}, session_seconds=2.0)
        assert path.read_bytes() == before
    assert record.state() == state
    disk.free()
    record.add_epoch({"epoch": 2, "seconds": 2.0, **dict.fromkeys(columns, 1 / 7)}, session_seconds=2.0)
    assert [row["val/399"] for row in record.rows()] == [1 / 3, 1 / 7]


def test_a_note_that_finds_no_room_it_can_be(tiny: Tiny, disk: Disk, monkeypatch: pytest.MonkeyPatch) -> None:
    """It raises nothing and leaves the state readable."""
    monkeypatch.setattr("tune_cmx.training.run_folder._LAST_WORDS_S", 0.2)
    record = _plan(tiny, disk.folder / "trial")
    record.begin_session(1)
    disk.fill()
    record.fail("loss is nan", "a traceback")
    assert record.state().status == "running"
    assert sorted(path.name for path in record.folder.iterdir()) == ["config.json", "trial.json"]
    assert checkpoints(record.checkpoints) == []
    disk.free()
    record.fail("loss is nan", "a traceback")
    assert (record.state().status, record.state().reason) == ("failed", "loss is nan")
    assert (record.folder / "error.txt").read_text() == "a traceback"
