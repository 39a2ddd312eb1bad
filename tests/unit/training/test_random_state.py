"""All randomness from one seed."""

import random

import numpy as np
import pytest
import torch

from tune_cmx.seeding import derive
from tune_cmx.training.random_state import random_state, restore_random_state, seed_all


def _draw() -> tuple[float, float, float, list[float]]:
    """One of each global generator; numpy's normal draw keeps a second value back."""
    return random.gauss(0, 1), np.random.rand(), np.random.normal(), torch.rand(3).tolist()  # noqa: NPY002


def test_derived_seeds_are_the_same_on_every_machine() -> None:
    assert derive(0, "torch") == 598407256601448827
    assert 0 <= derive(0, "order") < 2**63


def test_each_purpose_has_a_seed_of_its_own() -> None:
    names = [(seed, *rest) for seed in range(20) for rest in [("order",), ("augment",), ("order", 1), ()]]
    assert len({derive(*name) for name in names}) == len(names)


def test_one_seed_sets_all() -> None:
    seed_all(3)
    first = _draw()
    seed_all(3)
    assert _draw() == first
    seed_all(4)
    assert all(here != there for here, there in zip(_draw(), first, strict=True))


@pytest.mark.parametrize("drawn", [0, 1, 7])
def test_generators_go_on_where_they_were(drawn: int) -> None:
    seed_all(0)
    for _ in range(drawn):
        _draw()
    state = random_state()
    expected = [_draw() for _ in range(3)]
    seed_all(9)
    restore_random_state(state)
    assert [_draw() for _ in range(3)] == expected


def test_importing_draws_nothing_and_seeding_needs_no_order() -> None:
    seed_all(5)
    torch_first = torch.rand(2).tolist()
    seed_all(5)
    random.random()
    assert torch.rand(2).tolist() == torch_first
