"""Where Ray runs, what a trial may use there, and Ray for the length of a study."""

import logging
import os
import signal
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import ray
from ray.autoscaler.sdk import request_resources

from tune_cmx.errors import ConfigError

_ENVIRONMENT = {
    "RAY_USAGE_STATS_ENABLED": "0",
    "TUNE_DISABLE_AUTO_CALLBACK_LOGGERS": "1",
    "RAY_CHDIR_TO_TRIAL_DIR": "0",
    "TUNE_WARN_EXCESSIVE_EXPERIMENT_CHECKPOINT_SYNC_THRESHOLD_S": "0",
}

_ASK_AGAIN_S = 2.0


@dataclass(frozen=True)
class Resources:
    """What a trial may use, and where Ray runs."""

    address: str | None
    """Of a running cluster; None: a cluster of this machine alone, for as long as the study runs."""
    cpus_per_trial: float
    gpus_per_trial: float
    max_concurrent: int | None
    device: str
    threads: int
    workers: int
    """Loader processes of a trial."""
    wait_s: float = 0.0
    """How long to wait for a node that holds a trial, as where a cluster grows with what is asked of it."""

    def of_trial(self, processes: int) -> dict[str, float]:
        """What Ray sets aside for a trial: a whole card for each process, where it has several."""
        gpus = self.gpus_per_trial if processes == 1 else float(processes) * (self.gpus_per_trial > 0)
        return {"cpu": self.cpus_per_trial * processes, "gpu": gpus}


@contextmanager
def ray_cluster(address: str | None) -> Iterator[None]:
    """Ray for the length of a study. SIGTERM, as `ray job stop` sends it, ends the study like Ctrl-C.

    Raises:
        ConfigError: There is no cluster at the address.
    """
    for name, value in _ENVIRONMENT.items():
        os.environ.setdefault(name, value)
    try:
        if address is None:
            ray.init("local", include_dashboard=False, log_to_driver=False, logging_level=logging.ERROR)
        else:
            ray.init(address, log_to_driver=False, logging_level=logging.ERROR)
    except ConnectionError as error:
        raise ConfigError(f"--address: no Ray cluster at '{address}': {error}") from error
    main = threading.current_thread() is threading.main_thread()
    previous = signal.signal(signal.SIGTERM, lambda *_: os.kill(os.getpid(), signal.SIGINT)) if main else None
    try:
        yield
    finally:
        if main:
            signal.signal(signal.SIGTERM, previous)
        ray.shutdown()


def slots(resources: Resources, processes: int) -> int:
    """How many trials run at once.

    Args:
        resources: What each asks for.
        processes: Of a trial, the most that any has.

    Raises:
        ConfigError: No node of the cluster holds even one.
    """
    need = resources.of_trial(processes)
    fits = _fits(need)
    deadline = time.monotonic() + resources.wait_s
    if not any(fits) and resources.wait_s:
        request_resources(bundles=[{"CPU": need["cpu"], "GPU": need["gpu"]}])
    while not any(fits) and time.monotonic() < deadline:
        time.sleep(_ASK_AGAIN_S)
        fits = _fits(need)
    if not any(fits):
        have: dict[str, float] = ray.cluster_resources()  # type: ignore[no-untyped-call]
        raise ConfigError(
            f"a trial asks for {need['cpu']:g} CPUs and {need['gpu']:g} GPUs on one node; the cluster has "
            f"{have.get('CPU', 0):g} and {have.get('GPU', 0):g} on {len(fits)} nodes; "
            "lower --cpus-per-trial or --gpus-per-trial, or wait for nodes with --wait-for-nodes MINUTES"
        )
    return min(sum(fits), resources.max_concurrent or sum(fits))


def _fits(need: dict[str, float]) -> list[int]:
    """Trials that each node holds."""
    nodes: list[dict[str, Any]] = ray.nodes()  # type: ignore[no-untyped-call]
    return [_on_node(node["Resources"], need) for node in nodes if node["Alive"]]


def _on_node(have: dict[str, float], need: dict[str, float]) -> int:
    """Trials that a node holds; several on a card never share two cards."""
    fits = [int(have.get("CPU", 0) / need["cpu"] + 1e-9)]
    if 0 < need["gpu"] <= 1:
        fits.append(int(have.get("GPU", 0)) * int(1 / need["gpu"] + 1e-9))
    elif need["gpu"]:
        fits.append(int(have.get("GPU", 0) / need["gpu"] + 1e-9))
    return min(fits)
