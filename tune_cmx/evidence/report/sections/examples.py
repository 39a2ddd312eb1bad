"""The section of the report that shows frames: what baseline and finalist find where they find most and least."""

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from tune_cmx.data.band_pictures import band_panels
from tune_cmx.data.readers import PairedData, open_data, read_image
from tune_cmx.errors import ConfigError, DataError
from tune_cmx.evidence.report.detection_grid import Mark, Panel, Shown, Strip, draw_sheets
from tune_cmx.evidence.report.page import Page
from tune_cmx.evidence.results.image_scores import EACH, LEAST_SCORE, Example, Frames, ScoredArm, pick, scored_arm, ties
from tune_cmx.evidence.results.stored_detections import left_out, stored_truth
from tune_cmx.evidence.results.study_results import StudyResults
from tune_cmx.evidence.wording import UNKNOWN, count, listed, number, signed

BASELINE, FINALIST = "baseline", "finalist"
PICTURE = "examples_{}.jpg"


def examples_section(page: Page, records: StudyResults, place: Path) -> None:
    """The frames with the highest and the lowest scores of baseline and first-ranked finalist: a table, and pictures.

    Images that are missing or changed are named in words; the table stands without them.

    Args:
        page: Receives the section.
        records: A study.
        place: The report's folder, which receives the pictures; those of an earlier report are removed.
    """
    for earlier in place.glob(PICTURE.format("*")):
        earlier.unlink()
    page.heading("Example detections")
    try:
        frames = Frames.of(stored_truth(records))
    except DataError as error:
        page.paragraph(f"Cannot be shown: {error}.")
        return
    arms, missing = _arms(records, frames)
    examples = pick(arms, frames)
    if not arms:
        page.paragraph("Cannot be shown: no confirmation run of baseline or finalist has detections that can be used.")
    elif not examples:
        page.paragraph("Cannot be shown: no frame has a box.")
    else:
        page.paragraph(_how(records, arms, frames))
        _table(page, arms, frames, examples)
        _pictures(page, records, arms, frames, examples, place)
    notes = [
        f"{tie.kind}: {count(tie.others, 'further frame')} with the same figure as the last one shown."
        for tie in ties(arms, examples)
    ]
    notes += left_out(missing)
    if notes:
        page.bullets(notes)


def _arms(records: StudyResults, frames: Frames) -> tuple[list[ScoredArm], dict[str, list[str]]]:
    """The baseline and the first finalist that have runs to show; and by reason the runs that cannot be used."""
    arms, missing = [], dict[str, list[str]]()
    for name, ids in ((BASELINE, [records.baseline]), (FINALIST, records.finalists)):
        for id in ids:
            if id is None or (name == FINALIST and id == records.baseline):
                continue
            found, lacking = scored_arm(records, id, name, frames)
            for why, runs in lacking.items():
                missing.setdefault(why, []).extend(runs)
            if found is not None:
                arms.append(found)
                break
    return arms, missing


def _how(records: StudyResults, arms: Sequence[ScoredArm], frames: Frames) -> str:
    split = records.primary_metric.partition("/")[0]
    empty = sum(not boxes for boxes in frames.boxes)
    named = {arm.name: f"the {arm.name} ({records.label(arm.arm)})" for arm in arms}
    kinds = f"the {EACH} frames with the highest and the {EACH} with the lowest F1 of {' and of '.join(named.values())}"
    if len(arms) == 2:
        kinds += f", and the {EACH} on which the finalist lies furthest above and furthest below the baseline"
    return (
        f"Picked extremes of {split}: they show what the detections are like, and prove nothing; no claim rests on "
        f"them. Shown are, each once, {kinds}. F1 of a frame is 2·TP / (2·TP + FP + FN) at IoU 0.5 over its boxes and "
        f"the detections that score {LEAST_SCORE:g} or more, of all classes together, matched as for mAP; then the "
        f"mean over the confirmed runs of the arm. {_considered(len(frames.images), empty)} Where figures are equal, "
        "frames of another sequence go first, then those with more boxes, then those earlier in the split."
    )


def _considered(images: int, empty: int) -> str:
    without = f"; of those without boxes, {empty:,}, F1 is not defined" if empty else ""
    return f"Considered are {count(images - empty, 'frame')}{without}."


def _table(page: Page, arms: Sequence[ScoredArm], frames: Frames, examples: Sequence[Example]) -> None:
    rows = []
    for nth, example in enumerate(examples, 1):
        image, scores = frames.images[example.place], [float(arm.f1[example.place]) for arm in arms]
        gap = [signed(scores[1] - scores[0])] if len(arms) == 2 else []
        rows.append(
            [
                str(nth),
                str(image["file_name"]),
                str(image.get("sequence", UNKNOWN)),
                "; ".join(example.reasons),
                str(len(frames.boxes[example.place])),
                *map(number, scores),
                *gap,
            ]
        )
    header = ["no.", "frame", "sequence", "picked as", "boxes", *(f"F1, {arm.name}" for arm in arms)]
    page.table([*header, *(["difference"] if len(arms) == 2 else [])], rows, left=4, in_paper=False)


def _pictures(
    page: Page,
    records: StudyResults,
    arms: Sequence[ScoredArm],
    frames: Frames,
    examples: Sequence[Example],
    place: Path,
) -> None:
    try:
        data = _data(records)
    except (ConfigError, DataError, OSError) as error:
        page.paragraph(f"There are no pictures, for the images cannot be read where the study left them: {error}.")
        return
    shown: dict[int, Shown] = {}
    failed = []
    for nth, example in enumerate(examples, 1):
        try:
            panels = _panels(data, frames.images[example.place])
            shown[nth] = _shown(records, arms, frames, example, nth, panels)
        except DataError as error:
            failed.append(f"No. {nth} is not drawn: {error}.")
    legend = ("box of the ground truth", f"detection that scores {LEAST_SCORE:g} or more, with its score")
    numbers = list(shown)
    for nth, sheet in enumerate(draw_sheets(list(shown.values()), page.stamps, legend), 1):
        name = PICTURE.format(nth)
        (place / name).write_bytes(sheet.jpeg)
        on_it, numbers = numbers[: sheet.frames], numbers[sheet.frames :]
        below = ", the baseline above the finalist" if len(arms) == 2 else ""
        page.image(name, f"No. {listed(map(str, on_it))} of the table on every band{below}")
    if failed:
        page.bullets(failed)


def _data(records: StudyResults) -> PairedData:
    """The data set where the study left it.

    Raises:
        DataError: It is not there.
        ConfigError: Its files say something else by now.
    """
    config = next((trial.config.get("data") or {} for trial in records.confirmed), {})
    root = records.study.data.root or config.get("root")
    if not root:
        raise DataError("no place is on record")
    return open_data(
        Path(root),
        labels=Path(config["labels"]) if config.get("labels") else None,
        bands=config.get("bands"),
        classes=config.get("classes"),
        sequences=config.get("sequences"),
    )


def _panels(data: PairedData, image: Mapping[str, Any]) -> list[Panel]:
    """Raises DataError where the frame is not there, cannot be read, or has another size than it had."""
    frame = next((frame for frame in data.images if frame.id == image["file_name"]), None)
    if frame is None:
        raise DataError(f"{data.root} has no frame {image['file_name']}")
    bands = read_image(data, frame, list(data.bands))
    size = (image["height"], image["width"])
    for modality, pixels in bands.items():
        if pixels.shape[:2] != size:
            raise DataError(
                f"{modality} of {frame.id} has {pixels.shape[0]}×{pixels.shape[1]} pixels, and had {size[0]}×{size[1]}"
            )
    return band_panels(bands)


def _shown(
    records: StudyResults, arms: Sequence[ScoredArm], frames: Frames, example: Example, nth: int, panels: list[Panel]
) -> Shown:
    image, boxes = frames.images[example.place], frames.boxes[example.place]
    about = [str(nth), str(image["file_name"]), *([f"sequence {image['sequence']}"] if "sequence" in image else [])]
    about += [count(len(boxes), "box"), "; ".join(example.reasons)]
    strips = []
    shared = set.intersection(*({run.seed for run in arm.runs} for arm in arms))
    for arm in arms:
        run = next((run for run in arm.runs if run.seed in shared), arm.runs[0])
        own = [one for one in run.detections if one["image_id"] == image["id"]]
        caption = (
            f"{arm.name}: {records.label(arm.arm)} · F1 {number(float(arm.f1[example.place]))}, mean of "
            f"{count(len(arm.runs), 'run')} · drawn: seed {run.seed}, F1 {number(float(run.f1[example.place]))}"
        )
        strips.append(Strip(caption, _marks(own, frames, with_scores=True)))
    return Shown(" · ".join(about), panels, _marks(boxes, frames, with_scores=False), strips)


def _marks(boxes: Iterable[Mapping[str, Any]], frames: Frames, *, with_scores: bool) -> list[Mark]:
    """With the name of the class where there are several."""
    marks = []
    for box in boxes:
        words = [f"{box['score']:.2f}"] if with_scores else []
        words += [frames.classes[box["category_id"]]] if len(frames.classes) > 1 else []
        x, y, width, height = box["bbox"]
        marks.append(Mark((x, y, width, height), " ".join(words)))
    return marks
