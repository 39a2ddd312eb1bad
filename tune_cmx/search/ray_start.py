"""Ray's start, also on a machine whose cores other processes keep busy.

Ray 2.60 gives each part of a new node 10 to 60 s to start. Environment variables set most of these limits. Two are
fixed: the node waits 30 s for its raylet (`ray._private.node.Node.__init__`), and the raylet waits 15 s for the ports
that its agents choose. So this module waits longer in place of the node, and chooses the ports beforehand.
"""

import inspect
import logging
import os
import socket
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import ray
from ray._private import services

from tune_cmx.errors import ConfigError, TrialError

LIMIT_S = 300
"""How long Ray may take to start."""
_SLOW_S = 10.0
"""After this long a line says that Ray is still starting."""
_ASK_AGAIN_S = 0.5
_PORTS = ("metrics_agent_port", "metrics_export_port", "dashboard_agent_listen_port", "runtime_env_agent_port")
_UNNAMED_PORT = "dashboard_agent_listen_port"
"""Ray tells it to the agent and not to the raylet, which waits 15 s for the file that the agent writes at its start."""
_ENVIRONMENT = {
    "RAY_USAGE_STATS_ENABLED": "0",
    "TUNE_DISABLE_AUTO_CALLBACK_LOGGERS": "1",
    "RAY_CHDIR_TO_TRIAL_DIR": "0",
    "TUNE_WARN_EXCESSIVE_EXPERIMENT_CHECKPOINT_SYNC_THRESHOLD_S": "0",
    "RAY_gcs_server_port_wait_time_s": str(LIMIT_S),
    "RAY_worker_register_timeout_seconds": str(LIMIT_S),
    "RAY_agent_register_timeout_ms": str(1000 * LIMIT_S),
    "RAY_raylet_client_num_connect_attempts": str(LIMIT_S),  # Ray waits a second for each
}


def start_ray(address: str | None, cpus: int | None, *, say: Callable[[str], None] | None = None) -> None:
    """Start Ray on this machine, or connect to a cluster.

    Args:
        address: Of a running cluster; None: a cluster of this machine alone.
        cpus: CPUs that a cluster of this machine alone offers; None: all.
        say: Takes a sentence for the user if the start is slow.

    Raises:
        ConfigError: There is no cluster at the address.
        TrialError: Ray did not start in time.
    """
    for name, value in _ENVIRONMENT.items():
        os.environ.setdefault(name, value)
    quiet: dict[str, Any] = {"log_to_driver": False, "logging_level": logging.ERROR}
    with _told_if_slow(say), _long_start():
        try:
            if address is None:
                ray.init("local", num_cpus=cpus, include_dashboard=False, **quiet)
            else:
                ray.init(address, **quiet)
        except ConnectionError as error:
            raise ConfigError(f"--address: no Ray cluster at '{address}': {error}") from error


@contextmanager
def _told_if_slow(say: Callable[[str], None] | None) -> Iterator[None]:
    """Say that Ray is still starting, where it takes long."""
    timer = threading.Timer(
        _SLOW_S,
        say or (lambda _: None),
        [f"Ray is still starting after {_SLOW_S:.0f} s: this machine is busy. The limit is {LIMIT_S} s."],
    )
    timer.daemon = True
    timer.start()
    try:
        yield
    finally:
        timer.cancel()


@contextmanager
def _long_start() -> Iterator[None]:
    """Let a new node take `LIMIT_S` to start."""
    ask: Callable[[str, str], Any] = services.get_node
    start: Callable[..., Any] = services.start_raylet
    raylets: list[subprocess.Popen[bytes]] = []

    def waiting(gcs_address: str, node_id: str) -> Any:
        deadline = time.monotonic() + LIMIT_S
        while True:
            try:
                return ask(gcs_address, node_id)
            except RuntimeError as error:  # not yet registered
                if time.monotonic() > deadline:
                    raise TrialError(_failure(f"did not start within {LIMIT_S} s")) from error
                if any(raylet.poll() is not None for raylet in raylets):
                    raise TrialError(_failure("ended while it started")) from error
            time.sleep(_ASK_AGAIN_S)

    def starting(*arguments: Any, **given: Any) -> Any:
        ports = zip(_PORTS, _free_ports(len(_PORTS)), strict=True)
        given.update({name: given.get(name) or port for name, port in ports})
        node = inspect.signature(start).bind(*arguments, **given).arguments
        port_file = Path(node["session_dir"]) / f"{_UNNAMED_PORT}_{node['node_id']}"
        port_file.write_text(str(given[_UNNAMED_PORT]))
        process = start(*arguments, **given)
        raylets.append(process.process)
        return process

    services.get_node, services.start_raylet = waiting, starting
    try:
        yield
    finally:
        services.get_node, services.start_raylet = ask, start


def _failure(what: str) -> str:
    return (
        f"Ray {what}; see its logs in /tmp/ray/session_latest/logs, free some cores or memory of this machine, and run "
        "the command again"
    )


def _free_ports(count: int) -> list[int]:
    """Ports that no process of this machine listens on now."""
    with ExitStack() as stack:
        sockets = [stack.enter_context(socket.socket()) for _ in range(count)]
        for one in sockets:
            one.bind(("", 0))
        return [int(one.getsockname()[1]) for one in sockets]
