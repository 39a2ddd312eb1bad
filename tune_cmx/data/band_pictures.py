"""An image's bands as pictures for people: one for the three bands of rgb, one for each other band."""

from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from tune_cmx.data.pixels import Pixels, full_scale

_COLOUR = "rgb"
"""The modality whose three bands make one picture."""


def band_panels(bands: Mapping[str, Pixels]) -> list[tuple[str, Image.Image]]:
    """Name and picture of each panel, in the order of the modalities.

    Args:
        bands: H×W×bands by modality, as `read_image` gives them.
    """
    panels: list[tuple[str, Image.Image]] = []
    for modality, pixels in bands.items():
        count = pixels.shape[2]
        if modality == _COLOUR and count == 3:
            panels.append((modality, Image.fromarray(_bytes(pixels))))
            continue
        names = [modality] if count == 1 else [f"{modality} {number}" for number in range(1, count + 1)]
        panels += [(name, _grey(pixels[:, :, band])) for band, name in enumerate(names)]
    return panels


def _bytes(pixels_HWC: Pixels) -> NDArray[np.uint8]:
    """Colours within the full range of their number type as they are; others stretched, all three by one range."""
    top = full_scale(pixels_HWC.dtype)
    within = pixels_HWC.min() >= 0 and pixels_HWC.max() <= top
    return np.rint((pixels_HWC / top if within else _stretched(pixels_HWC)) * 255).astype(np.uint8)


def _grey(band_HW: Pixels) -> Image.Image:
    """The band in grey, its range stretched: thermal images use a small part of their number range."""
    return Image.fromarray((_stretched(band_HW) * 255).astype(np.uint8)).convert("RGB")


def _stretched(pixels: Pixels) -> NDArray[np.float64]:
    low, high = np.percentile(pixels, (1, 99))
    stretched: NDArray[np.float64] = np.clip((pixels - low) / max(high - low, 1e-6), 0, 1)
    return stretched
