"""The transform of a batch against torchvision's, which takes one image after another."""

import copy

import pytest
import torch
from torch import Tensor
from torchvision.models.detection.transform import GeneralizedRCNNTransform

from tune_cmx.models.heads.transform import BatchedTransform

IMAGES = {
    "one size": [(60, 90)] * 3,
    "no resizing": [(96, 128)] * 2,
    "longer side first": [(40, 200)] * 2,
    "one image": [(61, 83)],
    "mixed sizes": [(60, 90), (96, 120), (50, 90)],
}


def _targets(sizes: list[tuple[int, int]]) -> list[dict[str, Tensor]]:
    """Two boxes, none and five."""
    generator = torch.Generator().manual_seed(2)
    targets = []
    for size, count in zip(sizes, (2, 0, 5), strict=False):
        start = torch.rand(count, 2, generator=generator) * torch.tensor(size[::-1]) * 0.8
        boxes = torch.cat((start, start + 10), dim=1)
        targets.append({"boxes": boxes, "labels": torch.ones(count, dtype=torch.int64)})
    return targets


def _all_equal(first: list[Tensor], second: list[Tensor]) -> bool:
    return len(first) == len(second) and all(torch.equal(a, b) for a, b in zip(first, second, strict=True))


@pytest.mark.parametrize("sizes", IMAGES.values(), ids=IMAGES)
@pytest.mark.parametrize("training", [True, False])
def test_transform_is_torchvisions_to_the_bit(sizes: list[tuple[int, int]], training: bool) -> None:
    mean, std = [0.1, 0.2, 0.3, 0.4, 0.5], [0.25, 0.3, 0.5, 1.0, 2.0]
    plain = GeneralizedRCNNTransform(96, 160, mean, std).train(training)
    ours = BatchedTransform.of(plain).train(training)
    generator = torch.Generator().manual_seed(0)
    images = [torch.rand(5, *size, generator=generator) for size in sizes]
    targets = _targets(sizes)
    before = copy.deepcopy((images, targets))
    wanted, wanted_targets = plain(images, targets)
    found, found_targets = ours(images, targets)
    assert torch.equal(found.tensors, wanted.tensors)
    assert found.image_sizes == wanted.image_sizes
    for name in ("boxes", "labels"):
        assert _all_equal([own[name] for own in found_targets], [own[name] for own in wanted_targets])
        assert _all_equal([own[name] for own in targets], [own[name] for own in before[1]])
    assert _all_equal(images, before[0])


@pytest.mark.parametrize("sizes", IMAGES.values(), ids=IMAGES)
def test_detections_are_scaled_back_as_torchvision_does(sizes: list[tuple[int, int]]) -> None:
    plain = GeneralizedRCNNTransform(96, 160, [0.0], [1.0]).eval()
    inner = [(96, round(96 * width / height)) for height, width in sizes]
    found = _targets(sizes)
    ours = BatchedTransform.of(plain).eval().postprocess(copy.deepcopy(found), inner, sizes)
    wanted = plain.postprocess(found, inner, sizes)
    assert _all_equal([own["boxes"] for own in ours], [own["boxes"] for own in wanted])
    assert [own.keys() for own in ours] == [own.keys() for own in wanted]
