"""RPN and RoI heads of a batch against torchvision's, which take one image after another."""

import copy
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torchvision.models.detection.image_list import ImageList
from torchvision.models.detection.roi_heads import RoIHeads

from tune_cmx.config.trial import DetectorConfig, FusionConfig, ModelConfig
from tune_cmx.models.detector import Detector, build_detector
from tune_cmx.models.heads import roi_heads
from tune_cmx.models.heads.roi_heads import BatchedRoIHeads

CHANNELS, CLASSES, BANDS = 16, 3, 5
PADDED = (128, 192)
SAME, MIXED = [PADDED] * 4, [(128, 192), (100, 130), (64, 190), (128, 40)]
Target = dict[str, Tensor]


@pytest.fixture(autouse=True)
def _pooled_as_on_a_gpu(monkeypatch: pytest.MonkeyPatch) -> None:
    """By torchvision's RoIAlign: what the CPU has in its place takes sums in another order."""
    monkeypatch.setattr(roi_heads, "_BY_BAGS", frozenset())


class FirstOnes:
    """torchvision's sampler, that takes the first of each kind in place of random ones."""

    def __init__(self, batch_size_per_image: int, positive_fraction: float) -> None:
        self.batch_size_per_image, self.positive_fraction = batch_size_per_image, positive_fraction

    def __call__(self, labels: list[Tensor]) -> tuple[list[Tensor], list[Tensor]]:
        found: tuple[list[Tensor], list[Tensor]] = ([], [])
        for own in labels:
            positive = torch.where(own >= 1)[0][: int(self.batch_size_per_image * self.positive_fraction)]
            negative = torch.where(own == 0)[0][: self.batch_size_per_image - len(positive)]
            for masks, rows in zip(found, (positive, negative), strict=True):
                masks.append(torch.zeros_like(own, dtype=torch.uint8).index_fill(0, rows, 1))
        return found


@pytest.fixture
def first_ones(monkeypatch: pytest.MonkeyPatch) -> None:
    """Ours takes the first of each kind, too: earlier boxes have higher keys."""

    drawn = torch.rand

    def keys(*shape: Any, **options: Any) -> Tensor:
        if "generator" in options:  # a test's own noise
            return drawn(*shape, **options)
        return torch.linspace(0.999, 0, shape[0][-1]).expand(shape[0])

    monkeypatch.setattr("torch.rand", keys)


def _pair(**config: Any) -> tuple[Detector, Detector]:
    """torchvision's and ours, with the same weights; wider ones than fresh, so that boxes move and are found."""
    small = {"fpn_channels": CHANNELS, "head_width": 32, "anchor_sizes": (8, 16, 32, 64, 96), "rois_per_image": 64}
    part = DetectorConfig(**(small | config))
    models = []
    for batched in (False, True):
        torch.manual_seed(0)
        model = build_detector(
            ModelConfig(backbone="mit_nano", fusion=FusionConfig(kind="add"), detector=part),
            bands=(3, 2),
            num_classes=CLASSES,
            mean=[0.5] * BANDS,
            std=[0.25] * BANDS,
            batched=batched,
        )
        with torch.no_grad():
            model.rpn.head.bbox_pred.weight.mul_(30)
            model.roi_heads.box_predictor.cls_score.weight.mul_(10)
            model.roi_heads.box_predictor.bbox_pred.weight.mul_(20)
        models.append(model)
    plain, ours = models
    for part in (plain.rpn, plain.roi_heads):
        part.fg_bg_sampler = FirstOnes(part.fg_bg_sampler.batch_size_per_image, part.fg_bg_sampler.positive_fraction)
    return plain, ours


def _maps(batch: int) -> dict[str, Tensor]:
    generator = torch.Generator().manual_seed(1)
    strides = zip(("0", "1", "2", "3", "pool"), (4, 8, 16, 32, 64), strict=True)
    return {
        name: torch.randn(batch, CHANNELS, *(-(-side // stride) for side in PADDED), generator=generator)
        for name, stride in strides
    }


def _targets(sizes: list[tuple[int, int]], counts: tuple[int, ...] = (3, 0, 9, 1)) -> list[Target]:
    generator = torch.Generator().manual_seed(2)
    targets = []
    for size, count in zip(sizes, counts, strict=True):
        start = torch.rand(count, 2, generator=generator) * torch.tensor(size[::-1]) * 0.8
        sides = torch.rand(count, 2, generator=generator) * 30 + 2
        labels = torch.randint(1, CLASSES + 1, (count,), generator=generator)
        targets.append({"boxes": torch.cat((start, start + sides), dim=1), "labels": labels})
    return targets


def _forward(model: Detector, sizes: list[tuple[int, int]], maps: dict[str, Tensor], targets: list[Target]) -> Any:
    images = ImageList(torch.zeros(len(sizes), BANDS, *PADDED), sizes)
    proposals, rpn_losses = model.rpn(images, maps, targets)
    found, losses = model.roi_heads(maps, proposals, sizes, targets)
    return proposals, found, {**rpn_losses, **losses}


def _all_equal(first: list[Tensor], second: list[Tensor]) -> bool:
    return len(first) == len(second) and all(torch.equal(a, b) for a, b in zip(first, second, strict=True))


@pytest.mark.parametrize("sizes", [SAME, MIXED], ids=["one size", "mixed sizes"])
@pytest.mark.parametrize("top", [12, 150, 2000], ids=lambda top: f"{top} a level")
@pytest.mark.usefixtures("first_ones")
def test_training_gives_torchvisions_proposals_losses_and_gradients(sizes: list[tuple[int, int]], top: int) -> None:
    """12 and 150 a level are suppressed together, as on a GPU; 2,000 level by level."""
    results = []
    for model in _pair(proposals_train=top):
        maps = {name: own.requires_grad_() for name, own in _maps(4).items()}
        proposals, _, losses = _forward(model, sizes, maps, _targets(sizes))
        torch.autograd.backward(list(losses.values()))
        parameters = [*model.rpn.parameters(), *model.roi_heads.parameters()]
        results.append((proposals, losses, [own.grad for own in [*maps.values(), *parameters]]))
    (proposals, losses, gradients), (our_proposals, our_losses, our_gradients) = results
    assert _all_equal(proposals, our_proposals)
    assert losses.keys() == our_losses.keys()
    for name, loss in losses.items():
        assert loss > 0
        torch.testing.assert_close(our_losses[name], loss, rtol=1e-6, atol=0, msg=name)
    for gradient, ours in zip(gradients, our_gradients, strict=True):
        # sums are taken in another order, so that what cancels out is off by more than its own size would allow
        torch.testing.assert_close(ours, gradient, rtol=1e-5, atol=1e-5 * float(gradient.abs().max()))


@pytest.mark.parametrize("sizes", [SAME, MIXED], ids=["one size", "mixed sizes"])
@pytest.mark.parametrize("top", [12, 150, 1000], ids=lambda top: f"{top} a level")
def test_evaluation_gives_torchvisions_proposals_and_detections_to_the_bit(
    sizes: list[tuple[int, int]], top: int
) -> None:
    results = []
    for model in _pair(proposals_eval=top, detections_per_image=30):
        with torch.no_grad():
            results.append(_forward(model.eval(), sizes, _maps(4), _targets(sizes)))
    (proposals, found, _), (our_proposals, our_found, _) = results
    assert _all_equal(proposals, our_proposals)
    assert sum(len(own["boxes"]) for own in found) > 20
    for name in ("boxes", "scores", "labels"):
        assert _all_equal([own[name] for own in found], [own[name] for own in our_found])


def test_boxes_too_small_or_outside_are_no_proposals() -> None:
    """The image is a strip of the padded batch, so that many boxes are clipped to nothing."""
    sizes = [(128, 192), (10, 12)]
    results = []
    for model in _pair(proposals_eval=50):
        images = ImageList(torch.zeros(2, BANDS, *PADDED), sizes)
        with torch.no_grad():
            results.append(model.eval().rpn(images, _maps(2))[0])
    assert _all_equal(*results)
    assert len(results[0][1]) < len(results[0][0])


def test_an_image_without_proposals_or_detections_has_none() -> None:
    ours = _pair()[1].eval()
    ours.roi_heads.score_thresh = 1.0
    with torch.no_grad():
        found, losses = ours.roi_heads(_maps(2), [torch.zeros(0, 4), torch.tensor([[0.0, 0, 9, 9]])], SAME[:2])
    assert losses == {}
    assert [own["boxes"].shape for own in found] == [(0, 4), (0, 4)]
    ours.rpn.score_thresh = 1.0
    with torch.no_grad():
        proposals, _ = ours.rpn(ImageList(torch.zeros(2, BANDS, *PADDED), SAME[:2]), _maps(2))
    assert [own.shape for own in proposals] == [(0, 4), (0, 4)]


@pytest.mark.usefixtures("first_ones")
def test_a_batch_without_true_boxes_trains_on_background() -> None:
    losses = []
    for model in _pair(proposals_train=50):
        losses.append(_forward(model, SAME, _maps(4), _targets(SAME, (0, 0, 0, 0)))[2])
    assert losses[0]["loss_box_reg"] == losses[1]["loss_box_reg"] == losses[1]["loss_rpn_box_reg"] == 0
    for name, loss in losses[0].items():
        torch.testing.assert_close(losses[1][name], loss, rtol=1e-6, atol=0)


def test_the_same_seed_gives_the_same_losses_and_another_seed_others() -> None:
    ours = _pair()[1]
    found = []
    for seed in (0, 0, 1):
        torch.manual_seed(seed)
        found.append(torch.stack(list(_forward(ours, SAME, _maps(4), _targets(SAME))[2].values())))
    assert torch.equal(found[0], found[1])
    assert not torch.equal(found[0], found[2])


def test_sampled_losses_are_about_those_of_torchvision() -> None:
    """Means over 30 draws; this alone has torchvision's own sampler beside ours."""
    plain, ours = _pair(proposals_train=200)
    plain.rpn.fg_bg_sampler = copy.copy(ours.rpn.fg_bg_sampler)
    plain.roi_heads.fg_bg_sampler = copy.copy(ours.roi_heads.fg_bg_sampler)
    torch.manual_seed(0)
    with torch.no_grad():
        means = [
            torch.stack([torch.stack(list(losses.values())) for losses in draws]).mean(0)
            for draws in (
                [_forward(model, MIXED, _maps(4), _targets(MIXED))[2] for _ in range(30)] for model in (plain, ours)
            )
        ]
    torch.testing.assert_close(means[1], means[0], rtol=0.05, atol=0)


class Waits(TorchDispatchMode):
    """Counts what would wait for a GPU, by name."""

    def __init__(self) -> None:
        super().__init__()
        self.found: dict[str, int] = {}

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        name = func._schema.name
        by_mask = "index" in name and any(
            isinstance(own, Tensor) and own.dtype in (torch.bool, torch.uint8)
            for own in (args[1] if isinstance(args[1], list | tuple) else args[1:])
        )
        if by_mask or name.split("::")[1] in ("nonzero", "_local_scalar_dense", "masked_select", "_unique2", "nms"):
            self.found[name] = self.found.get(name, 0) + 1
        return func(*args, **(kwargs or {}))


@pytest.mark.parametrize("regions", [0, 2], ids=lambda regions: f"{regions} ignore regions")
@pytest.mark.parametrize("batch", [1, 4])
def test_a_training_forward_waits_for_each_images_suppression_and_two_counts(
    batch: int, regions: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """150 a level are suppressed as on a GPU; the counts are of proposals and of boxes on each level.

    That leaves torchvision's `BoxCoder.decode_single`, whose two constants a GPU is sent.
    """
    ours, lists = _pair(proposals_train=150)[1], []
    to_list = Tensor.tolist
    targets = [{**own, "ignore": torch.tensor([[0.0, 0, 60, 60]] * regions).view(-1, 4)} for own in _targets(SAME)]
    _forward(ours, SAME[:batch], _maps(batch), targets[:batch])  # the pool finds its scales
    monkeypatch.setattr(Tensor, "tolist", lambda own: lists.append(own) or to_list(own))
    with Waits() as waits:
        _forward(ours, SAME[:batch], _maps(batch), targets[:batch])
    assert waits.found == {"torchvision::nms": batch}
    assert len(lists) == 2


def test_anchors_are_made_anew_only_for_another_size() -> None:
    rpn = _pair()[1].rpn
    first = rpn._anchors_of(ImageList(torch.zeros(1, 1, *PADDED), SAME), list(_maps(1).values()))
    assert rpn._anchors_of(ImageList(torch.zeros(2, 1, *PADDED), SAME), list(_maps(2).values())) is first
    small = [own[..., :1, :1] for own in _maps(1).values()]
    assert len(rpn._anchors_of(ImageList(torch.zeros(1, 1, 32, 32), [(32, 32)]), small).t()) == 5 * 3


def test_boxes_and_losses_are_float32_in_autocast() -> None:
    ours, maps = _pair()[1], {name: own.bfloat16() for name, own in _maps(4).items()}
    with torch.autocast("cpu", dtype=torch.bfloat16):
        proposals, _, losses = _forward(ours, SAME, maps, _targets(SAME))
        assert {own.dtype for own in [*proposals, *losses.values()]} == {torch.float32}
        assert all(loss.isfinite() for loss in losses.values())
        found = _forward(ours.eval(), SAME, maps, _targets(SAME))[1]
    assert {own[name].dtype for own in found for name in ("boxes", "scores")} == {torch.float32}


def test_masks_are_refused() -> None:
    plain = RoIHeads(None, None, None, 0.5, 0.5, 512, 0.25, None, 0.05, 0.5, 100, *[torch.nn.Identity()] * 3)
    with pytest.raises(ValueError, match="masks and keypoints are not supported"):
        BatchedRoIHeads.of(plain)


def test_weights_have_the_same_names_and_values_in_both_forms() -> None:
    plain, ours = (model.state_dict() for model in _pair())
    assert list(plain) == list(ours)
    assert _all_equal(list(plain.values()), list(ours.values()))


@pytest.mark.usefixtures("first_ones")
def test_a_whole_detector_gives_torchvisions_losses_and_detections() -> None:
    plain, ours = _pair(image_size=96, max_size=128, proposals_train=100, proposals_eval=100)
    sizes = [(96, 120), (60, 64)]
    generator = torch.Generator().manual_seed(0)
    images, targets = [torch.rand(BANDS, *size, generator=generator) for size in sizes], _targets(sizes, (3, 0))
    losses = []
    for model in (plain, ours):
        for module in model.backbone.modules():
            module.train(False)  # no drop path, which would draw from the same generator
        losses.append(model(images, targets))
    for name, loss in losses[0].items():
        torch.testing.assert_close(losses[1][name], loss, rtol=1e-6, atol=0)
    with torch.no_grad():
        found, our_found = (model.eval()(images) for model in (plain, ours))
    for name in ("boxes", "scores", "labels"):
        assert _all_equal([own[name] for own in found], [own[name] for own in our_found])
