"""Augmentation of training images: random geometry, the same for all bands and boxes, and modality dropout.

The image keeps its size.

Legend: C bands, H W rows and columns, N boxes. Boxes are x1, y1, x2, y2 in pixels.
"""

from dataclasses import dataclass

import torch
from torch import Tensor
from torchvision.transforms.v2 import functional

from tune_cmx.config.trial import AugmentConfig

KEPT_AREA = 0.25
"""A box that keeps a smaller fraction of its area at the image's edge is dropped."""
KEPT_SIDE_PX = 2.0


@dataclass(frozen=True)
class Geometry:
    """A window of the image that is stretched to the image's size, and whether it is mirrored."""

    flip: bool
    top: int
    left: int
    """Of the window, in pixels; negative where it reaches out of the image."""
    height: int
    width: int


def draw_geometry(config: AugmentConfig, height: int, width: int, generator: torch.Generator) -> Geometry:
    """Draw a window. Takes four numbers of the generator, whatever the settings.

    Args:
        config: Probability of a flip, and the range of the scale.
        height: Of the image, in pixels.
        width: Of the image, in pixels.
        generator: To draw from.
    """
    flip, zoom, down, right = torch.rand(4, generator=generator, dtype=torch.float64).tolist()
    low, high = config.scale
    factor = low * (high / low) ** zoom
    window_height, window_width = max(1, round(height / factor)), max(1, round(width / factor))
    return Geometry(
        flip=flip < config.flip,
        top=round(down * (height - window_height)),
        left=round(right * (width - window_width)),
        height=window_height,
        width=window_width,
    )


def draw_dropout(config: AugmentConfig, modalities: int, generator: torch.Generator) -> int | None:
    """The index of the modality that is dropped, or None. Takes two numbers of the generator.

    An image that loses a modality at one probability loses the same one at every higher probability.
    """
    chance, which = torch.rand(2, generator=generator, dtype=torch.float64).tolist()
    return int(which * modalities) if chance < config.modality_dropout else None


def apply_geometry(image_CHW: Tensor, boxes_N4: Tensor, geometry: Geometry) -> tuple[Tensor, Tensor, Tensor]:
    """The image as the window shows it.

    Args:
        image_CHW: All bands, float. Outside of the image the window shows each band's mean.
        boxes_N4: Its boxes.
        geometry: The window.

    Returns:
        The image, of the same size; the boxes that remain visible, clipped to it; and a mask over the N given boxes,
        true for those that remain.
    """
    height, width = int(image_CHW.shape[-2]), int(image_CHW.shape[-1])
    kept_N = torch.ones(len(boxes_N4), dtype=torch.bool)
    if (geometry.height, geometry.width) != (height, width):
        image_CHW = functional.resize(_window(image_CHW, geometry), [height, width], antialias=True)
        boxes_N4, kept_N = _window_boxes(boxes_N4, geometry, height, width)
    if geometry.flip:
        image_CHW = image_CHW.flip(-1)
        boxes_N4 = _mirrored(boxes_N4, width)
    return image_CHW, boxes_N4, kept_N


def apply_to_regions(regions_N4: Tensor, geometry: Geometry, height: int, width: int) -> Tensor:
    """Ignore regions as the window shows them, clipped to it. Every visible part stays, however small its share.

    Args:
        regions_N4: The image's ignore regions.
        geometry: The window.
        height: Of the image, in pixels.
        width: Of the image, in pixels.
    """
    if (geometry.height, geometry.width) != (height, width):
        regions_N4, _ = _clipped(regions_N4, geometry, height, width)
        regions_N4 = regions_N4[_sides(regions_N4).amin(dim=1) > 0]
    return _mirrored(regions_N4, width) if geometry.flip else regions_N4


def shifted(image_CHW: Tensor, right: int, down: int, outside_C11: Tensor) -> Tensor:
    """The image moved by whole pixels.

    Args:
        image_CHW: Is not changed.
        right: Pixels to the right; negative: to the left.
        down: Pixels down; negative: up.
        outside_C11: Value of each band on the uncovered border.
    """
    height, width = image_CHW.shape[-2:]
    moved_CHW = outside_C11.expand_as(image_CHW).clone()
    rows, columns = max(0, height - abs(down)), max(0, width - abs(right))
    top, left = max(0, down), max(0, right)
    from_top, from_left = max(0, -down), max(0, -right)
    moved_CHW[:, top : top + rows, left : left + columns] = image_CHW[
        :, from_top : from_top + rows, from_left : from_left + columns
    ]
    return moved_CHW


def _mirrored(boxes_N4: Tensor, width: int) -> Tensor:
    return torch.stack([width - boxes_N4[:, 2], boxes_N4[:, 1], width - boxes_N4[:, 0], boxes_N4[:, 3]], dim=1)


def _window(image_CHW: Tensor, geometry: Geometry) -> Tensor:
    bands, height, width = image_CHW.shape
    top, left = max(0, geometry.top), max(0, geometry.left)
    bottom = min(height, geometry.top + geometry.height)
    right = min(width, geometry.left + geometry.width)
    seen = image_CHW[:, top:bottom, left:right]
    if seen.shape[-2:] == (geometry.height, geometry.width):
        return seen
    window = image_CHW.mean(dim=(1, 2))[:, None, None].expand(bands, geometry.height, geometry.width).clone()
    window[:, top - geometry.top : bottom - geometry.top, left - geometry.left : right - geometry.left] = seen
    return window


def _window_boxes(boxes_N4: Tensor, geometry: Geometry, height: int, width: int) -> tuple[Tensor, Tensor]:
    clipped_N4, moved_N4 = _clipped(boxes_N4, geometry, height, width)
    kept_N = (_area(clipped_N4) >= KEPT_AREA * _area(moved_N4)) & (_sides(clipped_N4).amin(dim=1) >= KEPT_SIDE_PX)
    return clipped_N4[kept_N], kept_N


def _clipped(boxes_N4: Tensor, geometry: Geometry, height: int, width: int) -> tuple[Tensor, Tensor]:
    """Boxes in the pixels of the window that is stretched to the image's size: clipped to it, and as they are."""
    scale = boxes_N4.new_tensor([width / geometry.width, height / geometry.height] * 2)
    moved_N4 = (boxes_N4 - boxes_N4.new_tensor([geometry.left, geometry.top] * 2)) * scale
    limit = boxes_N4.new_tensor([width, height] * 2)
    return torch.minimum(moved_N4.clamp(min=0), limit), moved_N4


def _sides(boxes_N4: Tensor) -> Tensor:
    return boxes_N4[:, 2:] - boxes_N4[:, :2]


def _area(boxes_N4: Tensor) -> Tensor:
    return _sides(boxes_N4).prod(dim=1)
