"""Example images: what baseline and selected configuration find where they find most and least."""

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from tune_cmx.config.trial import EventsConfig
from tune_cmx.data.band_pictures import band_panels
from tune_cmx.data.readers import PairedData, open_data, read_image
from tune_cmx.errors import ConfigError, DataError
from tune_cmx.evidence.report.detection_grid import Mark, Panel, Shown, Strip, draw_grids
from tune_cmx.evidence.report.page import Page
from tune_cmx.evidence.results.image_scores import (
    EACH,
    LEAST_SCORE,
    Example,
    Images,
    ScoredArm,
    drawn_runs,
    pick,
    scored_arm,
    tied_kinds,
)
from tune_cmx.evidence.results.stored_detections import left_out, stored_truth
from tune_cmx.evidence.results.study_results import StudyResults
from tune_cmx.evidence.wording import UNKNOWN, count, listed, number, signed

BASELINE, SELECTED = "baseline", "selected"
PICTURE = "examples_{}.jpg"


def examples_section(page: Page, study: StudyResults, place: Path) -> None:
    """The images with the highest and the lowest F1 of baseline and selected configuration: a table, and pictures.

    Images that are missing or changed are named; the table does not need them.

    Args:
        page: Receives the section.
        study: A study.
        place: The report's folder, which receives the pictures; those of an earlier report are removed.
    """
    for earlier in place.glob(PICTURE.format("*")):
        earlier.unlink()
    page.heading("Example detections")
    try:
        images = Images.of(stored_truth(study))
    except DataError as error:
        page.paragraph(f"Cannot be shown: {error}.")
        return
    arms, missing = _arms(study, images)
    examples = pick(arms, images)
    if not arms:
        page.paragraph("Cannot be shown: no confirmation run of baseline or finalists has usable detections.")
    elif not examples:
        page.paragraph("Cannot be shown: no image has a box.")
    else:
        page.paragraph(_how(study, arms, images))
        _table(page, arms, images, examples)
        _pictures(page, study, arms, images, examples, place)
    notes = [
        f"{tie.kind}: {count(tie.others, 'further image')} with the same figure as the last one shown."
        for tie in (tied_kinds(arms, images) if arms else [])
    ]
    notes += left_out(missing)
    if notes:
        page.bullets(notes)


def _arms(study: StudyResults, images: Images) -> tuple[list[ScoredArm], dict[str, list[str]]]:
    """The baseline and the first finalist that have runs to show; and by reason the runs that cannot be used."""
    arms, missing = [], dict[str, list[str]]()
    for name, ids in ((BASELINE, [study.baseline]), (SELECTED, study.finalists)):
        for id in ids:
            if id is None or (name == SELECTED and id == study.baseline):
                continue
            found, lacking = scored_arm(study, id, name, images)
            for why, runs in lacking.items():
                missing.setdefault(why, []).extend(runs)
            if found is not None:
                arms.append(found)
                break
    return arms, missing


def _how(study: StudyResults, arms: Sequence[ScoredArm], images: Images) -> str:
    split = study.primary_metric.partition("/")[0]
    empty = sum(not boxes for boxes in images.boxes)
    named = " and ".join(study.label(arm.arm) + (" (selected)" if arm.name == SELECTED else "") for arm in arms)
    differ = f", and {EACH} each where the selected one is furthest above and below" if len(arms) == 2 else ""
    without = f"; {empty:,} without boxes have no F1" if empty else ""
    return (
        f"Picked extremes of {split}: they show what detections look like, and no claim rests on them. "
        f"Of {named}: the {EACH} images with the highest F1 and the {EACH} with the lowest{differ}. "
        f"F1 = 2·TP / (2·TP + FP + FN) at IoU 0.5 over detections that score {LEAST_SCORE:g} or more, mean over "
        f"confirmed runs. {count(len(images.images) - empty, 'image')} were considered{without}. "
        "The run nearest to these means is drawn."
    )


def _table(page: Page, arms: Sequence[ScoredArm], images: Images, examples: Sequence[Example]) -> None:
    rows = []
    for nth, example in enumerate(examples, 1):
        image, scores = images.images[example.place], [float(arm.f1[example.place]) for arm in arms]
        gap = [signed(scores[1] - scores[0])] if len(arms) == 2 else []
        rows.append(
            [
                str(nth),
                str(image["file_name"]),
                str(image.get("sequence", UNKNOWN)),
                "; ".join(example.reasons),
                str(len(images.boxes[example.place])),
                *map(number, scores),
                *gap,
            ]
        )
    header = ["no.", "image", "sequence", "picked as", "boxes", *(f"F1, {arm.name}" for arm in arms)]
    page.table([*header, *(["difference"] if len(arms) == 2 else [])], rows, left=4, in_paper=False)


def _pictures(
    page: Page,
    study: StudyResults,
    arms: Sequence[ScoredArm],
    images: Images,
    examples: Sequence[Example],
    place: Path,
) -> None:
    try:
        data = _data(study)
    except (ConfigError, DataError, OSError) as error:
        page.paragraph(f"No pictures: the images cannot be read where the study found them ({error}).")
        return
    shown: dict[int, Shown] = {}
    failed = []
    for nth, example in enumerate(examples, 1):
        try:
            panels = _panels(data, images.images[example.place])
            shown[nth] = _shown(study, arms, images, example, nth, panels)
        except DataError as error:
            failed.append(f"No. {nth} is not drawn: {error}.")
    legend = ("box of the ground truth", f"detection that scores {LEAST_SCORE:g} or more, with its score")
    numbers = list(shown)
    ignored = "ignore region: a detection in it is neither right nor wrong"
    for nth, grid in enumerate(draw_grids(list(shown.values()), page.stamps, legend, ignored), 1):
        name = PICTURE.format(nth)
        (place / name).write_bytes(grid.jpeg)
        on_it, numbers = numbers[: grid.images], numbers[grid.images :]
        below = ", the baseline above the selected configuration" if len(arms) == 2 else ""
        page.image(name, f"No. {listed(map(str, on_it))} of the table on every band{below}")
    if failed:
        page.bullets(failed)


def _data(study: StudyResults) -> PairedData:
    """The data set where the study left it.

    Raises:
        DataError: It is not there.
        ConfigError: Its files say something else by now.
    """
    config = next((trial.config.get("data") or {} for trial in study.confirmed), {})
    root = study.state.data.root or config.get("root")
    if not root:
        raise DataError("the study does not say where they are")
    return open_data(
        Path(root),
        layout=config.get("layout"),
        labels_from=config.get("labels_from"),
        labels=Path(config["labels"]) if config.get("labels") else None,
        bands=config.get("bands"),
        classes=config.get("classes"),
        sequences=config.get("sequences"),
        events=None if config.get("events") is None else EventsConfig.model_validate(config["events"]),
    )


def _panels(data: PairedData, image: Mapping[str, Any]) -> list[Panel]:
    """Raises DataError where the image is missing, cannot be read, or has another size than it had."""
    frame = next((frame for frame in data.images if frame.id == image["file_name"]), None)
    if frame is None:
        raise DataError(f"{data.root} has no image {image['file_name']}")
    bands = read_image(data, frame, list(data.bands))
    size = (image["height"], image["width"])
    for modality, pixels in bands.items():
        if pixels.shape[:2] != size:
            raise DataError(
                f"{modality} of {frame.id} has {pixels.shape[0]}×{pixels.shape[1]} pixels, and had {size[0]}×{size[1]}"
            )
    return band_panels(bands)


def _shown(
    study: StudyResults, arms: Sequence[ScoredArm], images: Images, example: Example, nth: int, panels: list[Panel]
) -> Shown:
    image, boxes = images.images[example.place], images.boxes[example.place]
    about = [str(nth), str(image["file_name"]), *([f"sequence {image['sequence']}"] if "sequence" in image else [])]
    ignored = images.ignored[example.place]
    about += [count(len(boxes), "box"), *([count(len(ignored), "ignore region")] if ignored else [])]
    about += ["; ".join(example.reasons)]
    strips = []
    for arm, run in zip(arms, drawn_runs(arms, example.place), strict=True):
        own = [one for one in run.detections if one["image_id"] == image["id"]]
        caption = (
            f"{arm.name}: {study.label(arm.arm)} · F1 {number(float(arm.f1[example.place]))}, mean of "
            f"{count(len(arm.runs), 'run')} · drawn: seed {run.seed}, F1 {number(float(run.f1[example.place]))}"
        )
        strips.append(Strip(caption, _marks(own, images, with_scores=True)))
    regions = [Mark((x, y, width, height), "") for x, y, width, height in (box["bbox"] for box in ignored)]
    return Shown(" · ".join(about), panels, _marks(boxes, images, with_scores=False), regions, strips)


def _marks(boxes: Iterable[Mapping[str, Any]], images: Images, *, with_scores: bool) -> list[Mark]:
    """With the name of the class where there are several."""
    marks = []
    for box in boxes:
        words = [f"{box['score']:.2f}"] if with_scores else []
        words += [images.classes[box["category_id"]]] if len(images.classes) > 1 else []
        x, y, width, height = box["bbox"]
        marks.append(Mark((x, y, width, height), " ".join(words)))
    return marks
