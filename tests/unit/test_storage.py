"""A mirror on a storage that is a folder; tests/integration/test_storage.py has the same on S3."""

import gzip
import json
import threading
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from tune_cmx.errors import StorageError
from tune_cmx.storage import Mirror, check_writable, fetch_data, is_uri
from tune_cmx.storage.store import Store

RECORD = "trials/a-trial"


class Trial:
    """Writes a record's files as a trial does."""

    def __init__(self, root: Path) -> None:
        self.folder = root / RECORD
        self.folder.mkdir(parents=True)
        (self.folder / "config.json").write_text("{}")
        (self.folder / ".lock").touch()
        self.epochs = 0
        self._tell("planned")

    def _tell(self, status: str) -> None:
        fresh = self.folder / ".trial.json.partial"
        fresh.write_text(json.dumps({"status": status, "epochs": self.epochs}))
        fresh.replace(self.folder / "trial.json")

    def epoch(self) -> None:
        """One more: the checkpoint, then the row, then the state."""
        self.epochs += 1
        checkpoint = self.folder / "checkpoint" / f"epoch_{self.epochs:04d}"
        checkpoint.mkdir(parents=True)
        for name in ("model.safetensors", "state.pt", "history.json"):
            (checkpoint / name).write_text(f"{name} of {self.epochs}")
        for older in self.folder.glob("checkpoint/*"):
            if older != checkpoint:
                for file in older.iterdir():
                    file.unlink()
                older.rmdir()
        with (self.folder / "metrics.csv").open("a") as file:
            file.write(f"{self.epochs}\n")
        self._tell("running")

    def complete(self) -> None:
        """Results, the state, and no optimizer any more."""
        (self.folder / "final_results.json").write_text("{}")
        self._tell("complete")
        (self.folder / f"checkpoint/epoch_{self.epochs:04d}/state.pt").unlink()


def files(folder: Path) -> dict[str, str]:
    """Every file that is not hidden, by path."""
    found = (path for path in folder.rglob("*") if path.is_file() and not path.name.startswith("."))
    return {path.relative_to(folder).as_posix(): path.read_text() for path in found}


def assert_consistent(folder: Path) -> int:
    """No state without its row, no row without its checkpoint, no half checkpoint; returns the epochs."""
    state = json.loads((folder / "trial.json").read_text())
    rows = (folder / "metrics.csv").read_text().split() if (folder / "metrics.csv").exists() else []
    saved = sorted((folder / "checkpoint").iterdir()) if (folder / "checkpoint").exists() else []
    assert len(saved) <= 1
    number = int(saved[0].name.removeprefix("epoch_")) if saved else 0
    assert state["epochs"] <= len(rows) <= number
    assert (folder / "config.json").exists()
    if saved:
        assert {path.name for path in saved[0].iterdir()} >= {"model.safetensors", "history.json"}
        assert (saved[0] / "state.pt").exists() or state["status"] == "complete"
        assert {path.read_text().rpartition(" ")[2] for path in saved[0].iterdir()} == {str(number)}
    if state["status"] == "complete":
        assert (folder / "final_results.json").exists()
    return int(state["epochs"])


@pytest.fixture
def trial(tmp_path: Path) -> Trial:
    return Trial(tmp_path / "worker")


@pytest.fixture
def uri(tmp_path: Path) -> str:
    return (tmp_path / "storage").as_uri()


@pytest.fixture
def worker(tmp_path: Path, uri: str) -> Mirror:
    return Mirror(tmp_path / "worker", uri, retry_s=0)


@pytest.fixture
def driver(tmp_path: Path, uri: str) -> Mirror:
    return Mirror(tmp_path / "driver", uri, retry_s=0)


def test_what_is_a_uri() -> None:
    assert is_uri("s3://bucket/prefix")
    assert not is_uri("/shared/runs")
    assert not is_uri(Path("runs"))


def test_a_compressed_file_stays_as_it_is(worker: Mirror, driver: Mirror, tmp_path: Path) -> None:
    """Arrow packs and unpacks by the name's ending unless it is told not to."""
    content = gzip.compress(b"detections", mtime=0)
    (worker.local / "data").mkdir(parents=True)
    (worker.local / "data" / "truth.json.gz").write_bytes(content)
    worker.push("data")
    assert (tmp_path / "storage" / "data" / "truth.json.gz").read_bytes() == content
    driver.pull("data")
    assert (driver.local / "data" / "truth.json.gz").read_bytes() == content


def test_a_record_goes_there_and_back(trial: Trial, worker: Mirror, driver: Mirror) -> None:
    for _ in range(2):
        trial.epoch()
        worker.push(RECORD)
    driver.pull(RECORD)
    assert files(driver.local / RECORD) == files(trial.folder)
    trial.complete()
    worker.push(RECORD)
    assert driver.names(f"{RECORD}/checkpoint") == ["epoch_0002"]
    assert driver.names(f"{RECORD}/checkpoint/epoch_0002") == ["history.json", "model.safetensors"]
    driver.pull(RECORD)
    assert files(driver.local / RECORD) == files(trial.folder)


def test_a_study_goes_there_and_back(trial: Trial, worker: Mirror, driver: Mirror) -> None:
    trial.epoch()
    (worker.local / "study.json").write_text("{}")
    (worker.local / "data").mkdir()
    (worker.local / "data" / "split.json").write_text("[]")
    worker.push()
    assert driver.exists("data/split.json")
    assert driver.exists("data")
    assert not driver.exists("data/audit.json")
    assert driver.names() == ["data", "study.json", "trials"]
    assert driver.names("nowhere") == []
    driver.pull_all()
    without_checkpoint = {name: text for name, text in files(worker.local).items() if "/checkpoint/" not in name}
    assert files(driver.local) == without_checkpoint


def test_a_driver_pushes_the_state_alone_and_takes_no_checkpoint_away(
    trial: Trial, worker: Mirror, driver: Mirror
) -> None:
    trial.epoch()
    worker.push(RECORD)
    driver.pull_all()
    (driver.local / RECORD / "trial.json").write_text('{"status": "stopped"}')
    driver.push(RECORD)
    worker.pull(f"{RECORD}/trial.json")
    assert (trial.folder / "trial.json").read_text() == '{"status": "stopped"}'
    assert driver.exists(f"{RECORD}/checkpoint/epoch_0001/state.pt")


def test_only_what_changed_is_sent(trial: Trial, worker: Mirror, tmp_path: Path) -> None:
    trial.epoch()
    worker.push(RECORD)
    there = tmp_path / "storage" / RECORD
    before = {path: path.stat().st_ino for path in there.rglob("*") if path.is_file()}
    with (trial.folder / "metrics.csv").open("a") as file:
        file.write("2\n")
    worker.push(RECORD)
    after = {path: path.stat().st_ino for path in there.rglob("*") if path.is_file()}
    assert {path.name for path in after if after[path] != before[path]} == {"metrics.csv"}


def test_a_checkpoint_that_is_here_is_not_fetched_again(trial: Trial, worker: Mirror, driver: Mirror) -> None:
    trial.epoch()
    worker.push(RECORD)
    driver.pull(RECORD)
    weights = driver.local / RECORD / "checkpoint/epoch_0001/model.safetensors"
    before = weights.stat().st_ino
    Mirror(driver.local, driver.uri).pull(RECORD)
    assert weights.stat().st_ino == before
    (weights.parent / "history.json").write_text("history.json of X")
    driver.pull(RECORD)
    assert weights.stat().st_ino != before
    assert assert_consistent(driver.local / RECORD) == 1


def test_the_storage_is_the_truth(trial: Trial, worker: Mirror) -> None:
    """An epoch that was not pushed is dropped, rows and all: it is trained again."""
    trial.epoch()
    worker.push(RECORD)
    pushed = files(trial.folder)
    trial.epoch()
    (trial.folder / "error.txt").write_text("the storage did not come back")
    worker.pull(RECORD)
    assert files(trial.folder) == pushed


class Killed(BaseException):
    """The process ends here."""


@pytest.mark.parametrize(("ending", "requests"), [(False, 8), (True, 3)])
def test_a_push_that_is_killed_leaves_a_record_that_can_be_taken_up(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, ending: bool, requests: int
) -> None:
    """Killed after any number of changes to the storage, while an epoch is pushed or the end of the trial."""
    for after in range(requests + 1):
        trial = Trial(tmp_path / f"worker-{after}")
        worker, driver = (
            Mirror(tmp_path / f"{name}-{after}", (tmp_path / f"storage-{after}").as_uri())
            for name in ("worker", "driver")
        )
        trial.epoch()
        worker.push(RECORD)
        trial.complete() if ending else trial.epoch()
        assert _dies_in_push(worker, monkeypatch, after) == (after < requests)
        driver.pull(RECORD)
        assert assert_consistent(driver.local / RECORD) >= 1
        Mirror(worker.local, worker.uri).push(RECORD)
        driver.pull(RECORD)
        assert files(driver.local / RECORD) == files(trial.folder)


def _dies_in_push(worker: Mirror, monkeypatch: pytest.MonkeyPatch, after: int) -> bool:
    left = iter(range(after))

    def dies(request: Callable[..., None]) -> Callable[..., None]:
        def attempt(*arguments: object) -> None:
            if next(left, None) is None:
                raise Killed
            request(*arguments)

        return attempt

    with monkeypatch.context() as patched:
        patched.setattr(Store, "put", dies(Store.put))
        patched.setattr(Store, "remove", dies(Store.remove))
        try:
            worker.push(RECORD)
        except Killed:
            return True
    return False


def test_a_reader_at_any_moment(trial: Trial, worker: Mirror, driver: Mirror) -> None:
    worker.push(RECORD)

    def train() -> None:
        for _ in range(40):
            trial.epoch()
            worker.push(RECORD)

    seen = set()
    thread = threading.Thread(target=train)
    thread.start()
    while thread.is_alive():
        driver.pull(RECORD)
        seen.add(assert_consistent(driver.local / RECORD))
    thread.join()
    driver.pull(RECORD)
    assert assert_consistent(driver.local / RECORD) == 40
    assert len(seen) > 1, "it read only once"


def test_storage_that_fails_for_a_while(trial: Trial, worker: Mirror, tmp_path: Path) -> None:
    """A file is where its folder should be, until somebody takes it away."""
    trial.epoch()
    (tmp_path / "storage").write_text("in the way")
    with pytest.raises(
        StorageError, match=r"storage: could not write trials/a-trial/config\.json in 0 s: .*; see that"
    ):
        worker.push(RECORD)
    patient = Mirror(worker.local, worker.uri, retry_s=20)
    threading.Timer(0.5, (tmp_path / "storage").unlink).start()
    began = time.monotonic()
    patient.push(RECORD)
    assert time.monotonic() - began > 0.4
    assert files(tmp_path / "storage" / RECORD) == files(trial.folder)


def test_what_is_not_there(driver: Mirror) -> None:
    with pytest.raises(StorageError, match="nothing is at 'trials/nobody'; was it pushed there"):
        driver.pull("trials/nobody")


def test_a_name_that_would_lead_out(tmp_path: Path) -> None:
    with pytest.raises(StorageError, match="give s3://bucket/prefix, or an absolute path"):
        Mirror(tmp_path, "s4://bucket").names()


def test_no_credentials_in_an_error() -> None:
    assert Store("s3://key:secret@bucket/prefix", 0).name == "s3://bucket/prefix"


def test_a_place_that_can_be_written_to(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    for place in ("runs/new", tmp_path / "a b%20c", (tmp_path / "other").as_uri()):
        check_writable(place)
    assert [path.name for path in tmp_path.rglob("*") if path.is_file()] == []
    assert (tmp_path / "runs/new").is_dir()


def test_a_place_that_cannot(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(StorageError, match=r"file/runs: could not write writable-\w+\.txt in 0 s: "):
        check_writable(tmp_path / "file" / "runs", retry_s=0)


def test_data_are_downloaded_once(tmp_path: Path) -> None:
    there, cache = tmp_path / "there" / "people", tmp_path / "cache"
    for name in ("rgb/1.png", "thermal/1.png", "classes.txt"):
        (there / name).parent.mkdir(parents=True, exist_ok=True)
        (there / name).write_text(name)
    first = fetch_data(there.as_uri(), cache)
    assert first.name.startswith("people-")
    assert files(first) == files(there)
    inode = (first / "rgb/1.png").stat().st_ino
    assert fetch_data(there.as_uri(), cache) == first
    assert (first / "rgb/1.png").stat().st_ino == inode
    (there / "rgb/1.png").write_text("another picture")
    second = fetch_data(there.as_uri(), cache)
    assert second != first
    assert files(second) == files(there)
    assert (first / "rgb/1.png").read_text() == "rgb/1.png"


def test_a_download_that_broke_off_is_continued(tmp_path: Path) -> None:
    there, cache = tmp_path / "people", tmp_path / "cache"
    there.mkdir()
    for number in range(20):
        (there / f"{number}.txt").write_text(str(number))
    whole = fetch_data(there.as_uri(), cache)
    whole.rename(cache / f".{whole.name}.partial")
    (cache / f".{whole.name}.partial" / "7.txt").unlink()
    kept = (cache / f".{whole.name}.partial" / "8.txt").stat().st_ino
    assert fetch_data(there.as_uri(), cache) == whole
    assert files(whole) == files(there)
    assert (whole / "8.txt").stat().st_ino == kept


def test_no_data(tmp_path: Path) -> None:
    with pytest.raises(StorageError, match="no files are there; copy the data set there, or correct the URI"):
        fetch_data((tmp_path / "nothing").as_uri(), tmp_path / "cache")
    assert list(tmp_path.iterdir()) == []


def test_a_model_folder_is_stored_without_its_weights(trial: Trial, worker: Mirror, driver: Mirror) -> None:
    trial.epoch()
    trial.complete()
    model = trial.folder / "model"
    model.mkdir()
    for name in ("model.json", "README.md", "model.safetensors"):
        (model / name).write_text(name)
    worker.push()
    driver.pull()
    taken = {path.name for path in driver.local.rglob("model/*")}
    assert taken == {"model.json", "README.md"}
    assert list(driver.local.rglob("checkpoint/*/model.safetensors"))
