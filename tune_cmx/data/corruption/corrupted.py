"""Images with one modality missing, shifted or delayed."""

from collections.abc import Mapping, Sequence

from torch import Tensor

from tune_cmx.data.corruption.kinds import Corruption, Delayed, Missing, Shifted, earlier_images
from tune_cmx.data.dataset import PairedDataset, Sample
from tune_cmx.data.pixel_range import PixelScale
from tune_cmx.data.readers import PairedData, read_image
from tune_cmx.data.transforms import shifted
from tune_cmx.errors import DataError


class CorruptedDataset(PairedDataset):
    """A `PairedDataset` without augmentation and with one corrupted modality; the boxes stay as they are.

    Args:
        data: The set.
        ids: Of the images, in this order.
        modalities: Whose bands a sample has, in this order.
        corruption: Of one of these modalities.
        means: Training mean of each band by modality, within 0..1: its value where the modality shows nothing.
        scales: As for `PairedDataset`.

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
        scales: Mapping[str, PixelScale] | None = None,
    ) -> None:
        super().__init__(data, ids, modalities, augment=None, seed=0, means=means, scales=scales)
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
        delayed_CHW = self.as_float(modality, read_image(self.data, earlier, [modality])[modality])
        if delayed_CHW.shape != own_CHW.shape:
            sizes = ["×".join(map(str, image.shape[1:])) for image in (delayed_CHW, own_CHW)]
            raise DataError(
                f"{self.data.root}: {modality} of '{earlier.id}' is {sizes[0]} pixels and of '{self.ids[index]}' "
                f"{sizes[1]}; a delay needs one size in a sequence"
            )
        return delayed_CHW
