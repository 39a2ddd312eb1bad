"""KAIST: pedestrians from a car, by day and by night, 95,000 pairs in 12 sets of videos.

Layout: `set00/V000/visible/I00000.jpg` and `set00/V000/lwir/I00000.jpg`, in the folder or below `images/`; labels as
text in `annotations/set00/V000/I00000.txt`, or as XML in `annotations-xml-new-sanitized/`, or for each modality in
`annotations_paired/set00/V000/{visible,lwir}/`. Copies that join these names by `_` are read with `--layout kaist`.
Every labelled image has a label file, also without persons; an image without one is left out.

A video is a sequence. Sets 00 to 05 are for training and 06 to 11 for testing; 03, 04, 05, 09, 10, 11 are by night.
Lists in `imageSets/` take every 2nd, 4th or 20th image; images in no list are left out.

`person` is learnt. `people` (a group), `person?` (unsure), `cyclist` and boxes with the ignore flag are ignore regions,
as in the reasonable evaluation. That one also ignores persons below 55 pixels, near the edge or mostly hidden; this
reader does not. In the paired labels `unpaired` is a person that one camera does not see. Where both modalities have
labels, those of thermal are the ground truth unless `--labels-from` says otherwise: AR-CNN takes thermal as reference.

Sources: Hwang et al., Multispectral Pedestrian Detection, CVPR 2015; sanitized labels of Li et al., MSDS-RCNN, BMVC
2018, arXiv:1808.04818; paired labels of Zhang et al., AR-CNN, ICCV 2019, arXiv:1901.02645.
"""

import re
from collections import Counter
from collections.abc import Container, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import ClassVar

from tune_cmx.data.labels.base import LabelFile, LabelSource
from tune_cmx.data.labels.classes import IGNORE
from tune_cmx.data.labels.kaist import KaistForm, KaistXmlForm
from tune_cmx.data.readers.base import Certainty, DataSettings, PairedData, Sign
from tune_cmx.data.readers.finding_labels import FoundLabels, find_labels, no_modality
from tune_cmx.data.readers.folders import found_images
from tune_cmx.data.readers.joining import join
from tune_cmx.data.readers.names import Key, name_parts
from tune_cmx.data.readers.official import parts_from_lists, split_remark
from tune_cmx.data.readers.order import listed
from tune_cmx.data.readers.pairing import IMAGE_SUFFIXES, ImageFile, PairedFiles, files_under, paired_files
from tune_cmx.data.readers.sequences import VideoPosition
from tune_cmx.data.readers.sets.named import NamedReader, first_image
from tune_cmx.errors import ConfigError, DataError

NAME = re.compile(
    r"(?P<set>set\d\d)[/_](?P<video>V\d{3})[/_](?:(?P<folder>visible|lwir)[/_])?(?P<image>I\d{5})"
    r"(?:_(?P<end>visible|lwir))?(?=[._])",
    re.IGNORECASE,
)
MODALITIES = {"visible": "rgb", "lwir": "thermal"}
CLASSES = ("person", "people", "person?", "person?a", "cyclist", "unpaired")
RENAMED: Mapping[str, str | None] = dict.fromkeys(CLASSES[1:], IGNORE)
FORMS = {".txt": KaistForm(), ".xml": KaistXmlForm()}
FIRST_TEST_SET = 6
NIGHT_SETS = frozenset({3, 4, 5, 9, 10, 11})
LABEL_FOLDERS = ("annotation", "sanitized", "improve")
"""How folders of labels begin, in lower case."""


class KaistReader(NamedReader):
    """Chooses among the lists and the labels of KAIST, and says what it chose."""

    title: ClassVar[str] = "KAIST"
    holds: ClassVar[str] = "KAIST's setXX/VYYY/visible/ and lwir/, and annotations/"
    takes: ClassVar[frozenset[str]] = frozenset({"labels", "labels_from"})

    def sign(self, root: Path) -> Sign | None:
        for home in (root, root / "images"):
            found = min(home.glob("set[0-9][0-9]/V[0-9][0-9][0-9]/lwir"), default=None)
            if found is not None:
                return Sign(f"{found.relative_to(root)}/", Certainty.CERTAIN)
        some = first_image(root)
        return None if some is None or _moment(some) is None else Sign(str(some), Certainty.POSSIBLE)

    def open(self, root: Path, settings: DataSettings) -> PairedData:
        paired = _image_files(root)
        lists = settings.lists or _lists(root)
        if lists:
            parts = parts_from_lists(root, lists, _all_names(paired))
            remarks = [split_remark(root, lists, parts), *_other_lists(root, lists)]
            paired = _only(paired, parts)
        else:
            parts = {id: "test" if _set(id) >= FIRST_TEST_SET else "train" for (id,) in paired.files}
            remarks = ["the split is by sets: 00 to 05 are train, 06 to 11 test"]
        labels = _labels(root, paired, settings)
        lacking = len(paired.files) - len(labels.sources)
        if lacking:
            remarks.append(f"{lacking} of {len(paired.files)} images have no label file and are left out")
            paired = _only(paired, labels.sources)
        positions = {id: _position(id) for (id,) in paired.files}
        images = found_images(root, paired, positions=positions, parts=parts, remarks=remarks)
        return join(self, root, images, replace(settings, lists={}), labels, RENAMED)  # they chose the images above


@dataclass(frozen=True)
class _Moment:
    id: str
    modality: str | None
    """None: the path does not say it."""


def _moment(path: Path) -> _Moment | None:
    """What a path says; None: it is not named as in KAIST."""
    match = NAME.search(path.as_posix())
    if match is None:
        return None
    id = f"{match['set'].lower()}_{match['video'].upper()}_{match['image'].upper()}"
    word = match["folder"] or match["end"]
    return _Moment(id, MODALITIES[word.lower()] if word else name_parts(path).modality)


def _image_files(root: Path) -> PairedFiles:
    found: list[ImageFile] = []
    unread: Counter[str] = Counter()
    for path in files_under(root, IMAGE_SUFFIXES):
        moment = _moment(path)
        if moment is None or moment.modality is None:
            unread[str(path.parent)] += 1
        else:
            found.append(ImageFile((moment.id,), moment.modality, None, str(path)))
    return paired_files(root, found, unread)


def _only(paired: PairedFiles, ids: Container[str]) -> PairedFiles:
    return replace(paired, files={key: files for key, files in paired.files.items() if key[0] in ids})


def _all_names(paired: PairedFiles) -> dict[Key, str]:
    """The id of each moment by its name with folders, as lists have it, and by the id itself."""
    return {key: id for (id,) in paired.files for key in (tuple(id.split("_")), (id,))}


def _set(id: str) -> int:
    return int(id[3:5])


def _position(id: str) -> VideoPosition:
    video, image = id.rsplit("_", 1)
    return VideoPosition(video, int(image[1:]), "night" if _set(id) in NIGHT_SETS else "day")


def _all_lists(root: Path) -> dict[str, list[Path]]:
    """The lists of each part, by part."""
    folder = next((path for path in sorted(root.iterdir()) if path.name.lower() == "imagesets" and path.is_dir()), None)
    found = {part: sorted(folder.glob(f"{part}*.txt")) if folder else [] for part in ("train", "val", "test")}
    return {part: paths for part, paths in found.items() if paths}


def _lists(root: Path) -> dict[str, list[Path]]:
    """One list for each part: the only one, or the one of every 20th image by day and night.

    Raises:
        ConfigError: There are several, and none of these.
    """
    chosen: dict[str, list[Path]] = {}
    for part, paths in _all_lists(root).items():
        usual = [path for path in paths if path.stem in (f"{part}-all-20", f"{part}20", f"{part}-20")]
        if len(paths) > 1 and len(usual) != 1:
            names = [str(path.relative_to(root)) for path in paths]
            raise ConfigError(
                f"{root}: {listed(names)} are lists of {part}; choose one in data.yaml, as in {part}: {names[0]}"
            )
        chosen[part] = usual or paths
    return chosen


def _other_lists(root: Path, chosen: Mapping[str, Sequence[Path]]) -> list[str]:
    used = {path for paths in chosen.values() for path in paths}
    others = [str(path.relative_to(root)) for paths in _all_lists(root).values() for path in paths if path not in used]
    return [f"not used: {listed(others)}; data.yaml chooses lists with train and test"] if others else []


def _label_folder(root: Path) -> Path:
    """Raises ConfigError where there are several, and DataError where there is none."""
    found = [path for path in sorted(root.iterdir()) if path.is_dir() and path.name.lower().startswith(LABEL_FOLDERS)]
    if not found:
        raise DataError(f"{root / 'annotations'}: no labels; put KAIST's there, or name their folder with --labels")
    if len(found) > 1:
        names = " and ".join(f"{path.name}/" for path in found)
        raise ConfigError(f"{root}: {names} hold labels; choose with --labels, as in --labels {found[0]}")
    return found[0]


def _labels(root: Path, paired: PairedFiles, settings: DataSettings) -> FoundLabels:
    """The label file of each of these images that has one.

    Raises:
        ConfigError: There are several folders of labels, or `labels_from` does not fit.
        DataError: An image has two label files, or none has one.
    """
    if settings.labels is not None and settings.labels.is_file():
        return find_labels(root, _all_names(paired), {}, settings.labels, settings.labels_from)
    folder = settings.labels or _label_folder(root)
    if not folder.is_dir():
        raise DataError(f"{folder}: no such folder or file of labels")
    found: list[tuple[_Moment, Path]] = []
    for path in files_under(folder, tuple(FORMS), labels=True):
        moment = _moment(path)
        if moment is not None and (moment.id,) in paired.files:
            found.append((moment, folder / path))
    found, remarks = _of_one_modality(found, settings.labels_from, folder)
    sources: dict[str, LabelSource] = {}
    for moment, path in found:
        if moment.id in sources:
            raise DataError(f"{path}: image {moment.id} has a second label file, {sources[moment.id].path}; keep one")
        sources[moment.id] = LabelFile(path, FORMS[path.suffix.lower()])
    if not sources:
        example = "set00/V000/I00000.txt"
        raise DataError(f"{folder}: no label file for any image of {root}; they are named like {example}")
    return FoundLabels(sources, CLASSES, folder, remarks=remarks)


def _of_one_modality(
    found: list[tuple[_Moment, Path]], wanted: str | None, folder: Path
) -> tuple[list[tuple[_Moment, Path]], tuple[str, ...]]:
    """The labels of the modality that the user names, or of thermal, and what a user should know of it."""
    modalities = sorted({moment.modality for moment, _ in found if moment.modality is not None})
    if not modalities and wanted is not None:
        raise ConfigError(no_modality(folder))
    if not modalities:
        return found, ()
    if wanted is not None and wanted not in modalities:
        raise ConfigError(f"labels_from: {wanted} has no labels in {folder}; {' and '.join(modalities)} have")
    chosen = wanted or ("thermal" if "thermal" in modalities else modalities[0])
    remark = f"the ground truth is of {chosen}; --labels-from chooses among {' and '.join(modalities)}"
    return [one for one in found if one[0].modality in (None, chosen)], (remark,) if len(modalities) > 1 else ()
