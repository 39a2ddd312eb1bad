"""Cores, as the system tells of them."""

import os

import pytest

from tune_cmx.machine import cores_here


@pytest.mark.parametrize(("told", "cores"), [(6, 6), (None, 1)])
def test_all_cores_count_where_the_system_does_not_say_which_may_be_used(
    told: int | None, cores: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delattr(os, "sched_getaffinity", raising=False)
    monkeypatch.setattr(os, "cpu_count", lambda: told)
    assert cores_here() == cores


def test_cores_that_this_process_may_not_use_do_not_count(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: {0, 3}, raising=False)
    assert cores_here() == 2
