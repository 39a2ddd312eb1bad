"""Images as tensors: pixels within 0..1, boxes in pixels, in an order that depends only on seed and epoch."""

from collections.abc import Mapping, Sequence

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset, get_worker_info

from tune_cmx.config.trial import AugmentConfig
from tune_cmx.data.photometric import change_modalities, refuse_colourless
from tune_cmx.data.pixel_range import PixelScale
from tune_cmx.data.pixels import Pixels, full_scale
from tune_cmx.data.readers import PairedData, read_image, read_labels
from tune_cmx.data.shared.image_cache import SharedImages
from tune_cmx.data.transforms import apply_geometry, apply_to_regions, draw_dropout, draw_geometry
from tune_cmx.errors import DataError

Target = dict[str, Tensor]
Sample = tuple[Tensor, Target]
Batch = tuple[list[Tensor], list[Target]]


class PairedDataset(Dataset[Sample]):
    """Some images of a set, with the bands of some modalities.

    A sample is the image, C×H×W within 0..1, and its target: `boxes`, N×4, x1, y1, x2, y2 in pixels; `labels`, N
    class numbers from 1, as 0 is the background; `ignore`, M×4, the ignore regions in pixels; `image_id`, the image's
    index in `ids`.

    Args:
        data: The set.
        ids: Of the images, in this order.
        modalities: Whose bands a sample has, in this order.
        augment: Random geometry, changes of single modalities and modality dropout; None: images as they are.
        seed: Random seed. What is random depends only on seed, epoch and index, so neither the number of workers nor
            an interruption changes it.
        means: Value of each band of a modality that is dropped, within 0..1: its mean over the training images, which
            normalisation turns into zeros. Needed with `modality_dropout`.
        cache_mib: Most MiB of decoded images to keep in this process's memory.
        shared: The set's decoded images in shared memory; if given, neither the files nor that cache are used.
        scales: By modality how raw pixels become numbers from 0 to 1; None: by their number type.

    Raises:
        DataError: An image or modality is not in the set.
        FieldError: `augment` changes colours, and RGB has not three bands.
    """

    def __init__(
        self,
        data: PairedData,
        ids: Sequence[str],
        modalities: Sequence[str],
        *,
        augment: AugmentConfig | None,
        seed: int,
        means: Mapping[str, Sequence[float]] | None = None,
        cache_mib: int = 512,
        shared: SharedImages | None = None,
        scales: Mapping[str, PixelScale] | None = None,
    ) -> None:
        assert means is not None or augment is None or not augment.modality_dropout, "modality_dropout needs means"
        paired = {image.id: image for image in data.images}
        unknown = next((id for id in ids if id not in paired), None)
        if unknown is not None:
            raise DataError(f"{data.root}: no image '{unknown}'")
        for modality in modalities:
            if modality not in data.bands:
                raise DataError(f"{data.root}: no {modality} images; the set has {', '.join(data.bands)}")
        if augment is not None:
            refuse_colourless(augment, {name: len(data.bands[name]) for name in modalities})
        self.data = data
        self.ids = tuple(ids)
        self.images = [paired[id] for id in ids]
        self.modalities = tuple(modalities)
        self.means = means
        self.augment = augment
        self.seed = seed
        self.epoch = 0
        self._cache: dict[int, list[Pixels]] = {}
        self._room = cache_mib * 2**20 if shared is None else 0
        self._shared = shared
        self._scales = scales or {}

    def __len__(self) -> int:
        return len(self.images)

    def set_epoch(self, epoch: int) -> None:
        """Set the epoch, on which the augmentation depends."""
        self.epoch = epoch

    def preload(self) -> None:
        """Fill the cache up to its limit, so that workers that start later share it."""
        for index in range(len(self)):
            if self._room <= 0:
                return
            self._pixels(index)

    def __getitem__(self, index: int) -> Sample:
        held = zip(self.modalities, self._pixels(index), strict=True)
        image = torch.cat([self.as_float(modality, pixels) for modality, pixels in held])
        height, width = int(image.shape[1]), int(image.shape[2])
        labels = read_labels(self.data, self.images[index])
        ignored = torch.from_numpy(labels.ignore)
        boxes = torch.from_numpy(labels.in_pixels(height, width)).float()
        boxes, ignore = boxes[~ignored], boxes[ignored]
        classes = torch.from_numpy(labels.classes + 1)[~ignored]
        if self.augment is not None:
            generator = self._generator(index)
            geometry = draw_geometry(self.augment, height, width, generator)
            image, boxes, kept = apply_geometry(image, boxes, geometry)
            classes = classes[kept]
            ignore = apply_to_regions(ignore, geometry, height, width)
            places = {name: self.bands_of(name) for name in self.modalities}
            change_modalities(image, places, self.augment, (self.seed, self.epoch, index))
            dropped = draw_dropout(self.augment, len(self.modalities), generator)
            if dropped is not None:
                image[self.bands_of(self.modalities[dropped])] = self.mean_of(self.modalities[dropped])
        return image, {"boxes": boxes, "labels": classes, "ignore": ignore, "image_id": torch.tensor(index)}

    def as_float(self, modality: str, pixels: Pixels) -> Tensor:
        """Raw pixels of a modality (H×W×bands) as bands×H×W from 0 to 1."""
        return as_float(pixels, self._scales.get(modality))

    def bands_of(self, modality: str) -> slice:
        """The indices of the modality's bands in a sample."""
        before = self.modalities[: self.modalities.index(modality)]
        first = sum(len(self.data.bands[name]) for name in before)
        return slice(first, first + len(self.data.bands[modality]))

    def mean_of(self, modality: str) -> Tensor:
        """The training means of the modality's bands, bands×1×1."""
        assert self.means is not None
        return torch.tensor(self.means[modality], dtype=torch.float32)[:, None, None]

    def _generator(self, index: int) -> torch.Generator:
        seed = np.random.SeedSequence((self.seed, self.epoch, index)).generate_state(1, np.uint64)
        return torch.Generator().manual_seed(int(seed[0]))

    def _pixels(self, index: int) -> list[Pixels]:
        if self._shared is not None:
            return self._shared.read(self.ids[index], self.modalities)
        if index in self._cache:
            return self._cache[index]
        bands = read_image(self.data, self.images[index], self.modalities)
        pixels = [bands[modality] for modality in self.modalities]
        size = sum(array.nbytes for array in pixels)
        if size <= self._room and get_worker_info() is None:  # a worker ends with its epoch, and its cache with it
            self._cache[index] = pixels
            self._room -= size
        return pixels


def build_loader(
    dataset: PairedDataset, *, batch_size: int, shuffle: bool, seed: int, epoch: int, workers: int = 0
) -> DataLoader[Sample]:
    """One epoch's batches: lists of images and of targets.

    Every image comes once; the last batch may be smaller.

    Args:
        dataset: Its epoch is set.
        batch_size: Images a batch.
        shuffle: Whether to permute the images by seed and epoch; else they come in the dataset's order.
        seed: Random seed of the order.
        epoch: From 1.
        workers: Loader processes; 0: this process loads.
    """
    dataset.set_epoch(epoch)
    if workers > 0:
        dataset.preload()
    return DataLoader(
        dataset,
        batch_size=batch_size,
        sampler=epoch_order(len(dataset), seed=seed, epoch=epoch) if shuffle else range(len(dataset)),
        num_workers=workers,
        collate_fn=collate,
        pin_memory=torch.cuda.is_available(),
    )


def epoch_order(count: int, *, seed: int, epoch: int) -> list[int]:
    """A permutation of 0..count-1, the same for the same seed and epoch."""
    state = np.random.SeedSequence((seed, epoch)).generate_state(1, np.uint64)
    order: list[int] = torch.randperm(count, generator=torch.Generator().manual_seed(int(state[0]))).tolist()
    return order


def collate(samples: Sequence[Sample]) -> Batch:
    """A batch as lists, because images may differ in size."""
    return [image for image, _ in samples], [target for _, target in samples]


def as_float(pixels: Pixels, scale: PixelScale | None = None) -> Tensor:
    """Pixels (H×W×C) as C×H×W from 0 to 1, by a scale; None: by the full range of their number type."""
    if scale is None or scale.kind == "type":
        bands = np.ascontiguousarray(pixels.transpose(2, 0, 1))
        return torch.from_numpy(bands.astype(np.float32)).div_(full_scale(pixels.dtype))
    return torch.from_numpy(np.ascontiguousarray(scale.scaled(pixels).transpose(2, 0, 1)))
