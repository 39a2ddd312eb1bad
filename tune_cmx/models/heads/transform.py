"""torchvision's image transform, for all images of a batch at once where they have one size.

Axes: B batch, C bands, H W rows and columns, K boxes of all images together.
"""

import math
from collections.abc import Sequence
from typing import Self

import torch
from torch import Tensor
from torch.nn import functional as F
from torchvision.models.detection.image_list import ImageList
from torchvision.models.detection.transform import GeneralizedRCNNTransform

from tune_cmx.models.heads.matching import regions_of
from tune_cmx.models.heads.padding import numbers, on_device

Size = tuple[int, int]
Target = dict[str, Tensor]


class BatchedTransform(GeneralizedRCNNTransform):  # type: ignore[misc]  # torchvision has no types
    """Normalise, resize and pad as torchvision does, with its results to the last bit.

    Images that differ in size, and settings that `build_detector` never makes, take torchvision's own way. Where there
    is one size to choose, none is drawn.
    """

    @classmethod
    def of(cls, plain: GeneralizedRCNNTransform) -> Self:
        """The same transform, batched."""
        return cls(
            plain.min_size,
            plain.max_size,
            plain.image_mean,
            plain.image_std,
            size_divisible=plain.size_divisible,
            fixed_size=plain.fixed_size,
        )

    def forward(
        self, images: list[Tensor], targets: list[Target] | None = None
    ) -> tuple[ImageList, list[Target] | None]:
        """Images as one padded tensor, each with its size before padding; boxes and ignore regions scaled with them."""
        if not self._is_plain(images, targets):
            found, resized = super().forward(images, targets)
            old_sizes = [_size(image) for image in images]
            return found, None if resized is None else _with_regions(resized, old_sizes, found.image_sizes)
        batch_BCHW = self._resized(self._normalised_(torch.stack(images)))
        old, new = _size(images[0]), _size(batch_BCHW)
        padded = [math.ceil(side / self.size_divisible) * self.size_divisible for side in new]
        if padded != list(new):  # else F.pad would copy
            batch_BCHW = F.pad(batch_BCHW, (0, padded[1] - new[1], 0, padded[0] - new[0]))
        sizes = [new] * len(images)
        if targets is not None:
            boxes = _scaled([target["boxes"] for target in targets], [old] * len(images), sizes)
            targets = [{**target, "boxes": own} for target, own in zip(targets, boxes, strict=True)]
            targets = _with_regions(targets, [old] * len(images), sizes)
        return ImageList(batch_BCHW, sizes), targets

    def postprocess(
        self, result: list[Target], image_shapes: list[Size], original_image_sizes: list[Size]
    ) -> list[Target]:
        """Detections in pixels of the images given."""
        if self.training or any(found.keys() & {"masks", "keypoints"} for found in result):
            as_torchvision: list[Target] = super().postprocess(result, image_shapes, original_image_sizes)
            return as_torchvision
        boxes = _scaled([found["boxes"] for found in result], image_shapes, original_image_sizes)
        return [{**found, "boxes": own} for found, own in zip(result, boxes, strict=True)]

    def _is_plain(self, images: list[Tensor], targets: list[Target] | None) -> bool:
        return (
            all(image.shape == images[0].shape and image.dim() == 3 for image in images)
            and images[0].is_floating_point()
            and len(self.min_size) == 1
            and self.fixed_size is None
            and not self._skip_resize
            and not any(target.keys() & {"masks", "keypoints"} for target in targets or [])
        )

    def _normalised_(self, image_BCHW: Tensor) -> Tensor:
        mean_std_2C11 = numbers([self.image_mean, self.image_std], image_BCHW.device, image_BCHW.dtype)[..., None, None]
        return image_BCHW.sub_(mean_std_2C11[0]).div_(mean_std_2C11[1])

    def _resized(self, image_BCHW: Tensor) -> Tensor:
        size = _size(image_BCHW)
        scale = min(self.min_size[0] / min(size), self.max_size / max(size))
        return F.interpolate(
            image_BCHW, scale_factor=scale, mode="bilinear", recompute_scale_factor=True, align_corners=False
        )


def _size(image: Tensor) -> Size:
    return image.shape[-2], image.shape[-1]


def _with_regions(targets: list[Target], old: Sequence[Size], new: Sequence[Size]) -> list[Target]:
    """The targets with their ignore regions scaled, of which torchvision does not know."""
    regions = regions_of(targets)
    if not any(len(own) for own in regions):
        return targets
    return [{**target, "ignore": own} for target, own in zip(targets, _scaled(regions, old, new), strict=True)]


def _scaled(boxes: Sequence[Tensor], old: Sequence[Size], new: Sequence[Size]) -> list[Tensor]:
    """Boxes of each image, scaled as the image is from the old size to the new one; all in one multiplication."""
    counts = [len(own) for own in boxes]
    ratio_B2 = torch.tensor(new, dtype=torch.float32) / torch.tensor(old, dtype=torch.float32)  # as torchvision rounds
    ratio_K4 = ratio_B2.flip(1).repeat(1, 2).repeat_interleave(torch.tensor(counts), dim=0)
    boxes_K4 = torch.cat(list(boxes)) * on_device(ratio_K4, boxes[0].device)
    return list(torch.split(boxes_K4, counts))
