"""Mean average precision as COCO counts it, in points.

faster-coco-eval gives the numbers of pycocotools in a fraction of the time, but for a few 1e-14 points where a
precision rests on one detection. It does not tell which detection found which box: for that, `counter` has
pycocotools.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from faster_coco_eval.core import COCO as FasterCOCO
from faster_coco_eval.core import COCOeval_faster
from numpy.typing import ArrayLike
from pycocotools.coco import COCO
from pycocotools.cocoeval import COCOeval

from tune_cmx import metrics
from tune_cmx.errors import DataError


def evaluate(detections: Sequence[Mapping[str, Any]], truth: Mapping[str, Any]) -> dict[str, float]:
    """Compare detections with the ground truth.

    Args:
        detections: COCO results: image_id, category_id, bbox (x, y, width, height in pixels) and score.
        truth: COCO ground truth, as of `coco_truth`.

    Returns:
        The scored metrics of `tune_cmx.metrics` in points, 0..100. A metric without any box to find is nan.

    Raises:
        DataError: A detection is on an image that the ground truth has not.
    """
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
    return metrics.points(counted)


def counter(detections: Sequence[Mapping[str, Any]], truth: Mapping[str, Any]) -> COCOeval:
    """pycocotools' evaluation of detections, before anything is matched; it prints as it goes.

    Raises:
        DataError: A detection is on an image that the ground truth has not.
    """
    _check_images(detections, truth)
    return COCOeval(_indexed(COCO(), _copied(truth)), _indexed(COCO(), _results(detections, truth)), "bbox")


def coco_truth(
    images: Sequence[tuple[int, str, int, int]],
    boxes: Sequence[ArrayLike],
    labels: Sequence[ArrayLike],
    classes: Sequence[str],
) -> dict[str, Any]:
    """Ground truth in COCO's form.

    Args:
        images: Number, file or name, height and width of each.
        boxes: N×4 of each image: x1, y1, x2, y2 in pixels.
        labels: N class numbers of each image, from 1.
        classes: Their names.
    """
    annotations: list[dict[str, Any]] = []
    for (image_id, _, _, _), image_boxes, image_labels in zip(images, boxes, labels, strict=True):
        corners = np.asarray(image_boxes, dtype=np.float64).reshape(-1, 4)
        for (x1, y1, x2, y2), label in zip(corners.tolist(), np.asarray(image_labels).tolist(), strict=True):
            annotations.append(
                {
                    "id": len(annotations) + 1,  # from 1: pycocotools takes a match with number 0 for none
                    "image_id": image_id,
                    "category_id": int(label),
                    "bbox": [x1, y1, x2 - x1, y2 - y1],
                    "area": (x2 - x1) * (y2 - y1),
                    "iscrowd": 0,
                }
            )
    return {
        "images": [
            {"id": id, "file_name": name, "height": height, "width": width} for id, name, height, width in images
        ],
        "annotations": annotations,
        "categories": [{"id": number, "name": name} for number, name in enumerate(classes, start=1)],
    }


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
    """Not by COCO.loadRes, which fails on an empty list."""
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
