"""Every subset of the modalities as a model."""

from __future__ import annotations

import itertools
from typing import TYPE_CHECKING

import pytest
import torch

from tune_cmx.config.parse import parse_trial
from tune_cmx.training.assembly import TrialData, build_trainer, build_trial_model
from tune_cmx.training.ddp.ranks import lead_rank

if TYPE_CHECKING:
    from conftest import Tiny

    from tune_cmx.data.prepare import Prepared

STREAMS = (
    *("rgb", "thermal", "event", "rgb+thermal", "rgb+event", "thermal+event", "rgb+thermal+event"),
    *("rgb | thermal", "rgb | event", "thermal | event", "event | rgb"),
    *("rgb | thermal+event", "thermal | rgb+event", "rgb+thermal | event"),
)


@pytest.mark.parametrize("streams", STREAMS)
def test_every_subset_of_the_modalities_trains_a_step_and_is_evaluated(
    tiny: Tiny, prepared: Prepared, streams: str
) -> None:
    several = any(sign in streams for sign in "|+")
    content = {
        "model": {**tiny.fixed["model"], "streams": streams, "fusion": {"kind": "frm_ffm"}},
        "schedule": tiny.fixed["schedule"],
        "data": {"root": str(tiny.data), "augment": {"modality_dropout": 0.5 if several else 0.0}},
    }
    config = parse_trial(content, source="test")
    rank = lead_rank(1, torch.device("cpu"))
    data = TrialData(config, prepared, 0, rank)
    trainer = build_trainer(config, prepared, build_trial_model(config, prepared), rank, None)
    seen = trainer.epoch(1, itertools.islice(data.batches(1), 1))
    assert seen.images == 4
    assert seen.losses["loss"] > 0
    score = data.score(trainer, "val")
    assert 0 <= score.metrics["mAP"] <= 100
