"""`model.streams`, left out: every modality of the data; named: as written, and checked against the data."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tune_cmx.config.model_sections import ASSUMED, DefaultStreams, ModelConfig
from tune_cmx.config.space import read_space
from tune_cmx.config.study import Study, data_of, read_study
from tune_cmx.config.study_rules import unserved_text
from tune_cmx.errors import ConfigError

RGBT = ("rgb", "thermal")
FUSION = {"search": {"model.fusion.kind": {"choice": ["add"]}}, "baseline": {"model.fusion": {"kind": "frm_ffm"}}}
RATE = {"search": {"schedule.lr": {"choice": [0.1]}}, "baseline": {"schedule.lr": 0.02}}
Reader = Callable[..., Study]


@pytest.fixture
def write(tmp_path: Path) -> Callable[..., Path]:
    """A search-space file with these keys, each on a line; the first on line 3."""

    def build(**keys: Any) -> Path:
        path = tmp_path / "a.yaml"
        lines = [f"{key}: {json.dumps(value)}" for key, value in keys.items()]
        path.write_text("\n".join(["# Which?", "study: test", *lines]) + "\n")
        return path

    return build


@pytest.fixture
def on(write: Callable[..., Path]) -> Reader:
    """The study of these keys on data with these modalities."""

    def build(*held: str, overrides: dict[str, Any] | None = None, **keys: Any) -> Study:
        return read_study(write(**keys), overrides=overrides, default_streams=DefaultStreams.of_data(held))

    return build


def streams(study: Study) -> list[str]:
    """Of each configuration, the baseline first."""
    return [arm.config.model.streams for arm in study.arms.values()]


@pytest.mark.parametrize(
    ("held", "expected"),
    [
        (("rgb", "thermal", "event"), "rgb | thermal+event"),
        (("event", "thermal", "rgb"), "rgb | thermal+event"),
        (("rgb", "thermal"), "rgb | thermal"),
        (("rgb", "event"), "rgb | event"),
        (("event", "thermal"), "thermal | event"),
        (("rgb",), "rgb"),
        (("thermal",), "thermal"),
        (("event",), "event"),
    ],
)
def test_the_streams_of_data_see_each_of_their_modalities(held: tuple[str, ...], expected: str) -> None:
    found = DefaultStreams.of_data(held).streams
    assert found == expected
    assert ModelConfig(streams=found).streams == found
    assert set(ModelConfig(streams=found).modalities()) == set(held)


def test_without_data_all_modalities_are_assumed() -> None:
    assert ASSUMED.streams == DefaultStreams.of_data(("rgb", "thermal", "event")).streams == ModelConfig().streams


def test_every_configuration_of_a_file_without_streams_has_those_of_the_data(on: Reader) -> None:
    study = on(*RGBT, **FUSION)
    assert streams(study) == ["rgb | thermal"] * 2
    assert [config.model.streams for _, config in study.range_ends()] == []
    assert study.default_streams == DefaultStreams("rgb | thermal", "from the data", RGBT)
    assert "model.streams" not in study.factors


@pytest.mark.parametrize("fixed", [{"model": {"streams": "rgb+thermal"}}, {"model.streams": "rgb+thermal"}])
def test_streams_of_the_file_stay(fixed: dict[str, Any], on: Reader) -> None:
    study = on("rgb", "thermal", "event", fixed=fixed, **RATE)
    assert streams(study) == ["rgb+thermal"] * 2
    assert study.default_streams is None


@pytest.mark.parametrize("overrides", [{"model.streams": "thermal"}, {"model": {"streams": "thermal"}}])
def test_streams_of_the_command_line_stay(overrides: dict[str, Any], on: Reader) -> None:
    study = on(*RGBT, overrides=overrides, **RATE)
    assert streams(study) == ["thermal"] * 2
    assert study.default_streams is None


def test_streams_of_null_are_no_streams_left_out(on: Reader) -> None:
    with pytest.raises(ConfigError, match=r"fixed\.model\.streams: .*got None"):
        on(*RGBT, fixed={"model": {"streams": None}}, **RATE)


def test_listed_configurations_change_the_baselines_streams(on: Reader) -> None:
    arms = {"arms": {"choice": [{"model.fusion": {"kind": "add"}}, {"model.streams": "rgb"}]}}
    study = on(*RGBT, search=arms, baseline=FUSION["baseline"])
    assert streams(study) == ["rgb | thermal", "rgb | thermal", "rgb"]
    assert [arm.label for arm in study.arms.values()] == ["FRM+FFM (baseline)", "mean fusion", "RGB only"]


def test_streams_that_are_searched_on_a_condition_are_otherwise_those_of_the_data(on: Reader) -> None:
    search = {
        "schedule.lr": {"choice": [0.1, 0.2]},
        "model.streams": {"choice": ["rgb"], "when": {"schedule.lr": 0.1}},
    }
    study = on(*RGBT, search=search, baseline={"schedule.lr": 0.02, "model.streams": "thermal"})
    assert streams(study) == ["thermal", "rgb", "rgb | thermal"]


@pytest.mark.parametrize("fixed", [{"model": {"fusion": {"kind": "cssa"}}}, {"model.fusion.kind": "cssa"}])
def test_a_fusion_on_data_of_one_modality_is_refused(fixed: dict[str, Any], on: Reader) -> None:
    said = (
        r"a\.yaml:3: fixed\.model\.fusion(\.kind)?: a fusion joins two streams, and the data have one modality, "
        r"thermal\. Add a second modality to the data, or train one stream without fusion: --set model\.streams=thermal"
    )
    with pytest.raises(ConfigError, match=said):
        on("thermal", fixed=fixed, **RATE)
    named = on("thermal", fixed=fixed, overrides={"model.streams": "thermal"}, **RATE)
    assert streams(named) == ["thermal"] * 2


def test_a_search_of_fusions_on_data_of_one_modality_is_refused(on: Reader) -> None:
    with pytest.raises(ConfigError, match=r"a\.yaml:4: baseline\.model\.fusion: .*search other fields than model\.fus"):
        on("rgb", **FUSION)


def test_data_of_one_modality_have_one_stream(on: Reader) -> None:
    assert streams(on("rgb", **RATE)) == ["rgb"] * 2


def test_streams_that_the_data_lack_are_named_with_those_that_fit(on: Reader) -> None:
    search = {"model.streams": {"choice": ["rgb", "event", "rgb | event"]}}
    study = on(*RGBT, search=search, baseline={"model.streams": "rgb | thermal+event"})
    assert unserved_text(study.streams_asked(), RGBT).replace(study.source, "a.yaml").splitlines() == [
        "a.yaml:4: baseline.model.streams: 'rgb | thermal+event' needs event; the data have rgb, thermal",
        "a.yaml:3: search.model.streams: 'event', 'rgb | event' need event; the data have rgb, thermal",
        "Streams that fit the data: 'rgb', 'rgb | thermal'",
    ]
    assert unserved_text(study.streams_asked(), ("rgb", "thermal", "event")) == ""


def test_choices_of_a_random_search_are_checked_though_none_is_drawn(on: Reader) -> None:
    search = {"model.streams": {"choice": ["rgb", "thermal", "event"]}}
    for searcher in ({"kind": "random", "trials": 1}, {"kind": "tpe", "trials": 1}):
        study = on(*RGBT, search=search, baseline={"model.streams": "rgb | thermal"}, searcher=searcher)
        assert "'event' needs event" in unserved_text(study.streams_asked(), RGBT)


def test_the_data_of_a_file_are_known_before_its_configurations(write: Callable[..., Path]) -> None:
    fixed = {"data": {"root": "there", "labels": "boxes"}, "data.split_by": "block"}
    space = read_space(write(fixed=fixed, **RATE))
    found = data_of(space, {"data.root": "here", "schedule.epochs": 3, "data.bands": {"rgb": [0, 1, 2]}})
    assert (found.root, found.labels, found.split_by, found.bands) == ("here", "boxes", "block", {"rgb": (0, 1, 2)})
    assert (
        found
        == read_study(space, overrides={"data.root": "here", "data.bands": {"rgb": [0, 1, 2]}}).baseline.config.data
    )
    with pytest.raises(ConfigError, match=r"a\.yaml:3: fixed\.data\.rot: unknown key.* Did you mean 'root'"):
        data_of(read_space(write(fixed={"data": {"rot": "there"}}, **RATE)), {})
