"""torchvision's RoI heads, for all images of a batch at once.

Axes: B batch, C classes with the background, P proposals of the image with most, N true boxes of the image with most,
M = P + N, S sampled boxes of an image, K candidates of an image, R boxes of all images, L pyramid levels.
"""

from typing import Self

import torch
from torch import Tensor
from torch.nn import functional as F
from torchvision.models.detection._utils import encode_boxes
from torchvision.models.detection.roi_heads import RoIHeads
from torchvision.ops import roi_align
from torchvision.ops.poolers import _filter_input, _setup_scales

from tune_cmx.models.heads.boxes import box_loss, suppress
from tune_cmx.models.heads.matching import match, regions_of, sample, without_ignored
from tune_cmx.models.heads.padding import Padding, numbers, on_device, rows_at
from tune_cmx.models.heads.pooling import align_on_cpu

Size = tuple[int, int]
Target = dict[str, Tensor]

_BY_BAGS = frozenset({"cpu"})
"""Devices on which RoIs are pooled by `align_on_cpu`."""
_SMALLEST_PX = 1e-2
"""Side of a detection, torchvision's."""


class BatchedRoIHeads(RoIHeads):  # type: ignore[misc]  # torchvision has no types
    """The same detections as torchvision's, and the same losses of the same sample; no masks, no keypoints.

    Boxes and losses are float32, also where the heads compute in bfloat16.
    """

    @classmethod
    def of(cls, plain: RoIHeads) -> Self:
        """The same heads, batched: their modules are shared, nothing is drawn.

        Raises:
            ValueError: The heads have a branch for masks or keypoints.
        """
        if plain.has_mask() or plain.has_keypoint():
            raise ValueError("masks and keypoints are not supported")
        return cls(
            plain.box_roi_pool,
            plain.box_head,
            plain.box_predictor,
            fg_iou_thresh=plain.proposal_matcher.high_threshold,
            bg_iou_thresh=plain.proposal_matcher.low_threshold,
            batch_size_per_image=plain.fg_bg_sampler.batch_size_per_image,
            positive_fraction=plain.fg_bg_sampler.positive_fraction,
            bbox_reg_weights=plain.box_coder.weights,
            score_thresh=plain.score_thresh,
            nms_thresh=plain.nms_thresh,
            detections_per_img=plain.detections_per_img,
        )

    def forward(
        self,
        features: dict[str, Tensor],
        proposals: list[Tensor],
        image_shapes: list[Size],
        targets: list[Target] | None = None,
    ) -> tuple[list[Target], dict[str, Tensor]]:
        """Losses in training mode, detections of each image in evaluation mode."""
        if self.training:
            self.check_targets(targets)
            assert targets is not None
            return [], self._losses(features, proposals, image_shapes, targets)
        pooled = self._pooled_all(features, proposals, image_shapes)
        logits_RC, deltas_R4C = self.box_predictor(self.box_head(pooled))
        found = self.postprocess_detections(logits_RC.float(), deltas_R4C.float(), proposals, image_shapes)
        names = ("boxes", "scores", "labels")
        return [dict(zip(names, image, strict=True)) for image in zip(*found, strict=True)], {}

    def _losses(
        self, features: dict[str, Tensor], proposals: list[Tensor], image_shapes: list[Size], targets: list[Target]
    ) -> dict[str, Tensor]:
        """torchvision's losses of a sample of proposals."""
        boxes_BS4, labels_BS, wanted_BS4, valid_BS = self.select_training_samples(proposals, targets)
        pooled, rows_R = self._pooled(features, boxes_BS4, valid_BS, image_shapes)
        logits_RC, deltas_R4C = self.box_predictor(self.box_head(pooled))
        if not len(rows_R):  # all proposals lie in ignore regions: the mean over none would be nan
            return {"loss_classifier": logits_RC.float().sum(), "loss_box_reg": deltas_R4C.float().sum()}
        labels_R, wanted_R4 = labels_BS.flatten()[rows_R], wanted_BS4.flatten(0, 1)[rows_R]
        deltas_RC4 = deltas_R4C.float().view(*logits_RC.shape, 4)
        deltas_R4 = rows_at(deltas_RC4, labels_R.unsqueeze(1)).squeeze(1)
        return {
            "loss_classifier": F.cross_entropy(logits_RC.float(), labels_R),
            "loss_box_reg": box_loss(deltas_R4, wanted_R4, labels_R > 0) / labels_R.numel(),
        }

    @torch.no_grad()
    def select_training_samples(
        self, proposals: list[Tensor], targets: list[Target]
    ) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """A balanced sample of the proposals and true boxes of each image; none is background in an ignore region.

        Returns:
            boxes_BS4, labels_BS (0: background), wanted_BS4 (regression targets) and valid_BS, False where an image has
            fewer than S to sample.
        """
        device = proposals[0].device
        truth_padding = Padding([len(target["boxes"]) for target in targets], device)
        truth_BN4 = truth_padding.pad([target["boxes"].float() for target in targets])
        labels_BN = truth_padding.pad([target["labels"] for target in targets])
        padding = Padding([len(boxes) for boxes in proposals], device)
        boxes_BM4 = torch.cat((padding.pad(proposals), truth_BN4), dim=1)
        mask_BM = torch.cat((padding.mask_BN, truth_padding.mask_BN), dim=1)
        labels_BM, matched_BM = self.assigned(boxes_BM4, truth_BN4, labels_BN, truth_padding)
        labels_BM = without_ignored(labels_BM, boxes_BM4.transpose(1, 2), regions_of(targets)).where(mask_BM, -1)
        keys_BM = torch.rand(labels_BM.shape, device=device)
        sampler = self.fg_bg_sampler
        index_BS, valid_BS = sample(labels_BM, keys_BM, sampler.batch_size_per_image, sampler.positive_fraction)
        boxes_BS4 = rows_at(boxes_BM4, index_BS)
        truth_BS4 = rows_at(truth_BN4, matched_BM.gather(1, index_BS))
        wanted_R4 = encode_boxes(truth_BS4.flatten(0, 1), boxes_BS4.flatten(0, 1), self.box_coder.weights)
        return boxes_BS4, labels_BM.gather(1, index_BS), wanted_R4.view_as(boxes_BS4), valid_BS

    def assigned(
        self, boxes_BM4: Tensor, truth_BN4: Tensor, labels_BN: Tensor, padding: Padding
    ) -> tuple[Tensor, Tensor]:
        """torchvision's `assign_targets_to_proposals`: the label of each box, and its true box, of N."""
        found = match(boxes_BM4.transpose(1, 2).contiguous(), truth_BN4, padding)
        matcher = self.proposal_matcher
        labels_BM = labels_BN.gather(1, found.index_BM)
        labels_BM = labels_BM.where(found.iou_BM >= matcher.high_threshold, -1)
        return labels_BM.where(found.iou_BM >= matcher.low_threshold, 0), found.index_BM

    def _maps(self, features: dict[str, Tensor], image_shapes: list[Size]) -> list[Tensor]:
        """The maps that RoIs are taken from; `box_roi_pool` knows their scales after that."""
        pool = self.box_roi_pool
        maps: list[Tensor] = _filter_input(features, pool.featmap_names)
        if pool.scales is None:
            pool.scales, pool.map_levels = _setup_scales(maps, image_shapes, pool.canonical_scale, pool.canonical_level)
        return maps

    def _pooled_all(self, features: dict[str, Tensor], proposals: list[Tensor], image_shapes: list[Size]) -> Tensor:
        """torchvision's `MultiScaleRoIAlign` of all proposals."""
        device = proposals[0].device
        if device.type not in _BY_BAGS:
            pooled: Tensor = self.box_roi_pool(features, proposals, image_shapes)
            return pooled
        maps = self._maps(features, image_shapes)
        images_R = torch.arange(len(proposals)).repeat_interleave(torch.tensor([len(boxes) for boxes in proposals]))
        return self._aligned(maps, torch.cat(proposals), images_R, self.box_roi_pool.map_levels(proposals))

    def _aligned(self, maps: list[Tensor], boxes_R4: Tensor, images_R: Tensor, levels_R: Tensor) -> Tensor:
        pool = self.box_roi_pool
        assert pool.sampling_ratio == 2
        return align_on_cpu(maps, boxes_R4, images_R, levels_R, pool.scales, pool.output_size[0])

    def _pooled(
        self, features: dict[str, Tensor], boxes_BS4: Tensor, valid_BS: Tensor, image_shapes: list[Size]
    ) -> tuple[Tensor, Tensor]:
        """torchvision's `MultiScaleRoIAlign` of the valid boxes.

        On a GPU level by level: in this order what was pooled of each need not be copied, forward and backward, to
        its place among the others. The count of boxes on each level is waited for, once; it also leaves out what is not
        valid.

        Returns:
            The pooled maps, and of which of the B * S boxes they are.
        """
        pool = self.box_roi_pool
        maps = self._maps(features, image_shapes)
        boxes_R4 = boxes_BS4.flatten(0, 1)
        if boxes_R4.device.type in _BY_BAGS:
            rows_R = valid_BS.flatten().nonzero().squeeze(1)
            kept_R4 = boxes_R4[rows_R]
            return self._aligned(maps, kept_R4, rows_R // boxes_BS4.shape[1], pool.map_levels([kept_R4])), rows_R
        levels_R = pool.map_levels([boxes_R4]).where(valid_BS.flatten(), len(maps))
        each_L = torch.arange(len(maps), device=levels_R.device)
        counts = (levels_R == each_L.unsqueeze(1)).sum(1).tolist()
        rows_R = levels_R.argsort(stable=True)[: sum(counts)]
        image_R1 = (rows_R // boxes_BS4.shape[1]).unsqueeze(1)
        rois = torch.split(torch.cat((image_R1, boxes_R4[rows_R]), dim=1), counts)
        pooled = [
            roi_align(own, own_rois, pool.output_size, scale, pool.sampling_ratio)
            for own, own_rois, scale in zip(maps, rois, pool.scales, strict=True)
        ]
        return torch.cat(pooled), rows_R

    def postprocess_detections(
        self, class_logits: Tensor, box_regression: Tensor, proposals: list[Tensor], image_shapes: list[Size]
    ) -> tuple[list[Tensor], list[Tensor], list[Tensor]]:
        """Boxes, scores and labels of each image's detections, the highest score first."""
        counts, classes = [len(boxes) for boxes in proposals], class_logits.shape[1] - 1
        device = class_logits.device
        limits_B4 = torch.tensor([[width, height] * 2 for height, width in image_shapes], dtype=torch.float32)
        limits_R4 = on_device(limits_B4.repeat_interleave(torch.tensor(counts), dim=0), device)
        boxes_RC4 = self.box_coder.decode(box_regression, proposals).reshape(len(limits_R4), classes + 1, 4)[:, 1:]
        boxes_RC4 = torch.minimum(boxes_RC4.clamp(min=0), limits_R4.unsqueeze(1))
        scores_RC = class_logits.softmax(-1)[:, 1:]
        large_RC = (boxes_RC4[..., 2:] - boxes_RC4[..., :2] >= _SMALLEST_PX).all(-1)
        places = ((scores_RC > self.score_thresh) & large_RC).flatten().nonzero().squeeze(1)
        ends_B = numbers(counts, device, torch.int64).cumsum(0) * classes
        of_each = torch.searchsorted(places, ends_B).diff(prepend=ends_B.new_zeros(1)).tolist()
        found = (boxes_RC4.flatten(0, 1)[places], scores_RC.flatten()[places], places % classes + 1)
        padding = Padding(of_each, device)
        boxes_BK4, scores_BK, labels_BK = (padding.pad(torch.split(values, of_each)) for values in found)
        kept = suppress(boxes_BK4, scores_BK, padding.mask_BN, labels_BK, self.nms_thresh)
        kept = [rows[: self.detections_per_img] for rows in kept]
        boxes, scores, labels = (
            [own[rows] for own, rows in zip(padded, kept, strict=True)] for padded in (boxes_BK4, scores_BK, labels_BK)
        )
        return boxes, scores, labels
