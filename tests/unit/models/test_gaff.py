"""Guided attentive feature fusion, and how it comes to know the objects."""

import math
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from tune_cmx.config.trial import DetectorConfig, FusionConfig, ModelConfig
from tune_cmx.models.describe import inspected
from tune_cmx.models.detector import Detector, build_detector
from tune_cmx.models.fusion import FUSIONS, Fusion, FusionOptions, FusionOutput, Truth, build_fusion

NO_BOX = torch.zeros(0, 4)
HALVES = Truth.of([torch.tensor([[0.0, 0.0, 8.0, 8.0]])], 8, 16)
"""At stride 4, the left half of a map of 2 x 4 places."""


def _marked(boxes: list[list[float]], height: int = 32, width: int = 32, stride: int = 8) -> list[str]:
    truth = Truth.of([torch.tensor(boxes).view(-1, 4)], height, width)
    (found,) = truth.foreground(torch.zeros(1, 3, height // stride, width // stride))[:, 0]
    return ["".join("#" if place else "." for place in row) for row in found.tolist()]


def test_a_place_is_foreground_where_its_centre_lies_in_a_box() -> None:
    assert _marked([[4.0, 4.0, 20.0, 12.0]]) == ["##..", "....", "....", "...."]
    assert _marked([[3.9, 3.9, 20.1, 12.1]]) == ["###.", "###.", "....", "...."]
    assert _marked([[0.0, 0.0, 32.0, 8.0], [24.0, 0.0, 32.0, 32.0]]) == ["####", "...#", "...#", "...#"]


@pytest.mark.parametrize("place", [0.5, 7.5, 8.5, 12.0, 15.7, 31.5])
def test_an_object_smaller_than_a_place_marks_one(place: float) -> None:
    rows = _marked([[place - 0.25, place - 0.25, place + 0.25, place + 0.25]])
    assert "".join(rows).count("#") == 1
    assert rows[int(place // 8)][int(place // 8)] == "#"


def test_images_keep_their_own_boxes_however_many() -> None:
    boxes = [
        NO_BOX,
        torch.tensor([[0.0, 0.0, 8.0, 8.0], [24.0, 24.0, 32.0, 32.0]]),
        torch.tensor([[8.0, 0.0, 16.0, 8.0]]),
    ]
    found = Truth.of(boxes, 32, 32).foreground(torch.zeros(3, 1, 4, 4))
    assert [image.nonzero().tolist() for image in found[:, 0]] == [[], [[0, 0], [3, 3]], [[0, 1]]]
    assert not Truth.of([NO_BOX, NO_BOX], 32, 32).foreground(torch.zeros(2, 1, 4, 4)).any()


def _flat(rgb: float, aux: float, inter: float = 0.5, **options: float) -> Fusion:
    """A fusion whose masks are the same everywhere, whatever the maps."""
    weights = {"intra_weight": 1.0, "inter_weight": 1.0}
    fusion = build_fusion("gaff", 4, {**weights, **options}).double()
    for name, values in (("intra_rgb", [rgb]), ("intra_aux", [aux]), ("inter", [inter, inter])):
        conv = fusion.get_submodule(name)
        assert isinstance(conv, nn.Conv2d)
        assert conv.bias is not None
        nn.init.zeros_(conv.weight)
        conv.bias.data = torch.tensor([math.log(value / (1 - value)) for value in values]).double()
    return fusion


def _maps() -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(0)
    rgb, aux = (torch.randn(1, 4, 2, 4, generator=generator, dtype=torch.float64) for _ in range(2))
    return rgb, aux


def test_the_losses_by_hand() -> None:
    """4 of 8 places are foreground. Masks of 0.75 share 3 with them, so that Dice's loss is 1 - (2·3 + 1)/(6 + 4 + 1).

    Those of 0.25 share 1: 1 - (2·1 + 1)/(2 + 4 + 1). The RGB mask is nearer by 0.5 on the foreground, the auxiliary one
    elsewhere: masks of 0.5 share 2 of 4 places each.
    """
    losses = _flat(rgb=0.75, aux=0.25).train()(*_maps(), HALVES).losses
    assert losses["intra"].item() == pytest.approx((4 / 11 + 4 / 7) / 2)
    assert losses["inter"].item() == pytest.approx(1 - (2 * 2 + 1) / (4 + 4 + 1))


def test_places_where_both_masks_are_about_as_near_teach_no_preference() -> None:
    losses = _flat(rgb=0.75, aux=0.25, margin=0.6).train()(*_maps(), HALVES).losses
    assert losses["inter"].item() == 0


def test_places_in_an_ignore_region_count_in_no_loss() -> None:
    """As by hand above, but the right column of 2 places is ignored: 6 places are left, 4 of them foreground."""
    boxes, region = [torch.tensor([[0.0, 0.0, 8.0, 8.0]])], [torch.tensor([[12.0, 0.0, 16.0, 8.0]])]
    losses = _flat(rgb=0.75, aux=0.25).train()(*_maps(), Truth.of(boxes, 8, 16, region)).losses
    assert losses["intra"].item() == pytest.approx(((1 - 7 / (4.5 + 4 + 1)) + (1 - 3 / (1.5 + 4 + 1))) / 2)
    assert losses["inter"].item() == pytest.approx(((1 - 5 / (3 + 4 + 1)) + (1 - 3 / (3 + 2 + 1))) / 2)


def test_an_object_in_an_ignore_region_still_counts() -> None:
    everywhere = torch.tensor([[0.0, 0.0, 16.0, 8.0]])
    truth = Truth.of([torch.tensor([[0.0, 0.0, 8.0, 8.0]]), NO_BOX], 8, 16, [everywhere, NO_BOX])
    considered = truth.considered(torch.zeros(2, 4, 2, 4))
    assert considered is not None
    assert considered[:, 0].tolist() == [[[True, True, False, False]] * 2, [[True] * 4] * 2]
    assert HALVES.considered(torch.zeros(1, 4, 2, 4)) is None


def test_masks_strengthen_and_the_mean_is_taken() -> None:
    rgb, aux = _maps()
    output = _flat(rgb=0.75, aux=0.25).eval()(rgb, aux)
    torch.testing.assert_close(output.fused_BCHW, (1.75 * 1.5 * rgb + 1.25 * 1.5 * aux) / 2)
    assert output.losses == {}
    assert {name: values.tolist() for name, values in output.statistics.items()} == {
        "foreground_rgb": [0.75],
        "foreground_aux": [0.25],
        "preferred_rgb": [0.5],
        "preferred_aux": [0.5],
    }


def test_each_loss_has_its_weight() -> None:
    plain = _flat(0.75, 0.25).train()(*_maps(), HALVES).losses
    weighed = _flat(0.75, 0.25, intra_weight=0.0, inter_weight=3.0).train()(*_maps(), HALVES).losses
    assert weighed["intra"].item() == 0
    assert weighed["inter"].item() == pytest.approx(3 * plain["inter"].item())


def test_each_loss_teaches_its_own_masks() -> None:
    """Which stream is nearer is taken as given: the preference does not move the foreground masks."""
    fusion = build_fusion("gaff", 4, {"margin": 0.0}).double().train()
    output = fusion(*_maps(), HALVES)
    for loss, taught in (("intra", {"intra_rgb", "intra_aux"}), ("inter", {"inter"})):
        fusion.zero_grad(set_to_none=True)
        torch.autograd.backward(output.losses[loss], retain_graph=True)
        moved = {name.split(".")[0] for name, weight in fusion.named_parameters() if weight.grad is not None}
        assert moved == taught


def test_the_masks_learn_where_the_objects_are() -> None:
    torch.manual_seed(0)
    rgb, aux = torch.randn(2, 8, 8, 8), torch.randn(2, 8, 8, 8)
    truth = Truth.of([torch.tensor([[8.0, 8.0, 24.0, 20.0]]), NO_BOX], 32, 32)
    aux = aux + 3 * truth.foreground(rgb)  # visible to the auxiliary stream alone
    fusion = build_fusion("gaff", 8, {"intra_weight": 1.0, "inter_weight": 1.0}).train()
    optimizer = torch.optim.Adam(fusion.parameters(), lr=0.02)
    for _ in range(100):
        optimizer.zero_grad()
        torch.autograd.backward(list(fusion(rgb, aux, truth).losses.values()))
        optimizer.step()
    said = fusion.eval()(rgb, aux).statistics
    share = truth.foreground(rgb)[0].float().mean().item()
    assert said["foreground_aux"].tolist() == pytest.approx([share, 0], abs=0.08)


class TellOptions(FusionOptions):
    """None."""


class TellFusion(Fusion):
    """The mean; its loss is the share of the map that is foreground."""

    def fuse(self, rgb_BCHW: Tensor, aux_BCHW: Tensor) -> FusionOutput:
        return FusionOutput(rgb_BCHW, aux_BCHW, (rgb_BCHW + aux_BCHW) / 2)

    def fuse_guided(self, rgb_BCHW: Tensor, aux_BCHW: Tensor, truth: Truth) -> FusionOutput:
        fused_BCHW = (rgb_BCHW + aux_BCHW) / 2
        area = truth.foreground(fused_BCHW).float().mean()
        return FusionOutput(rgb_BCHW, aux_BCHW, fused_BCHW, {"area": area})


def _detector(kind: str, **fusion: Any) -> Detector:
    torch.manual_seed(0)
    small = DetectorConfig(
        image_size=64, max_size=128, fpn_channels=16, anchor_sizes=(8, 16, 32, 64, 96), proposals_train=50,
        proposals_eval=20, rois_per_image=16, head_width=32,
    )  # fmt: skip
    model = ModelConfig(backbone="mit_nano", detector=small, fusion=FusionConfig(kind=kind, **fusion))
    return build_detector(model, bands=(3, 2), num_classes=1, mean=[0.5] * 5, std=[0.25] * 5)


def _batch() -> tuple[list[Tensor], list[dict[str, Tensor]]]:
    """Both are doubled to 64 pixels a side at least; the second is padded from 64 to 96 columns."""
    generator = torch.Generator().manual_seed(0)
    images = [torch.rand(5, *size, generator=generator) for size in ((32, 48), (32, 32))]
    boxes = [torch.tensor([[8.0, 8.0, 24.0, 24.0]]), NO_BOX]
    return images, [{"boxes": box, "labels": torch.ones(len(box), dtype=torch.int64)} for box in boxes]


def test_boxes_reach_a_fusion_in_pixels_of_the_padded_batch(monkeypatch: pytest.MonkeyPatch) -> None:
    """32 x 32 pixels after doubling: that share of two images of 64 x 96."""
    monkeypatch.setitem(FUSIONS, "tell", (TellOptions, TellFusion))
    losses = _detector("tell", stages=(1, 2), elsewhere="add")(*_batch())
    assert isinstance(losses, dict)
    areas = {name: loss.item() for name, loss in losses.items() if name.startswith("fusion")}
    assert areas == {name: pytest.approx(32 * 32 / (2 * 64 * 96)) for name in ("fusion1_area", "fusion2_area")}


def test_a_detector_trains_with_the_losses_and_finds_without_them() -> None:
    detector = _detector("gaff", stages=(1, 3), elsewhere="frm_ffm")
    losses = detector(*_batch())
    assert isinstance(losses, dict)
    assert [name for name in losses if name.startswith("fusion")] == [
        "fusion1_intra", "fusion1_inter", "fusion3_intra", "fusion3_inter",
    ]  # fmt: skip
    torch.autograd.backward(list(losses.values()))
    for name, weight in detector.backbone.encoder.fusions[0].named_parameters():
        assert weight.grad is not None, name
        assert weight.grad.isfinite().all()
    with torch.no_grad():
        found, found_again = detector.eval()(_batch()[0]), detector(*_batch())
    assert [set(image) for image in found] == [{"boxes", "labels", "scores"}] * 2
    assert all(torch.equal(a["boxes"], b["boxes"]) for a, b in zip(found, found_again, strict=True))
    gates = detector.backbone.encoder.take_statistics()
    assert {name for name in gates if name.startswith("stage3")} == {
        "stage3_foreground_rgb", "stage3_foreground_aux", "stage3_preferred_rgb", "stage3_preferred_aux",
    }  # fmt: skip


def test_every_weight_of_it_learns() -> None:
    detector = _detector("gaff")
    counts = inspected(detector).parameters
    assert counts["active"] == counts["total"]
    assert inspected(detector).warnings == []
