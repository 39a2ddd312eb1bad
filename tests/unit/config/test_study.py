"""A search-space file as arms set against a baseline."""

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tune_cmx.config.arms import BASELINE, differing
from tune_cmx.config.study import Study, read_study
from tune_cmx.errors import ConfigError

SEARCH = {"model.fusion.stages": {"choice": [[1], [2, 3]]}}
BASELINE_OF = {"model.fusion": {"kind": "frm_ffm"}}
FIXED = {"model": {"backbone": "mit_nano", "fusion": {"kind": "cssa", "elsewhere": "frm_ffm"}}}
Reader = Callable[..., Study]


@pytest.fixture
def read(tmp_path: Path) -> Reader:
    """A study from the usual content with some keys replaced."""

    def build(overrides: dict[str, Any] | None = None, **keys: Any) -> Study:
        content = {"study": "test", "fixed": FIXED, "search": SEARCH, "baseline": BASELINE_OF, **keys}
        path = tmp_path / "a.yaml"
        path.write_text("# Why?\n# Run:  this\n" + yaml.safe_dump(content, sort_keys=False))
        return read_study(path, overrides=overrides)

    return build


def with_lr(domain: Any, **searcher: Any) -> dict[str, Any]:
    """Keys of a study that searches the learning rate."""
    return {
        "fixed": {},
        "search": {"schedule.lr": domain},
        "baseline": {"schedule.lr": 0.5},
        **({"searcher": searcher} if searcher else {}),
    }


def test_a_grid_is_every_combination_after_the_baseline(read: Reader) -> None:
    threshold = "model.fusion.options.switching_threshold"
    study = read(search={**SEARCH, threshold: {"choice": [0.3, 0.5]}})
    assert list(study.arms) == [
        BASELINE,
        "stages-1-switching-threshold-0.3",
        "stages-1-switching-threshold-0.5",
        "stages-2+3-switching-threshold-0.3",
        "stages-2+3-switching-threshold-0.5",
    ]
    last = study.arms["stages-2+3-switching-threshold-0.5"]
    assert last.label == "CSSA at stages 2, 3, threshold 0.5"
    assert last.values == {"model.fusion.stages": [2, 3], threshold: 0.5}
    assert [stage.kind for stage in last.config.model.fusion.stage_fusions()] == ["frm_ffm", "cssa", "cssa", "frm_ffm"]
    assert last.config.model.backbone == "mit_nano"


def test_the_baselines_mapping_replaces_the_fixed_one_whole(read: Reader) -> None:
    fusion = read().arms[BASELINE].config.model.fusion
    assert (fusion.kind, fusion.stages, fusion.elsewhere, fusion.options) == ("frm_ffm", None, None, {})


def test_the_question_is_the_head_of_the_file(read: Reader) -> None:
    assert read().question == "Why?"


def test_fixed_keys_may_be_dotted_or_nested_and_are_put_together(read: Reader) -> None:
    fixed = {"model.backbone": "mit_b0", "model": {"fusion": {"elsewhere": "add"}}, "model.fusion.kind": "cssa"}
    config = read(fixed=fixed).arms["stages-1"].config
    assert (config.model.backbone, config.model.fusion.kind, config.model.fusion.elsewhere) == ("mit_b0", "cssa", "add")


@pytest.mark.parametrize(
    ("keys", "said"),
    [
        (
            {"fixed": {"model": {"fusion": {"kind": "cssa", "stages": [1], "elsewhere": "add"}}}},
            r"a\.yaml:\d+: search\.model\.fusion\.stages is both fixed \(model\.fusion\.stages\) and searched; delete",
        ),
        ({"fixed": {"model.fusion.stages": [1]}}, "both fixed"),
        (
            {"search": {"arms": {"choice": [{"schedule.lr": 0.1}]}}, "fixed": {"schedule": {"lr": 0.2}}},
            "both fixed",
        ),
        (
            {"search": {**SEARCH, "model.fusion": {"choice": [{"kind": "add"}]}}, "fixed": {}},
            r"search\.model\.fusion is searched as a whole and in part, in model\.fusion\.stages; keep one",
        ),
        (
            {"baseline": {"schedule.lr": 0.1}},
            r"a\.yaml:\d+: search\.model\.fusion\.stages: the baseline has no value for it",
        ),
        (
            {"baseline": {"model.fusio": {}}},
            r"the baseline has no value for it.*Is baseline\.model\.fusio a misspelling\?",
        ),
        ({"confirm": {"finalists": 9}}, r"confirm\.finalists: the search has only \d configurations; got 9"),
        ({"early_stopping": {"smooth_epochs": 99}}, r"smooth_epochs: no schedule has more than \d+ epochs; got 99"),
        ({"fixed": {**FIXED, "seed": 3}}, r"fixed\.seed: each trial has its own"),
        ({"fixed": {**FIXED, "report_split": "test"}}, r"fixed\.report_split: the study sets it"),
        ({"baseline": {"model": {"backbone": "mit_b0"}}}, r"baseline\.model would replace the whole section"),
        (
            {"baseline": {**BASELINE_OF, "compute": {"precision": "fp32"}}},
            r"baseline\.compute would replace the whole section",
        ),
        (
            {"search": {"schedule.micro_batch": {"choice": [2, 4]}}, "baseline": {"schedule.micro_batch": 1}},
            r"search\.schedule\.micro_batch: it is protocol, because batch normalisation .* give it one value",
        ),
        (
            {"baseline": {**BASELINE_OF, "schedule.processes": 2}},
            r"baseline\.schedule\.processes: it is protocol, because batch normalisation",
        ),
        ({"search": {"seed": {"choice": [1, 2]}}, "baseline": {"seed": 0}}, r"search\.seed: each trial has its own"),
        (
            {"search": {"data.split_seed": {"choice": [1, 2]}}, "baseline": {"data.split_seed": 0}},
            r"search\.data\.split_seed: all configurations share one data set .* data\.range",
        ),
        ({"serch": {}}, r"serch: unknown key.*Did you mean 'search'\?"),
        ({"fixed": {"modle": {}, **FIXED}}, r"a\.yaml:\d+: fixed\.modle: unknown key.*Did you mean 'model'\?"),
        (
            {"baseline": {"model.fusion": {"knd": "add"}}},
            r"a\.yaml:\d+: baseline\.model\.fusion\.knd: unknown key.*'kind'",
        ),
        (
            {"search": {"model.fusion.stages": {"choice": [[1], [5]]}}},
            r"a\.yaml:14: search\.model\.fusion\.stages: must be of 1, 2, 3, 4; got 5 \(in the configuration with",
        ),
        ({"search": {"arms": {"choice": [{"model.streams": "rgb"}], "int": [1, 2]}}}, r"search\.arms: needs one of"),
        ({"search": {"arms": {"choice": ["rgb"]}}}, r"search\.arms: each choice maps dotted paths"),
        ({"search": {"arms": {"choice": [{"model.streams": "rgb"}]}, **SEARCH}}, r"search\.arms: must be the only key"),
        (with_lr({"uniform": [0.1, 0.2]}), r"search\.schedule\.lr: a grid needs \{choice: .*random, trials: N"),
        (with_lr({"choice": [0.1, 0.2]}, kind="random", trials=3), "only about 2 different trials; got 3"),
        (with_lr({"choice": [0.5]}), "every configuration that the search draws is the baseline itself"),
    ],
)
def test_a_study_that_cannot_be_fair_or_drawn_is_refused(keys: dict[str, Any], said: str, read: Reader) -> None:
    with pytest.raises(ConfigError, match=said):
        read(**keys)


def test_a_random_search_draws_no_trial_twice(read: Reader) -> None:
    study = read(**with_lr({"choice": [0.1, 0.2, 0.3, 0.4]}, kind="random", trials=4))
    assert sorted(arm.values["schedule.lr"] for arm in study.arms.values() if arm.id != BASELINE) == [
        0.1,
        0.2,
        0.3,
        0.4,
    ]


def test_the_seed_of_the_file_decides_a_random_search(read: Reader) -> None:
    keys = with_lr({"loguniform": [1e-4, 1e-1]}, kind="random", trials=5)
    first, again, other = read(**keys), read(**keys), read(**keys, seed=1)
    assert first.arms == again.arms
    assert set(first.arms) & set(other.arms) == {BASELINE}


@settings(max_examples=15, suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(seed=st.integers(0, 1000), low=st.floats(1e-3, 1), width=st.floats(1e-9, 1e-2))
def test_ids_and_labels_are_unique_however_near_the_draws(seed: int, low: float, width: float, read: Reader) -> None:
    keys = with_lr({"uniform": [low, low * (1 + width)]}, kind="random", trials=6)
    arms = read(**keys, seed=seed).arms.values()
    assert len({arm.id for arm in arms}) == len({arm.label for arm in arms}) == 7
    assert all(len(arm.label) <= 40 for arm in arms)
    assert all(re.fullmatch(r"[A-Za-z0-9.+-]{1,60}", arm.id) for arm in arms)


def test_long_labels_make_short_ids(read: Reader) -> None:
    options = {"switching_threshold": 0.123, "eca": False, "switching": True, "spatial_attention": False}
    kinds = [{"kind": "cssa", "options": {**options, "eca": eca}} for eca in (True, False)]
    study = read(search={"model.fusion": {"choice": kinds}}, fixed={})
    assert len(study.searched) == 2
    assert all(len(name) <= 60 for name in study.searched)


def test_a_draw_that_is_the_baseline_is_no_arm(read: Reader) -> None:
    study = read(**with_lr({"choice": [0.1, 0.5]}))
    assert study.searched == ("lr-0.1",)


def test_two_ways_to_write_the_same_fusions_are_one_arm(read: Reader) -> None:
    kinds = [
        {"kind": "cssa"},
        {"kind": "cssa", "stages": [1, 2, 3, 4]},
        {"per_stage": [{"kind": "cssa"}] * 4},
        {"kind": "frm_ffm", "stages": [1], "elsewhere": "frm_ffm"},
    ]
    assert read(search={"model.fusion": {"choice": kinds}}, fixed={}).searched == ("fusion-cssa",)


def test_arms_are_what_they_change_of_the_baseline(read: Reader) -> None:
    arms = [{"model.streams": "rgb"}, {"model.fusion": {"kind": "add"}, "schedule.lr": 0.1}]
    baseline = {**BASELINE_OF, "model.streams": "rgb | thermal", "schedule.lr": 0.2}
    study = read(search={"arms": {"choice": arms}}, baseline=baseline, fixed={"model.backbone": "mit_b0"})
    single, added = (study.arms[name].config for name in study.searched)
    assert (single.model.streams, single.model.fusion.kind, single.schedule.lr) == ("rgb", "frm_ffm", 0.2)
    assert (added.model.streams, added.model.fusion.kind, added.schedule.lr) == ("rgb | thermal", "add", 0.1)
    assert study.factors == ("model.fusion", "model.streams", "schedule.lr")
    assert added.model.backbone == "mit_b0"


def test_a_baseline_that_differs_outside_the_factors_is_refused_by_name(read: Reader) -> None:
    baseline = {**BASELINE_OF, "schedule.lr": 0.001}
    with pytest.raises(
        ConfigError,
        match=r"configuration 'CSSA at stage 1' differs from the baseline in schedule\.lr, which is not sea",
    ):
        read(baseline=baseline)
    allowed = read(baseline=baseline, allow_differences=["schedule.lr"])
    assert "schedule.lr" not in allowed.factors
    assert differing(allowed.arms["stages-1"].config, allowed.arms[BASELINE].config)[-1] == "schedule.lr"


def test_an_allowed_difference_that_names_no_field_is_refused(read: Reader) -> None:
    with pytest.raises(ConfigError, match=r"allow_differences: 'schedule\.lrr' is not a field.*'schedule\.lr'"):
        read(allow_differences=["schedule.lrr"])
    assert read(allow_differences=["schedule"]).searched


def test_a_searched_preset_sets_the_whole_schedule(read: Reader) -> None:
    keys: dict[str, Any] = {
        "fixed": {},
        "search": {"schedule.preset": {"choice": ["conservative"]}},
        "baseline": {"schedule.preset": "aggressive"},
    }
    study = read(**keys, early_stopping={"kind": "none"})
    assert study.arms["preset-conservative"].config.schedule.lr == 0.005
    assert study.arms[BASELINE].config.schedule.lr == 0.02
    assert "schedule" in study.factor_fields()


@pytest.mark.parametrize("stopping", [{"compare_at": "fraction", "grace": 0.2}, {"compare_at": "gpu_seconds"}])
def test_asha_over_raw_epochs_is_refused_for_unequal_schedules(stopping: dict[str, Any], read: Reader) -> None:
    keys: dict[str, Any] = {
        "fixed": {},
        "search": {"schedule.epochs": {"choice": [10, 20]}},
        "baseline": {"schedule.epochs": 15},
    }
    with pytest.raises(ConfigError, match=r"the schedules have 10, 20 epochs; .* use compare_at: fraction or gpu_sec"):
        read(**keys)
    assert len(read(**keys, early_stopping={"kind": "asha", **stopping}).searched) == 2
    assert len(read(**keys, early_stopping={"kind": "none"}).searched) == 2


def test_a_first_rung_at_the_end_of_the_schedule_is_refused(read: Reader) -> None:
    with pytest.raises(ConfigError, match=r"early_stopping\.grace: must be below the 4 epochs; got 4"):
        read(fixed={**FIXED, "schedule": {"epochs": 4}}, early_stopping={"grace": 4})


def claim(treatment: Any, baseline: Any = BASELINE, kind: str = "superiority") -> dict[str, Any]:
    return {"kind": kind, "metric": "test/mAP", "treatment": treatment, "baseline": baseline}


@pytest.mark.parametrize(
    ("treatment", "named"),
    [
        ({"model.fusion.stages": [1]}, ("stages-1",)),
        ({"arm": "stages-2+3"}, ("stages-2+3",)),
        ({"model.fusion.kind": "cssa"}, ("stages-1", "stages-2+3")),
        ({"best_of": "stages-*"}, ("stages-1", "stages-2+3")),
        ({"model.fusion.stages": [2, 3], "model.backbone": "mit_nano"}, ("stages-2+3",)),
    ],
)
def test_claims_name_their_arms_by_id_field_or_pattern(treatment: Any, named: tuple[str, ...], read: Reader) -> None:
    assert read(claims=[claim(treatment)]).claimed() == named


def test_best_is_a_claim_on_every_arm(read: Reader) -> None:
    claims = [{"kind": "best", "metric": "test/mAP", "treatment": {"arm": "stages-1"}}]
    assert read(claims=claims).claimed() == ("stages-1", "stages-2+3")


@pytest.mark.parametrize(
    "treatment",
    [
        {"model.fusion.stages": [4]},
        {"model.fusion.stage": [1]},
        {"model.fusion.stage": None},
        {"best_of": "gaff-*"},
        "stages 1",
    ],
)
def test_a_claim_that_matches_no_arm_is_refused(treatment: Any, read: Reader) -> None:
    with pytest.raises(ConfigError, match=r":\d+: claims\[2\]\.treatment: no configuration of the study matches"):
        read(claims=[claim({"arm": "stages-1"}), claim(treatment)])


def test_a_claim_on_a_field_that_does_not_exist_names_the_nearest(read: Reader) -> None:
    with pytest.raises(
        ConfigError, match=r"There is no field 'fusion\.stages'\. Did you mean 'model\.fusion\.stages'\?"
    ):
        read(claims=[claim({"fusion.stages": [1]})])


def test_fixed_values_can_be_set_from_outside(read: Reader) -> None:
    study = read({"schedule.epochs": 9, "data.root": "/data"})
    assert {arm.config.schedule.epochs for arm in study.arms.values()} == {9}
    assert study.arms[BASELINE].config.data.root == "/data"


@pytest.mark.parametrize(
    ("key", "said"),
    [
        ("model.fusion.stages", "under search or baseline"),
        ("model.fusion", "under search or baseline"),
        ("model.fusion.kind", "under search or baseline"),
        ("seed", "a key at the top of the file"),
        ("report_split", "the study sets it"),
        ("schedule.epoch", r"schedule\.epoch: unknown key.*Did you mean 'epochs'\?"),
    ],
)
def test_what_the_study_decides_cannot_be_set_from_outside(key: str, said: str, read: Reader) -> None:
    with pytest.raises(ConfigError, match=said):
        read({key: 1})


def test_a_random_search_has_each_end_built_before_it_starts(read: Reader) -> None:
    study = read(**with_lr({"loguniform": [0.001, 0.1]}, kind="random", trials=2))
    found = [(place, config.schedule.lr) for place, config in study.range_ends()]
    assert found == [("search.schedule.lr = 0.001", 0.001), ("search.schedule.lr = 0.1", 0.1)]


def test_an_end_that_no_trial_could_have_is_named(read: Reader) -> None:
    keys = {
        "fixed": {"schedule": {"epochs": 4}},
        "search": {"schedule.warmup_epochs": {"uniform": [0.0, 4.0]}},
        "baseline": {"schedule.warmup_epochs": 0.5},
        "searcher": {"kind": "random", "trials": 1},
    }
    with pytest.raises(
        ConfigError,
        match=r"a\.yaml:8: search\.schedule\.warmup_epochs: must be below epochs.*warmup_epochs = 4",
    ):
        read(**keys).range_ends()


def test_confirmation_seeds_are_none_that_the_search_used(read: Reader) -> None:
    study = read(seed=5, confirm={"finalists": 1, "seeds": 3})
    assert study.seeds(3) == (1005, 1006, 1007)
    assert {arm.config.seed for arm in study.arms.values()} == {5}


ORIGINS = """study: test
fixed:
  model:
    fusion: {kind: cssa, elsewhere: add}
  schedule:
    batch_size: 8
    micro_batch: 8
search:
  model.fusion.stages:
    choice:
      - [1]
      - [5]
  schedule.lr: {choice: [0.1, 0.2]}
baseline:
  model.fusion: {kind: frm_ffm}
  schedule.lr: 0.1
early_stopping: {kind: none}
"""


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ("micro_batch: 8", "micro_batch: 16", "a.yaml:7: fixed.schedule.micro_batch: must divide the 8 images"),
        ("micro_batch: 8", "ema_deacy: 0.9", "a.yaml:7: fixed.schedule.ema_deacy: unknown key"),
        ("", "", "a.yaml:12: search.model.fusion.stages: must be of 1, 2, 3, 4; got 5"),
        ("[0.1, 0.2]", "[-1.0, 0.2]", "a.yaml:13: search.schedule.lr: must be above 0, to 1000; got -1.0"),
        ("frm_ffm}", "frm_ffm, stages: [1]}", "a.yaml:15: baseline.model.fusion.stages: leaves some stages out"),
    ],
)
def test_a_message_names_the_line_that_a_value_comes_from(old: str, new: str, said: str, tmp_path: Path) -> None:
    path = tmp_path / "a.yaml"
    path.write_text(ORIGINS.replace(old, new, 1))
    with pytest.raises(ConfigError) as caught:
        read_study(path)
    assert said in str(caught.value)


def test_a_message_on_a_setting_of_the_command_line_names_no_line(read: Reader) -> None:
    with pytest.raises(ConfigError, match=r"a\.yaml: schedule\.epochs: must be from 1 to 10000; got 0"):
        read({"schedule.epochs": 0})
