"""A trained detector in use: images in, boxes out, with the pixels scaled as in training."""

import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import overload

import torch

from tune_cmx.config.trial import TrialConfig
from tune_cmx.data.dataset import as_float
from tune_cmx.data.pixel_range import PixelScale
from tune_cmx.data.pixels import Pixels
from tune_cmx.errors import ConfigError
from tune_cmx.inference.images import OMITTED, Given, Image, Omitted, one_size, read_pixels, refuse_range
from tune_cmx.inference.prediction import Prediction
from tune_cmx.models.detector import Detector
from tune_cmx.state.model_state import ModelState

LEAST_SCORE = 0.05
"""Score of the weakest detection that an evaluation counts."""


@dataclass(frozen=True)
class Modality:
    """What a detector expects of one modality."""

    bands: int
    """Channels of its images."""
    number_type: str
    """Number type of the training images."""
    scale: PixelScale
    """How raw pixels become numbers from 0 to 1."""
    means: tuple[float, ...]
    """Training mean of each band, from 0 to 1."""


class TrainedDetector:
    """A detector with its weights, its classes, and what it expects of images.

    `tune_cmx.load` makes one of a model folder.

    Args:
        network: Put on the device and into evaluation mode.
        config: With which it was trained.
        classes: Names, by id from 0.
        modalities: By name, in the order of the network's bands.
        device: Where it computes.
        images_at_once: Images of a forward pass, at most.
        folder: Its model folder. None: it has none.
        state: What its `model.json` says. None: it has none.
    """

    def __init__(
        self,
        network: Detector,
        config: TrialConfig,
        classes: Sequence[str],
        modalities: Mapping[str, Modality],
        device: torch.device,
        *,
        images_at_once: int = 1,
        folder: Path | None = None,
        state: ModelState | None = None,
    ) -> None:
        self.network = network.to(device).eval()
        self.config = config
        self.classes = tuple(classes)
        self.modalities = dict(modalities)
        self.device = device
        self.images_at_once = images_at_once
        self.folder = folder
        self.state = state

    @property
    def scales(self) -> dict[str, PixelScale]:
        """How raw pixels become numbers from 0 to 1, by modality."""
        return {name: modality.scale for name, modality in self.modalities.items()}

    @overload
    def predict(
        self,
        *,
        rgb: Image | Omitted | None = OMITTED,
        thermal: Image | Omitted | None = OMITTED,
        event: Image | Omitted | None = OMITTED,
        score: float = LEAST_SCORE,
    ) -> Prediction: ...

    @overload
    def predict(
        self,
        *,
        rgb: Sequence[Image] | Omitted | None = OMITTED,
        thermal: Sequence[Image] | Omitted | None = OMITTED,
        event: Sequence[Image] | Omitted | None = OMITTED,
        score: float = LEAST_SCORE,
    ) -> list[Prediction]: ...

    def predict(
        self,
        *,
        rgb: Given = OMITTED,
        thermal: Given = OMITTED,
        event: Given = OMITTED,
        score: float = LEAST_SCORE,
    ) -> Prediction | list[Prediction]:
        """Detect objects in one image, or in each of a list of images.

        An image is a path or an array: H×W×bands, or H×W for one band, in the units of the training images. The pixels
        get the range of the training: of uint8 images usually 0 to 255, of others a range that the training found.
        Each modality that the detector knows must be given. All of one moment have one size.

        Args:
            rgb: An image or a list of images. None: the modality is missing, and its training mean is shown; only a
                detector that was trained with `modality_dropout` knows such images.
            thermal: Likewise.
            event: Likewise.
            score: Lowest score of a detection, above 0 and at most 1.

        Returns:
            The detections, the highest score first, in pixels of the image given; for lists a list.

        Raises:
            ConfigError: A modality is missing or unknown, lists differ in length, or `score` is out of range.
            DataError: An image cannot be read, or does not fit the training or its partners.
        """
        if not 0 < score <= 1:
            raise ConfigError(f"score: must be above 0 and at most 1; got {score:g}")
        given = self._given({"rgb": rgb, "thermal": thermal, "event": event})
        lists = {name: value for name, value in given.items() if isinstance(value, list | tuple)}
        if not lists:
            return self._detect([self._image(given, "image")], score)[0]
        single = [name for name, value in given.items() if value is not None and name not in lists]
        lengths = {name: len(value) for name, value in lists.items()}
        if single or len(set(lengths.values())) > 1:
            found = ", ".join(f"{name} has {lengths.get(name, 'one image')}" for name in (*lists, *single))
            raise ConfigError(f"images: each modality needs a list of the same length; {found}")
        images = [
            self._image({name: lists[name][place] if name in lists else None for name in given}, f"image {place}")
            for place in range(next(iter(lengths.values())))
        ]
        return self._detect(images, score)

    def _given(self, images: Mapping[str, Given]) -> dict[str, Image | Sequence[Image] | None]:
        """What was given, for the detector's modalities alone."""
        known = ", ".join(self.modalities)
        for name, value in images.items():
            if name not in self.modalities and not isinstance(value, Omitted) and value is not None:
                raise ConfigError(f"{name}: the detector sees {known} only; leave {name} out")
        found: dict[str, Image | Sequence[Image] | None] = {}
        for name in self.modalities:
            value = images[name]
            if isinstance(value, Omitted):
                raise ConfigError(f"{name}: is missing; the detector needs {known}. {self._of_missing(name)}")
            if value is None and not self._trained_on_missing:
                raise ConfigError(f"{name}: is None; {self._of_missing(name)}")
            found[name] = value
        if all(value is None for value in found.values()):
            raise ConfigError(f"images: every modality is None; give at least one of {known}")
        return found

    @property
    def _trained_on_missing(self) -> bool:
        return self.config.data.augment.modality_dropout > 0

    def _of_missing(self, name: str) -> str:
        if self._trained_on_missing:
            return f"It was trained with modality dropout: {name}=None shows the training mean"
        return "It was trained without modality dropout, so it does not know images with a missing modality"

    def _image(self, given: Mapping[str, Image | Sequence[Image] | None], place: str) -> torch.Tensor:
        """The bands of one image, from 0 to 1."""
        pixels: dict[str, Pixels] = {}
        for name, value in given.items():
            if value is None:
                continue
            modality = self.modalities[name]
            pixels[name] = read_pixels(value, name, modality.bands)  # type: ignore[arg-type]  # no list is in a list
            refuse_range(pixels[name], name, modality.number_type, modality.scale)
        height, width = one_size(pixels, place)
        bands = [
            as_float(pixels[name], modality.scale)
            if name in pixels
            else torch.tensor(modality.means)[:, None, None].expand(-1, height, width)
            for name, modality in self.modalities.items()
        ]
        return torch.cat(bands)

    def _detect(self, images: Sequence[torch.Tensor], score: float) -> list[Prediction]:
        heads = self.network.roi_heads
        before, heads.score_thresh = heads.score_thresh, score
        found: list[Prediction] = []
        try:
            for first in range(0, len(images), self.images_at_once):
                part = [image.to(self.device) for image in images[first : first + self.images_at_once]]
                with torch.no_grad():
                    results = self.network(part)
                found += [
                    Prediction.of(one, self.classes, int(image.shape[1]), int(image.shape[2]))
                    for one, image in zip(results, part, strict=True)
                ]
        finally:
            heads.score_thresh = before
        return found


def warn_each(remarks: Sequence[str]) -> None:
    """A Python warning for each remark on a model folder, at the line that loads it."""
    for remark in remarks:
        warnings.warn(remark, stacklevel=3)
