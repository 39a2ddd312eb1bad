"""Find the labels of images: one file for each, in any folder, or one document for all."""

import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath

from tune_cmx.data.labels.base import LabelFile, LabelForm, LabelSource
from tune_cmx.data.labels.coco import is_coco, read_coco
from tune_cmx.data.labels.voc import VocForm
from tune_cmx.data.labels.yolo import YoloForm
from tune_cmx.data.readers.names import ImageNames, Key, NameParts, holds_labels, name_parts, text_parts
from tune_cmx.data.readers.order import listed, natural_order
from tune_cmx.data.readers.pairing import names_under
from tune_cmx.data.readers.paths import start_of
from tune_cmx.errors import ConfigError, DataError

FORMS: tuple[LabelForm, ...] = (YoloForm(), VocForm())
"""Forms of label files that their suffix tells apart."""
NO_LABELS = "classes.txt", "requirements.txt", "readme.txt", "license.txt"
"""Text files that some tools write beside labels."""


@dataclass(frozen=True)
class FoundLabels:
    """The labels of a set."""

    sources: Mapping[str, LabelSource]
    """By image id; an image without an entry has no objects."""
    names: tuple[str, ...] | None
    """Class names that the labels themselves have; None: they have numbers."""
    place: Path
    """Where they are, for error messages."""
    parts: Mapping[str, str] = field(default_factory=dict)
    """Part of a split by image id, where a document of labels is of one part."""
    remarks: tuple[str, ...] = ()
    """What of the labels was not read."""


@dataclass(frozen=True)
class _Candidate:
    said: NameParts
    modality: str | None
    file: str

    @property
    def path(self) -> Path:
        return Path(self.file)


def find_labels(
    root: Path,
    ids: Mapping[Key, str],
    files: Mapping[str, Mapping[str, Path]],
    named: Path | None,
    labels_from: str | None,
    *,
    usual: str | None = None,
    beside: bool = False,
    names: tuple[str, ...] | None = None,
) -> FoundLabels:
    """The labels of images.

    A folder named like `labels` or `Annotations` goes before a COCO document, and this before files that lie beside
    their images.

    Args:
        root: The set's folder.
        ids: Of the images, by the name of each moment.
        files: Of the images, by id and modality.
        named: A folder or a COCO document that the user names; None: look for one.
        labels_from: Modality whose labels are the ground truth, where several modalities have their own.
        usual: The same, where `labels_from` does not say it.
        beside: Whether a folder of labels may also lie beside the set's folder.
        names: Class names of the labels, where they are known from an earlier reading; files are not searched for them.

    Raises:
        ConfigError: Several modalities have labels, and `labels_from` does not say which holds.
        DataError: There are no labels, or a label has no image.
    """
    if named is not None:
        if named.is_file():
            return _of_documents(root, ids, files, [named], labels_from, usual)
        if not named.is_dir():
            raise DataError(f"{named}: no such folder or file of labels")
        return _of_folders([named], ids, files, root, labels_from, usual, names)
    documents = sorted(_documents(root))
    folders = _label_folders(root) or [found for path in _folders(root) for found in _label_folders(path)]
    if beside and (root.parent / "labels").is_dir():
        folders.append(root.parent / "labels")
    folders = [folder for folder in folders if any(_label_files(folder))] or ([] if documents else folders)
    if folders:
        found = _of_folders(folders, ids, files, root, labels_from, usual, names)
        unread = [str(path.relative_to(root)) for path in documents]
        remark = (f"labels are from {found.place.name}/; {listed(unread)} was not read; --labels chooses",)
        return FoundLabels(found.sources, found.names, found.place, found.parts, remark if unread else ())
    if documents:
        return _of_documents(root, ids, files, documents, labels_from, usual)
    images = ImageNames(ids, files)
    beside_images = [one for one in _candidates(root, root) if images.id_of(one.said) is not None]
    if beside_images:
        return _of_files(beside_images, root, ids, files, root, labels_from, usual, names)
    raise DataError(
        f"{root / 'labels'}: no labels; put YOLO text or VOC XML files there, or name their folder or a COCO JSON file "
        "with --labels"
    )


def _folders(root: Path) -> list[Path]:
    return [path for path in sorted(root.iterdir()) if path.is_dir() and path.name[0] != "."]


def _label_folders(root: Path) -> list[Path]:
    return [path for path in _folders(root) if holds_labels(path.name)]


def one_form(folder: Path, paths: Sequence[str | Path]) -> LabelForm:
    """The form of label files.

    Raises:
        DataError: They are of several forms.
    """
    endings = {os.path.splitext(path)[1].lower() for path in paths}  # noqa: PTH122  # paths of a large set are texts
    found = {form.title: form for form in FORMS if form.suffix in endings}
    if len(found) > 1:
        raise DataError(f"{folder}: has labels as {' and as '.join(found)}; name a folder of one form with --labels")
    return next(iter(found.values()))


def names_in(form: LabelForm, paths: Sequence[Path]) -> tuple[str, ...]:
    """The class names that label files have, in alphabetical order."""
    return tuple(sorted({name for path in paths for name in form.names(path.read_bytes(), str(path))}))


def _label_files(folder: Path) -> Iterator[str]:
    for path in names_under(folder, [form.suffix for form in FORMS], labels=True):
        if path.rpartition(os.sep)[2].lower() not in NO_LABELS:
            yield path


def _of_folders(
    folders: Sequence[Path],
    ids: Mapping[Key, str],
    files: Mapping[str, Mapping[str, Path]],
    root: Path,
    labels_from: str | None,
    usual: str | None,
    names: tuple[str, ...] | None,
) -> FoundLabels:
    found = [one for folder in folders for one in _candidates(folder, root)]
    if not found:
        example = next(iter(ids.values()))
        raise DataError(f"{folders[0]}: no label file; each image with objects needs one, as in {example}.txt")
    return _of_files(found, folders[0], ids, files, root, labels_from, usual, names)


def _candidates(folder: Path, root: Path) -> list[_Candidate]:
    inside = start_of(folder.relative_to(root) if folder.is_relative_to(root) else Path(folder.name))
    start = start_of(folder)
    found = []
    for path in _label_files(folder):
        said = text_parts(inside + path)
        found.append(_Candidate(said, said.modality, start + path))
    return found


def _of_files(
    found: Sequence[_Candidate],
    place: Path,
    ids: Mapping[Key, str],
    files: Mapping[str, Mapping[str, Path]],
    root: Path,
    labels_from: str | None,
    usual: str | None,
    names: tuple[str, ...] | None,
) -> FoundLabels:
    chosen = _of_one_modality(found, labels_from, usual, place)
    form = one_form(place, [one.file for one in chosen])
    images = ImageNames(ids, files)
    sources: dict[str, LabelSource] = {}
    stray: list[str] = []
    for one in chosen:
        id = images.id_of(one.said)
        if id is None:
            stray.append(one.path.name)
        elif id in sources:
            raise DataError(f"{one.path}: image {id} has a second label file, {sources[id].path}; keep one")
        else:
            sources[id] = LabelFile(one.file, form)
    if stray:
        raise DataError(
            f"{place}: no image in {root} for {listed(sorted(stray, key=natural_order))}; "
            f"labels are named like their image, as in {next(iter(ids.values()))}{form.suffix}"
        )
    read = None
    if form.has_names:
        read = names or names_in(form, [source.path for source in sources.values()])
    return FoundLabels(sources, read, place)


def _of_one_modality(
    found: Sequence[_Candidate], wanted: str | None, usual: str | None, folder: Path
) -> list[_Candidate]:
    modalities = sorted({one.modality for one in found if one.modality is not None})
    if wanted is not None and not modalities:
        raise ConfigError(no_modality(folder))
    if wanted is not None and wanted not in modalities:
        raise ConfigError(f"labels_from: {wanted} has no labels in {folder}; {' and '.join(modalities)} have")
    chosen = wanted or (usual if usual in modalities else None)
    if len(modalities) > 1 and chosen is None:
        raise ConfigError(
            f"{folder}: {' and '.join(modalities)} have labels of their own; say which are the ground truth with "
            f"--labels-from, as in --labels-from {modalities[-1]}"
        )
    return [one for one in found if one.modality in (None, chosen or one.modality)]


def no_modality(folder: Path) -> str:
    """What to say where `labels_from` is given, and labels are of no modality."""
    return f"labels_from: the names of the labels in {folder} say no modality, so all are read; leave --labels-from out"


def _documents(root: Path) -> Iterator[Path]:
    """COCO documents in the set's folder and in its folders of annotations."""
    for folder in (root, *_label_folders(root)):
        yield from (path for path in folder.glob("*.json") if path.name[0] != "." and is_coco(path))


def _of_documents(
    root: Path,
    ids: Mapping[Key, str],
    files: Mapping[str, Mapping[str, Path]],
    paths: Sequence[Path],
    labels_from: str | None,
    usual: str | None,
) -> FoundLabels:
    inside = {path: path.relative_to(root) if path.is_relative_to(root) else Path(path.name) for path in paths}
    said = {path: name_parts(inside[path]) for path in paths}
    candidates = [_Candidate(said[path], said[path].modality or _in_stem(path), str(path)) for path in paths]
    chosen = [one.path for one in _of_one_modality(candidates, labels_from, usual, paths[0].parent)]
    documents = [read_coco(path) for path in chosen]
    names = tuple(dict.fromkeys(name for document in documents for name in document.names))
    if any(document.names != names for document in documents):
        documents = [read_coco(path, names) for path in chosen]
    images = ImageNames(ids, files)
    sources: dict[str, LabelSource] = {}
    parts: dict[str, str] = {}
    stray: list[str] = []
    for document in documents:
        part = part_named(document.path.stem)
        for file_name, source in document.labels.items():
            id = images.id_of(name_parts(PurePosixPath(file_name.replace("\\", "/"))), part)
            if id is None:
                stray.append(file_name)
                continue
            if id in sources:
                raise DataError(f"{document.path}: image {id} is listed twice; keep one entry")
            sources[id] = source
            if part is not None:
                parts[id] = part
    if stray:
        raise DataError(f"{chosen[0]}: no image in {root} for {listed(sorted(stray, key=natural_order))}")
    if len(sources) < len(ids) and not parts:
        lacking = sorted(set(ids.values()) - set(sources), key=natural_order)
        raise DataError(f"{chosen[0]}: does not list {len(lacking)} of {len(ids)} images, such as {lacking[0]}")
    return FoundLabels(sources, names, chosen[0], parts)


def part_named(stem: str) -> str | None:
    """The part of a split that a file's name says, as in `instances_train`."""
    words = stem.replace("-", "_").replace(".", "_").split("_")
    return name_parts(PurePosixPath(*(word for word in words if word), "x")).part if words else None


def _in_stem(path: Path) -> str | None:
    return name_parts(PurePosixPath(*path.stem.replace("-", "_").split("_"), "x")).modality
