"""A trial's data and model have the ranges of its own configuration."""

from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from tune_cmx.config.parse import parse_trial
from tune_cmx.config.trial import TrialConfig
from tune_cmx.data.prepare import prepare
from tune_cmx.data.synthetic import synthesize
from tune_cmx.training.assembly import TrialData, build_trial_model
from tune_cmx.training.ddp.ranks import Rank


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """A synthetic set whose thermal images are raw: 14 bits, of which they use an eighth."""
    folder = synthesize(tmp_path / "set", images=12, size=32, sequences=6, seed=0)
    for path in (folder / "thermal").iterdir():
        pixels = np.asarray(Image.open(path)).astype(np.uint16) * 8 + 7200
        Image.fromarray(pixels).save(path)
    return folder


def config(root: Path, **ranges: object) -> TrialConfig:
    content = {
        "data": {"root": str(root), "range": ranges, "augment": {"flip": 0.0, "scale": [1.0, 1.0]}},
        "model": {"streams": "thermal", "backbone": "mit_nano"},
        "schedule": {"batch_size": 4},
    }
    return parse_trial(content, source="test")


@pytest.mark.parametrize("kind", [None, {"kind": "type"}, {"kind": "plateau"}, {"kind": "image", "low": 5.0}])
def test_normalised_pixels_have_mean_0_and_deviation_1_in_every_range(
    root: Path, kind: dict[str, object] | None, tmp_path: Path
) -> None:
    prepared = prepare(config(root).data, tmp_path / "kept")
    trial = config(root, thermal=kind)
    batches = list(TrialData(trial, prepared, 0, Rank(0, 1, torch.device("cpu"))).batches(1))
    pixels = torch.cat([image.ravel() for images, _ in batches for image in images])
    assert pixels.min() >= 0
    assert pixels.max() <= 1
    assert (pixels.max() - pixels.min() > 0.9) == (kind != {"kind": "type"})
    transform = build_trial_model(trial, prepared).transform
    normalised = (pixels - transform.image_mean[0]) / transform.image_std[0]
    assert normalised.mean().item() == pytest.approx(0, abs=1e-3)
    assert normalised.std().item() == pytest.approx(1, abs=1e-3)
