"""Arms that are one function under two names."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
import yaml
from torch import Tensor, nn

from tune_cmx.config.study import Study, read_study
from tune_cmx.models.fusion import FUSIONS, Fusion, FusionOptions, FusionOutput, StageShape
from tune_cmx.search.planning.equivalent import equivalent_ids, equivalent_texts, find_equivalent

STAGES, OPTIONS = "model.fusion.stages", "model.fusion.options"
THRESHOLD, SHARED, TWICE = f"{OPTIONS}.switching_threshold", f"{OPTIONS}.inter_shared", f"{OPTIONS}.twice"
Reader = Callable[..., Study]


class ToyOptions(FusionOptions):
    """One switch without an effect, and several with one."""

    inter_shared: bool = False
    twice: bool = False
    branch: bool = False
    loss: bool = False


class ToyFusion(Fusion):
    """Gates for both streams from one convolution, or from two; published as two variants."""

    def __init__(self, stage: StageShape, options: ToyOptions) -> None:
        super().__init__(stage, options)
        self.options = options
        channels = stage.channels
        counts = [2 * channels] if options.inter_shared else [channels, channels]
        self.gates = nn.ModuleList(nn.Conv2d(2 * channels, count, 1, bias=False) for count in counts)
        self.scale = nn.Parameter(torch.zeros(1))

    def fuse(self, rgb_BCHW: Tensor, aux_BCHW: Tensor) -> FusionOutput:
        both_BCHW = torch.cat([rgb_BCHW, aux_BCHW], dim=1)
        gate_rgb, gate_aux = torch.cat([gate(both_BCHW) for gate in self.gates], dim=1).sigmoid().chunk(2, dim=1)
        fused_BCHW = gate_rgb * rgb_BCHW + gate_aux * aux_BCHW
        if self.options.twice:
            fused_BCHW = 2 * fused_BCHW
        if self.options.branch:  # its weight starts at zero, so that it does nothing before the first step
            fused_BCHW = fused_BCHW + self.scale * rgb_BCHW * aux_BCHW
        losses = {"toy": fused_BCHW.square().mean()} if self.options.loss else {}
        return FusionOutput(rgb_BCHW, aux_BCHW, fused_BCHW, losses)


@pytest.fixture
def read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Reader:
    """A study around one fusion; `toy` is one more."""
    monkeypatch.setitem(FUSIONS, "toy", (ToyOptions, ToyFusion))

    def build(kind: str, choices: dict[str, list[Any]], **keys: Any) -> Study:
        content = {
            "study": "test",
            "fixed": {"model": {"backbone": "mit_nano", "fusion": {"kind": kind, "elsewhere": "add"}}},
            "search": {path: {"choice": values} for path, values in choices.items()},
            "baseline": {"model.fusion": {"kind": "add"}},
            "early_stopping": {"kind": "none"},
            **keys,
        }
        path = tmp_path / "a.yaml"
        path.write_text("# Why?\n" + yaml.safe_dump(content, sort_keys=False))
        return read_study(path)

    return build


def test_a_switch_between_two_ways_to_write_one_function_is_named(read: Reader) -> None:
    study = read("toy", {STAGES: [[1], [2]], SHARED: [False, True]})
    equivalent = find_equivalent(study)
    assert equivalent_ids(equivalent) == [
        ["stages-1-inter-shared-no", "stages-1-inter-shared-yes"],
        ["stages-2-inter-shared-no", "stages-2-inter-shared-yes"],
    ]
    (said,) = equivalent_texts(equivalent)
    assert said.startswith(
        "inter_shared has no effect: 'toy at stage 1 without inter shared' and 'toy at stage 1 with inter shared' are "
        "the same function with the same parameters; a difference between them is run-to-run noise (one of 2 "
    )


@pytest.mark.parametrize("option", ["twice", "branch", "loss"])
def test_a_switch_that_changes_something_is_not(option: str, read: Reader) -> None:
    assert find_equivalent(read("toy", {STAGES: [[1], [2]], f"{OPTIONS}.{option}": [False, True]})) == []


@pytest.mark.parametrize(
    ("fixed", "search", "factors"),
    [
        ({"switching": False}, {THRESHOLD: [0.3, 0.5, 0.7]}, (THRESHOLD,)),
        ({"switching": False}, {f"{OPTIONS}.eca": [True, False]}, (f"{OPTIONS}.eca",)),
        ({"eca": False}, {f"{OPTIONS}.eca_kernel": [3, 5]}, (f"{OPTIONS}.eca_kernel",)),
        ({}, {THRESHOLD: [0.0, 1.0]}, (THRESHOLD,)),
    ],
)
def test_the_options_of_cssa_that_others_put_out_of_use(
    fixed: dict[str, Any], search: dict[str, list[Any]], factors: tuple[str, ...], read: Reader
) -> None:
    """Both streams are averaged at the end, so that switching all channels is switching none."""
    model = {"backbone": "mit_nano", "fusion": {"kind": "cssa", "elsewhere": "add", "options": fixed}}
    (found,) = find_equivalent(read("cssa", search, fixed={"model": model}))
    assert found.factors == factors
    assert len(found.arms) == len(next(iter(search.values())))


def test_thresholds_are_not_equivalent_though_untrained_gates_hardly_fire(read: Reader) -> None:
    assert find_equivalent(read("cssa", {STAGES: [[1], [4]], THRESHOLD: [0.002, 0.3, 0.5, 0.7]})) == []


@pytest.mark.parametrize(
    "search",
    [
        {"schedule.lr": [0.01, 0.02]},
        {"data.augment.flip": [0.0, 0.5]},
        {"model.drop_path": [0.1, 0.2]},
        {"model.carry": ["separate", "fused"]},
        {"model.streams": ["thermal | event", "event | thermal"]},
        {"model.detector.rois_per_image": [256, 512]},
    ],
)
def test_what_is_built_alike_and_trained_or_fed_otherwise_is_no_twin(
    search: dict[str, list[Any]], read: Reader
) -> None:
    (path, choices), *_ = search.items()
    baseline = {"model.fusion": {"kind": "add"}, path: choices[0]}
    assert find_equivalent(read("frm_ffm", {**search, STAGES: [[1]]}, baseline=baseline)) == []


def test_a_search_whose_arms_are_not_known_yet_is_checked_at_the_ends_of_its_ranges(read: Reader) -> None:
    study = read("toy", {SHARED: [False, True], TWICE: [False, True]}, searcher={"kind": "tpe", "trials": 4})
    equivalent = find_equivalent(study)
    assert [group.factors for group in equivalent] == [(SHARED,)]
    assert equivalent_ids(equivalent) == []


def test_looking_for_equivalent_draws_no_random_number(read: Reader) -> None:
    before = torch.get_rng_state()
    find_equivalent(read("toy", {STAGES: [[1], [2]]}))
    assert torch.equal(torch.get_rng_state(), before)


def test_fusions_of_different_names_can_be_one_function(read: Reader) -> None:
    """CSSA without its parts is the mean of the streams."""
    parts = {"switching": False, "spatial_attention": False}
    choices = [{"kind": "cssa", "options": parts}, {"kind": "concat"}]
    study = read("add", {}, search={"model.fusion": {"choice": choices}}, fixed={"model": {"backbone": "mit_nano"}})
    (found,) = find_equivalent(study)
    assert [arm.id for arm in found.arms] == ["baseline", study.searched[0]]


def test_gates_that_are_one_function_and_learn_in_two_ways_are_no_equivalent(read: Reader) -> None:
    gates = ["hard", "straight_through", "weighted"]
    assert find_equivalent(read("cssa", {STAGES: [[1], [4]], f"{OPTIONS}.gate": gates})) == []


@pytest.mark.parametrize("option", ["intra_weight", "inter_weight", "margin"])
def test_what_only_a_loss_from_the_boxes_feels_is_no_twin(option: str, read: Reader) -> None:
    assert find_equivalent(read("gaff", {STAGES: [[1], [4]], f"{OPTIONS}.{option}": [0.0, 0.1, 0.2]})) == []


def test_a_margin_without_its_loss_has_no_effect(read: Reader) -> None:
    fusion = {"kind": "gaff", "elsewhere": "add", "options": {"inter_weight": 0.0}}
    fixed = {"model": {"backbone": "mit_nano", "fusion": fusion}}
    (found,) = find_equivalent(read("gaff", {f"{OPTIONS}.margin": [0.0, 0.1]}, fixed=fixed))
    assert found.factors == (f"{OPTIONS}.margin",)
