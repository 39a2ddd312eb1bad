"""Ignore regions in training: what lies in them is neither an object nor background."""

import copy
from typing import Any, Literal

import pytest
import torch
from torch import Tensor

from tune_cmx.config.trial import ComputeConfig, DetectorConfig, FusionConfig, ModelConfig
from tune_cmx.models.detector import Detector, build_detector, compute_as
from tune_cmx.models.heads import matching, roi_heads, rpn
from tune_cmx.models.heads.matching import without_ignored

SIDE, BANDS = 64, 5
EVERYWHERE = torch.tensor([[-SIDE, -SIDE, 2.0 * SIDE, 2 * SIDE]])
"""Anchors reach out of the image."""
REGION, OBJECT = torch.tensor([[32.0, 0, 64, 32]]), torch.tensor([[4.0, 36, 24, 60]])
Target = dict[str, Tensor]


def detector(fusion: str = "add", *, batched: bool = True) -> Detector:
    torch.manual_seed(0)
    part = DetectorConfig(
        image_size=SIDE,
        max_size=96,
        fpn_channels=16,
        head_width=32,
        anchor_sizes=(8, 16, 24, 32, 48),
        rois_per_image=64,
    )
    model = ModelConfig(backbone="mit_nano", fusion=FusionConfig(kind=fusion), detector=part)
    mean, std = [0.5] * BANDS, [0.25] * BANDS
    return build_detector(model, bands=(3, 2), num_classes=2, mean=mean, std=std, batched=batched)


def target(boxes: Tensor = OBJECT, **further: Tensor) -> Target:
    return {"boxes": boxes.clone(), "labels": torch.ones(len(boxes), dtype=torch.int64), **further}


def losses(model: Detector, targets: list[Target], images: list[Tensor] | None = None) -> dict[str, Tensor]:
    generator = torch.Generator().manual_seed(1)
    drawn = [torch.rand(BANDS, SIDE, SIDE, generator=generator) for _ in targets]
    torch.manual_seed(2)
    found = model([own.clone() for own in images or drawn], targets)
    assert isinstance(found, dict)
    return found


class Seen:
    """The labels of anchors and proposals, as they are sampled from, with their boxes."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.found: list[tuple[Tensor, Tensor, Tensor]] = []

        def noted(labels_BM: Tensor, boxes_B4M: Tensor, regions: Any) -> Tensor:
            labels = without_ignored(labels_BM, boxes_B4M, regions)
            self.found.append((labels_BM, labels, boxes_B4M.expand(len(labels_BM), -1, -1).transpose(1, 2)))
            return labels

        for module in (rpn, roi_heads):
            monkeypatch.setattr(module, "without_ignored", noted)


def iof(boxes: Tensor, region: Tensor) -> Tensor:
    x1, y1, x2, y2 = boxes.unbind(-1)
    left, top, right, bottom = region[0]
    width = (torch.minimum(x2, right) - torch.maximum(x1, left)).clamp(min=0)
    return width * (torch.minimum(y2, bottom) - torch.maximum(y1, top)).clamp(min=0) / ((x2 - x1) * (y2 - y1))


def test_a_bright_object_in_an_ignore_region_gives_no_negatives(monkeypatch: pytest.MonkeyPatch) -> None:
    """Of two like images the first has the region; positives and the negatives elsewhere are equal."""
    image = torch.full((BANDS, SIDE, SIDE), 0.2)
    image[:, 8:24, 40:56] = 1.0  # bright, within the region
    image[:, 36:60, 4:24] = 1.0
    seen = Seen(monkeypatch)
    losses(detector(), [target(ignore=REGION), target(ignore=REGION[:0])], [image, image])
    assert len(seen.found) == 2  # anchors, and proposals with the true boxes
    for before, labels, boxes in seen.found:
        inside = iof(boxes, REGION) >= matching.INSIDE
        assert inside[0].any()
        assert not (labels[0][inside[0]] == 0).any()
        assert (before[0][inside[0]] == 0).any()
        assert torch.equal(labels[0][~inside[0]], before[0][~inside[0]])
        assert torch.equal(labels[0] > 0, before[0] > 0)
        assert torch.equal(labels[1], before[1])
    (_, anchors, _), _ = seen.found
    assert (anchors[0] > 0).any()
    assert (anchors[0] == 0).any()


@pytest.mark.parametrize("fusion", ["add", "gaff"])
def test_an_image_that_is_ignored_as_a_whole_teaches_nothing(fusion: str) -> None:
    """No loss is nan, and each parameter of the heads has a gradient, for which several processes wait."""
    model = detector(fusion)
    found = losses(model, [target(OBJECT[:0], ignore=EVERYWHERE)] * 2)
    torch.autograd.backward(list(found.values()))
    for name, loss in found.items():
        assert loss == 0, name
    gradients = [own.grad for name, own in model.named_parameters() if own.grad is not None]
    assert gradients
    assert all(not grad.any() for grad in gradients)
    heads = [*model.rpn.head.parameters(), *model.roi_heads.parameters()]
    assert all(own.grad is not None for own in heads)


def test_positives_stay_in_a_region() -> None:
    found = losses(detector(), [target(ignore=EVERYWHERE)])
    assert all(loss.isfinite() for loss in found.values())
    assert found["loss_rpn_box_reg"] > 0
    assert found["loss_box_reg"] > 0


@pytest.mark.parametrize("fusion", ["add", "gaff"])
def test_no_region_and_none_given_are_the_same_to_the_bit(fusion: str) -> None:
    with_key, without = ([target(**more), target(OBJECT[:0], **more)] for more in ({"ignore": REGION[:0]}, {}))
    first, second = losses(detector(fusion), with_key), losses(detector(fusion), without)
    assert first.keys() == second.keys()
    assert all(torch.equal(loss, second[name]) for name, loss in first.items())
    regions = losses(detector(fusion), [target(ignore=REGION), target(OBJECT[:0], ignore=REGION)])
    assert not torch.equal(regions["loss_objectness"], first["loss_objectness"])


@pytest.mark.parametrize("sizes", [[(64, 64)] * 2, [(32, 32)] * 2, [(64, 64), (32, 40)]], ids=str)
def test_regions_are_resized_with_the_image(sizes: list[tuple[int, int]]) -> None:
    model = detector()
    images = [torch.rand(BANDS, *size) for size in sizes]
    boxes = [torch.tensor([[3.0, 5, 20, 30], [1, 2, 4, 8]])[: place + 1] for place in range(2)]
    targets = [target(own, ignore=own.clone()) for own in boxes]
    before = copy.deepcopy(targets)
    _, found = model.transform(images, targets)
    for own in found:
        assert torch.equal(own["ignore"], own["boxes"])
    for given, kept in zip(targets, before, strict=True):
        assert all(torch.equal(given[key], kept[key]) for key in kept)


def test_torchvisions_own_heads_refuse_regions() -> None:
    plain = detector(batched=False)
    with pytest.raises(ValueError, match=r"targets have ignore regions, which torchvision's own heads .* batched=True"):
        losses(plain, [target(ignore=REGION)])
    assert losses(plain, [target(ignore=REGION[:0])])


@pytest.mark.parametrize("precision", ["fp32", "bf16"])
@pytest.mark.parametrize("on", [frozenset(), frozenset({"cpu"})], ids=["as on a GPU", "as on a CPU"])
def test_no_proposal_to_sample_is_no_loss(
    on: frozenset[str], precision: Literal["fp32", "bf16"], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Both ways of pooling take no box at all."""
    monkeypatch.setattr(roi_heads, "_BY_BAGS", on)
    model = compute_as(detector(), ComputeConfig(precision=precision, channels_last=True))
    found = losses(model, [target(OBJECT[:0], ignore=EVERYWHERE)])
    assert found["loss_classifier"] == found["loss_box_reg"] == 0
    assert found["loss_classifier"].requires_grad
    torch.autograd.backward(list(found.values()))
