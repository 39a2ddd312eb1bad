"""What one trial's configuration allows."""

from typing import Any, get_args, get_origin

import annotated_types
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import BaseModel

from tune_cmx.config.domains import Choice, Integer, LogUniform, Uniform
from tune_cmx.config.parse import parse_trial
from tune_cmx.config.searchers import SEARCHERS
from tune_cmx.config.searchers.tpe import Prior
from tune_cmx.config.space import StudyFile
from tune_cmx.config.trial import FusionConfig, TrialConfig
from tune_cmx.errors import ConfigError


def fusion(**content: Any) -> FusionConfig:
    return parse_trial({"model": {"fusion": content}}, source="test").model.fusion


def kinds(config: FusionConfig) -> list[str]:
    return [stage.kind for stage in config.stage_fusions()]


def test_the_default_is_the_baseline_of_the_field() -> None:
    config = TrialConfig()
    assert kinds(config.model.fusion) == ["frm_ffm"] * 4
    assert config.report_split == "val"


def test_a_kind_alone_stands_at_all_four_stages() -> None:
    config = fusion(kind="cssa", options={"eca": False})
    assert kinds(config) == ["cssa"] * 4
    assert all(stage.options == {"eca": False} for stage in config.stage_fusions())


@given(st.sets(st.integers(1, 4), min_size=1))
def test_stages_and_elsewhere_share_the_four_stages(chosen: set[int]) -> None:
    config = fusion(kind="cssa", stages=sorted(chosen), elsewhere="add", options={"eca": False})
    for stage, found in enumerate(config.stage_fusions(), start=1):
        assert found.kind == ("cssa" if stage in chosen else "add")
        assert found.options == ({"eca": False} if stage in chosen else {})


def test_four_entries_of_per_stage_are_taken_in_order() -> None:
    config = fusion(per_stage=[{"kind": kind} for kind in ("add", "cssa", "concat", "frm_ffm")])
    assert kinds(config) == ["add", "cssa", "concat", "frm_ffm"]


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ({"kind": "cssa", "stages": [5], "elsewhere": "add"}, "stages: must be of 1, 2, 3, 4; got 5"),
        ({"kind": "cssa", "stages": [0], "elsewhere": "add"}, "got 0"),
        ({"kind": "cssa", "stages": [2, 1], "elsewhere": "add"}, r"ascending, each once; got \[2, 1\]"),
        ({"kind": "cssa", "stages": [1, 1], "elsewhere": "add"}, "each once"),
        ({"kind": "cssa", "stages": [], "elsewhere": "add"}, "stages: is empty"),
        ({"kind": "cssa", "stages": [1]}, "name their fusion with elsewhere"),
        ({"kind": "cssa", "stages": 1, "elsewhere": "add"}, "got 1"),
        ({"kind": "cssa", "stages": ["1"], "elsewhere": "add"}, "must be a whole number; got '1'"),
        ({"stages": [1]}, "give kind"),
        ({"per_stage": [{"kind": "add"}] * 3}, "one entry for each of the stages 1..4; got 3"),
        ({"per_stage": [{"kind": "add"}] * 4, "kind": "add"}, "either per_stage or kind"),
        ({"per_stage": [{"kind": "add"}] * 4, "options": {"a": 1}}, "either per_stage or kind"),
        ({"kind": "cssa", "optons": {}}, "Did you mean 'options'"),
    ],
)
def test_a_fusion_that_cannot_be_is_refused(content: dict[str, Any], said: str) -> None:
    with pytest.raises(ConfigError, match=said) as caught:
        fusion(**content)
    assert "model.fusion" in str(caught.value)


@pytest.mark.parametrize(
    ("text", "streams"),
    [
        ("rgb", (("rgb",),)),
        ("rgb|thermal", (("rgb",), ("thermal",))),
        (" rgb |  thermal + event", (("rgb",), ("thermal", "event"))),
    ],
)
def test_streams_are_one_or_two_groups_of_modalities(text: str, streams: Any) -> None:
    assert parse_trial({"model": {"streams": text}}, source="test").model.stream_modalities() == streams


@pytest.mark.parametrize("text", ["", "rgb |", "lidar", "rgb | thermal | event", "rgb | rgb", "rgb+rgb"])
def test_streams_of_nothing_of_strangers_or_of_one_twice_are_refused(text: str) -> None:
    with pytest.raises(ConfigError, match=r"model\.streams: streams"):
        parse_trial({"model": {"streams": text}}, source="test")


@pytest.mark.parametrize(
    ("path", "value", "said"),
    [
        ("schedule.epochs", 0, "must be from 1 to 10000"),
        ("schedule.lr", 0.0, "must be above 0, to 1000"),
        ("schedule.processes", 0, "must be from 1 to 64"),
        ("schedule.processes", 3, "divisible by processes, 3, each of which takes an equal share; got 16"),
        ("schedule.optimizer", "adam", "'sgd' or 'adamw'"),
        ("schedule.warmup_epochs", 15.0, "below epochs, 15"),
        ("data.fractions", [0.5, 0.5, 0.0], "add up to 1"),
        ("data.fractions", [0.7, 0.15], "data.fractions"),
        ("data.split_by", "video", "'sequence', 'block' or 'frame'; got 'video'"),
        ("data.guard", -1, "must be from 0 to 10000"),
        ("data.augment.rgb_brightness", 1.5, "must be from 0 to 1; got 1.5"),
        ("data.augment.rgb_hue", 0.6, "must be from 0 to 0.5; got 0.6"),
        ("data.augment.thermal_offset", -0.1, "must be from 0 to 2; got -0.1"),
        ("data.augment.thermal_blur", "1 px", "must be a number from 0 to 5; got '1 px'"),
        ("data.augment.registration_jitter", 65, "must be from 0 to 64; got 65"),
        ("data.augment.registration_jitter", 1.5, "must be a whole number from 0 to 64; got 1.5"),
        ("data.augment.event_blur", 1.0, "event_blur: unknown key. Known: .*event_contrast, event_noise"),
        ("model.detector.anchor_sizes", [1, 2, 3], "five positive numbers"),
        ("model.detector.max_size", 100, "at least image_size, 800; got 100"),
        ("model.drop_path", 1.0, "must be from 0 below 1"),
        ("seed", -1, "must be from 0 below 4294967296"),
    ],
)
def test_a_value_out_of_its_range_is_refused(path: str, value: Any, said: str) -> None:
    content: Any = value
    for part in reversed(path.split(".")):
        content = {part: content}
    with pytest.raises(ConfigError, match=said) as caught:
        parse_trial(content, source="test")
    assert path.rpartition(".")[0] in str(caught.value)


def dropout(probability: Any, streams: str = "rgb | thermal") -> TrialConfig:
    content = {"model": {"streams": streams}, "data": {"augment": {"modality_dropout": probability}}}
    return parse_trial(content, source="test")


def test_modality_dropout_is_off_unless_asked_for() -> None:
    assert TrialConfig().data.augment.modality_dropout == 0
    assert dropout(0.25, "thermal+event").data.augment.modality_dropout == 0.25


@pytest.mark.parametrize(
    ("probability", "streams", "said"),
    [
        (0.2, "thermal", r"modality_dropout: must be 0 where .*; got 0.2 with model.streams 'thermal'. Leave it"),
        (1.5, "rgb | event", r"data\.augment\.modality_dropout: must be from 0 to 1; got 1.5"),
        (-0.1, "rgb | event", "must be from 0 to 1"),
    ],
)
def test_modality_dropout_that_cannot_be_is_refused(probability: float, streams: str, said: str) -> None:
    with pytest.raises(ConfigError, match=said):
        dropout(probability, streams)


def test_changes_of_single_modalities_are_off_unless_asked_for() -> None:
    """So a run folder of an earlier version, whose `config.json` does not name them, is read as it was trained."""
    augment = parse_trial({"data": {"augment": {"flip": 0.5}}}, source="test").data.augment
    assert not any(getattr(augment, field) for field in type(augment).model_fields if field not in ("flip", "scale"))


def test_fields_of_modalities_that_a_model_does_not_have_are_idle() -> None:
    augment = TrialConfig().data.augment
    assert augment.idle(["rgb", "thermal", "event"]) == []
    assert augment.idle(["thermal", "rgb"]) == ["event_contrast", "event_noise"]
    found = augment.idle(["thermal"])
    assert {name.partition("_")[0] for name in found} == {"rgb", "event", "registration"}
    assert len(found) == 7


def test_a_process_has_its_share_of_a_batch_at_once_or_a_micro_batch() -> None:
    schedule = parse_trial({"schedule": {"batch_size": 16, "processes": 2}}, source="test").schedule
    assert (schedule.images_at_once(None), schedule.images_at_once(4)) == (8, 4)


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (
            {"schedule": {"epochs": 10**9}},
            "schedule.epochs: must be from 1 to 10000; got 1000000000",
        ),
        ({"schedule": {"lr": -0.1}}, "schedule.lr: must be above 0, to 1000; got -0.1"),
        ({"schedule": {"batch_size": 10**6}}, "must be from 1 to 4096"),
        ({"seed": 2**70}, "seed: must be from 0 below 4294967296"),
        ({"data": {"split_seed": -1}}, "must be from 0 below 4294967296; got -1"),
        ({"model": {"detector": {"image_size": 10**6}}}, "must be from 32 to 100000; got 1000000"),
        ({"model": {"detector": {"anchor_sizes": [1, 2, 3, 4, 10**6]}}}, "five positive numbers of at most 4096"),
        ({"model": {"detector": {"anchor_ratios": [1e9]}}}, "numbers from 0.05 to 20"),
        ({"schedule": {"lr": float("inf")}}, "finite number"),
    ],
)
def test_an_impossible_number_is_refused_with_what_is_allowed(content: dict[str, Any], said: str) -> None:
    with pytest.raises(ConfigError) as found:
        parse_trial(content, source="a.yaml")
    assert said in str(found.value)


def sections(model: type[BaseModel]) -> set[type[BaseModel]]:
    """All models with fields that can stand in a file, and those of the table of searchers."""
    found = {model}
    for field in model.model_fields.values():
        kinds = [field.annotation, *get_args(field.annotation)]
        for kind in [*kinds, *(inner for outer in kinds for inner in get_args(outer))]:
            if isinstance(kind, type) and issubclass(kind, BaseModel) and kind not in found:
                found |= sections(kind)
    return found


SECTIONS = sorted(
    sections(TrialConfig) | sections(StudyFile) | {*SEARCHERS.values(), Prior} | {Choice, Uniform, LogUniform, Integer},
    key=lambda model: model.__name__,
)


@pytest.mark.parametrize("model", SECTIONS, ids=lambda model: model.__name__)
def test_every_field_says_what_it_means(model: type[BaseModel]) -> None:
    assert {name for name, field in model.model_fields.items() if not field.description} == set()


@pytest.mark.parametrize("model", SECTIONS, ids=lambda model: model.__name__)
def test_every_number_has_a_range(model: type[BaseModel]) -> None:
    unbounded = {"value"}  # a score from elsewhere, or a claimed number
    for name, field in model.model_fields.items():
        if get_origin(field.annotation) is tuple:
            continue  # a validator of the model says what they may be
        numbers = {int, float} & {field.annotation, *get_args(field.annotation)}
        kinds = {type(limit) for limit in field.metadata}
        inner = [limit for kind in get_args(field.annotation) for limit in getattr(kind, "__metadata__", ())]
        kinds |= {type(limit) for given in inner for limit in getattr(given, "metadata", [given])}
        upper, lower = (
            kinds & {annotated_types.Le, annotated_types.Lt},
            kinds & {annotated_types.Ge, annotated_types.Gt},
        )
        assert not numbers or name in unbounded or (upper and lower), f"{model.__name__}.{name}"
