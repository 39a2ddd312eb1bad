"""Matching and sampling of a batch against torchvision's, which takes one image after another."""

from collections import Counter
from collections.abc import Sequence
from itertools import pairwise

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor
from torchvision.models.detection.roi_heads import RoIHeads
from torchvision.models.detection.rpn import AnchorGenerator, RegionProposalNetwork, RPNHead

from tune_cmx.models.heads import matching
from tune_cmx.models.heads.matching import match, regions_of, sample, without_ignored
from tune_cmx.models.heads.padding import Padding
from tune_cmx.models.heads.roi_heads import BatchedRoIHeads
from tune_cmx.models.heads.rpn import BatchedRegionProposalNetwork

CPU = torch.device("cpu")


def _rpn() -> RegionProposalNetwork:
    return RegionProposalNetwork(AnchorGenerator(), RPNHead(8, 3), 0.7, 0.3, 256, 0.5, {}, {}, 0.7)


def _roi_heads() -> RoIHeads:
    return RoIHeads(None, None, None, 0.5, 0.5, 512, 0.25, None, 0.05, 0.5, 100)


def _boxes(count: int, generator: torch.Generator, side: int) -> Tensor:
    """On whole pixels of a small field, so that equal overlaps are common."""
    start = torch.randint(0, side, (count, 2), generator=generator).float()
    return torch.cat((start, start + torch.randint(1, side, (count, 2), generator=generator)), dim=1)


def _drawn(seed: int, boxes: int, counts: Sequence[int], side: int) -> tuple[Tensor, list[Tensor], Padding, Tensor]:
    generator = torch.Generator().manual_seed(seed)
    truth = [_boxes(count, generator, side) for count in counts]
    padding = Padding(counts, CPU)
    return _boxes(boxes, generator, side), truth, padding, padding.pad(truth)


cases = given(
    seed=st.integers(0, 10_000),
    boxes=st.integers(1, 60),
    counts=st.lists(st.integers(0, 7), min_size=1, max_size=4),
    side=st.sampled_from([4, 12, 60]),
    block=st.sampled_from([1, 70, 150, 2**20]),
)


@cases
@settings(deadline=None, max_examples=80)
def test_anchors_get_the_labels_and_boxes_of_torchvision(
    seed: int, boxes: int, counts: list[int], side: int, block: int
) -> None:
    anchors, truth, padding, truth_BN4 = _drawn(seed, boxes, counts, side)
    plain = _rpn()
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(matching._BLOCK, "cpu", block)
        labels, matched = BatchedRegionProposalNetwork.of(plain).assigned(anchors.t(), truth_BN4, padding)
    wanted, wanted_boxes = plain.assign_targets_to_anchors([anchors] * len(counts), [{"boxes": own} for own in truth])
    assert torch.equal(labels.float(), torch.stack(wanted))
    positive = labels > 0  # of the others torchvision keeps no match
    found_boxes = truth_BN4.gather(1, matched.unsqueeze(-1).expand(-1, -1, 4))
    assert torch.equal(found_boxes[positive], torch.stack(wanted_boxes)[positive])


@cases
@settings(deadline=None, max_examples=80)
def test_proposals_get_the_labels_and_boxes_of_torchvision(
    seed: int, boxes: int, counts: list[int], side: int, block: int
) -> None:
    proposals, truth, padding, truth_BN4 = _drawn(seed, boxes, counts, side)
    classes = [torch.arange(1, count + 1) for count in counts]
    plain = _roi_heads()
    proposals_BM4 = proposals.expand(len(counts), -1, -1)
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(matching._BLOCK, "cpu", block)
        labels, matched = BatchedRoIHeads.of(plain).assigned(proposals_BM4, truth_BN4, padding.pad(classes), padding)
    wanted_matched, wanted = plain.assign_targets_to_proposals([proposals] * len(counts), truth, classes)
    assert torch.equal(labels, torch.stack(wanted))
    assert torch.equal(matched[labels > 0], torch.stack(wanted_matched)[labels > 0])


def test_all_boxes_that_tie_for_a_true_box_are_closest_however_low_their_overlap() -> None:
    boxes = torch.tensor([[0.0, 0, 10, 10], [20, 0, 30, 10], [50, 50, 60, 60]])
    padding = Padding([1, 0], CPU)
    found = match(
        boxes.t().expand(2, -1, -1), padding.pad([torch.tensor([[9.0, 0, 21, 10]]), torch.zeros(0, 4)]), padding
    )
    assert found.closest_BM.tolist() == [[True, True, False], [False, False, False]]
    assert found.iou_BM[0, 0] == pytest.approx(10 / (120 + 100 - 10))
    assert found.iou_BM[1].tolist() == [0, 0, 0]


def test_padding_is_zero_and_has_a_column_where_all_lists_are_empty() -> None:
    padding = Padding([0, 2], CPU)
    assert padding.pad([torch.ones(0, 4), torch.ones(2, 4)]).sum(-1).tolist() == [[0, 0], [4, 4]]
    assert padding.mask_BN.tolist() == [[False, False], [True, True]]
    nothing = Padding([0], CPU)
    assert nothing.pad([torch.ones(0)]).tolist() == [[0]]
    assert not nothing.mask_BN.any()


@given(
    positives=st.integers(0, 40),
    negatives=st.integers(0, 40),
    neither=st.integers(0, 5),
    size=st.integers(1, 60),
    fraction=st.sampled_from([0.25, 0.5]),
)
@settings(deadline=None, max_examples=80)
def test_a_sample_has_the_counts_of_torchvision(
    positives: int, negatives: int, neither: int, size: int, fraction: float
) -> None:
    labels_M = torch.tensor([1] * positives + [0] * negatives + [-1] * (neither + 1))
    labels_BM = torch.stack((labels_M, labels_M.flip(0)))
    index, valid = sample(labels_BM, torch.rand(labels_BM.shape), size, fraction)
    wanted_positives = min(positives, int(size * fraction))
    wanted_negatives = min(negatives, size - wanted_positives)
    for own, own_valid, own_labels in zip(index, valid, labels_BM, strict=True):
        taken = own[own_valid]
        assert len(set(taken.tolist())) == len(taken)
        assert Counter(own_labels[taken].tolist()) == Counter({1: wanted_positives, 0: wanted_negatives})


def test_each_box_of_a_kind_is_sampled_as_often_as_any_other() -> None:
    """Chi square of 20 positives and 60 negatives over 4,000 images; 1 in 10,000 fair samplers would fail."""
    torch.manual_seed(0)
    labels_BM = torch.tensor([1, 0, 0, 0] * 20).expand(4000, -1)
    index, valid = sample(labels_BM, torch.rand(labels_BM.shape), 16, 0.5)
    assert valid.all()
    taken = torch.bincount(index.flatten(), minlength=80).double()
    for kind, count, highest in ((1, 20, 50.8), (0, 60, 109.5)):  # 0.9999 quantiles of chi square, 19 and 59 degrees
        own = taken[labels_BM[0] == kind]
        share = 8 / count
        chi = ((own - 4000 * share) ** 2 / (4000 * share * (1 - share))).sum() * (count - 1) / count
        assert chi < highest


def test_samples_of_two_images_are_drawn_apart() -> None:
    torch.manual_seed(0)
    index, _ = sample(torch.zeros(3, 100), torch.rand(3, 100), 10, 0.5)
    assert all(not torch.equal(a, b) for a, b in pairwise(index))


regions = given(
    seed=st.integers(0, 10_000),
    boxes=st.integers(1, 60),
    counts=st.lists(st.integers(0, 5), min_size=1, max_size=4),
    side=st.sampled_from([4, 12, 60]),
)


@regions
@settings(deadline=None, max_examples=60)
def test_a_negative_whose_half_lies_in_an_ignore_region_is_neither(
    seed: int, boxes: int, counts: list[int], side: int
) -> None:
    """Counted pixel by pixel."""
    generator = torch.Generator().manual_seed(seed)
    found_M4, ignored = _boxes(boxes, generator, side), [_boxes(count, generator, side) for count in counts]
    labels_BM = torch.randint(-1, 3, (len(counts), boxes), generator=generator)
    found = without_ignored(labels_BM, found_M4.t().unsqueeze(0), ignored)
    pixels = torch.arange(2 * side) + 0.5

    def covered(box: Tensor) -> Tensor:
        x, y = pixels, pixels.unsqueeze(1)
        return (x > box[0]) & (x < box[2]) & (y > box[1]) & (y < box[3])

    for image, own in enumerate(ignored):
        for place, box in enumerate(found_M4):
            area = int(covered(box).sum())
            inside = any(2 * int((covered(box) & covered(region)).sum()) >= area for region in own)
            before = int(labels_BM[image, place])
            assert found[image, place] == (-1 if before == 0 and inside else before)


def test_without_ignore_regions_the_labels_are_the_same_tensor() -> None:
    labels = torch.zeros(2, 3)
    assert without_ignored(labels, torch.rand(1, 4, 3), [torch.zeros(0, 4)] * 2) is labels


def test_a_target_that_does_not_say_has_no_ignore_regions() -> None:
    boxes = torch.ones(2, 4)
    found = regions_of([{"boxes": boxes}, {"boxes": boxes, "ignore": torch.zeros(1, 4)}])
    assert [own.shape for own in found] == [(0, 4), (1, 4)]
