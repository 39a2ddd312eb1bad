"""The event loop that stands for Ray's controller, around the shipped scheduler."""

import random

import pytest
from ray.tune.schedulers import ASHAScheduler

from tune_cmx.config.space import EarlyStopping
from tune_cmx.search.planning.simulate import METRIC, Course, simulate, simulate_under

EPOCHS = 9
IN_FULL = EarlyStopping(kind="none")


def courses(levels: list[float], **times: float) -> list[Course]:
    """Trials that rise alike, each to its level."""
    return [
        Course(f"t{n:02d}", f"a{n:02d}", [level - 5 / epoch for epoch in range(1, EPOCHS + 1)], **times)
        for n, level in enumerate(levels)
    ]


@pytest.mark.parametrize(("places", "wall_s"), [(1, 6 * 11.5), (2, 3 * 11.5), (4, 2 * 11.5), (6, 11.5), (9, 11.5)])
def test_trials_in_full_fill_the_places(places: int, wall_s: float) -> None:
    found = simulate(courses([0.0] * 6, start_s=2, end_s=0.5), IN_FULL, full=EPOCHS, slots=places)
    assert found.epochs == 6 * EPOCHS
    assert found.busy_s == pytest.approx(6 * 11.5)
    assert found.wall_s == pytest.approx(wall_s)
    assert not found.cut_short


def test_promotion_trains_the_upper_part_on_whatever_the_order() -> None:
    """Rungs at 3 and 6: of eight, four go on, then two; the second half of a trial that was paused starts anew."""
    stopping = EarlyStopping(reduction_factor=2, grace=3, spacing=2, last=1, smooth_epochs=1)
    levels = [float(level) for level in range(8)]
    for seed in range(5):
        random.Random(seed).shuffle(levels)
        found = simulate(courses(levels, start_s=1), stopping, full=EPOCHS, slots=1)
        by_level = sorted(zip(levels, found.results, strict=True), key=lambda pair: pair[0])
        assert [len(result.values) for _, result in by_level] == [3] * 4 + [6] * 2 + [9] * 2
        assert 8 < found.busy_s - found.epochs <= 8 + 4 + 2, "a start for each trial, and each time it is taken up"


@pytest.mark.parametrize(("ahead", "epochs"), [(0, [3, 3, 9]), (1, [3, 6, 9])])
def test_one_that_waits_for_a_place_is_not_new_any_more(ahead: int, epochs: list[int]) -> None:
    """New ones first: the second goes on at once where the third waits for a place, for no other is to come."""
    stopping = EarlyStopping(reduction_factor=2, grace=3, spacing=2, last=1, smooth_epochs=1)
    found = simulate(courses([0.0, 1.0, 2.0]), stopping, full=EPOCHS, slots=1, ahead=ahead)
    assert [len(result.values) for result in found.results] == epochs


def test_a_search_that_ends_early_trains_no_trial_to_the_end() -> None:
    stopping = EarlyStopping(reduction_factor=2, grace=2, spacing=2, last=0.5)
    found = simulate(courses([float(level) for level in range(8)]), stopping, full=EPOCHS, slots=3)
    assert {len(result.values) for result in found.results} == {2, 4}
    assert len(found.cut_short) == 8


def test_stopping_hangs_on_the_order_of_arrival() -> None:
    stopping = EarlyStopping(variant="stop", reduction_factor=3, grace=3, spacing=None, last=1, smooth_epochs=1)
    levels = [float(level) for level in range(9)]
    rising = simulate(courses(levels), stopping, full=EPOCHS, slots=1)
    falling = simulate(courses(levels[::-1]), stopping, full=EPOCHS, slots=1)
    assert rising.epochs == 9 * EPOCHS
    assert falling.epochs == EPOCHS + 8 * 3


@pytest.mark.parametrize("places", [1, 4])
def test_rays_own_scheduler_stops_whom_the_shipped_one_does(places: int) -> None:
    levels = [float(level) for level in range(12)]
    random.Random(1).shuffle(levels)
    stopping = EarlyStopping(variant="stop", reduction_factor=3, grace=3, spacing=None, last=1, smooth_epochs=1)
    ours = simulate(courses(levels), stopping, full=EPOCHS, slots=places)
    rays = simulate_under(
        ASHAScheduler("epoch", METRIC, "max", EPOCHS, 3, 3), courses(levels), smooth_epochs=1, slots=places
    )
    assert 0 < len(ours.cut_short) < 12
    assert ours == rays


def test_trials_are_compared_at_the_gpu_seconds_of_their_share() -> None:
    """With half a GPU, 4 GPU-seconds are 8 seconds: eight epochs of one."""
    stopping = EarlyStopping(compare_at="gpu_seconds", reduction_factor=2, grace=4, spacing=2)
    found = simulate(courses([2.0, 1.0]), stopping, full=float("inf"), slots=1, share=0.5)
    assert [len(result.values) for result in found.results] == [9, 8]
