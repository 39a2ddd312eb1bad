"""What every node of a cluster must see, looked at from a worker of a real one."""

import os
import signal
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tune_cmx.errors import ConfigError
from tune_cmx.search.cluster import Resources, check_nodes, ray_cluster, slots

RESOURCES = Resources(None, 1, 0, max_concurrent=1, device="cpu", threads=1, workers=0)


@pytest.fixture(scope="module", autouse=True)
def _cluster() -> Iterator[None]:
    with ray_cluster(RESOURCES):
        yield


def test_a_cluster_of_this_machine_holds_as_many_trials_as_are_wanted() -> None:
    assert slots(RESOURCES) == 1
    assert RESOURCES.at_most is None


def test_sigterm_ends_a_study_like_ctrl_c() -> None:
    before = signal.signal(signal.SIGINT, signal.default_int_handler)  # an earlier study's Ray Tune leaves its own
    try:
        with pytest.raises(KeyboardInterrupt):  # noqa: PT012  it comes a moment after the signal
            os.kill(os.getpid(), signal.SIGTERM)
            time.sleep(60)
    finally:
        signal.signal(signal.SIGINT, before)


def test_a_trial_that_no_node_holds_is_refused() -> None:
    asks = Resources(None, 4096, 0, max_concurrent=None, device="cpu", threads=1, workers=0)
    with pytest.raises(ConfigError, match="a trial asks for 4096 CPUs and 0 GPUs on one node; the cluster has 1"):
        slots(asks)


def test_places_that_all_nodes_see(tmp_path: Path) -> None:
    (tmp_path / "study.json").write_text("{}")
    check_nodes(tmp_path, str(tmp_path))
    assert [path.name for path in tmp_path.iterdir()] == ["study.json"]


def test_a_folder_that_a_node_does_not_see_is_named(tmp_path: Path) -> None:
    with pytest.raises(
        ConfigError, match=r"node [\d.]+: .*another folder than the driver's; data and --output-dir must"
    ):
        check_nodes(tmp_path / "elsewhere", None)
    (tmp_path / "study.json").write_text("{}")
    with pytest.raises(ConfigError, match=r"the data's folder .*absent is not there"):
        check_nodes(tmp_path, str(tmp_path / "absent"))
