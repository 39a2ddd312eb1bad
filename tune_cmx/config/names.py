"""What configurations are called: short, as a researcher would write it, the same in every text and plot.

The name holds what the study varies: the fusion with its stages and options, the streams, and each other searched
field whose value is not the baseline's: `CSSA at stage 4, threshold 0.5`, `FRM+FFM (baseline)`, `RGB only`.
"""

import json
import re
from collections.abc import Collection, Mapping, Sequence
from pathlib import PurePath
from typing import Any

from tune_cmx.config.parse import dump, flatten
from tune_cmx.config.paths import below, get
from tune_cmx.config.trial import STAGES, FusionConfig, StageFusion, TrialConfig

MOST_LETTERS = 40
FUSION_TITLES: Mapping[str, str] = {
    "add": "mean fusion",
    "concat": "1×1 conv",
    "cssa": "CSSA",
    "frm_ffm": "FRM+FFM",
    "gaff": "GAFF",
    "se_gated": "SE-gated",
}
"""Of the fusions in `tune_cmx.models.fusion.FUSIONS`; one that is not here goes by its key."""
_FORMS: Mapping[str, str] = {
    "anchor_ratios": "anchor ratios {}",
    "anchor_sizes": "anchors {}",
    "backbone": "{}",
    "batch_size": "batch {}",
    "bins": "{} bins",
    "carry": "{} carry",
    "clip_norm": "gradient clip {}",
    "curve": "{} curve",
    "eca": "ECA {}",
    "eca_kernel": "ECA kernel {}",
    "ema_decay": "EMA {}",
    "epochs": "{} epochs",
    "events": "{} events",
    "fpn_channels": "FPN {}",
    "gate": "{} gate",
    "image_size": "image {}",
    "inter_weight": "inter {}",
    "intra_weight": "intra {}",
    "merge_bottleneck": "bottleneck {}",
    "ms": "{} ms of events",
    "optimizer": "{}",
    "precision": "{}",
    "preset": "{} schedule",
    "pretrained": "pretrained {}",
    "representation": "event {}",
    "registration_jitter": "jitter {} px",
    "rgb_brightness": "RGB brightness {}",
    "rgb_contrast": "RGB contrast {}",
    "rgb_hue": "RGB hue {}",
    "rgb_saturation": "RGB saturation {}",
    "se_reduction": "r={}",
    "step_epochs": "step of {} epochs",
    "switching_threshold": "threshold {}",
    "tau_ms": "tau {} ms",
    "thermal_blur": "thermal blur {} px",
    "warmup_epochs": "warm-up {} epochs",
}
"""How a field and its value are written; any other field: its name, then its value."""
_WORDS: Mapping[tuple[str, Any], str] = {
    ("gate", "straight_through"): "STE gate",
    ("merge_bottleneck", True): "bottleneck",
    ("merge_bottleneck", False): "",
    ("optimizer", "adamw"): "AdamW",
    ("optimizer", "sgd"): "SGD",
    ("representation", "time_surface"): "time surface",
    ("representation", "voxel_grid"): "voxel grid",
}
"""Values that have a word of their own."""
_FUSION, _OPTIONS, _STREAMS, _RANGE = "model.fusion", "options.", "model.streams", "data.range"
_MARK = " (baseline)"


def baseline_name(config: TrialConfig, values: Mapping[str, Any]) -> str:
    """The name of a study's baseline: its fusion, or its streams where these alone of the two are searched.

    Args:
        config: Of the baseline.
        values: What the study's file says of it, by dotted path.
    """
    streams_alone = _searches(values, _STREAMS) and not _searches(values, _FUSION)
    own = streams_text(config) if streams_alone else ", ".join(_fusion_parts(config.model.fusion, None, values))
    return _cut(own, MOST_LETTERS - len(_MARK)) + _MARK


def configuration_name(config: TrialConfig, baseline: TrialConfig, values: Mapping[str, Any]) -> str:
    """The name of a configuration that a study searches.

    Args:
        config: Its own.
        baseline: What it is compared with.
        values: Its searched values by dotted path.

    Returns:
        At most 40 letters; `free_name` tells two alike apart.
    """
    parts = []
    if _searches(values, _FUSION) and len(config.model.stream_modalities()) > 1:
        parts += _fusion_parts(config.model.fusion, baseline.model.fusion, values)
    if config.model.streams != baseline.model.streams:
        parts.append(streams_text(config))
    idle = [f"data.{path}" for path in config.data.idle(config.model.modalities())]
    elsewhere = (_FUSION, _STREAMS, *idle)
    others = {
        path: value for path, value in flatten(values).items() if not any(below(path, above) for above in elsewhere)
    }
    own, theirs = dump(config), dump(baseline)
    parts += [field_text(path, value) for path, value in others.items() if get(own, path) != get(theirs, path)]
    parts = parts or [field_text(path, value) for path, value in others.items()] or [streams_text(config)]
    return _cut(", ".join(part for part in parts if part), MOST_LETTERS)


def free_name(name: str, taken: Collection[str]) -> str:
    """The name, or with the first free number behind it, as in `lr 0.02 #2`; at most 40 letters."""
    number, found = 1, name
    while found in taken:
        number += 1
        found = f"{_cut(name, MOST_LETTERS - len(f' #{number}'))} #{number}"
    return found


def fusion_title(kind: str) -> str:
    """A fusion's name in texts: `FRM+FFM`."""
    return FUSION_TITLES.get(kind, kind)


def stages_text(stages: Sequence[int]) -> str:
    """`stage 4`, `stages 2, 3`, `stages 2-4`, `all stages`."""
    if tuple(stages) == STAGES:
        return "all stages"
    if len(stages) > 2 and stages[-1] - stages[0] == len(stages) - 1:
        return f"stages {stages[0]}-{stages[-1]}"
    return f"stage{'s' if len(stages) > 1 else ''} {value_text(stages)}"


def streams_text(config: TrialConfig) -> str:
    """`RGB only`, `RGB + thermal`, `RGB + thermal/event`, where `/` joins what one stream sees."""
    streams = config.model.stream_modalities()
    sides = ["/".join(name.upper() if name == "rgb" else name for name in side) for side in streams]
    if len(sides) > 1:
        return " + ".join(sides)
    return f"{sides[0]} in one stream" if "/" in sides[0] else f"{sides[0]} only"


def field_text(path: str, value: Any) -> str:
    """A field with its value: `threshold 0.5`, `25 epochs`, `without ECA`."""
    field = path.rpartition(".")[2]
    if below(path, _RANGE) and field == "kind":
        return f"{path.split('.')[2]} {value} range"
    if isinstance(value, bool | str) and (field, value) in _WORDS:
        return _WORDS[field, value]
    form = _FORMS.get(field, f"{field.replace('_', ' ')} {{}}")
    if value is None or isinstance(value, bool):
        return f"{'with' if value else 'without'} {form.replace('{}', '').strip()}"
    several = isinstance(value, list | tuple) and len(value) > 3
    shown = f"{value_text(value[0])} to {value_text(value[-1])}" if several else value_text(value)
    text = form.format(PurePath(shown).name if field == "pretrained" else shown)
    return re.sub(r"(?<![\d.])1 epochs", "1 epoch", text)


def value_text(value: Any) -> str:
    """A value in words: `1, 2`, `yes`, `none`, `0.5`; a fusion as `CSSA, stages 1, threshold 0.5`."""
    if isinstance(value, Mapping):
        rest = [
            field_text(path, item)
            for path, item in flatten(value).items()
            if path != "kind" and item not in (None, {}, [], ())
        ]
        kind = [fusion_title(str(value["kind"]))] if value.get("kind") else []
        return ", ".join(text for text in [*kind, *rest] if text) or "none"
    if isinstance(value, list | tuple):
        return ", ".join(value_text(item) for item in value)
    if isinstance(value, bool):
        return "yes" if value else "no"
    if value is None:
        return "none"
    return f"{value:.4g}" if isinstance(value, float) else str(value)


def _searches(values: Mapping[str, Any], above: str) -> bool:
    return any(below(path, above) for path in values)


def _fusion_parts(fusion: FusionConfig, baseline: FusionConfig | None, values: Mapping[str, Any]) -> list[str]:
    """The fusion, its place where the study varies it or there are several, and the options that it varies."""
    searched = [path for path in flatten(values) if below(path, _FUSION)]
    options = {path.partition(_OPTIONS)[2] for path in searched if _OPTIONS in path}
    fields = {path.rpartition(".")[2] for path in searched}
    groups: dict[str, tuple[StageFusion, list[int]]] = {}
    shown: set[str] = set()
    before = baseline.stage_fusions() if baseline else (None,) * len(STAGES)
    for stage, here, there in zip(STAGES, fusion.stage_fusions(), before, strict=True):
        key = json.dumps(dump(here), sort_keys=True)
        groups.setdefault(key, (here, []))[1].append(stage)
        fixed_beside = fusion.stages is not None and stage not in fusion.stages and "elsewhere" not in fields
        shown |= {key} if here != there and not fixed_beside else set()
    named = [group for key, group in groups.items() if key in shown or not shown]
    parts = []
    for here, stages in named:
        place = f" at {stages_text(stages)}" if fields & {"stages", "per_stage"} or len(named) > 1 else ""
        told = [
            field_text(name, value)
            for name, value in here.options.items()
            if name in options or fusion.per_stage is not None
        ]
        title = fusion_title(here.kind) + place
        if told and told[0].startswith("with"):  # of the fusion, as in `CSSA without ECA`
            title = f"{title} {told.pop(0)}"
        parts += [title, *told]
    return [part for part in parts if part]


def _cut(text: str, most: int) -> str:
    """At most so many letters: where it is too long, `mean` for `mean fusion`, `3+4` for `3, 4`, and no end."""
    short = re.sub(r"(?<=\d), (?=\d)", "+", text.replace(" fusion", "")) if len(text) > most else text
    return short if len(short) <= most else f"{short[: most - 3].rstrip(' ,')}..."
