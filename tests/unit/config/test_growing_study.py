"""Studies whose arms are not all known from the file: phases, and TPE."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml

from tune_cmx.config.arms import BASELINE
from tune_cmx.config.study import Study, read_study
from tune_cmx.errors import ConfigError

STAGES, KIND = "model.fusion.stages", "model.fusion.kind"
THRESHOLD, REDUCTION = "model.fusion.options.switching_threshold", "model.fusion.options.reduction"
TWO_PHASES: dict[str, Any] = {
    "phases": [
        {
            "name": "stages",
            "fixed": {THRESHOLD: 0.5},
            "search": {STAGES: {"choice": [[1], [2], [3]]}},
            "keep": 2,
        },
        {"name": "thresholds", "search": {THRESHOLD: {"choice": [0.3, 0.5, 0.7]}}},
    ]
}
FRM_FFM = {"model.fusion": {"kind": "frm_ffm"}}
Reader = Callable[..., Study]


@pytest.fixture
def read(tmp_path: Path) -> Reader:
    """A study of these keys, around CSSA."""

    def build(**keys: Any) -> Study:
        model = {"backbone": "mit_nano", "fusion": {"kind": "cssa", "elsewhere": "frm_ffm"}}
        content = {
            "study": "test",
            "fixed": {"model": model},
            "baseline": {"model.fusion": {"kind": "frm_ffm"}},
            **keys,
        }
        path = tmp_path / "a.yaml"
        path.write_text("# Why?\n" + yaml.safe_dump(content, sort_keys=False))
        return read_study(path)

    return build


def test_the_first_phase_is_drawn_from_the_file(read: Reader) -> None:
    study = read(**TWO_PHASES)
    assert [study.arms[name].label for name in study.searched] == [
        f"CSSA at stage {stage}, threshold 0.5" for stage in (1, 2, 3)
    ]
    assert study.trials_planned() == (3, 6)
    assert set(study.factors) >= {STAGES, THRESHOLD}
    assert study.grows


def test_a_later_phase_varies_what_the_one_before_kept(read: Reader) -> None:
    study = read(**TWO_PHASES)
    kept = [study.arms[name] for name in study.searched[:2]]
    arms = study.draw(study.phases[1], kept)
    assert [(arm.values[STAGES], arm.values[THRESHOLD]) for arm in arms] == [
        ([stage], threshold) for stage in (1, 2) for threshold in (0.3, 0.5, 0.7)
    ]
    assert [arm.id for arm in arms if arm.values[THRESHOLD] == 0.5] == [arm.id for arm in kept]
    assert len(study.searched) == 3 + 4


def test_the_same_draws_come_from_the_same_file(read: Reader) -> None:
    first, second = read(**TWO_PHASES), read(**TWO_PHASES)
    for study in (first, second):
        study.draw(study.phases[1], [study.arms[study.searched[2]]])
    assert dict(first.arms) == dict(second.arms)


def test_the_ends_of_later_phases_are_built_before_the_start(read: Reader) -> None:
    places = [place for place, _ in read(**TWO_PHASES).range_ends()]
    assert places == [f"phases.1.search.{THRESHOLD} = {value}" for value in ("0.3", "0.5", "0.7")]


@pytest.mark.parametrize(
    ("keys", "said"),
    [
        ({**TWO_PHASES, "search": {STAGES: {"choice": [[1]]}}}, "needs either search or phases"),
        ({}, "needs either search or phases"),
        ({**TWO_PHASES, "searcher": {"kind": "random", "trials": 3}}, "phases need searcher grid; got"),
        (
            {"phases": [TWO_PHASES["phases"][0], {**TWO_PHASES["phases"][1], "name": "stages"}]},
            "a name is given twice: stages, stages",
        ),
        (
            {"phases": [{**TWO_PHASES["phases"][0], "fixed": {"schedule.lr": 0.1}}, TWO_PHASES["phases"][1]]},
            r"phase stages: no phase searches fixed\.schedule\.lr; move it to the file's fixed section",
        ),
        (
            {"phases": [TWO_PHASES["phases"][0], {"name": "epochs", "search": {"schedule.epochs": {"choice": [9]}}}]},
            "the baseline has no value for it",
        ),
        (
            {"phases": [TWO_PHASES["phases"][0], {**TWO_PHASES["phases"][1], "keep": 1}]},
            "keep is for the next phase, and there is none",
        ),
        (
            {"phases": [{**TWO_PHASES["phases"][0], "keep": 40}, TWO_PHASES["phases"][1]]},
            r":\d+: phases\[1\]\.keep: phase stages has only \d+ trials; got 40",
        ),
    ],
)
def test_phases_that_contradict_themselves_are_refused(keys: dict[str, Any], said: str, read: Reader) -> None:
    with pytest.raises(ConfigError, match=said):
        read(**keys)


CONDITIONAL = {
    KIND: {"choice": ["cssa", "se_gated"]},
    STAGES: {"choice": [[1], [4]]},
    THRESHOLD: {"choice": [0.3, 0.5], "when": {KIND: "cssa"}},
    REDUCTION: {"choice": [4, 8], "when": {KIND: "se_gated"}},
}
FIXED = {"model": {"backbone": "mit_nano", "fusion": {"elsewhere": "frm_ffm"}}}


def test_an_arm_has_the_options_of_its_fusion_alone(read: Reader) -> None:
    study = read(fixed=FIXED, search=CONDITIONAL)
    assert len(study.searched) == 2 * 2 + 2 * 2
    for name in study.searched:
        values = study.arms[name].values
        assert (THRESHOLD in values) == (values[KIND] == "cssa")
        assert (REDUCTION in values) == (values[KIND] == "se_gated")


def test_tpe_adds_arms_as_it_draws_them(read: Reader) -> None:
    study = read(fixed=FIXED, search=CONDITIONAL, searcher={"kind": "tpe", "trials": 5})
    assert study.searched == ()
    assert study.trials_planned() == (5,)
    values = {KIND: "cssa", STAGES: [1], THRESHOLD: 0.3}
    arm = study.arm(values)
    assert study.arm(values) is arm
    assert list(study.arms) == [BASELINE, arm.id]
    assert len(study.range_ends()) == 2 + 2 + 2 + 2


def test_a_prior_outside_the_space_is_refused(read: Reader) -> None:
    prior = {"values": {KIND: "cssa", STAGES: [1], THRESHOLD: 0.4}, "value": 50.0}
    searcher = {"kind": "tpe", "trials": 5, "priors": [prior]}
    with pytest.raises(ConfigError, match=r"searcher\.priors, number 1: .*switching_threshold is 0\.4"):
        read(fixed=FIXED, search=CONDITIONAL, searcher=searcher)


def test_a_claim_may_name_an_arm_that_is_yet_to_come(read: Reader) -> None:
    claim = {"kind": "superiority", "metric": "test/mAP", "treatment": {THRESHOLD: 0.3}, "baseline": BASELINE}
    study = read(**TWO_PHASES, claims=[claim])
    assert study.claimed() == ()
    arms = study.draw(study.phases[1], [study.arms[study.searched[0]]])
    assert study.claimed() == (arms[0].id,)


def test_less_than_two_epochs_of_grace_are_refused(read: Reader) -> None:
    stopping = {"compare_at": "fraction", "grace": 0.1}
    with pytest.raises(ConfigError, match=r"grace: 0\.1 of a schedule of 15 epochs is less than 2 epochs; .* 0\.133"):
        read(search={STAGES: {"choice": [[1], [2]]}}, early_stopping=stopping)


def test_more_trials_than_the_space_has_are_refused(read: Reader) -> None:
    with pytest.raises(ConfigError, match="the space has only 8 different trials; got 9"):
        read(fixed=FIXED, search=CONDITIONAL, searcher={"kind": "tpe", "trials": 9})


def claim(**treatment: Any) -> dict[str, Any]:
    return {"kind": "superiority", "metric": "test/mAP", "treatment": treatment, "baseline": BASELINE}


TPE = {"kind": "tpe", "trials": 5}
RATES = {**CONDITIONAL, "schedule.lr": {"loguniform": [0.001, 0.1]}}


@pytest.mark.parametrize(
    ("treatment", "said"),
    [
        (
            {"best_of": "cssa*"},
            r"ids of the study are kind-cssa-stages-1-.*-lr-NUMBER, .* Did you mean best_of: '\*cssa",
        ),
        ({"best_of": "kind-cssa-*-lr-high"}, "The ids of the study are"),
        ({"arm": "kind-cssa"}, "The ids of the study are"),
        (
            {KIND: "gaff"},
            r"matches model\.fusion\.kind: gaff\. model\.fusion\.kind: the study has frm_ffm, cssa, se_ga",
        ),
        ({"schedule.lr": 0.5}, r"schedule\.lr: the study has numbers from 0\.001 to 0\.1; got 0\.5"),
        ({"schedule.epochs": 99}, r"schedule\.epochs: the study has 15; got 99"),
        ({KIND: "se_gated", THRESHOLD: 0.3}, "No configuration has all of these at once"),
        ({"model.fusion.knd": "cssa"}, r"no field 'model\.fusion\.knd'\. Did you mean 'model\.fusion\.kind'"),
    ],
)
def test_a_claim_that_no_trial_of_tpe_can_match_is_refused(treatment: dict[str, Any], said: str, read: Reader) -> None:
    keys = {"fixed": FIXED, "search": RATES, "searcher": TPE, "baseline": {**FRM_FFM, "schedule.lr": 0.02}}
    with pytest.raises(ConfigError, match=said) as caught:
        read(**keys, claims=[claim(**{KIND: "cssa"}), claim(**treatment)])
    assert "claims[2].treatment: no configuration" in str(caught.value)


@pytest.mark.parametrize(
    "treatment",
    [
        {"best_of": "*cssa*"},
        {"best_of": "kind-cssa-stages-[14]-*-lr-0.0?"},
        {"best_of": "*lr-0.01*"},
        {"arm": "kind-cssa-stages-4-switching-threshold-0.5-lr-0.02"},
        {KIND: "se_gated", REDUCTION: 8},
        {"schedule.lr": 0.02, "schedule.epochs": 15},
        {KIND: "frm_ffm"},
    ],
)
def test_a_claim_that_a_trial_of_tpe_can_match_is_kept(treatment: dict[str, Any], read: Reader) -> None:
    keys = {"fixed": FIXED, "search": RATES, "searcher": TPE, "baseline": {**FRM_FFM, "schedule.lr": 0.02}}
    assert read(**keys, claims=[claim(**treatment)]).file.claims


def test_a_claim_that_no_phase_can_match_is_refused(read: Reader) -> None:
    assert read(**TWO_PHASES, claims=[claim(**{STAGES: [2], THRESHOLD: 0.7}), claim(best_of="*threshold-0.7")])
    with pytest.raises(ConfigError, match=r"switching_threshold: the study has 0\.5, 0\.3, 0\.7; got 0\.9"):
        read(**TWO_PHASES, claims=[claim(**{THRESHOLD: 0.9})])
