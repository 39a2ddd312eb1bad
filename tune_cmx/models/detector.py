"""Encoder, feature pyramid and torchvision's Faster R-CNN, put together.

Axes: B batch, C bands, H W rows and columns.
"""

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torchvision.models.detection.anchor_utils import AnchorGenerator
from torchvision.models.detection.faster_rcnn import FasterRCNN, FastRCNNPredictor, TwoMLPHead
from torchvision.models.detection.rpn import RPNHead
from torchvision.ops import FeaturePyramidNetwork, MultiScaleRoIAlign
from torchvision.ops.feature_pyramid_network import LastLevelMaxPool

from tune_cmx.config.trial import ComputeConfig, ModelConfig
from tune_cmx.errors import ConfigError
from tune_cmx.models.encoder import Encoder
from tune_cmx.models.fusion import Truth
from tune_cmx.models.heads.matching import regions_of
from tune_cmx.models.heads.roi_heads import BatchedRoIHeads
from tune_cmx.models.heads.rpn import BatchedRegionProposalNetwork
from tune_cmx.models.heads.transform import BatchedTransform
from tune_cmx.models.precision import at_least_float32, without_autocast

_ROI_SIZE = 7


class Backbone(nn.Module):
    """Encoder and feature pyramid: maps "0".."3" and "pool" at strides 4..64, and the fusions' losses."""

    def __init__(self, encoder: Encoder, out_channels: int) -> None:
        super().__init__()
        self.encoder = encoder
        self.out_channels = out_channels
        self.fpn = FeaturePyramidNetwork(list(encoder.channels), out_channels, LastLevelMaxPool())

    def forward(self, image_BCHW: Tensor, truth: Truth | None = None) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
        maps, losses = self.encoder(image_BCHW, truth)
        return self.fpn(maps), losses


class _Predictor(FastRCNNPredictor):  # type: ignore[misc]  # torchvision has no types
    """torchvision's predictor, in float32 at least.

    In bfloat16 a box would move in steps of a hundredth of its side. The predictor is a thousandth of the work.
    """

    def forward(self, rois_NC: Tensor) -> tuple[Tensor, Tensor]:
        with without_autocast(rois_NC):
            scores, deltas = super().forward(rois_NC.to(at_least_float32(rois_NC.dtype)))
        return scores, deltas


class Detector(FasterRCNN):  # type: ignore[misc]  # torchvision has no types
    """torchvision's Faster R-CNN, whose backbone also gives losses.

    Attributes:
        bf16: Whether convolutions and products of matrices are computed in bfloat16.
    """

    bf16 = False

    def forward(
        self, images: list[Tensor], targets: list[dict[str, Tensor]] | None = None
    ) -> dict[str, Tensor] | list[dict[str, Tensor]]:
        """Losses in training mode, detections in evaluation mode.

        Args:
            images: Each C x H x W, float, all bands in the order of the streams, in the scale of mean and deviation;
                sizes may differ.
            targets: For training: `boxes` (float, x1, y1, x2, y2 in pixels of that image, each of some area) and
                `labels` (int64, from 1; 0 is the background). An image without objects has empty ones. `ignore`, where
                it is given, has the ignore regions (float, as `boxes`): what lies in them is not trained as background.

        Returns:
            In training mode scalar losses by name, torchvision's four and the fusions'; otherwise for each image
            `boxes`, `labels` and `scores`, in pixels of the image given.

        Raises:
            ValueError: Targets have ignore regions, and the heads are torchvision's own.
        """
        assert targets is not None or not self.training, "training needs targets"
        if not isinstance(self.rpn, BatchedRegionProposalNetwork) and any(map(len, regions_of(targets or []))):
            raise ValueError(
                "targets have ignore regions, which torchvision's own heads would train as background; "
                "build the detector with batched=True"
            )
        sizes = [(image.shape[-2], image.shape[-1]) for image in images]
        batch, targets = self.transform(images, targets)
        with torch.autocast(batch.tensors.device.type, torch.bfloat16, enabled=self.bf16):
            maps, fusion_losses = self.backbone(batch.tensors, self._truth(batch.tensors, targets))
            proposals, rpn_losses = self.rpn(batch, maps, targets)
            detections, box_losses = self.roi_heads(maps, proposals, batch.image_sizes, targets)
        if self.training:
            return {**box_losses, **rpn_losses, **fusion_losses}
        found: list[dict[str, Tensor]] = self.transform.postprocess(detections, batch.image_sizes, sizes)
        return found

    def _truth(self, image_BCHW: Tensor, targets: list[dict[str, Tensor]] | None) -> Truth | None:
        """Boxes and ignore regions, resized with the images, for fusions to learn from; None in evaluation mode."""
        if not self.training or targets is None:
            return None
        boxes, regions = [target["boxes"] for target in targets], regions_of(targets)
        height, width = image_BCHW.shape[-2:]
        return Truth.of(boxes, height, width, regions if any(map(len, regions)) else None)


def build_detector(
    config: ModelConfig,
    *,
    bands: tuple[int, ...],
    num_classes: int,
    mean: Sequence[float],
    std: Sequence[float],
    batched: bool = True,
) -> Detector:
    """A detector with random weights from torch's default generator.

    Args:
        config: The model's part of a trial's configuration.
        bands: Input channels of each stream, such as (3, 2).
        num_classes: Without the background.
        mean: Of each band, all streams together, in the scale of the images that the detector will receive.
        std: Standard deviation of each band.
        batched: Transform, RPN and RoI heads take all images of a batch at once; False: torchvision's own, which loop
            over them. Weights and their names are the same.

    Raises:
        ConfigError: A name or option is unknown, or the numbers of bands, means and deviations do not agree.
    """
    if not len(mean) == len(std) == sum(bands):
        raise ConfigError(
            f"normalisation: {sum(bands)} bands need as many means and deviations; got {len(mean)} and {len(std)}"
        )
    part = config.detector
    encoder = Encoder(config, bands)
    detector = Detector(
        backbone=Backbone(encoder, part.fpn_channels),
        num_classes=None,  # the predictor below has it
        min_size=part.image_size,
        max_size=part.max_size,
        image_mean=list(mean),
        image_std=list(std),
        rpn_anchor_generator=AnchorGenerator(
            tuple((size,) for size in part.anchor_sizes), (part.anchor_ratios,) * len(part.anchor_sizes)
        ),
        rpn_head=RPNHead(part.fpn_channels, len(part.anchor_ratios), conv_depth=1),
        rpn_pre_nms_top_n_train=part.proposals_train,
        rpn_pre_nms_top_n_test=part.proposals_eval,
        rpn_post_nms_top_n_train=part.proposals_train,
        rpn_post_nms_top_n_test=part.proposals_eval,
        rpn_nms_thresh=0.7,
        rpn_fg_iou_thresh=0.7,
        rpn_bg_iou_thresh=0.3,
        rpn_batch_size_per_image=256,
        rpn_positive_fraction=0.5,
        rpn_score_thresh=0.0,
        box_roi_pool=MultiScaleRoIAlign(["0", "1", "2", "3"], output_size=_ROI_SIZE, sampling_ratio=2),
        box_head=TwoMLPHead(part.fpn_channels * _ROI_SIZE**2, part.head_width),
        box_predictor=_Predictor(part.head_width, num_classes + 1),
        box_score_thresh=0.05,
        box_nms_thresh=0.5,
        box_detections_per_img=part.detections_per_image,
        box_fg_iou_thresh=0.5,
        box_bg_iou_thresh=0.5,
        box_batch_size_per_image=part.rois_per_image,
        box_positive_fraction=0.25,
        bbox_reg_weights=None,  # torchvision's (10, 10, 5, 5)
    )
    if batched:
        detector.transform = BatchedTransform.of(detector.transform)
        detector.rpn = BatchedRegionProposalNetwork.of(detector.rpn)
        detector.roi_heads = BatchedRoIHeads.of(detector.roi_heads)
    return detector


def compute_as(detector: Detector, config: ComputeConfig) -> Detector:
    """The same detector, set to precision, memory format and compilation of the configuration."""
    detector.bf16 = config.precision == "bf16"
    if config.channels_last:
        detector.to(memory_format=torch.channels_last)
    if config.compile:
        detector.backbone.compile()
    return detector
