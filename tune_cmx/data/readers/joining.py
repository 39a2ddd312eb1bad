"""Join the images that a reader found with their labels, classes, sequences and parts."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from tune_cmx.counting import count
from tune_cmx.data.labels.classes import ClassMap, class_map
from tune_cmx.data.readers.base import DataSettings, PairedData, PairedImage, Reader
from tune_cmx.data.readers.finding_labels import FoundLabels, find_labels
from tune_cmx.data.readers.names import PART_WORDS, Key
from tune_cmx.data.readers.official import parts_from_lists, split_remark
from tune_cmx.data.readers.order import listed, natural_order
from tune_cmx.data.readers.sequences import VideoPosition, read_sequences
from tune_cmx.errors import ConfigError, DataError
from tune_cmx.registry import suggestion

NO_CLASS = "object"
"""The one class of images that are read without labels."""


class ClassesUnknownError(DataError):
    """Labels have numbers, and nothing names their classes."""


@dataclass(frozen=True)
class FoundImages:
    """The image files of a set."""

    folder: Path
    """Where they lie."""
    files: Mapping[str, Mapping[str, Path]]
    """File by id and modality."""
    bands: Mapping[str, tuple[int, ...]]
    """Modality -> its channels in its file, in the order of MODALITIES."""
    channels: int | None = None
    """Channels of each file, where one file holds all modalities."""
    keys: Mapping[Key, str] | None = None
    """Id by the name of each moment, folders before it; None: the ids alone."""
    parts: Mapping[str, str] = field(default_factory=dict)
    """Part of the official split by id: train, val or test; an image without one is in no part."""
    positions: Mapping[str, VideoPosition] = field(default_factory=dict)
    """Position in a video by id, where names or folders say it; for all images, or for none."""
    remarks: tuple[str, ...] = ()
    """What of the folder was not read, and what else a user should know."""
    size_of: str | None = None
    """Modality to whose size the images of the others are resized; None: all have one size."""
    labels_from: str | None = None
    """Modality whose labels are the ground truth, where several have their own and the user does not say which."""
    labels_beside: bool = False
    """Whether labels and classes may also lie beside the set's folder."""


def join(
    reader: Reader,
    root: Path,
    images: FoundImages,
    settings: DataSettings,
    labels: FoundLabels | None = None,
    renamed: Mapping[str, str | None] | None = None,
    numbered: Sequence[str] | None = None,
) -> PairedData:
    """The images of a set with their labels, classes and sequences.

    Args:
        reader: Found the images and will read their files.
        root: The set's folder.
        images: The image files.
        settings: What the user says; lists of the parts go before what the reader found. Defaults: labels in
            `labels/`, the lines of `classes.txt`, and the table `sequences.csv`.
        labels: Of the images; None: look for YOLO text, VOC XML or COCO JSON.
        renamed: What becomes of each class where the user does not say, as `classes` in the settings.
        numbered: Names by class id of labels that have numbers, where neither `classes.txt` nor `data.yaml` names them.

    Raises:
        ConfigError: A setting does not fit.
        DataError: A label has no image, or labels or classes are missing.
    """
    keys = images.keys or {(id,): id for id in images.files}
    if not settings.labelled:
        labels, renamed = FoundLabels({}, (NO_CLASS,), root), None
        settings = replace(settings, classes=None, lists={})
    listed_by_reader = labels is not None
    if labels is None:
        labels = find_labels(
            root,
            keys,
            images.files,
            settings.labels,
            settings.labels_from,
            usual=images.labels_from,
            beside=images.labels_beside,
            names=settings.label_classes,
        )
    homes = [root, images.folder]
    if images.labels_beside and labels.place.parent == root.parent:
        homes.append(root.parent)
    ids = sorted(images.files, key=natural_order)
    classes = _classes(homes, labels, settings, renamed, numbered)
    source = settings.sequences
    if source is None and settings.labelled:
        source = _first_file("sequences.csv", homes)
    positions = images.positions if source is None else read_sequences(source, ids)
    parts, remarks = {**labels.parts, **images.parts}, [*images.remarks, *labels.remarks]
    if settings.lists:
        parts = parts_from_lists(root, settings.lists, keys, files=images.files)
        remarks.append(split_remark(root, settings.lists, parts))
    if not listed_by_reader:
        remarks += _without_label(root, ids, labels, parts)
    paired = []
    for id in ids:
        at = positions.get(id, VideoPosition(None))
        paired.append(
            PairedImage(
                id,
                images.files[id],
                labels.sources.get(id),
                sequence=at.sequence,
                number=at.number,
                condition=at.condition,
                part=parts.get(id),
            )
        )
    return PairedData(
        root=root,
        images=tuple(paired),
        bands=images.bands,
        class_map=classes,
        sequences_known=all(image.sequence is not None for image in paired),
        reader=reader,
        channels=images.channels,
        remarks=tuple(remarks),
        size_of=_reference(root, images, settings),
    )


def _reference(root: Path, images: FoundImages, settings: DataSettings) -> str | None:
    """The modality to whose size the others are resized, as the user or the reader says."""
    wanted = settings.size_of
    if wanted is not None and wanted not in images.bands:
        raise ConfigError(f"{root}: size_of: {wanted} is not among the images; {', '.join(images.bands)} are")
    return wanted or images.size_of


def _without_label(root: Path, ids: Sequence[str], labels: FoundLabels, parts: Mapping[str, str]) -> list[str]:
    """A remark on images that have no label, which is not the same as an empty one.

    Raises:
        DataError: No image of a part has a label.
    """
    without = [id for id in ids if id not in labels.sources]
    for part in PART_WORDS:
        members = [id for id in ids if parts.get(id) == part]
        if members and not any(id in labels.sources for id in members):
            raise DataError(
                f"{root}: no image of {part} has a label: {count(len(members), 'image')}, such as {members[0]}; labels "
                f"are from {labels.place}. Add the labels of {part} (an empty file where an image has no object), or "
                "move the images away"
            )
    if not without:
        return []
    verbs = ("has", "counts") if len(without) == 1 else ("have", "count")
    said = f"{len(without)} of {count(len(ids), 'image')} {verbs[0]} no label and {verbs[1]} as empty"
    return [f"{said}: {listed(without, 3)}. Check that no label is missing"]


def _classes(
    homes: Sequence[Path],
    labels: FoundLabels,
    settings: DataSettings,
    renamed: Mapping[str, str | None] | None,
    numbered: Sequence[str] | None,
) -> ClassMap:
    said = settings.classes
    if labels.names is not None:
        return _mapped(labels.names, str(labels.place), said, renamed)
    names, source = _names_by_number([*homes, labels.place], settings.names, numbered)
    if names is None:
        if said is not None and not isinstance(said, Mapping):
            return class_map(said, "classes")  # labels have numbers: these are their names
        raise ClassesUnknownError(
            f"{homes[0]}: classes are not known; name them in {homes[0] / 'classes.txt'}, one a line, or with --classes"
        )
    known = [name for name in names if name]
    if said is not None and not isinstance(said, Mapping):
        said = tuple(name for name in map(str.strip, said) if name)
        unknown = next((name for name in said if name not in known), None)
        if unknown is not None:
            raise ConfigError(
                f"classes: '{unknown}' is not a class of {source}. It has {', '.join(known)}."
                f"{suggestion(unknown, known)} A new name is given as in classes: {{{known[0]}: {unknown}}}"
            )
    return _mapped(names, source, said, renamed)


def _names_by_number(
    folders: Sequence[Path], said: Sequence[str] | None, usual: Sequence[str] | None
) -> tuple[list[str] | None, str]:
    """Names by class id of labels that have numbers, and where the names are from; None: nothing names them.

    Raises:
        DataError: classes.txt and data.yaml differ.
    """
    path = _first_file("classes.txt", folders)
    stated = None if said is None else [name.strip() for name in said]
    if path is None:
        return (stated, "names in data.yaml") if stated is not None else (list(usual) if usual else None, "the layout")
    try:
        names = [name.strip() for name in path.read_text(encoding="utf-8-sig").splitlines()]
    except UnicodeDecodeError as error:
        raise DataError(f"{path}: not UTF-8 text: {error}") from error
    found = [name for name in names if name]
    if stated is not None and stated != found:
        raise DataError(
            f"{path}: names {', '.join(found)}, and names in data.yaml are {', '.join(stated)}; correct one of them"
        )
    return names, str(path)


def _mapped(
    names: Sequence[str],
    place: str,
    said: Sequence[str] | Mapping[str, str | None] | None,
    renamed: Mapping[str, str | None] | None,
) -> ClassMap:
    """The classes, by what the user says of each, and otherwise by the reader's default."""
    default = {name: new for name, new in (renamed or {}).items() if name in names}
    if said is None or isinstance(said, Mapping):
        return class_map(names, place, {**default, **(said or {})} if default or said else None)
    kept = {name: name for name in said if name in names}
    return class_map(names, place, {**default, **kept}).ordered(said) if default else class_map(names, place, said)


def _first_file(name: str, folders: Sequence[Path]) -> Path | None:
    return next((folder / name for folder in folders if (folder / name).is_file()), None)
