"""Pairs a, b, c without labels, and labels for them in each form."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from layouts import save, write

HEIGHT, WIDTH = 8, 12
BOX = "0 0.5 0.5 0.5 0.5\n"
VOC = "<bndbox><xmin>1</xmin><ymin>2</ymin><xmax>7</xmax><ymax>6</ymax></bndbox>"


def pairs(root: Path) -> Path:
    """Pairs a, b, c of rgb and thermal in a new folder."""
    for id in "abc":
        save(np.zeros((HEIGHT, WIDTH, 3), dtype=np.uint8), root / "rgb" / f"{id}.png")
        save(np.zeros((HEIGHT, WIDTH), dtype=np.uint8), root / "thermal" / f"{id}.png")
    return root


def voc(root: Path, id: str, objects: str, size: str = "", head: str = "") -> None:
    write(root / "Annotations" / f"{id}.xml", f"{head}<annotation>{size}{objects}</annotation>")


def thing(name: str, box: str = VOC) -> str:
    return f"<object><name>{name}</name>{box}</object>"


def document(
    path: Path, images: Mapping[Any, str], boxes: list[dict[str, Any]], names: Mapping[int, str], height: int = HEIGHT
) -> None:
    content = {
        "images": [{"id": id, "file_name": name, "height": height, "width": WIDTH} for id, name in images.items()],
        "annotations": boxes,
        "categories": [{"id": id, "name": name} for id, name in names.items()],
    }
    write(path, json.dumps(content))


def box(image: Any, category: int = 1, bbox: Any = (1, 2, 6, 4), **more: Any) -> dict[str, Any]:
    return {"image_id": image, "category_id": category, "bbox": bbox, **more}


IMAGES = {1: "a.png", 2: "b.png", 3: "c.png"}
NAMES = {1: "person", 2: "car"}
