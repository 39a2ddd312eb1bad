"""Images with one modality missing, shifted or delayed."""

from collections.abc import Mapping, Sequence

from torch import Tensor

from tune_cmx.data.corruption.kinds import Corruption, Delayed, Missing, Shifted, earlier_images
from tune_cmx.data.dataset import PairedDataset, Sample, as_float
from tune_cmx.data.readers import PairedData, read_image
from tune_cmx.errors import DataError


class CorruptedDataset(PairedDataset):
    """A `PairedDataset` without augmentation and with one corrupted modality; the boxes stay as they are.

    Args:
        data: The set.
        ids: Of the images, in this order.
        modalities: Whose bands a sample has, in this order.
        corruption: Of one of these modalities.
        means: Training mean of each band by modality, within 0..1: its value where the modality shows nothing.

    Raises:
        DataError: An image or modality is not in the set, or sequences are not known and the corruption is a delay.
    """

    def __init__(
        self,
        data: PairedData,
        ids: Sequence[str],
        modalities: Sequence[str],
        corruption: Corruption,
        *,
        means: Mapping[str, Sequence[float]],
    ) -> None:
        super().__init__(data, ids, modalities, augment=None, seed=0, means=means)
        self.corruption = corruption
        self._earlier = earlier_images(data, ids, corruption.frames) if isinstance(corruption, Delayed) else []

    def __getitem__(self, index: int) -> Sample:
        image, target = super().__getitem__(index)
        bands = self.bands_of(self.corruption.modality)
        image[bands] = self._corrupted(image[bands], index)
        return image, target

    def _corrupted(self, own_CHW: Tensor, index: int) -> Tensor:
        mean_C11 = self.mean_of(self.corruption.modality)
        match self.corruption:
            case Missing():
                return mean_C11
            case Shifted(right=right, down=down):
                return shifted(own_CHW, right, down, mean_C11)
            case Delayed():
                return self._delayed(own_CHW, index)

    def _delayed(self, own_CHW: Tensor, index: int) -> Tensor:
        earlier, modality = self._earlier[index], self.corruption.modality
        delayed_CHW = as_float(read_image(self.data, earlier, [modality])[modality])
        if delayed_CHW.shape != own_CHW.shape:
            sizes = ["×".join(map(str, image.shape[1:])) for image in (delayed_CHW, own_CHW)]
            raise DataError(
                f"{self.data.root}: {modality} of '{earlier.id}' is {sizes[0]} pixels and of '{self.ids[index]}' "
                f"{sizes[1]}; a delay needs one size in a sequence"
            )
        return delayed_CHW


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
