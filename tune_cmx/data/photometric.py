"""Augmentation of one modality alone: photometric changes, and a shift against the first modality.

Each field of `AugmentConfig` here has a generator of its own, made from seed, epoch, index and the field's name. So no
field changes the draw of another. A field at twice its strength takes the same draw, doubled.

Legend: C bands, H W rows and columns. Pixels are within 0..1, before and after.
"""

import math
from collections.abc import Callable, Mapping

import torch
from torch import Tensor
from torchvision.transforms.v2 import functional

from tune_cmx.config.paths import FieldError
from tune_cmx.config.trial import AugmentConfig
from tune_cmx.data.transforms import shifted
from tune_cmx.seeding import derive

Change = Callable[[Tensor, float, torch.Generator], Tensor]
"""Bands (C×H×W), the amount, which is uniform from -strength to strength, and a generator for more draws."""
_LEAST_SIGMA_PX = 0.1
"""A smaller blur gives a neighbouring pixel less than 1e-21 of the weight."""


def change_modalities(
    image_CHW: Tensor, bands: Mapping[str, slice], config: AugmentConfig, draw: tuple[int, int, int]
) -> None:
    """Change each modality of an image, in place. With all strengths 0 it is left untouched.

    Args:
        image_CHW: All bands.
        bands: The bands of each modality. The first modality is not shifted.
        config: The strengths.
        draw: Seed, epoch and index of the image, from which all draws follow.
    """
    for number, (modality, place) in enumerate(bands.items()):
        if number and config.registration_jitter:
            generator = _generator(draw, f"registration_jitter/{modality}")
            right, down = (round(config.registration_jitter * _signed(generator)) for _ in range(2))
            own_CHW = image_CHW[place]
            image_CHW[place] = shifted(own_CHW, right, down, own_CHW.mean(dim=(1, 2), keepdim=True))
        for field, change in PHOTOMETRIC[modality].items():
            strength: float = getattr(config, field)
            if strength:
                generator = _generator(draw, field)
                image_CHW[place] = change(image_CHW[place], strength * _signed(generator), generator)


def refuse_colourless(config: AugmentConfig, bands: Mapping[str, int]) -> None:
    """Refuse changes of saturation and hue where RGB has not three bands.

    Args:
        config: The strengths.
        bands: Number of bands of each modality.

    Raises:
        FieldError: Names the field.
    """
    count = bands.get("rgb", 3)
    for field in ("rgb_saturation", "rgb_hue"):
        if count != 3 and getattr(config, field):
            raise FieldError(f"data.augment.{field}", f"needs rgb with 3 bands; the data have {count}. Set it to 0")


def _generator(draw: tuple[int, int, int], purpose: str) -> torch.Generator:
    return torch.Generator().manual_seed(derive(*draw, purpose))


def _signed(generator: torch.Generator) -> float:
    """A number from -1 to 1."""
    return 2 * float(torch.rand((), generator=generator, dtype=torch.float64)) - 1


def _brightness(bands_CHW: Tensor, amount: float, _: torch.Generator) -> Tensor:
    changed_CHW: Tensor = functional.adjust_brightness(bands_CHW[:, None], 1 + amount)[:, 0]
    return changed_CHW


def _contrast(bands_CHW: Tensor, amount: float, _: torch.Generator) -> Tensor:
    """Around the mean of each band."""
    changed_CHW: Tensor = functional.adjust_contrast(bands_CHW[:, None], 1 + amount)[:, 0]
    return changed_CHW


def _colour_contrast(rgb_CHW: Tensor, amount: float, generator: torch.Generator) -> Tensor:
    """Around the mean grey of the image."""
    if len(rgb_CHW) != 3:
        return _contrast(rgb_CHW, amount, generator)
    changed_CHW: Tensor = functional.adjust_contrast(rgb_CHW, 1 + amount)
    return changed_CHW


def _saturation(rgb_CHW: Tensor, amount: float, _: torch.Generator) -> Tensor:
    changed_CHW: Tensor = functional.adjust_saturation(rgb_CHW, 1 + amount)
    return changed_CHW


def _hue(rgb_CHW: Tensor, amount: float, _: torch.Generator) -> Tensor:
    changed_CHW: Tensor = functional.adjust_hue(rgb_CHW, amount)
    return changed_CHW.clamp(0, 1)


def _offset(bands_CHW: Tensor, amount: float, _: torch.Generator) -> Tensor:
    return (bands_CHW + amount * _deviation(bands_CHW)).clamp(0, 1)


def _noise(bands_CHW: Tensor, amount: float, generator: torch.Generator) -> Tensor:
    # torchvision's gaussian_noise draws from the global generator
    noise_CHW = torch.randn(bands_CHW.shape, generator=generator)
    return (bands_CHW + abs(amount) * _deviation(bands_CHW) * noise_CHW).clamp(0, 1)


def _blur(bands_CHW: Tensor, amount: float, _: torch.Generator) -> Tensor:
    sigma = abs(amount)
    if sigma < _LEAST_SIGMA_PX:
        return bands_CHW
    for axis in (1, 2):  # one after the other takes a fraction of the time of both at once
        radius = min(math.ceil(3 * sigma), bands_CHW.shape[axis] - 1)
        size = [1, 1]
        size[2 - axis] = 2 * radius + 1  # torchvision has the width first
        bands_CHW = functional.gaussian_blur(bands_CHW, size, [sigma, sigma])
    return bands_CHW.clamp(0, 1)


def _deviation(bands_CHW: Tensor) -> Tensor:
    """The standard deviation of each band, C×1×1: pixels of 16 bits often use a small part of their range."""
    return bands_CHW.std(dim=(1, 2), correction=0, keepdim=True)


PHOTOMETRIC: Mapping[str, Mapping[str, Change]] = {
    "rgb": {
        "rgb_brightness": _brightness,
        "rgb_contrast": _colour_contrast,
        "rgb_saturation": _saturation,
        "rgb_hue": _hue,
    },
    "thermal": {
        "thermal_contrast": _contrast,
        "thermal_offset": _offset,
        "thermal_blur": _blur,
        "thermal_noise": _noise,
    },
    "event": {"event_contrast": _contrast, "event_noise": _noise},
}
"""The photometric changes of each modality by the field with their strength, in the order in which they are made."""
