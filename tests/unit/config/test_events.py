"""The section `data.events`."""

from pathlib import Path

import pytest
import yaml

from tune_cmx.config.data.events import EventsConfig, EventWindow
from tune_cmx.config.parse import dump, parse_trial
from tune_cmx.config.study import read_study
from tune_cmx.errors import ConfigError


def events(**content) -> EventsConfig:
    found = parse_trial({"data": {"events": content}}, source="test").data.events
    assert found is not None
    return found


def test_nothing_is_said_of_events_by_default() -> None:
    assert parse_trial({}, source="test").data.events is None


def test_the_default_is_count_by_polarity_over_50_ms() -> None:
    config = events()
    assert (config.representation, config.window, config.bands) == ("count", EventWindow(ms=50.0), 2)


def test_a_voxel_grid_has_a_band_for_each_bin() -> None:
    assert events(representation="voxel_grid", bins=9).bands == 9
    assert events(representation="time_surface", bins=9).bands == 2


@pytest.mark.parametrize("content", [{}, {"window": {"events": 20_000}}, {"representation": "voxel_grid"}])
def test_a_run_folders_configuration_reads_back(content) -> None:
    trial = parse_trial({"data": {"events": content}}, source="test")
    assert parse_trial(dump(trial), source="test") == trial


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ({"window": {}}, r"data\.events\.window: give one of ms and events, .*; got neither"),
        ({"window": {"ms": 50, "events": 9}}, r"got ms: 50 and events: 9"),
        ({"window": {"ms": 0}}, r"data\.events\.window\.ms"),
        ({"window": {"s": 1}}, r"data\.events\.window\.s: unknown key. Known: ms, events"),
        ({"representation": "voxel"}, r"data\.events\.representation.*voxel_grid"),
        ({"bins": 1}, r"data\.events\.bins"),
        ({"saturation": 0}, r"data\.events\.saturation"),
    ],
)
def test_a_wrong_value_is_named(content, said) -> None:
    with pytest.raises(ConfigError, match=said):
        events(**content)


def study(tmp_path: Path, **content):
    path = tmp_path / "space.yaml"
    path.write_text("# Which?\n" + yaml.safe_dump({"study": "events", **content}))
    return read_study(path)


def test_representations_and_windows_can_be_searched(tmp_path) -> None:
    found = study(
        tmp_path,
        search={
            "data.events.representation": {"choice": ["count", "voxel_grid", "time_surface"]},
            "data.events.window": {"choice": [{"ms": 50}, {"events": 20_000}]},
        },
        baseline={"data.events.representation": "count", "data.events.window": {"ms": 50}},
    )
    assert len(found.arms) == 6
    configs = [arm.config.data.events for arm in found.arms.values()]
    assert {(config.representation, config.window.events) for config in configs} == {
        (representation, count)
        for representation in ("count", "voxel_grid", "time_surface")
        for count in (None, 20_000)
    }
    assert sorted(arm.label for arm in found.arms.values()) == [
        *("20000 events", "FRM+FFM (baseline)", "time surface", "time surface, 20000 events"),
        *("voxel grid", "voxel grid, 20000 events"),
    ]


def test_the_length_of_a_window_can_be_searched_as_one_field(tmp_path) -> None:
    found = study(
        tmp_path,
        search={"data.events.window.ms": {"choice": [20, 50, 100]}},
        baseline={"data.events.window.ms": 50},
    )
    assert [arm.label for arm in found.arms.values()][1:] == ["20 ms of events", "100 ms of events"]


def test_the_rest_of_the_data_cannot_be_searched(tmp_path) -> None:
    with pytest.raises(ConfigError, match=r"of data, only data\.augment, data\.events and data\.range can vary"):
        study(tmp_path, search={"data.guard": {"choice": [1, 2]}}, baseline={"data.guard": 1})
