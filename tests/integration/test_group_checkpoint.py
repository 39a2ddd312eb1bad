"""A checkpoint in the earlier group's form gives the values of their public code, at their size and in float64."""

from pathlib import Path

import pytest
import torch
from group_checkpoints import saved, shapes_of_b0, without_random_numbers

from tune_cmx.models.group_checkpoint import build_as_trained, read_group_checkpoint

CLOSE = 1e-5
"""Largest relative difference."""
MAPS = {  # shape, sum, norm, first and last value
    "0": ((256, 200, 272), -4390.502449, 453.481741, -0.07608808, 0.06420322),
    "1": ((256, 100, 136), -113.055517, 213.357723, 0.16605347, 0.04751227),
    "2": ((256, 50, 68), 293.057790, 115.842271, -0.04286517, -0.10304436),
    "3": ((256, 25, 34), -75.474667, 26.350905, -0.03888859, -0.00558917),
    "pool": ((256, 13, 17), -19.531224, 13.378892, -0.03888859, 0.00858855),
}
OBJECTNESS = [13166.47612, 3308.24903, 799.79216, 203.05486, 52.84627]
DELTAS = [-1225.36691, -298.46712, -87.87429, -20.06527, -5.19788]
SCORES = [0.57036056, 0.57035637, 0.57034797]


def test_every_value_of_the_public_code_is_reproduced(tmp_path: Path) -> None:
    path = saved(without_random_numbers(shapes_of_b0()), tmp_path / "b0.pth")
    detector = build_as_trained(read_group_checkpoint(path), white=255.0).double()
    steps = torch.arange(5 * 96 * 128, dtype=torch.float64)
    image = torch.round(127.5 + 127.5 * torch.sin(0.01 * steps)).view(5, 96, 128)
    with torch.inference_mode():
        batch, _ = detector.transform([image.clone()])
        assert batch.tensors.shape == (1, 5, 800, 1088)
        assert batch.tensors.sum().item() == pytest.approx(1876060398.876, rel=CLOSE)
        maps, _ = detector.backbone(batch.tensors)
        assert list(maps) == list(MAPS)
        for name, (shape, *values) in MAPS.items():
            found = maps[name][0]
            assert found.shape == shape
            ends = [found.flatten()[0].item(), found.flatten()[-1].item()]
            assert [found.sum().item(), found.norm().item(), *ends] == pytest.approx(values, rel=CLOSE)
        objectness, deltas = detector.rpn.head(list(maps.values()))
        assert [level.sum().item() for level in objectness] == pytest.approx(OBJECTNESS, rel=CLOSE)
        assert [level.sum().item() for level in deltas] == pytest.approx(DELTAS, rel=CLOSE)
        proposals, _ = detector.rpn(batch, maps)
        (found,), _ = detector.roi_heads(maps, proposals, batch.image_sizes)
    assert len(found["scores"]) == 100
    assert found["scores"][:3].tolist() == pytest.approx(SCORES, rel=CLOSE)
