"""Where Ray runs, what a trial may use there, and Ray for the length of a study."""

import os
import signal
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import ray
from ray.autoscaler.sdk import request_resources
from ray.exceptions import RayError
from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

from tune_cmx.errors import ConfigError, StorageError
from tune_cmx.machine import cores_here
from tune_cmx.search.ray_start import start_ray
from tune_cmx.state.study_state import STUDY_FILE
from tune_cmx.storage import check_writable, is_uri

_ASK_AGAIN_S = 2.0
_BELIEVED_S = 5.0
"""How long the size of the cluster counts as known."""


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
    shared_cache: bool = False
    """Whether the trials of a node read images from memory that they share."""
    processes: int = 1
    """Of a trial; each takes a whole GPU, where it has several."""
    measure_share: bool = False
    """The share of a GPU follows from the memory that the largest trial takes, measured before the start."""
    wait_s: float = 0.0
    """How long to wait for a node that holds a trial, as where a cluster grows with what is asked of it."""

    @property
    def cpus_here(self) -> int | None:
        """CPUs that a cluster of this machine alone offers, so that it holds as many trials as are wanted.

        None: all that it has, because no lower limit is set, or the limit is no whole number of CPUs.
        """
        wanted = (self.max_concurrent or 0) * self.of_trial["CPU"]
        whole = 1 <= wanted <= cores_here() and wanted == int(wanted)
        return int(wanted) if self.address is None and whole else None

    @property
    def at_most(self) -> int | None:
        """Trials at a time, where the cluster's size does not say it. Ray keeps a worker for the next trial only while
        one waits for a place in the cluster."""
        return None if self.cpus_here else self.max_concurrent

    @property
    def of_trial(self) -> dict[str, float]:
        """What Ray sets aside for a trial, by Ray's names."""
        gpus = self.gpus_per_trial if self.processes == 1 else float(self.processes) * (self.gpus_per_trial > 0)
        return {"CPU": self.cpus_per_trial * self.processes, "GPU": gpus}


@contextmanager
def ray_cluster(resources: Resources, say: Callable[[str], None] | None = None) -> Iterator[None]:
    """Ray for the length of a study. SIGTERM, as `ray job stop` sends it, ends the study like Ctrl-C.

    Args:
        resources: Where, and how many trials at a time.
        say: Takes a sentence for the user if the start is slow.

    Raises:
        ConfigError: There is no cluster at the address.
        TrialError: Ray did not start in time.
    """
    start_ray(resources.address, resources.cpus_here, say=say)
    main = threading.current_thread() is threading.main_thread()
    previous = signal.signal(signal.SIGTERM, lambda *_: os.kill(os.getpid(), signal.SIGINT)) if main else None
    try:
        yield
    finally:
        if main:
            signal.signal(signal.SIGTERM, previous)
        ray.shutdown()


def slots(resources: Resources) -> int:
    """How many trials run at once.

    Args:
        resources: What each asks for.

    Raises:
        ConfigError: No node of the cluster holds even one.
    """
    need = resources.of_trial
    fits = _fits(need)
    deadline = time.monotonic() + resources.wait_s
    if not any(fits) and resources.wait_s:
        request_resources(bundles=[need])
    while not any(fits) and time.monotonic() < deadline:
        time.sleep(_ASK_AGAIN_S)
        fits = _fits(need)
    if resources.wait_s:
        request_resources(bundles=[])  # what was asked for would be kept for ever
    if not any(fits):
        have: dict[str, float] = ray.cluster_resources()  # type: ignore[no-untyped-call]
        raise ConfigError(
            f"a trial asks for {need['CPU']:g} CPUs and {need['GPU']:g} GPUs on one node; the cluster has "
            f"{have.get('CPU', 0):g} and {have.get('GPU', 0):g} on {len(fits)} nodes; "
            "lower --cpus-per-trial or --gpus-per-trial, or wait for nodes with --wait-for-nodes MINUTES"
        )
    return min(sum(fits), resources.max_concurrent or sum(fits))


class ClusterSlots:
    """How many trials the cluster holds at once, asked anew every few seconds, for nodes come and go."""

    def __init__(self, use: Mapping[str, float], *, at_most: int | None = None, ahead: int = 0) -> None:
        """Say what a trial needs.

        Args:
            use: What a trial takes of the cluster, by the names that Ray has for it (`CPU`, `GPU`).
            at_most: A limit that the user set.
            ahead: How many more may wait for a place. Ray keeps a worker for reuse only while a trial waits, and a
                cluster that scales itself grows only then; but one that waits comes before a later promotion.
        """
        self._use = {name: need for name, need in use.items() if need}
        self._at_most, self._ahead = at_most, ahead
        self._asked, self._slots = float("-inf"), 1

    def __call__(self) -> int:
        """At least 1, so that something waits where a cluster has no nodes yet."""
        if time.monotonic() - self._asked > _BELIEVED_S:
            have: dict[str, float] = ray.cluster_resources()  # type: ignore[no-untyped-call]
            fits = [int(have.get(name, 0) / need + 1e-9) for name, need in self._use.items()]
            self._slots = max(1, min(fits, default=1)) + self._ahead
            self._asked = time.monotonic()
        return self._slots if self._at_most is None else min(self._slots, self._at_most)


def check_nodes(place: Path | str, data: str | None) -> None:
    """Have every node write to the study's storage and look at the data: found wrong before anything is trained.

    Args:
        place: The study's folder, in which its `study.json` lies, or its URI.
        data: The data's folder or URI.

    Raises:
        ConfigError: A node does not see them; names the node and what is missing there.
    """
    nodes: list[dict[str, Any]] = ray.nodes()  # type: ignore[no-untyped-call]
    look = ray.remote(num_cpus=0)(_missing_here)
    asked = {
        node["NodeID"]: look.options(
            scheduling_strategy=NodeAffinitySchedulingStrategy(node["NodeID"], soft=False)
        ).remote(str(place), data)
        for node in nodes
        if node["Alive"]
    }
    addresses = {node["NodeID"]: node["NodeManagerAddress"] for node in nodes}
    for name, answer in asked.items():
        try:
            missing = ray.get(answer)
        except RayError:  # the node has gone meanwhile
            continue
        if missing:
            raise ConfigError(
                f"node {addresses[name]}: {missing}; data and --output-dir must lie on storage that all nodes see"
            )


def _missing_here(place: str, data: str | None) -> str | None:
    """What this machine does not see of a study's places."""
    if not is_uri(place) and not (Path(place) / STUDY_FILE).is_file():
        return f"{place} is not there, or is another folder than the driver's"
    try:
        check_writable(place)
    except StorageError as error:
        return str(error)
    if data is not None and not is_uri(data) and not Path(data).exists():
        return f"the data's folder {data} is not there"
    return None


def _fits(need: dict[str, float]) -> list[int]:
    """Trials that each node holds."""
    nodes: list[dict[str, Any]] = ray.nodes()  # type: ignore[no-untyped-call]
    return [_on_node(node["Resources"], need) for node in nodes if node["Alive"]]


def _on_node(have: dict[str, float], need: dict[str, float]) -> int:
    """Trials that a node holds; several on a GPU never share two GPUs."""
    fits = [int(have.get("CPU", 0) / need["CPU"] + 1e-9)]
    if 0 < need["GPU"] <= 1:
        fits.append(int(have.get("GPU", 0)) * int(1 / need["GPU"] + 1e-9))
    elif need["GPU"]:
        fits.append(int(have.get("GPU", 0) / need["GPU"] + 1e-9))
    return min(fits)
