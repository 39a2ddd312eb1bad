"""The model card of a model folder: Markdown with the front matter that model hubs read.

Source of the front matter's keys: https://github.com/huggingface/hub-docs/blob/main/modelcard.md.
"""

from collections.abc import Mapping
from typing import Any

import yaml

from tune_cmx import metrics
from tune_cmx.counting import count
from tune_cmx.state.model_state import MetricState, ModelState

_PLAIN_LAYOUTS = ("", "folders", "npy")
"""Layouts that name no published data set."""
_SHOWN = ("test", "val")


def card(state: ModelState) -> str:
    """The content of `README.md`.

    Args:
        state: What `model.json` says.
    """
    front = yaml.safe_dump(front_matter(state), sort_keys=False, allow_unicode=True)
    parts = [f"---\n{front}---", f"# {state.name}", _about(state), _results(state), _use(state), _training(state)]
    return "\n\n".join(part for part in parts if part) + "\n"


def front_matter(state: ModelState) -> dict[str, Any]:
    """The metadata; the licence is left out while nobody has stated one."""
    found: dict[str, Any] = {} if state.license is None else {"license": state.license}
    found |= {
        "library_name": "tune_cmx",
        "pipeline_tag": "object-detection",
        "tags": ["object-detection", "multispectral", "faster-rcnn", *state.modalities],
    }
    if state.layout not in _PLAIN_LAYOUTS:
        found["datasets"] = [state.layout]
    found["metrics"] = list(dict.fromkeys(name for named in state.metrics.values() for name in named))
    results = [_of_split(state, split) for split in _SHOWN if _defined(state.metrics.get(split, {}))]
    if results:
        found["model-index"] = [{"name": state.name, "results": results}]
    return found


def _of_split(state: ModelState, split: str) -> dict[str, Any]:
    name = state.layout if state.layout not in _PLAIN_LAYOUTS else "own data"
    return {
        "task": {"type": "object-detection", "name": "Object detection"},
        "dataset": {"name": name, "type": name.replace(" ", "-"), "split": split},
        "metrics": [
            {"type": metric, "name": f"{split} {_title(metric)}", "value": round(value, 4)}
            for metric, value in _defined(state.metrics[split]).items()
        ],
    }


def _defined(named: Mapping[str, MetricState]) -> dict[str, float]:
    return {name: one.value for name, one in named.items() if one.value is not None}


def _title(name: str) -> str:
    known = metrics.METRICS.get(name)
    return name if known is None else known.title


def _about(state: ModelState) -> str:
    backbone = state.config.get("model", {}).get("backbone")
    what = f"A detector of {', '.join(state.classes)} in {', '.join(state.modalities)} images"
    words = [f"{what}: Faster R-CNN on `{backbone}`, streams `{state.streams}`."]
    if state.parameters is not None:
        words.append(f"It has {state.parameters:,} parameters.")
    words.append(
        "The licence of the weights is not stated; the field `license` of `model.json` is for it."
        if state.license is None
        else f"The licence of the weights is {state.license}."
    )
    return " ".join(words)


def _results(state: ModelState) -> str:
    rows = []
    for split in _SHOWN:
        for name, one in state.metrics.get(split, {}).items():
            value = "undefined" if one.value is None else f"{one.value:.2f}"
            ends = "-" if one.interval is None else f"{one.interval[0]:.2f} to {one.interval[1]:.2f}"
            number = "-" if one.n is None else count(one.n, (one.unit or "images")[:-1])
            rows.append(f"| {split} {_title(name)} | {value} | {ends} | {number} |")
    if not rows:
        return ""
    head = "## Results\n\nmAP in points; the interval is the test-set bootstrap interval of this run.\n"
    table = "\n".join(["| metric | value | 95 % interval over images | n |", "|---|---|---|---|", *rows])
    return f"{head}\n{table}{_over_seeds(state)}"


def _over_seeds(state: ModelState) -> str:
    chosen = state.chosen_from
    if chosen is None:
        return ""
    mean = "" if chosen.mean is None else f" Their mean {chosen.metric} is {chosen.mean:.2f}"
    if mean:
        ends = chosen.interval
        mean += "." if ends is None else f" (95 % interval over seeds {ends[0]:.2f} to {ends[1]:.2f})."
    return (
        f"\n\nFrom the study {chosen.study}, configuration {chosen.configuration}: {chosen.rule} of "
        f"{count(chosen.n, 'confirmation run')}.{mean}"
    )


def _use(state: ModelState) -> str:
    images = ", ".join(f'{name}="{name}.png"' for name in state.modalities)
    folder = state.name
    return f"""## Use

```python
import tune_cmx as tc

detector = tc.load("{folder}")
found = detector.predict({images})
print(found.boxes, found.scores, found.classes)
```

```bash
tune-cmx predict {folder} IMAGES
tune-cmx val {folder} --data DATA --split test
```

Images of all modalities must show the same pixels, in one size. Raw pixels are given as they are in the files; the
range of the training is applied."""


def _training(state: ModelState) -> str:
    facts = {
        "epochs": state.epochs,
        "random seed": state.seed,
        "weights": "exponential moving average" if state.ema else "of the last epoch",
        "layout of the data": state.layout or None,
        "fingerprint of the data": state.data_fingerprint,
        "split": None if state.split_hash is None else f"{state.split_how}, {state.split_hash}",
        "image sizes": None if state.image_sizes is None else _sizes(state),
        "code version": state.code_version,
    }
    rows = [f"| {name} | {value} |" for name, value in facts.items() if value is not None]
    return "\n".join(["## Training\n", "| what | value |", "|---|---|", *rows])


def _sizes(state: ModelState) -> str:
    assert state.image_sizes is not None
    sizes = [("smallest", state.image_sizes.smallest), ("largest", state.image_sizes.largest)]
    return ", ".join(f"{name} {width:g} x {height:g} px" for name, (height, width) in sizes)
