"""torchvision's region proposal network, for all images of a batch at once.

Axes: B batch, H W rows and columns, A anchors of all levels, K candidates of all levels before suppression, N true
boxes of the image with most, S sampled anchors, R those of all images.
"""

from collections.abc import Mapping, Sequence
from typing import Self

import torch
from torch import Tensor
from torch.nn import functional as F
from torchvision.models.detection._utils import encode_boxes
from torchvision.models.detection.image_list import ImageList
from torchvision.models.detection.rpn import RegionProposalNetwork, concat_box_prediction_layers

from tune_cmx.models.heads.boxes import box_loss, suppress
from tune_cmx.models.heads.matching import match, regions_of, sample, without_ignored
from tune_cmx.models.heads.padding import Padding, numbers, on_device, rows_at


class BatchedRegionProposalNetwork(RegionProposalNetwork):  # type: ignore[misc]  # torchvision has no types
    """The same proposals as torchvision's, and the same losses of the same sample.

    Anchors, boxes and losses are float32, also where the head computes in bfloat16.
    """

    _anchors: tuple[object, Tensor] | None = None
    """Those made last, and what they were made for."""

    @classmethod
    def of(cls, plain: RegionProposalNetwork) -> Self:
        """The same network, batched: its modules are shared, nothing is drawn."""
        return cls(
            plain.anchor_generator,
            plain.head,
            fg_iou_thresh=plain.proposal_matcher.high_threshold,
            bg_iou_thresh=plain.proposal_matcher.low_threshold,
            batch_size_per_image=plain.fg_bg_sampler.batch_size_per_image,
            positive_fraction=plain.fg_bg_sampler.positive_fraction,
            pre_nms_top_n=plain._pre_nms_top_n,
            post_nms_top_n=plain._post_nms_top_n,
            nms_thresh=plain.nms_thresh,
            score_thresh=plain.score_thresh,
        )

    def forward(
        self, images: ImageList, features: dict[str, Tensor], targets: list[dict[str, Tensor]] | None = None
    ) -> tuple[list[Tensor], dict[str, Tensor]]:
        """Proposals of each image, the best first, and in training mode the losses."""
        maps = list(features.values())
        logits, deltas = self.head(maps)
        level_sizes = [own_BAHW[0].numel() for own_BAHW in logits]
        flat_logits, flat_deltas = concat_box_prediction_layers(logits, deltas)
        logits_BA = flat_logits.float().view(len(images.image_sizes), -1)
        deltas_BA4 = flat_deltas.float().view(*logits_BA.shape, 4)
        anchors_4A = self._anchors_of(images, maps)
        losses: dict[str, Tensor] = {}
        if self.training:
            if targets is None:
                raise ValueError("targets should not be None")
            # before the proposals, whose suppression waits for the device: this is queued while the device is busy
            losses = self._losses(logits_BA, deltas_BA4, anchors_4A, targets)
        with torch.no_grad():
            return self._proposals(logits_BA, deltas_BA4, anchors_4A, images.image_sizes, level_sizes), losses

    def _anchors_of(self, images: ImageList, maps: Sequence[Tensor]) -> Tensor:
        """The anchors of every image of the batch, as they depend on its padded size alone."""
        height, width = images.tensors.shape[-2:]
        grids, device = [tuple(own_BCHW.shape[-2:]) for own_BCHW in maps], maps[0].device
        made_for = (height, width, grids, device)
        if self._anchors is None or self._anchors[0] != made_for:
            self.anchor_generator.set_cell_anchors(torch.float32, device)
            strides = [[height // rows, width // columns] for rows, columns in grids]
            anchors_A4 = torch.cat(self.anchor_generator.grid_anchors(grids, strides))
            self._anchors = made_for, anchors_A4.t().contiguous()
        return self._anchors[1]

    def _proposals(
        self,
        logits_BA: Tensor,
        deltas_BA4: Tensor,
        anchors_4A: Tensor,
        image_sizes: Sequence[tuple[int, int]],
        level_sizes: list[int],
    ) -> list[Tensor]:
        """Decode the best of each level, drop what is small or scores low, and suppress within each level."""
        device = logits_BA.device
        index_BK = self._get_top_n_idx(logits_BA, level_sizes)
        deltas_BK4, anchors_BK4 = rows_at(deltas_BA4, index_BK), anchors_4A.t()[index_BK]
        decoded = self.box_coder.decode_single(deltas_BK4.flatten(0, 1), anchors_BK4.flatten(0, 1))
        limits_B14 = numbers([[[width, height] * 2] for height, width in image_sizes], device)
        boxes_BK4 = torch.minimum(decoded.view_as(deltas_BK4).clamp_(min=0), limits_B14)
        scores_BK = logits_BA.gather(1, index_BK).sigmoid_()
        sides_BK2 = boxes_BK4[..., 2:] - boxes_BK4[..., :2]
        keep_BK = (sides_BK2 >= self.min_size).all(-1) & (scores_BK >= self.score_thresh)
        of_each = torch.tensor([min(size, self.pre_nms_top_n()) for size in level_sizes])
        levels_BK = on_device(torch.arange(len(level_sizes)).repeat_interleave(of_each), device).expand_as(scores_BK)
        kept = suppress(boxes_BK4, scores_BK, keep_BK, levels_BK, self.nms_thresh)
        return [own_K4[rows[: self.post_nms_top_n()]] for own_K4, rows in zip(boxes_BK4, kept, strict=True)]

    def _losses(
        self, logits_BA: Tensor, deltas_BA4: Tensor, anchors_4A: Tensor, targets: Sequence[Mapping[str, Tensor]]
    ) -> dict[str, Tensor]:
        """torchvision's losses of a sample of anchors; none is a negative in an ignore region."""
        padding = Padding([len(target["boxes"]) for target in targets], logits_BA.device)
        truth_BN4 = padding.pad([target["boxes"].float() for target in targets])
        labels_BA, matched_BA = self.assigned(anchors_4A, truth_BN4, padding)
        labels_BA = without_ignored(labels_BA, anchors_4A.unsqueeze(0), regions_of(targets))
        keys_BA = torch.rand(labels_BA.shape, device=labels_BA.device)
        sampler = self.fg_bg_sampler
        index_BS, valid_BS = sample(labels_BA, keys_BA, sampler.batch_size_per_image, sampler.positive_fraction)
        label_BS = labels_BA.gather(1, index_BS)
        truth_BS4, anchors_BS4 = rows_at(truth_BN4, matched_BA.gather(1, index_BS)), anchors_4A.t()[index_BS]
        wanted_R4 = encode_boxes(truth_BS4.flatten(0, 1), anchors_BS4.flatten(0, 1), self.box_coder.weights)
        objectness = F.binary_cross_entropy_with_logits(
            logits_BA.gather(1, index_BS), label_BS.float(), weight=valid_BS.float(), reduction="sum"
        )
        regression = box_loss(rows_at(deltas_BA4, index_BS), wanted_R4.view_as(truth_BS4), valid_BS & (label_BS > 0))
        sampled = valid_BS.sum().clamp(min=1)  # none where all anchors lie in ignore regions
        return {"loss_objectness": objectness / sampled, "loss_rpn_box_reg": regression / sampled}

    def assigned(self, anchors_4A: Tensor, truth_BN4: Tensor, padding: Padding) -> tuple[Tensor, Tensor]:
        """torchvision's `assign_targets_to_anchors`: labels 1, 0 and -1 (neither), and each anchor's true box, of N."""
        found = match(anchors_4A.expand(len(truth_BN4), -1, -1), truth_BN4, padding)
        matcher = self.proposal_matcher
        positive_BA = (found.iou_BM >= matcher.high_threshold) | found.closest_BM
        between_BA = (found.iou_BM >= matcher.low_threshold) & ~positive_BA
        return positive_BA.to(torch.int8) - between_BA.to(torch.int8), found.index_BM
