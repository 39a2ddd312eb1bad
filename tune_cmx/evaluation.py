"""Mean average precision as COCO defines it, in points.

faster-coco-eval gives the numbers of pycocotools in a sixth of the time; a precision that rests on one detection
differs by up to a few 1e-14 points. It does not say which detection matched which box. Where that is needed, `counter`
has pycocotools.
"""

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from faster_coco_eval.core import COCO as FasterCOCO
from faster_coco_eval.core import COCOeval_faster
from numpy.typing import ArrayLike, NDArray
from pycocotools.coco import COCO
from pycocotools.cocoeval import COCOeval

from tune_cmx import metrics
from tune_cmx.errors import DataError


def evaluate(detections: Sequence[Mapping[str, Any]], truth: Mapping[str, Any]) -> dict[str, float]:
    """Compare detections with the ground truth.

    Args:
        detections: COCO results: image_id, category_id, bbox (x, y, width, height in pixels) and score.
        truth: COCO ground truth, as `coco_truth` makes it.

    Returns:
        The scored metrics of `tune_cmx.metrics` in points, 0..100. A metric without any box to find is nan.

    Raises:
        DataError: A detection is on an image that the ground truth does not have.
    """
    return metrics.points(_counted(detections, truth))


def by_class(detections: Sequence[Mapping[str, Any]], truth: Mapping[str, Any]) -> dict[str, dict[str, float]]:
    """Average precision of each class, which `evaluate` takes the mean of.

    Args:
        detections: As of `evaluate`.
        truth: As of `evaluate`.

    Returns:
        By the class's name, in the order of the categories: `mAP` and `mAP_50` in points, nan without any box; `boxes`,
        how many there are to find.

    Raises:
        DataError: A detection is on an image that the ground truth does not have.
    """
    counted = _counted(detections, truth)
    precision = counted.eval["precision"][..., 0, -1]  # IoU x recall x class, over boxes of all sizes
    places = {number: place for place, number in enumerate(counted.params.catIds)}
    labels = [box["category_id"] for box in objects_of(truth)]
    return {
        category["name"]: {
            "mAP": _mean_points(precision[:, :, places[category["id"]]]),
            "mAP_50": _mean_points(precision[0, :, places[category["id"]]]),
            "boxes": labels.count(category["id"]),
        }
        for category in truth["categories"]
    }


def by_condition(detections: Sequence[Mapping[str, Any]], truth: Mapping[str, Any]) -> dict[str, dict[str, float]]:
    """The metrics on the images of each condition, such as `day` and `night`.

    Args:
        detections: As of `evaluate`.
        truth: As of `evaluate`; an image may have a `condition`, which is not COCO's.

    Returns:
        By condition, sorted: `mAP` and `mAP_50` in points, nan without any box; `images` and `boxes`, how
        many there are. Images without a condition are in none; empty where no image has one.

    Raises:
        DataError: A detection is on an image that the ground truth does not have.
    """
    return _by_key(detections, truth, "condition")


def by_sequence(detections: Sequence[Mapping[str, Any]], truth: Mapping[str, Any]) -> dict[str, dict[str, float]]:
    """As `by_condition`, of the images of each sequence."""
    return _by_key(detections, truth, "sequence")


def _by_key(detections: Sequence[Mapping[str, Any]], truth: Mapping[str, Any], key: str) -> dict[str, dict[str, float]]:
    """The metrics on the images that are alike in what they have under a key."""
    _check_images(detections, truth)
    images: dict[str, set[int]] = {}
    for image in truth["images"]:
        if image.get(key) is not None:
            images.setdefault(str(image[key]), set()).add(image["id"])
    found = {}
    for name, ids in sorted(images.items()):
        boxes = [box for box in truth["annotations"] if box["image_id"] in ids]
        part = {**truth, "images": [i for i in truth["images"] if i["id"] in ids], "annotations": boxes}
        values = evaluate([item for item in detections if item["image_id"] in ids], part)
        counts = {"images": len(ids), "boxes": len(objects_of(part))}
        found[name] = {"mAP": values["mAP"], "mAP_50": values["mAP_50"], **counts}
    return found


def _counted(detections: Sequence[Mapping[str, Any]], truth: Mapping[str, Any]) -> COCOeval_faster:
    """Matched, accumulated and summarized, by faster-coco-eval."""
    _check_images(detections, truth)
    counted = COCOeval_faster(
        _indexed(FasterCOCO(print_function=_silent), _copied(truth)),
        _indexed(FasterCOCO(print_function=_silent), _results(detections, truth)),
        "bbox",
        print_function=_silent,
    )
    counted.params.maxDets = counted.params.maxDets[-1:]  # the others serve the recalls, which nobody reads
    counted.evaluate()
    counted.accumulate()
    counted.summarize()
    return counted


def _mean_points(precision: NDArray[np.float64]) -> float:
    """Of precisions that are -1 where they are not defined."""
    defined = precision[precision > -1]
    return 100 * float(defined.mean()) if defined.size else math.nan


def counter(detections: Sequence[Mapping[str, Any]], truth: Mapping[str, Any]) -> COCOeval:
    """pycocotools' evaluation of detections, before matching. It prints while it works.

    Raises:
        DataError: A detection is on an image that the ground truth does not have.
    """
    _check_images(detections, truth)
    return COCOeval(_indexed(COCO(), _copied(truth)), _indexed(COCO(), _results(detections, truth)), "bbox")


def coco_truth(
    images: Sequence[tuple[int, str, int, int]],
    boxes: Sequence[ArrayLike],
    labels: Sequence[ArrayLike],
    classes: Sequence[str],
    ignore: Sequence[ArrayLike] | None = None,
) -> dict[str, Any]:
    """Ground truth in the format of COCO.

    Ignore regions are COCO's crowd boxes (`iscrowd`). They are not to be found. A detection of their class that no
    object takes is neither right nor wrong if its intersection with the region, over its own area, reaches the IoU
    threshold. A region takes any number of detections.

    Source: pycocotools' `evaluateImg`. The Caltech toolbox, which also scores KAIST, has the same rule at IoU 0.5
    (`bbGt('evalRes')`; Dollár et al., TPAMI 2012).

    Args:
        images: Number, file or name, height and width of each.
        boxes: N×4 of each image: x1, y1, x2, y2 in pixels.
        labels: N class numbers of each image, from 1.
        classes: Their names.
        ignore: N flags of each image, true for an ignore region; None: all boxes are objects.
    """
    annotations: list[dict[str, Any]] = []
    flags = [np.zeros(len(np.asarray(own))) for own in labels] if ignore is None else ignore
    for (image_id, _, _, _), own_boxes, own_labels, own_flags in zip(images, boxes, labels, flags, strict=True):
        corners = np.asarray(own_boxes, dtype=np.float64).reshape(-1, 4).tolist()
        classes_of, crowds = np.asarray(own_labels).tolist(), np.asarray(own_flags).tolist()
        for (x1, y1, x2, y2), label, crowd in zip(corners, classes_of, crowds, strict=True):
            annotations.append(
                {
                    "id": len(annotations) + 1,  # from 1: for pycocotools a match with number 0 is no match
                    "image_id": image_id,
                    "category_id": int(label),
                    "bbox": [x1, y1, x2 - x1, y2 - y1],
                    "area": (x2 - x1) * (y2 - y1),
                    "iscrowd": int(crowd),
                }
            )
    return {
        "images": [
            {"id": id, "file_name": name, "height": height, "width": width} for id, name, height, width in images
        ],
        "annotations": annotations,
        "categories": [{"id": number, "name": name} for number, name in enumerate(classes, start=1)],
    }


def objects_of(truth: Mapping[str, Any]) -> list[dict[str, Any]]:
    """The boxes of a COCO ground truth that are to be found, in its order; ignore regions are not."""
    return [box for box in truth["annotations"] if not box.get("iscrowd")]


def to_detections(image_id: int, boxes: ArrayLike, scores: ArrayLike, labels: ArrayLike) -> list[dict[str, Any]]:
    """One image's detections as COCO results.

    Args:
        image_id: Its number in the ground truth.
        boxes: N×4: x1, y1, x2, y2 in pixels; arrays, or tensors on the CPU.
        scores: N, within 0..1.
        labels: N class numbers, from 1.
    """
    corners = np.asarray(boxes, dtype=np.float64).reshape(-1, 4)
    return [
        {"image_id": image_id, "category_id": int(label), "bbox": [x1, y1, x2 - x1, y2 - y1], "score": score}
        for (x1, y1, x2, y2), score, label in zip(
            corners.tolist(),
            np.asarray(scores, dtype=np.float64).tolist(),
            np.asarray(labels).tolist(),
            strict=True,
        )
    ]


def _check_images(detections: Sequence[Mapping[str, Any]], truth: Mapping[str, Any]) -> None:
    images = {image["id"] for image in truth["images"]}
    strange = {item["image_id"] for item in detections} - images
    if strange:
        raise DataError(
            f"a detection is on image {min(strange)}, which is not among the {len(images)} of the ground truth"
        )


def _copied(truth: Mapping[str, Any]) -> dict[str, Any]:
    """Both packages write into the boxes."""
    return {**truth, "annotations": [dict(box) for box in truth["annotations"]]}


def _results(detections: Sequence[Mapping[str, Any]], truth: Mapping[str, Any]) -> dict[str, Any]:
    """In place of COCO.loadRes, which fails on an empty list."""
    annotations = [
        {
            "id": number,
            "image_id": item["image_id"],
            "category_id": item["category_id"],
            "bbox": item["bbox"],
            "score": item["score"],
            "area": item["bbox"][2] * item["bbox"][3],
            "iscrowd": 0,
        }
        for number, item in enumerate(detections, start=1)
    ]
    return {"images": truth["images"], "categories": truth["categories"], "annotations": annotations}


def _indexed(coco: Any, content: Mapping[str, Any]) -> Any:
    """The COCO object of either package, on this content."""
    coco.dataset = content
    coco.createIndex()
    return coco


def _silent(*_: object) -> None:
    """In place of a printer."""
