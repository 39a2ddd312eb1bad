"""The table of readers of data sets. A new one is a file beside this one and a line here, or another package's."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Annotated, Any

from pydantic import BeforeValidator

from tune_cmx.config.data.events import EventsConfig
from tune_cmx.config.parse import load_mapping, validate
from tune_cmx.config.section import Section, as_tuple
from tune_cmx.config.trial import Modality
from tune_cmx.counting import count
from tune_cmx.data.readers.base import (
    CHOICES,
    Certainty,
    DataSettings,
    PairedData,
    PairedImage,
    Reader,
    Sign,
    read_image,
    read_labels,
)
from tune_cmx.data.readers.folders import FolderReader
from tune_cmx.data.readers.order import listed
from tune_cmx.data.readers.packed import PackedReader
from tune_cmx.data.readers.pairing import pair_by_names
from tune_cmx.data.readers.sets.dronevehicle import DroneVehicleReader
from tune_cmx.data.readers.sets.dsec_det import DsecDetReader
from tune_cmx.data.readers.sets.flir_adas import FlirAdasReader
from tune_cmx.data.readers.sets.flir_aligned import FlirAlignedReader
from tune_cmx.data.readers.sets.kaist import KaistReader
from tune_cmx.data.readers.sets.llvip import LlvipReader
from tune_cmx.data.readers.sets.m3fd import M3fdReader
from tune_cmx.data.readers.sets.pedro import PedroReader
from tune_cmx.data.readers.sets.smod import SmodReader
from tune_cmx.data.readers.sets.vedai import VedaiReader
from tune_cmx.errors import ConfigError, DataError
from tune_cmx.registry import Table, lookup, undescribed

__all__ = [
    "READERS",
    "Certainty",
    "PairedData",
    "PairedImage",
    "Reader",
    "Sign",
    "open_data",
    "read_image",
    "read_labels",
    "signs",
]


def _not_a_reader(name: str, entry: Any) -> str | None:  # noqa: ARG001  # as each table's
    """What is wrong with the object of another package's entry point."""
    if not isinstance(entry, Reader):
        return f"needs an instance of a subclass of tune_cmx.data.readers.Reader; got {entry!r}"
    if not all(isinstance(getattr(entry, text, None), str) for text in ("title", "holds")):
        return f"{type(entry).__qualname__} needs the texts title and holds, which messages print"
    return undescribed(type(entry), Reader)


READERS: Table[Reader] = Table(
    "tune_cmx.readers",
    {
        "folders": FolderReader(),
        "npy": PackedReader(),
        "flir_adas": FlirAdasReader(),
        "flir_adas_16bit": FlirAdasReader(bits=16),
        "dronevehicle": DroneVehicleReader(),
        "vedai": VedaiReader(),
        "smod": SmodReader(),
        "dsec_det": DsecDetReader(),
        "pedro": PedroReader(),
        "llvip": LlvipReader(),
        "flir_aligned": FlirAlignedReader(),
        "kaist": KaistReader(),
        "m3fd": M3fdReader(),
    },
    _not_a_reader,
)
"""By layout; `--layout` takes these names, and `data synth --form` those that can write. The first is its default."""

Channels = Annotated[tuple[int, ...], BeforeValidator(as_tuple)]
Names = Annotated[tuple[str, ...] | dict[str, str | None] | None, BeforeValidator(as_tuple)]


def _as_names(value: Any) -> Any:
    """Ultralytics writes names as a list or by number."""
    if isinstance(value, dict) and sorted(value) == list(range(len(value))):
        return tuple(value[number] for number in range(len(value)))
    return as_tuple(value)


def _as_list(value: Any) -> Any:
    return (value,) if isinstance(value, str) else as_tuple(value)


Lists = Annotated[tuple[str, ...] | None, BeforeValidator(_as_list)]


class DataFile(Section):
    """What `data.yaml` may say; paths are from its folder. Ultralytics' own keys are understood too."""

    layout: str | None = None
    images: dict[str, str] | None = None
    bands: dict[str, Channels] | None = None
    classes: Names = None
    sequences: str | None = None
    labels: str | None = None
    labels_from: Modality | None = None
    size_of: Modality | None = None
    path: str | None = None
    train: Lists = None
    val: Lists = None
    test: Lists = None
    names: Annotated[tuple[str, ...] | None, BeforeValidator(_as_names)] = None
    nc: int | None = None
    channels: int | None = None
    download: Any = None
    roboflow: Any = None


def open_data(
    root: Path,
    *,
    layout: str | None = None,
    labels: Path | None = None,
    labels_from: str | None = None,
    bands: Mapping[str, Sequence[int]] | None = None,
    classes: Sequence[str] | Mapping[str, str | None] | None = None,
    sequences: str | None = None,
    events: EventsConfig | None = None,
    label_classes: Sequence[str] | None = None,
    labelled: bool = True,
) -> PairedData:
    """Find a data set's images, labels, classes, sequences and parts, by the reader whose layout the folder has.

    Each argument goes before the key of that name in `root/data.yaml`.

    Args:
        root: The set's folder.
        layout: Name of a reader; None: the one that recognises the folder.
        labels: Folder of label files, or a COCO document; None: where the layout has them.
        labels_from: Modality whose labels are the ground truth, for sets in which several have their own.
        bands: Modality -> channels, for .npy files; None: rgb 0..2, thermal 3, event 4 of five.
        classes: Names to learn, in their order, or new names as in `{rider: person, dog: null}`; None: as the labels or
            the lines of `classes.txt` name them. Where nothing names numbered labels, a list names them by number.
        sequences: A CSV file, or a regular expression that is searched in each image's id; None: `sequences.csv`, or
            what the layout says.
            The columns, or named groups, are `sequence` (the file also needs `id`) and, if known, `frame` (the
            position in the video) and `condition` (such as day or night).
        events: How raw events become images; None: where the set has raw events, the default.
        label_classes: Class names of the labels, known from an earlier reading; the labels are not searched for them.
        labelled: False: the images alone are wanted, as for prediction. Their labels may be missing, and each image
            then has none; a layout whose labels say which images it has still needs them.

    Raises:
        ConfigError: `data.yaml` or an argument is not understood, or several layouts fit.
        DataError: The folder is empty, an image lacks its partner, a label its image; labels or classes are missing.
    """
    root = Path(root)
    if not root.is_dir():
        raise DataError(f"{root}: no such folder; name the folder of a data set")
    said = _data_file(root)
    home = root if said.path is None or Path(said.path).is_absolute() else root / said.path  # sets are moved
    settings = DataSettings(
        labels=Path(labels) if labels is not None else None if said.labels is None else root / said.labels,
        labels_from=labels_from or said.labels_from,
        images=said.images,
        bands=said.bands if bands is None else {name: tuple(channels) for name, channels in bands.items()},
        classes=said.classes if classes is None else classes if isinstance(classes, Mapping) else tuple(classes),
        names=said.names,
        size_of=said.size_of,
        label_classes=None if label_classes is None else tuple(label_classes),
        sequences=_sequence_source(root, sequences, said.sequences),
        labelled=labelled,
        lists={
            part: tuple(_list_path(home, name) for name in names)
            for part, names in (("train", said.train), ("val", said.val), ("test", said.test))
            if names
        },
    )
    name = _layout(root, layout or said.layout, settings)
    _refuse_unused(root, name, settings)
    return replace(READERS[name].open(root, settings), layout=name).with_events(events)


def signs(root: Path) -> list[tuple[str, Sign]]:
    """The layouts that a folder may have, by name, the surest first."""
    found = [(name, sign) for name, reader in READERS.items() if (sign := reader.sign(root)) is not None]
    return sorted(found, key=lambda one: -one[1].certainty)


def _layout(root: Path, named: str | None, settings: DataSettings) -> str:
    """The layout that is named, or the one that the folder has most surely."""
    if named is None and settings.images is not None:
        named = next(iter(READERS))  # the user names the folders
    if named is not None:
        reader = lookup(READERS, named, "layout: unknown")
        if settings.images is None and reader.sign(root) is None:
            raise DataError(_wrong_layout(root, named, reader))
        return named
    found = signs(root)
    if not found:
        raise DataError(_unknown_modality(root) or f"{root}: no images; it should hold one of these:\n{_forms()}")
    surest = [name for name, sign in found if sign.certainty == found[0][1].certainty]
    if len(surest) > 1:
        described = " and ".join(f"{name} ({sign.text})" for name, sign in found if name in surest)
        raise ConfigError(f"{root}: could be {described}; say which with --layout, as in --layout {surest[0]}")
    return surest[0]


def _refuse_unused(root: Path, layout: str, settings: DataSettings) -> None:
    """Refuse a setting that the layout's reader does not use."""
    unused = [name for name in CHOICES if name not in READERS[layout].takes and getattr(settings, name) is not None]
    if unused:
        taking = [name for name, reader in READERS.items() if unused[0] in reader.takes]
        raise ConfigError(
            f"{root}: data.{unused[0]} is not used by the layout {layout} ({READERS[layout].title}). Leave it out, or "
            f"choose a layout that uses it with --layout: {', '.join(taking)}"
        )


def _unknown_modality(root: Path) -> str:
    """What to say of a folder whose images are of no known modality; empty: it has no image."""
    unread = pair_by_names(root).unread
    if not unread:
        return ""
    named = [f"{folder}/ ({count(number, 'image')})" for folder, number in unread.items()]
    example = ", ".join(f"{name}: FOLDER" for name in ("rgb", "thermal")[: len(unread)])
    return (
        f"{root}: the modality of these images is not known: {listed(named)}. Name each modality's folder in "
        f"{root / 'data.yaml'}, as in images: {{{example}}}"
    )


def _wrong_layout(root: Path, layout: str, reader: Reader) -> str:
    entries = listed(sorted(path.name for path in root.iterdir() if path.name[0] != "."))
    fitting = [f"--layout {name} ({sign.text})" for name, sign in signs(root)]
    fix = f"Take {' or '.join(fitting)}, or leave --layout out" if fitting else "Name another folder with --data"
    return f"{root}: is not of the layout {layout}. It should hold {reader.holds}; it has {entries or 'nothing'}. {fix}"


def _forms() -> str:
    """What each layout holds, a line each."""
    layouts: dict[str, list[str]] = {}
    for name, reader in READERS.items():
        layouts.setdefault(reader.holds, []).append(name)
    return "\n".join(f"  {holds} (layout {' or '.join(names)})" for holds, names in layouts.items())


def _data_file(root: Path) -> DataFile:
    path = root / "data.yaml"
    if not path.is_file():
        return DataFile()
    content, lines = load_mapping(path)
    said = validate(DataFile, content, source=str(path), lines=lines)
    if said.nc is not None and said.names is not None and said.nc != len(said.names):
        raise ConfigError(f"{path}: nc is {said.nc}, but names has {len(said.names)}; correct one of them")
    return said


def _list_path(home: Path, name: str) -> Path:
    """A list or folder of images; as in Ultralytics, `../` may mean the set's folder, not the one above it."""
    path = home / name
    return home / name.removeprefix("../") if name.startswith("../") and not path.exists() else path


def _sequence_source(root: Path, argument: str | None, said: str | None) -> Path | str | None:
    """A CSV file, a regular expression, or None where nothing is said."""
    if argument is None and said is None:
        return None
    text = str(said if argument is None else argument)
    if not text.lower().endswith(".csv"):
        return text
    if argument is not None and Path(text).is_file():
        return Path(text)
    return root / text
