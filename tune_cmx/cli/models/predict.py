"""`tune-cmx predict`: boxes in the images of a folder, or in one image."""

import time
from collections import deque
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.markup import escape

from tune_cmx.cli.models.named import Model, named_detector
from tune_cmx.cli.options.flags import DATA, OUTPUT, Bands, Device, Layout, Threads, bands_given
from tune_cmx.cli.output import out
from tune_cmx.cli.progress import counted
from tune_cmx.counting import count
from tune_cmx.errors import ConfigError, DataError

if TYPE_CHECKING:
    from tune_cmx.data.pixels import Pixels
    from tune_cmx.data.readers import PairedData, PairedImage
    from tune_cmx.inference.prediction_files import PredictionFiles
    from tune_cmx.inference.trained_detector import TrainedDetector

_READERS = 2
"""Threads that read images while others are computed."""
Found = tuple[str, "dict[str, Pixels]"]
"""Id and pixels of an image."""


def _file(modality: str) -> typer.models.OptionInfo:
    text = f"One {modality} image in place of IMAGES, with a file for each other modality of the model."
    option: typer.models.OptionInfo = typer.Option(f"--{modality}", help=text, rich_help_panel=DATA)
    return option


def predict(
    model: Model,
    images: Annotated[
        Path | None, typer.Argument(help="Folder of images in any known layout; labels are not needed.")
    ] = None,
    rgb: Annotated[Path | None, _file("rgb")] = None,
    thermal: Annotated[Path | None, _file("thermal")] = None,
    event: Annotated[Path | None, _file("event")] = None,
    layout: Layout = None,
    bands: Bands = None,
    out_folder: Annotated[
        Path,
        typer.Option("--out", help="Folder that receives pictures, COCO results and a table.", rich_help_panel=OUTPUT),
    ] = Path("predictions"),
    score: Annotated[
        float, typer.Option("--score", help="Lowest score of a detection that is written.", rich_help_panel=OUTPUT)
    ] = 0.05,
    picture_score: Annotated[
        float,
        typer.Option("--picture-score", help="Lowest score of a detection that is drawn.", rich_help_panel=OUTPUT),
    ] = 0.5,
    pictures: Annotated[
        bool, typer.Option("--pictures/--no-pictures", help="Draw each image with its boxes.", rich_help_panel=OUTPUT)
    ] = True,
    save_txt: Annotated[
        bool,
        typer.Option(
            "--save-txt",
            help="Also write YOLO text for each image: class, centre, size and score.",
            rich_help_panel=OUTPUT,
        ),
    ] = False,
    force: Annotated[
        bool, typer.Option("--force", help="Write into a folder that has earlier results.", rich_help_panel=OUTPUT)
    ] = False,
    device: Device = None,
    threads: Threads = None,
) -> None:
    """Detect objects: pictures of all bands with boxes, COCO results (detections.json) and a table (detections.csv).

    Examples:

    `tune-cmx predict models/cssa IMAGES --out predictions`

    `tune-cmx predict models/cssa --rgb a.jpg --thermal b.jpg`
    """
    if not 0 < score <= 1:
        raise ConfigError(f"--score: must be above 0 and at most 1; got {score:g}")
    files = {name: path for name, path in (("rgb", rgb), ("thermal", thermal), ("event", event)) if path is not None}
    if (images is None) == (not files):
        raise ConfigError("IMAGES: name a folder of images, or single files by --rgb, --thermal and --event; not both")
    detector = named_detector(model, device, threads)
    from tune_cmx.inference.prediction_files import PredictionFiles

    writer = PredictionFiles(
        out_folder.resolve(),
        detector.classes,
        pictures=pictures,
        picture_score=picture_score,
        txt=save_txt,
        force=force,
    )
    if images is None:
        source, total = _of_files(detector, files), 1
    else:
        data = _opened(detector, images, layout, bands)
        source, total = _read_ahead(data, tuple(detector.modalities), 2 * detector.images_at_once), len(data.images)
    began = time.perf_counter()
    boxes = _predict(detector, source, total, score, writer)
    rate = total / (time.perf_counter() - began)
    out.print(
        f"[bold]{count(total, 'image')}, {count(boxes, 'detection')}, {rate:.3g} images a second on {detector.device}; "
        f"results: {escape(str(writer.folder))}[/bold]",
        soft_wrap=True,
    )


def _predict(
    detector: "TrainedDetector", source: Iterator[Found], total: int, score: float, writer: "PredictionFiles"
) -> int:
    """Detect and write, a batch at a time; the number of detections."""
    boxes = 0
    with counted("detecting") as progress, writer:
        for batch in _batches(source, detector.images_at_once):
            given = {name: [pixels[name] for _, pixels in batch] for name in detector.modalities}
            results = detector.predict(**given, score=score)
            for (id, pixels), found in zip(batch, results, strict=True):
                writer.add(id, pixels, found)
                boxes += len(found)
            progress(writer.images, total)
    return boxes


def _batches(source: Iterator[Found], size: int) -> Iterator[list[Found]]:
    batch: list[Found] = []
    for one in source:
        batch.append(one)
        if len(batch) == size:
            yield batch
            batch = []
    if batch:
        yield batch


def _of_files(detector: "TrainedDetector", files: Mapping[str, Path]) -> Iterator[Found]:
    """One image of single files.

    Raises:
        ConfigError: A file is missing, or of a modality that the model does not see.
    """
    from tune_cmx.inference.images import read_pixels

    known = list(detector.modalities)
    wrong = [name for name in files if name not in known]
    lacking = [name for name in known if name not in files]
    if wrong or lacking:
        what = f"--{wrong[0]}: the model does not see it" if wrong else f"--{lacking[0]}: is missing"
        raise ConfigError(f"{what}; it sees {', '.join(known)}, and needs one file of each")
    pixels = {name: read_pixels(files[name], name, one.bands) for name, one in detector.modalities.items()}
    return iter([(files[known[0]].stem, pixels)])


def _opened(detector: "TrainedDetector", images: Path, layout: str | None, bands: str | None) -> "PairedData":
    """The images of a folder, without labels.

    Raises:
        DataError: It is of no known layout, or lacks a modality of the model.
    """
    from tune_cmx.data.readers import open_data

    settings = detector.config.data
    data = open_data(
        images,
        layout=layout,
        bands=bands_given(bands) if bands else settings.bands,
        events=settings.events,
        labelled=False,
    )
    for name, one in detector.modalities.items():
        if name not in data.bands:
            raise DataError(f"{images}: no {name} images, which the model sees; the folder has {', '.join(data.bands)}")
        if len(data.bands[name]) != one.bands:
            raise DataError(f"{images}: {name} has {len(data.bands[name])} bands; the model was trained on {one.bands}")
    return data


def _read_ahead(data: "PairedData", modalities: Sequence[str], ahead: int) -> Iterator[Found]:
    """Id and pixels of each image, in the order of the set; some are read in advance."""
    from tune_cmx.data.readers import read_image
    from tune_cmx.inference.images import one_size

    def read(image: "PairedImage") -> Found:
        pixels = read_image(data, image, modalities)
        one_size(pixels, image.id)
        return image.id, pixels

    with ThreadPoolExecutor(_READERS) as pool:
        waiting: deque[Future[Found]] = deque()
        for image in data.images:
            waiting.append(pool.submit(read, image))
            if len(waiting) > ahead:
                yield waiting.popleft().result()
        while waiting:
            yield waiting.popleft().result()
