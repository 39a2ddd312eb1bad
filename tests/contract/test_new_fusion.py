"""A new fusion is a class and one line in the table: then it trains, is described and checked, and can be searched."""

from pathlib import Path
from typing import Annotated

import pytest
import torch
from pydantic import Field
from timm.scheduler.step_lr import StepLRScheduler
from torch import Tensor, nn

from tune_cmx.config.study import Study, read_study
from tune_cmx.errors import ConfigError
from tune_cmx.models.describe import flops, inspected
from tune_cmx.models.fusion import FUSIONS, Fusion, FusionOptions, FusionOutput, StageShape
from tune_cmx.search.check import check_study
from tune_cmx.training.model_probe import build_for
from tune_cmx.training.trainer import Trainer

SPACE = """# Does a mixture by one number a channel do?
study: test
fixed:
  model:
    backbone: mit_nano
    fusion: {kind: mixture, stages: [1, 4], elsewhere: add}
    detector: {image_size: 64, max_size: 96, fpn_channels: 16, head_width: 32, anchor_sizes: [8, 16, 32, 48, 64],
               proposals_train: 50, proposals_eval: 20, rois_per_image: 16}
search:
  model.fusion.options.evenness: {choice: [0.0, 0.1]}
  model.fusion.options.spare: {choice: [false, true]}
baseline:
  model.fusion: {kind: frm_ffm}
early_stopping: {kind: none}
"""


class MixtureOptions(FusionOptions):
    """How evenly the streams are to be mixed."""

    evenness: Annotated[float, Field(ge=0)] = 0.1
    spare: bool = False
    """Has no effect."""


class MixtureFusion(Fusion):
    """One share for each channel."""

    def __init__(self, stage: StageShape, options: MixtureOptions) -> None:
        super().__init__(stage, options)
        self.evenness = options.evenness
        self.share = nn.Parameter(torch.zeros(stage.channels, 1, 1))

    def fuse(self, rgb_BCHW: Tensor, aux_BCHW: Tensor) -> FusionOutput:
        share_C11 = self.share.sigmoid()
        losses = {"evenness": self.evenness * (share_C11 - 0.5).square().sum()}
        return FusionOutput(rgb_BCHW, aux_BCHW, share_C11 * rgb_BCHW + (1 - share_C11) * aux_BCHW, losses)


@pytest.fixture
def study(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Study:
    """Around a fusion that one line adds."""
    monkeypatch.setitem(FUSIONS, "mixture", (MixtureOptions, MixtureFusion))
    path = tmp_path / "a.yaml"
    path.write_text(SPACE)
    return read_study(path)


def test_it_trains(study: Study) -> None:
    (arm,) = (arm for arm in study.arms.values() if arm.label == "mixture, evenness 0.1, without spare")
    detector = build_for(arm.config.model, None)
    share = detector.backbone.encoder.fusions[3].share
    optimizer = torch.optim.SGD(detector.parameters(), lr=0.01)
    trainer = Trainer(detector, optimizer, StepLRScheduler(optimizer, 1), 1, torch.device("cpu"))
    box = {"boxes": torch.tensor([[8.0, 8.0, 30.0, 40.0]]), "labels": torch.ones(1, dtype=torch.int64)}
    images = [torch.rand(5, 64, 64, generator=torch.Generator().manual_seed(seed)) for seed in range(2)]
    assert not share.any()
    seen = trainer.epoch(1, [(images, [box, box])] * 2)
    assert {"fusion1_evenness", "fusion4_evenness"} < set(seen.losses)
    assert share.any()
    with torch.no_grad():
        assert len(detector.eval()(images)) == 2


def test_it_is_described(study: Study) -> None:
    (arm,) = (arm for arm in study.arms.values() if arm.label == "mixture, evenness 0.1, without spare")
    counts = inspected(build_for(arm.config.model, None)).parameters
    assert [counts[f"fusion.{stage}"] for stage in (1, 2, 3, 4)] == [16, 0, 0, 64]
    assert counts["active"] == counts["total"]
    with torch.device("meta"):
        detector = build_for(arm.config.model, None)
    assert flops(detector, 64, 64) > 0


def test_it_is_searched_and_checked_before_it_costs(study: Study) -> None:
    assert len(study.searched) == 4
    checked = check_study(study, None)
    assert [arm.id for arm in checked.arms] == list(study.arms)
    assert all(arm.parameters["active"] == arm.parameters["total"] and not arm.warnings for arm in checked.arms)
    (said,) = checked.equivalent_texts
    assert said.startswith("spare has no effect: ")


@pytest.mark.usefixtures("study")
def test_its_wrong_options_are_named(tmp_path: Path) -> None:
    path = tmp_path / "b.yaml"
    path.write_text(SPACE.replace("evenness: {choice: [0.0,", "evenness: {choice: [-1.0,"))
    with pytest.raises(ConfigError, match=r"model.fusion.options.evenness: must be at least 0; got -1.0"):
        check_study(read_study(path), None)
