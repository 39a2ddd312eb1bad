"""Files to configurations: strict YAML, and errors that name the place."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tune_cmx.config.parse import PRESETS, dump, flatten, load_mapping, load_trial, parse_trial, parse_value, read_trial
from tune_cmx.config.trial import ComputeConfig, TrialConfig
from tune_cmx.errors import ConfigError


@pytest.fixture
def written(tmp_path: Path) -> Any:
    def write(text: str) -> Path:
        path = tmp_path / "file.yaml"
        path.write_text(text, encoding="utf-8")
        return path

    return write


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("1e-4", 1e-4),
        ("1E4", 1e4),
        ("-2.5e+3", -2500.0),
        (".5", 0.5),
        ("3", 3),
        ("0", 0),
        ("-7", -7),
        ("no", "no"),
        ("Yes", "Yes"),
        ("off", "off"),
        ("true", True),
        ("False", False),
        ("010", "010"),
        ("1:30", "1:30"),
        ("1_000", "1_000"),
        ("2026-01-01", "2026-01-01"),
        ("0x10", "0x10"),
        ("null", None),
        ("[1, 2e-1]", [1, 0.2]),
        ("'1e-4'", "1e-4"),
    ],
)
def test_a_value_is_what_it_looks_like(text: str, value: Any, written: Any) -> None:
    content, _ = load_mapping(written(f"key: {text}\n"))
    assert content == {"key": value}
    assert type(content["key"]) is type(value)
    assert parse_value(text, source="--set key") == value


@given(st.floats(allow_nan=False, allow_infinity=False))
def test_every_float_survives_being_written(number: float) -> None:
    assert parse_value(repr(number), source="test") == number


TEXTS = st.text("ab1 :#-[]{}'\"\\,&*!|>%@`~é", max_size=6)


@given(
    st.recursive(
        st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | TEXTS,
        lambda inner: st.lists(inner, max_size=3) | st.dictionaries(TEXTS, inner, max_size=3),
        max_leaves=6,
    )
)
@settings(max_examples=50)
def test_json_is_read_as_json_means_it(value: Any) -> None:
    assert parse_value(json.dumps(value, ensure_ascii=False), source="test") == value


def test_a_key_that_stands_twice_is_refused_with_both_lines(written: Any) -> None:
    path = written("fixed:\n  lr: 1\n  epochs: 2\n  lr: 3\n")
    with pytest.raises(ConfigError) as caught:
        load_mapping(path)
    assert str(caught.value) == f"{path}:4: fixed.lr is given twice, first in line 2; keep one"


def test_a_key_twice_within_a_list_is_refused(written: Any) -> None:
    with pytest.raises(ConfigError, match=r":3: arms\.0\.kind is given twice, first in line 2"):
        load_mapping(written("arms:\n- kind: a\n  kind: b\n"))


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("a: [1\nb: 2\n", r"file\.yaml:2: not valid YAML"),
        ("a: 1\n---\nb: 2\n", "not valid YAML: expected a single document"),
        ("a: &x [*x]\n", "alias within its own anchor"),
        ("a: \x00\n", "not valid YAML"),
        ("", "needs a mapping of keys to values; got nothing"),
        ("- 1\n", "got a list"),
        ("? [1]\n: 2\n", "not valid YAML"),
    ],
)
def test_what_is_no_mapping_is_refused(text: str, said: str, written: Any) -> None:
    with pytest.raises(ConfigError, match=said):
        load_mapping(written(text))


def test_a_missing_file_and_one_of_other_bytes_are_named(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"gone\.yaml: cannot be read: No such file"):
        load_mapping(tmp_path / "gone.yaml")
    (tmp_path / "latin.yaml").write_bytes(b"a: \xe4\n")
    with pytest.raises(ConfigError, match=r"latin\.yaml: not UTF-8 text"):
        load_mapping(tmp_path / "latin.yaml")


def test_an_unknown_key_is_named_with_line_and_suggestion(written: Any) -> None:
    path = written("model:\n  backbone: mit_b0\nschedule:\n  epochs: 3\n  learning_rate: 0.1\n  batchsize: 4\n")
    with pytest.raises(ConfigError) as caught:
        read_trial(path)
    first, second = str(caught.value).splitlines()
    assert first.startswith(f"{path}:5: schedule.learning_rate: unknown key. Known: preset, epochs, batch_size,")
    assert second.startswith(f"{path}:6: schedule.batchsize: unknown key.")
    assert second.endswith("Did you mean 'batch_size'?")


def test_a_wrong_type_names_line_and_value(written: Any) -> None:
    path = written("schedule:\n  epochs: many\n")
    with pytest.raises(ConfigError) as caught:
        read_trial(path)
    assert str(caught.value) == f"{path}:2: schedule.epochs: must be a whole number from 1 to 10000; got 'many'"


def test_nothing_is_converted_in_silence() -> None:
    for schedule in ({"epochs": "3"}, {"epochs": 3.0}, {"epochs": True}, {"lr": "0.1"}):
        with pytest.raises(ConfigError, match=r"schedule\.(epochs|lr)"):
            parse_trial({"schedule": schedule}, source="test")


@pytest.mark.parametrize("number", [float("inf"), float("nan")])
def test_a_rate_that_is_no_finite_number_is_refused(number: float) -> None:
    with pytest.raises(ConfigError, match=r"schedule\.lr: must be a finite number"):
        parse_trial({"schedule": {"lr": number}}, source="test")


@pytest.mark.parametrize("name", PRESETS)
def test_a_preset_fills_in_what_is_not_given(name: str) -> None:
    plain = parse_trial({"schedule": {"preset": name}}, source="test").schedule
    assert {key: getattr(plain, key) for key in PRESETS[name]} == dict(PRESETS[name])
    assert parse_trial({"schedule": {"preset": name, "epochs": 7}}, source="test").schedule.epochs == 7


def test_the_presets_are_the_published_schedules() -> None:
    fast, slow = (parse_trial({"schedule": {"preset": name}}, source="test").schedule for name in PRESETS)
    assert (fast.epochs, fast.batch_size, fast.lr, fast.momentum) == (15, 16, 0.02, 0.9)
    assert (slow.epochs, slow.batch_size, slow.lr) == (25, 2, 0.005)


def test_an_unknown_preset_is_refused_with_a_suggestion() -> None:
    with pytest.raises(ConfigError, match=r"unknown preset 'agressive'\. Known: .* Did you mean 'aggressive'\?"):
        parse_trial({"schedule": {"preset": "agressive"}}, source="test")


@pytest.mark.parametrize(
    "content",
    [
        {},
        {"schedule": {"preset": "conservative", "lr": 0.1}},
        {"model": {"fusion": {"kind": "cssa", "stages": [1, 4], "elsewhere": "add", "options": {"eca": False}}}},
        {"model": {"fusion": {"per_stage": [{"kind": "add"}] * 3 + [{"kind": "cssa", "options": {"eca": True}}]}}},
        {"model": {"streams": "thermal+rgb|event"}, "data": {"bands": {"rgb": [0, 1, 2]}, "classes": ["a"]}},
    ],
)
def test_a_resolved_configuration_parses_to_itself(content: dict[str, Any], tmp_path: Path) -> None:
    config = parse_trial(content, source="test")
    path = tmp_path / "config.json"
    path.write_text(json.dumps(dump(config)))
    assert read_trial(path) == config
    assert dump(read_trial(path)) == dump(config)


def test_numpy_numbers_are_the_numbers_that_they_are() -> None:
    config = parse_trial(
        {
            "seed": np.int64(3),
            "schedule": {"lr": np.float32(0.5), "epochs": np.int32(4)},
            "model": {
                "fusion": {"kind": "cssa", "stages": np.array([1, 2, 3, 4]), "options": {"eca": np.bool_(False)}}
            },
        },
        source="test",
    )
    assert (config.seed, config.schedule.lr, config.schedule.epochs) == (3, 0.5, 4)
    assert type(config.schedule.epochs) is int
    assert config.model.fusion.stages == (1, 2, 3, 4)
    assert config.model.fusion.options == {"eca": False}
    json.dumps(dump(config))


def test_flatten_keeps_empty_mappings_as_leaves() -> None:
    assert flatten({"a": {"b": {}, "c": [1]}, "d": 2}) == {"a.b": {}, "a.c": [1], "d": 2}


def test_a_configuration_cannot_be_changed() -> None:
    with pytest.raises(ValueError, match="frozen"):
        TrialConfig().seed = 3  # type: ignore[misc]


def test_a_record_from_before_there_was_a_choice_of_precision_was_trained_in_float32(tmp_path: Path) -> None:
    """Also where its `config.json` is run again; a file that a person wrote has the defaults."""
    resolved = dump(TrialConfig())
    del resolved["compute"]
    path = tmp_path / "config.json"
    path.write_text(json.dumps(resolved))
    compute = read_trial(path).compute
    assert (compute.precision, compute.channels_last) == ("fp32", False)
    assert load_trial(path)[0]["compute"] == {"precision": "fp32", "channels_last": False}
    path.write_text(json.dumps({"seed": 3}))
    assert read_trial(path).compute == ComputeConfig()


@pytest.mark.parametrize("field", ["ema_decay", "clip_norm"])
def test_a_zero_that_means_none_is_told_how_to_say_so(field: str) -> None:
    with pytest.raises(ConfigError, match=rf"schedule\.{field}: must be above 0; leave it out, or give null"):
        parse_trial({"schedule": {field: 0}}, source="a.yaml")
    assert getattr(parse_trial({"schedule": {field: None}}, source="a.yaml").schedule, field) is None
