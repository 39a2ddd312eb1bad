"""Folders of images that are paired by their names: rgb/, thermal/ and event/, or any names for them."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from tune_cmx.config.trial import MODALITIES
from tune_cmx.counting import count
from tune_cmx.data.pixels import Pixels, bands_remark, decode_image, with_bands
from tune_cmx.data.readers.base import Certainty, DataSettings, PairedData, Reader, Sign
from tune_cmx.data.readers.joining import FoundImages, join
from tune_cmx.data.readers.names import Key
from tune_cmx.data.readers.official import lists_in, parts_from_lists
from tune_cmx.data.readers.order import listed
from tune_cmx.data.readers.pairing import (
    IMAGE_SUFFIXES,
    PairedFiles,
    complete,
    ids_of,
    pair_by_names,
    pair_by_patterns,
)
from tune_cmx.data.readers.sequences import VideoPosition
from tune_cmx.data.readers.unread import unread_files
from tune_cmx.errors import DataError

BANDS = {"rgb": (0, 1, 2), "thermal": (0,), "event": (0,)}
"""Channels of each modality's images."""
SAMPLE = 8
"""Images of each folder that are looked at to recognise a form."""


class FolderReader(Reader):
    """Image files; those of one moment have names that differ in the modality alone."""

    title: ClassVar[str] = "paired folders"
    holds: ClassVar[str] = "folders rgb/, thermal/, event/ of images"
    takes: ClassVar[frozenset[str]] = frozenset({"images", "labels", "labels_from", "size_of"})

    def sign(self, root: Path) -> Sign | None:
        own = [name for name in MODALITIES if (root / name).is_dir()]
        if own:
            return Sign(f"{own[0]}/", Certainty.CERTAIN)
        try:
            paired = pair_by_names(root, most=SAMPLE)
        except DataError:  # `open` says what is wrong, if no other reader knows the folder
            return Sign("images that cannot be paired", Certainty.POSSIBLE)
        if not paired.files:
            return None
        sure = Certainty.LIKELY if len(paired.modalities) > 1 else Certainty.POSSIBLE
        some = max(paired.files.values(), key=len)
        return Sign(" and ".join(str(path.relative_to(root)) for path in some.values()), sure)

    def open(self, root: Path, settings: DataSettings) -> PairedData:
        paired = pair_by_names(root) if settings.images is None else pair_by_patterns(root, settings.images)
        remarks = [] if settings.images is not None else unread_files(root, paired.modalities)
        for name in MODALITIES:
            if (root / name).is_dir() and name not in paired.modalities and settings.images is None:
                raise DataError(f"{root / name}: no image ({', '.join(IMAGE_SUFFIXES)}); fill or remove the folder")
        if not paired.files:
            raise DataError(f"{root}: no images; it should hold {self.holds}")
        images = found_images(root, paired, remarks=remarks)
        lists = {} if settings.lists else lists_in(root)
        if lists:
            assert images.keys is not None
            images = replace(images, parts=parts_from_lists(root, lists, images.keys, files=images.files))
        return join(self, root, images, settings)

    def decode(self, data: PairedData, content: bytes, place: str) -> Pixels:  # noqa: ARG002  # the contract
        return decode_image(content, place)

    def modalities_of(self, data: PairedData, pixels: Pixels, modalities: Sequence[str]) -> dict[str, Pixels]:
        return {modality: with_bands(pixels, len(data.bands[modality])) for modality in modalities}

    def remark(self, pixels: Pixels, bands: Pixels) -> str:
        return bands_remark(pixels, bands.shape[2])

    def write(self, root: Path, id: str, bands_HWC: NDArray[np.uint8]) -> None:
        parts = {"rgb": bands_HWC[:, :, :3], "thermal": bands_HWC[:, :, 3], "event": bands_HWC[:, :, 4]}
        for modality, pixels in parts.items():
            (root / modality).mkdir(exist_ok=True)
            Image.fromarray(pixels).save(root / modality / f"{id}.png")


def found_images(
    root: Path,
    paired: PairedFiles,
    *,
    positions: Mapping[str, VideoPosition] | None = None,
    parts: Mapping[str, str] | None = None,
    remarks: Sequence[str] = (),
) -> FoundImages:
    """The images of a set, each with a file of every modality.

    Args:
        root: The set's folder.
        paired: The files.
        positions: In videos, by id; None: a folder below that of the modality is a video.
        parts: Of the official split, by id; None: as folders say.
        remarks: What a user should know.

    Raises:
        DataError: An image lacks its partner, or a folder of images is of no known modality.
    """
    _refuse_unread(root, paired)
    files = complete(root, paired)
    keys = ids_of(root, list(files))
    if parts is None:
        parts = {keys[key]: part for key, part in paired.parts.items() if key in keys}
    if positions is None:
        positions = _by_folder(paired, keys)
    unread = [f"{folder}/ ({count(number, 'image')})" for folder, number in paired.unread.items()]
    more = [f"not read: {listed(unread)}; data.yaml may name its modality under images"] if unread else []
    return FoundImages(
        root,
        {keys[key]: named for key, named in files.items()},
        {modality: BANDS[modality] for modality in paired.modalities},
        keys=keys,
        parts=parts,
        positions=positions,
        remarks=(*remarks, *more),
    )


def _by_folder(paired: PairedFiles, keys: Mapping[Key, str]) -> dict[str, VideoPosition]:
    """A folder below that of the modality is a video, if every image is in one, and there are several."""
    videos: dict[str, str] = {}
    for key, id in keys.items():
        part_first = len(key) > 1 and key[0] == paired.parts.get(key)
        videos[id] = "_".join(key[part_first:-1])
    if "" in videos.values() or len(set(videos.values())) < 2:
        return {}
    return {id: VideoPosition(video) for id, video in videos.items()}


def _refuse_unread(root: Path, paired: PairedFiles) -> None:
    """Refuse a folder that has images of the same names as those of a modality: it may be a modality too."""
    stems = {key[-1] for key in paired.files}
    for folder in paired.unread:
        here = (path for path in (root / folder).iterdir() if path.suffix.lower() in IMAGE_SUFFIXES)
        same = sum(path.stem in stems and path.name[0] != "." for path in here)
        if not same:
            continue
        known = paired.modalities
        homes = [
            next(files[name] for files in paired.files.values() if name in files).parent.relative_to(root)
            for name in known
        ]
        said = ", ".join(f"{name}: {home}" for name, home in zip(known, homes, strict=True))
        free = [name for name in ("rgb", "thermal") if name not in known]
        fix = (
            f"if it is {' or '.join(free)}, say so in data.yaml, as in images: {{{said}, {free[0]}: {folder}}}. If "
            "not, move"
            if free
            else f"data.yaml can name the folders to read, as in images: {{{said}}}. Or move"
        )
        raise DataError(
            f"{root / folder}: {count(same, 'image')} {'is' if same == 1 else 'are'} named like those of "
            f"{' and '.join(known)}, but their modality is not known; {fix} this folder away"
        )
