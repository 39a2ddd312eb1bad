"""What configurations are called."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st

from tune_cmx.config.arms import BASELINE
from tune_cmx.config.names import MOST_LETTERS, field_text, free_name, stages_text, value_text
from tune_cmx.config.study import Study, read_study
from tune_cmx.errors import ConfigError

FUSION, STAGES, OPTIONS = "model.fusion", "model.fusion.stages", "model.fusion.options"
FRM_FFM = {FUSION: {"kind": "frm_ffm"}}
Reader = Callable[..., Study]


@pytest.fixture
def read(tmp_path: Path) -> Reader:
    """A study of these keys without early stopping."""

    def build(**keys: Any) -> Study:
        content = {"study": "test", "baseline": FRM_FFM, "early_stopping": {"kind": "none"}, **keys}
        path = tmp_path / "a.yaml"
        path.write_text("# Why?\n" + yaml.safe_dump(content, sort_keys=False))
        return read_study(path)

    return build


def names(study: Study) -> list[str]:
    return [arm.label for arm in study.arms.values()]


def choices(path: str, *values: Any) -> dict[str, Any]:
    return {"search": {path: {"choice": list(values)}}}


CSSA = {"fixed": {"model": {"fusion": {"kind": "cssa", "elsewhere": "frm_ffm"}}}}


@pytest.mark.parametrize(
    ("keys", "said"),
    [
        ({**CSSA, **choices(STAGES, [4], [1, 2, 3, 4])}, ["CSSA at stage 4", "CSSA at all stages"]),
        (
            {"fixed": {FUSION: {"kind": "cssa", "elsewhere": "add"}}, **choices(STAGES, [1])},
            ["CSSA at stage 1"],
        ),
        (
            choices(FUSION, {"kind": "cssa", "stages": [1], "elsewhere": "add"}),
            ["CSSA at stage 1, mean at stages 2-4"],
        ),
        (choices(FUSION, {"kind": "concat"}, {"kind": "gaff"}), ["1×1 conv", "GAFF"]),
        (choices(FUSION, {"kind": "cssa", "options": {"eca": False}}), ["CSSA without ECA"]),
        (
            choices(FUSION, {"per_stage": [{"kind": "cssa"}, {"kind": "frm_ffm"}, {"kind": "gaff"}, {"kind": "gaff"}]}),
            ["CSSA at stage 1, GAFF at stages 3, 4"],
        ),
        (
            {**choices("model.streams", "rgb", "thermal | event", "rgb+event"), "baseline": {"model.streams": "event"}},
            ["RGB only", "thermal + event", "RGB/event in one stream"],
        ),
        ({**choices("schedule.lr", 0.02, 0.003), "baseline": {"schedule.lr": 1.0}}, ["lr 0.02", "lr 0.003"]),
        ({**choices("schedule.epochs", 25, 1), "baseline": {"schedule.epochs": 15}}, ["25 epochs", "1 epoch"]),
        (
            {**choices("schedule.preset", "conservative"), "baseline": {"schedule.preset": "aggressive"}},
            ["conservative schedule"],
        ),
        ({**choices("schedule.ema_decay", 0.999), "baseline": {"schedule.ema_decay": None}}, ["EMA 0.999"]),
        ({**choices("schedule.ema_decay", None), "baseline": {"schedule.ema_decay": 0.9}}, ["without EMA"]),
        (
            {
                **choices("data.range.thermal", {"kind": "plateau"}, {"kind": "percentile", "low": 1.0}),
                "baseline": {"data.range.thermal": {"kind": "type"}},
            },
            ["thermal plateau range", "thermal percentile range, low 1"],
        ),
        (
            {**choices("model.detector.rois_per_image", 64), "baseline": {"model.detector.rois_per_image": 8}},
            ["rois per image 64"],
        ),
    ],
)
def test_a_configuration_is_named_by_what_the_study_varies(keys: dict[str, Any], said: list[str], read: Reader) -> None:
    assert names(read(**keys))[1:] == said


def test_a_value_that_is_the_baselines_is_not_named(read: Reader) -> None:
    dropout = "data.augment.modality_dropout"
    study = read(
        search={FUSION: {"choice": [{"kind": "frm_ffm"}, {"kind": "add"}]}, dropout: {"choice": [0.0, 0.2]}},
        baseline={**FRM_FFM, dropout: 0.0},
    )
    assert names(study) == [
        "FRM+FFM (baseline)",
        "FRM+FFM, modality dropout 0.2",
        "mean fusion",
        "mean fusion, modality dropout 0.2",
    ]


@pytest.mark.parametrize(
    ("field", "value", "said"),
    [
        ("rgb_brightness", 0.123456, "RGB brightness 0.1235"),
        ("rgb_hue", 0.1, "RGB hue 0.1"),
        ("thermal_offset", 0.5, "thermal offset 0.5"),
        ("thermal_blur", 1.5, "thermal blur 1.5 px"),
        ("event_noise", 1.0, "event noise 1"),
        ("registration_jitter", 4, "jitter 4 px"),
    ],
)
def test_changes_of_single_modalities_are_named_with_the_modality(
    field: str, value: Any, said: str, read: Reader
) -> None:
    path = f"data.augment.{field}"
    study = read(**choices(path, value), baseline={path: 0})
    assert names(study)[1:] == [said]


def test_a_uniform_range_of_augmentation_gives_names_that_differ(read: Reader) -> None:
    domains = {"data.augment.thermal_noise": {"uniform": [0.0, 1.0]}, "data.augment.rgb_hue": {"uniform": [0.0, 0.5]}}
    study = read(search=domains, searcher={"kind": "random", "trials": 8}, baseline=dict.fromkeys(domains, 0.0))
    found = names(study)[1:]
    assert len({*found}) == 8
    assert all(name.startswith("thermal noise 0.") and "RGB hue 0." in name for name in found)
    assert max(map(len, found)) <= MOST_LETTERS
    jitter = "data.augment.registration_jitter"
    study = read(search={jitter: {"int": [1, 3]}}, searcher={"kind": "random", "trials": 3}, baseline={jitter: 0})
    assert {*names(study)[1:]} == {"jitter 1 px", "jitter 2 px", "jitter 3 px"}


def test_an_augmentation_that_changes_nothing_makes_no_configuration_and_no_name(read: Reader) -> None:
    noise = "data.augment.event_noise"
    study = read(
        search={"model.streams": {"choice": ["rgb | event", "rgb"]}, noise: {"choice": [0.5, 0.0]}},
        baseline={"model.streams": "rgb | event", noise: 0.0},
    )
    assert names(study) == ["RGB + event (baseline)", "event noise 0.5", "RGB only"]
    with pytest.raises(ConfigError, match="every configuration that the search draws is the baseline itself"):
        read(fixed={"model": {"streams": "rgb | thermal"}}, **choices(noise, 0.5, 1.0), baseline={noise: 0.0})


@pytest.mark.parametrize(
    ("streams", "path", "values"),
    [
        ("rgb", "data.range.thermal", [{"kind": "plateau"}, {"kind": "image"}]),
        ("rgb | thermal", "data.range.event", [{"kind": "plateau"}, None]),
        ("rgb | thermal", "data.events", [{"representation": "voxel_grid"}, {"representation": "count"}]),
        ("rgb | thermal", "data.events.window", [{"ms": 20}, {"events": 5000}]),
        ("rgb | event", "data.events.bins", [3, 9]),
        ("rgb | event", "data.events.tau_ms", [3, 9]),
        ("rgb | event", "data.events", [{"saturation": 9}, {"saturation": 9, "tau_ms": 4.0, "bins": 7}]),
        ("rgb | event", "data.events", [None, {}, {"window": {"ms": 50}}]),
    ],
)
def test_data_settings_that_change_nothing_make_no_configuration_and_no_name(
    streams: str, path: str, values: list[Any], read: Reader
) -> None:
    search = {"schedule.lr": {"choice": [0.5]}, path: {"choice": values}}
    study = read(fixed={"model": {"streams": streams}}, search=search, baseline={"schedule.lr": 0.1, path: values[0]})
    assert names(study)[1:] == ["lr 0.5"]


def test_of_events_only_what_the_representation_uses_makes_configurations(read: Reader) -> None:
    search = {
        "data.events.representation": {"choice": ["count", "voxel_grid", "time_surface"]},
        "data.events.bins": {"choice": [3, 5]},
        "data.events.saturation": {"choice": [10, 20]},
    }
    study = read(
        fixed={"model": {"streams": "rgb | event"}},
        search=search,
        baseline={"data.events.representation": "count", "data.events.bins": 5, "data.events.saturation": 10},
    )
    assert names(study)[1:] == [
        "saturation 20",
        "voxel grid, 3 bins",
        "voxel grid, 3 bins, saturation 20",
        "voxel grid",
        "voxel grid, saturation 20",
        "time surface",
    ]


def test_the_baseline_is_named_by_its_streams_where_these_are_searched(read: Reader) -> None:
    study = read(**choices("model.streams", "rgb"), baseline={"model.streams": "rgb | thermal+event"})
    assert names(study) == ["RGB + thermal/event (baseline)", "RGB only"]


def test_an_arm_that_differs_in_an_allowed_field_alone_has_a_name(read: Reader) -> None:
    baseline = {"schedule.lr": 0.1, "schedule.epochs": 9}
    study = read(**choices("schedule.lr", 0.1, 0.2), baseline=baseline, allow_differences=["schedule.epochs"])
    assert names(study)[1:] == ["lr 0.1", "lr 0.2"]


def test_a_long_name_is_cut_and_two_that_are_cut_alike_are_numbered(read: Reader) -> None:
    options = {"intra_weight": 0.125, "inter_weight": 0.1}
    kinds = [{"kind": "gaff", "stages": [2, 4], "elsewhere": "add", "options": {**options, "inter_weight": weight}}
             for weight in (0.1, 0.2)]  # fmt: skip
    first, second = names(read(**choices(FUSION, *kinds)))[1:]
    assert len(first) <= MOST_LETTERS
    assert first.endswith("...")
    assert second.endswith("... #2")


def test_a_name_keeps_its_length_with_a_number() -> None:
    taken = {"x" * 40} | {f"{'x' * 34}... #{number}" for number in range(2, 10)}
    assert free_name("x" * 40, taken) == f"{'x' * 33}... #10"
    assert free_name("y", taken) == "y"


def test_stages_and_values_in_words() -> None:
    assert [stages_text(stages) for stages in ([4], [2, 3], [2, 3, 4], [1, 4], [1, 2, 3, 4])] == [
        "stage 4",
        "stages 2, 3",
        "stages 2-4",
        "stages 1, 4",
        "all stages",
    ]
    assert [value_text(value) for value in (True, None, 0.00012345, [1, 2], "x", 7)] == [
        *("yes", "none", "0.0001234", "1, 2", "x", "7"),
    ]
    assert value_text({"kind": "cssa", "stages": [1], "options": {"switching_threshold": 0.5}}) == (
        "CSSA, stages 1, threshold 0.5"
    )
    assert field_text("model.pretrained", "weights/mit_b1.pth") == "pretrained mit_b1.pth"


KINDS = st.sampled_from(["add", "cssa", "frm_ffm", "gaff", "a_fusion_of_somebody_with_a_long_name"])
PLACES = st.lists(st.sampled_from([1, 2, 3, 4]), min_size=1, unique=True).map(sorted)
DOMAINS: dict[str, st.SearchStrategy[Any]] = {
    STAGES: PLACES,
    f"{OPTIONS}.switching_threshold": st.floats(0, 1),
    f"{OPTIONS}.spatial_attention": st.booleans(),
    "model.streams": st.sampled_from(["rgb", "rgb | thermal", "rgb+thermal | event", "event"]),
    "schedule.lr": st.floats(1e-6, 1),
    "schedule.epochs": st.integers(15, 900),
    "model.detector.anchor_ratios": st.lists(st.floats(0.1, 9), min_size=1, max_size=5),
    "schedule.curve": st.sampled_from(["constant", "step", "cosine"]),
}


@settings(max_examples=30, suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(data=st.data(), kind=KINDS, elsewhere=KINDS)
def test_names_are_unique_and_short_in_any_space(data: st.DataObject, kind: str, elsewhere: str, read: Reader) -> None:
    paths = data.draw(st.lists(st.sampled_from(sorted(DOMAINS)), min_size=1, max_size=4, unique=True))
    search = {
        path: {"choice": data.draw(st.lists(DOMAINS[path], min_size=1, max_size=3, unique_by=repr))} for path in paths
    }
    baseline = {path: domain["choice"][0] for path, domain in search.items()}
    varies_fusion = any(path.startswith(FUSION) for path in paths)
    whole = {path: value for path, value in baseline.items() if not path.startswith(FUSION)}
    try:
        study = read(
            fixed={FUSION: {"kind": kind, "elsewhere": elsewhere}},
            search=search,
            baseline={**whole, **FRM_FFM} if varies_fusion else baseline,
            allow_differences=["model.fusion"],
        )
    except ConfigError as error:
        assume("nothing to compare" not in str(error))
        raise
    found = names(study)
    assert len(set(found)) == len(found) == len(study.arms)
    assert all(0 < len(name) <= MOST_LETTERS for name in found)
    assert [name for name in found if "(baseline)" in name] == [study.arms[BASELINE].label]
