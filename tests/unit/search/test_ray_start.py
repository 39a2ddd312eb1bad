"""Ray's start on a busy machine: Ray's own limit of 30 s for a node is lifted, and the user is told."""

import inspect
import itertools
import time
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import ray
from ray._private import services
from ray._private.node import Node

from tune_cmx.errors import TrialError
from tune_cmx.search import ray_start


def registers(monkeypatch: pytest.MonkeyPatch, refusals: int | None) -> None:
    """A node that registers after so many refusals, None: never; Ray asks as `Node.__init__` does after 30 s."""
    asked = itertools.count()

    def get_node(gcs_address: str, node_id: str) -> dict[str, Any]:
        if refusals is None or next(asked) < refusals:
            raise RuntimeError(f"no node {node_id} at {gcs_address}")
        return {"node_id": node_id}

    def init(*_: Any, **__: Any) -> None:
        services.get_node("here", "one")

    monkeypatch.setattr(services, "get_node", get_node)
    monkeypatch.setattr(ray, "init", init)
    monkeypatch.setattr(ray_start, "_ASK_AGAIN_S", 0.01)


def _until(condition: Callable[[], bool]) -> None:
    while not condition():
        time.sleep(0.01)


def test_a_node_that_registers_late_is_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    registers(monkeypatch, 3)
    mine = services.get_node
    ray_start.start_ray(None, 2)
    assert services.get_node is mine


def test_a_node_that_never_registers_ends_with_what_to_do(monkeypatch: pytest.MonkeyPatch) -> None:
    registers(monkeypatch, None)
    monkeypatch.setattr(ray_start, "LIMIT_S", 0)
    with pytest.raises(TrialError, match=r"Ray did not start within 0 s; see its logs in /tmp/ray/"):
        ray_start.start_ray(None, 2)


def test_a_raylet_that_dies_is_not_waited_for(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    registers(monkeypatch, None)
    given: dict[str, int] = {}

    def start_raylet(node_id: str, session_dir: str, **ports: int) -> SimpleNamespace:
        assert (node_id, session_dir) == ("one", str(tmp_path))
        given.update(ports)
        return SimpleNamespace(process=SimpleNamespace(poll=lambda: 1))

    def init(*_: Any, **__: Any) -> None:
        services.start_raylet("one", str(tmp_path), metrics_agent_port=0, runtime_env_agent_port=7)
        services.get_node("here", "one")

    monkeypatch.setattr(services, "start_raylet", start_raylet)
    monkeypatch.setattr(ray, "init", init)
    with pytest.raises(TrialError, match="Ray ended while it started; see its logs"):
        ray_start.start_ray(None, 2)
    assert given["runtime_env_agent_port"] == 7
    assert min(given[name] for name in ray_start._PORTS if name != "runtime_env_agent_port") > 1023
    port = given["dashboard_agent_listen_port"]
    assert (tmp_path / "dashboard_agent_listen_port_one").read_text() == str(port)


def test_a_slow_start_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    said: list[str] = []
    monkeypatch.setattr(ray_start, "_SLOW_S", 0.01)
    monkeypatch.setattr(ray, "init", lambda *_, **__: _until(lambda: bool(said)))
    ray_start.start_ray(None, 2, say=said.append)
    assert said == ["Ray is still starting after 0 s: this machine is busy. The limit is 300 s."]
    monkeypatch.setattr(ray_start, "_SLOW_S", 100)
    ray_start.start_ray(None, 2, say=said.append)
    assert len(said) == 1


def test_ray_still_has_the_functions_that_are_replaced() -> None:
    """They are private to Ray, and may go with a new version."""
    assert "ray._private.services.get_node(" in inspect.getsource(Node.__init__)
    assert "ray._private.services.start_raylet(" in inspect.getsource(Node.start_raylet)
