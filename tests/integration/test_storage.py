"""Storage on S3: moto's server over HTTP."""

from __future__ import annotations

import json
import logging
import shutil
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import TYPE_CHECKING

import boto3
import pytest
from moto.server import ThreadedMotoServer
from ray.train._internal.storage import get_fs_and_path

from tune_cmx.errors import StorageError
from tune_cmx.retry import RETRY_S
from tune_cmx.storage import Mirror, check_writable, fetch_data
from tune_cmx.training.run import run_trial
from tune_cmx.training.run_folder import RunFolder

if TYPE_CHECKING:
    from collections.abc import Iterator

    from conftest import Tiny

    from tune_cmx.data.prepare import Prepared


class S3:
    """A server that can be stopped and started again; its content stays."""

    def __init__(self) -> None:
        self.port = 0
        self.start()

    def start(self) -> None:
        """At the same port as before."""
        self._server = ThreadedMotoServer(ip_address="127.0.0.1", port=self.port, verbose=False)
        self._server.start()
        _, self.port = self._server.get_host_and_port()

    def stop(self) -> None:
        """Connections are refused from now on."""
        self._server.stop()

    def uri(self, path: str) -> str:
        """A place on this server, as Ray's `storage_path` may have it."""
        return f"s3://{path}?endpoint_override=127.0.0.1:{self.port}&scheme=http"


@pytest.fixture
def s3(monkeypatch: pytest.MonkeyPatch) -> Iterator[S3]:
    """A server with the bucket `studies`."""
    logging.getLogger("werkzeug").setLevel(logging.ERROR)
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.setenv(name, "testing")
    monkeypatch.setenv("AWS_DEFAULT_REGION", "us-east-1")
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    server = S3()
    client = boto3.client("s3", endpoint_url=f"http://127.0.0.1:{server.port}")
    client.create_bucket(Bucket="studies")
    yield server
    for entry in client.list_objects_v2(Bucket="studies").get("Contents", []):
        client.delete_object(Bucket="studies", Key=entry["Key"])
    client.delete_bucket(Bucket="studies")
    client.close()
    server.stop()


def _plan(tiny: Tiny, root: Path) -> RunFolder:
    return RunFolder.plan(root / "trials/stages-2", tiny.study().arms["stages-2"].config, arm="stages-2")


def test_a_trial_that_goes_on_on_another_machine(tiny: Tiny, prepared: Prepared, s3: S3) -> None:
    """A node is lost after the first epoch; the second has nothing but the storage."""
    whole = _plan(tiny, tiny.folder / "whole")
    list(run_trial(whole, prepared))
    driver, first, second = (Mirror(tiny.folder / name, s3.uri("studies/tiny")) for name in ("driver", "one", "two"))
    planned = _plan(tiny, driver.local)
    driver.push()

    first.pull("trials/stages-2")
    reports = run_trial(RunFolder(first.local / "trials/stages-2"), prepared)
    assert next(reports).epoch == 1
    first.push("trials/stages-2")
    next(reports)  # an epoch that nobody is told of
    reports.close()

    driver.pull("trials/stages-2/trial.json")
    assert (planned.state().status, planned.state().epochs) == ("running", 1)
    second.pull("trials/stages-2")
    epochs = []
    for report in run_trial(RunFolder(second.local / "trials/stages-2"), prepared):
        epochs.append(report.epoch)
        second.push("trials/stages-2")
    assert epochs == [1, 2, 3]
    second.push("trials/stages-2")

    driver.pull("trials/stages-2")
    assert planned.state().status == "complete"
    assert tiny.numbers(planned) == tiny.numbers(whole)
    assert tiny.weights(planned) == tiny.weights(whole)
    assert driver.names("trials/stages-2/checkpoint") == ["epoch_0003"]
    assert driver.names("trials/stages-2/checkpoint/epoch_0003") == ["history.json", "model.safetensors"]
    assert [(part.first_epoch, part.last_epoch) for part in planned.state().lineage] == [(1, 1), (2, 3)]


@pytest.mark.slow
def test_a_study_whose_data_and_results_are_on_storage(
    tiny: Tiny, s3: S3, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """From the search to a report on another machine, which has nothing but the storage."""
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    Mirror(tiny.data, s3.uri("studies/data")).push()
    places = ("--data", s3.uri("studies/data"), "--output-dir", s3.uri("studies/runs"))
    space = tiny.space(search={"model.fusion.stages": {"choice": [[1], [2]]}})
    assert tiny.search(space, *places) == 0, tiny.log()

    study = Mirror(tmp_path / "read", s3.uri("studies/runs/tiny"))
    study.pull_all()
    content = json.loads((study.local / "study.json").read_text())
    assert content["status"] == "complete"
    assert len(content["selection"]["finalists"]) == 1
    records = {path.parent.name: RunFolder(path.parent) for path in study.local.glob("trials/*/trial.json")}
    assert len(records) == 2 + 2
    assert {record.state().status for record in records.values()} <= {"complete", "stopped"}
    confirmed = [record for record in records.values() if record.state().phase == "confirm"]
    assert all((record.folder / "final_results.json").exists() for record in confirmed)
    assert (study.local / "report" / "report.md").exists()

    shutil.rmtree(tmp_path / "home")
    epochs = {name: record.state().epochs for name, record in records.items()}
    assert tiny.search(space, *places, "--resume") == 0, tiny.log()
    study.pull_all()
    assert {name: record.state().epochs for name, record in records.items()} == epochs
    assert all(len(record.state().lineage) == 1 for record in confirmed)


def test_a_server_that_is_away_for_a_while(tmp_path: Path, s3: S3) -> None:
    """Down for longer than the client's own attempts last, in the middle of pushes, which then go through."""
    mirror = Mirror(tmp_path / "here", s3.uri("studies/away"), retry_s=60)
    mirror.local.mkdir()
    for number in range(3):
        if number == 1:
            s3.stop()
            threading.Timer(8, s3.start).start()
        (mirror.local / f"{number}.txt").write_text(str(number))
        began = time.monotonic()
        mirror.push()
        assert number != 1 or time.monotonic() - began > 7
    again = Mirror(tmp_path / "there", s3.uri("studies/away"))
    again.pull_all()
    assert sorted(path.read_text() for path in again.local.iterdir()) == ["0", "1", "2"]


def test_a_server_that_stays_away(tmp_path: Path, s3: S3) -> None:
    mirror = Mirror(tmp_path, s3.uri("studies/gone"), retry_s=0)
    (tmp_path / "study.json").write_text("{}")
    s3.stop()
    with pytest.raises(
        StorageError,
        match=r"s3://studies/gone\S+: could not write study\.json in \d+ s: .*; see that the storage can be",
    ):
        mirror.push()
    s3.start()


def test_a_wrong_bucket_is_found_at_once(s3: S3) -> None:
    check_writable(s3.uri("studies/new"))
    began = time.monotonic()
    with pytest.raises(StorageError, match=r"could not write writable-.*NO_SUCH_BUCKET.*; make the bucket first"):
        check_writable(s3.uri("studdies/new"))
    assert time.monotonic() - began < RETRY_S / 10  # a busy machine takes seconds, a retry ten minutes


def test_several_trials_of_a_node_download_the_data_once(tiny: Tiny, s3: S3) -> None:
    place = Mirror(tiny.data, s3.uri("studies/data/people"))
    place.push()
    code = (
        "import sys; from pathlib import Path; from tune_cmx.storage import fetch_data\n"
        "print(fetch_data(sys.argv[1], Path(sys.argv[2])))"
    )
    command = [sys.executable, "-c", code, place.uri, tiny.folder / "cache"]
    processes = [subprocess.Popen(command, stdout=subprocess.PIPE, text=True) for _ in range(3)]
    folders = {process.communicate(timeout=240)[0].strip() for process in processes}
    assert [process.returncode for process in processes] == [0, 0, 0]
    (folder,) = folders
    assert fetch_data(place.uri, tiny.folder / "cache") == Path(folder)
    there, here = (
        {path.relative_to(root): path.read_bytes() for path in root.rglob("*") if path.is_file()}
        for root in (tiny.data, Path(folder))
    )
    assert here == there
    shown = [path.name for path in (tiny.folder / "cache").iterdir() if not path.name.endswith(".lock")]
    assert shown == [Path(folder).name]


def test_a_uri_means_what_it_means_to_ray(tmp_path: Path, s3: S3) -> None:
    place = s3.uri("studies/with/ray")
    (tmp_path / "study.json").write_text("{}")
    Mirror(tmp_path, place).push("study.json")
    system, path = get_fs_and_path(place)
    assert path == "studies/with/ray"
    assert system.open_input_stream(f"{path}/study.json").readall() == b"{}"
