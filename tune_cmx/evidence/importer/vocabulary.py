"""What earlier results call things: columns of tables and keys of configurations, under the names of a row's fields.

A field that has a place in a configuration also has a path there (`PATHS`). What no name is known for keeps its own.
"""

import math
import re
from collections.abc import Mapping, Sequence
from typing import Any

from tune_cmx.evidence.claims.rows import BOOKKEEPING, flatten, plain
from tune_cmx.evidence.results.study_results import METRICS, NOT_PROTOCOL

PATHS: Mapping[str, str] = {
    "fusion": "model.fusion.kind",
    "stages": "model.fusion.stages",
    "elsewhere": "model.fusion.elsewhere",
    "threshold": "model.fusion.options.switching_threshold",
    "kernel_size": "model.fusion.options.eca_kernel",
    "se_reduction": "model.fusion.options.se_reduction",
    "merge_bottleneck": "model.fusion.options.merge_bottleneck",
    "backbone": "model.backbone",
    "epochs": "schedule.epochs",
    "batch": "schedule.batch_size",
    "lr": "schedule.lr",
}
"""A row's field to its dotted path in a configuration."""
FUSION_FIELDS = (
    *("fusion", "stages", "elsewhere", "threshold", "kernel_size"),
    *("se_reduction", "merge_bottleneck", "inter_shared"),
)
"""What a study of fusions varies; fields below `model.fusion` belong to it too."""
FIGURES = (*METRICS, "train_loss", "hours", "params_M")
BASELINE_KIND = "frm_ffm"
IMPORTED = "imported"
"""The phase of imported trials: they are no replicates of any arm that a search confirms."""
MODALITIES = ("rgb", "thermal", "event")
ALL_STAGES = "1+2+3+4"

_SHORT = {path: short for short, path in PATHS.items()}
_NAMES: Mapping[str, str] = {
    **{f"map_{size}": f"mAP_{size}" for size in ("50", "75", "small", "medium", "large")},
    **{size: f"mAP_{size}" for size in ("small", "medium", "large")},
    "map": "mAP",
    "map50": "mAP_50",
    "map75": "mAP_75",
    **dict.fromkeys(("total_time_hours", "time_hours", "training_hours"), "hours"),
    **dict.fromkeys(("final_train_loss", "train_loss", "loss"), "train_loss"),
    **dict.fromkeys(("total_params_m", "params_m"), "params_M"),
    **dict.fromkeys(("batch_size", "batch"), "batch"),
    **dict.fromkeys(("learning_rate", "lr"), "lr"),
    **dict.fromkeys(("num_epochs", "epochs"), "epochs"),
    **dict.fromkeys(("backbone_type", "backbone"), "backbone"),
    **dict.fromkeys(("fusion_type", "fusion_kind", "fusion"), "fusion"),
    **dict.fromkeys(("cssa_threshold", "cssa_thresh", "cssa_switching_thresh", "switching_threshold"), "threshold"),
    **dict.fromkeys(("cssa_kernel", "cssa_kernel_size", "eca_kernel"), "kernel_size"),
    **{f"gaff_{name}": name for name in ("se_reduction", "inter_shared", "merge_bottleneck")},
    **dict.fromkeys(("active_modalities", "modality_config"), "modalities"),
    **dict.fromkeys(("experiment_id", "exp_id"), "exp_id"),
}
_PLACED_STAGES = {"cssa_stages": "cssa", "gaff_stages": "se_gated"}
"""The group's own flags: this fusion at the stages named, FRM+FFM at the others. What they call GAFF is SE-gated."""
_NO_FIELDS = frozenset({"data_dir", "labels_dir", "output_dir", "start_time", "end_time", "timestamp", *NOT_PROTOCOL})


def name_of(key: str) -> str:
    """The field or figure that a column or a key stands for, or the key itself."""
    if key in _SHORT:
        return _SHORT[key]
    return _NAMES.get(re.sub(r"[\s@-]+", "_", key.strip().lower()), key)


def fields_of(content: Mapping[str, Any]) -> dict[str, Any]:
    """A configuration, or a table's row without its figures, as a row's fields; what is not known is left out.

    Args:
        content: Flat keys of a script or a table, or nested as this software's own `config.json`.
    """
    nested = isinstance(content.get("model"), Mapping) and "schedule" in content
    flat = _own(content) if nested else _flags(content)
    fields = {name_of(key): value for key, value in flat.items() if value is not None and key not in _NO_FIELDS}
    if "stages" in fields:
        fields["stages"] = stages_text(fields["stages"])
    if "modalities" in fields:
        fields["modalities"] = _modalities_text(fields["modalities"])
    if str(fields.get("fusion", "")).lower() == "gaff" and fields.get("se_reduction") is not None:
        fields["fusion"] = "se_gated"
    return fields


def serves_as_baseline(fields: Mapping[str, Any]) -> bool:
    """Whether FRM+FFM stands at all four stages, by the configuration alone; False also where it does not say."""
    modalities = fields.get("modalities")
    if modalities is not None and "+" not in str(modalities):
        return False  # a single stream fuses nothing
    per_stage = fields.get("model.fusion.per_stage")
    if per_stage is not None:
        return all(dict(stage).get("kind") == BASELINE_KIND for stage in per_stage)
    elsewhere = fields.get("elsewhere")
    everywhere = fields.get("stages") == ALL_STAGES or elsewhere == BASELINE_KIND
    return fields.get("fusion") == BASELINE_KIND and everywhere


def normal(field: str, value: Any) -> Any:
    """A claim's value for a field, in the form that rows have."""
    if field == "stages":
        return stages_text(value)
    return _modalities_text(value) if field == "modalities" else value


def stages_text(value: Any) -> Any:
    """Stages as `1+2`, from a list, a number or a text such as `[1, 2]`, `1-2` or `1+2`; other values as they are."""
    if isinstance(value, bool):
        return value
    found = sorted(set(re.findall(r"\d+", str(value))))
    known = found and set(found) <= set("1234") and re.fullmatch(r"[\d\s,;+\-\[\]()]*", str(value))
    if str(value).strip().lower() == "all":
        return ALL_STAGES
    return "+".join(found) if known else value


def config_of(fields: Mapping[str, Any]) -> dict[str, Any]:
    """The fields that have a place in a configuration, nested; the rest of the configuration is not known."""
    content: dict[str, Any] = {}
    for field, value in fields.items():
        path = PATHS.get(field, field)
        if path == field and "." not in field:
            continue
        stages = field == "stages" and isinstance(value, str) and re.fullmatch(r"[1-4](\+[1-4])*", value)
        *sections, last = path.split(".")
        place = content
        for section in sections:
            place = place.setdefault(section, {})
        place[last] = [int(stage) for stage in value.split("+")] if stages else value
    return content


def is_fusion(field: str) -> bool:
    """Whether the field is about the fusion."""
    return field in FUSION_FIELDS or field.startswith("model.fusion")


def is_field(key: str) -> bool:
    """Whether a column holds a field, and neither a figure nor bookkeeping."""
    return name_of(key) not in (*FIGURES, *BOOKKEEPING) and key not in _NO_FIELDS


def as_number(value: Any) -> float | None:
    """A finite number, also one that stands as text, with or without a percent sign; None for anything else."""
    if isinstance(value, bool) or value is None:
        return None
    try:
        found = float(value.strip().rstrip("%")) if isinstance(value, str) else float(value)
    except (TypeError, ValueError):
        return None
    return found if math.isfinite(found) else None


def _own(content: Mapping[str, Any]) -> dict[str, Any]:
    """Our own configuration: of a single stream without its fusion, of two with every stage spelled out."""
    flat = {path: plain(value) for path, value in flatten(content).items() if value not in ({}, [])}
    streams = str(flat.get("model.streams", "rgb | thermal+event"))
    flat["modalities"] = re.sub(r"[\s|]+", "+", streams)
    if "|" not in streams:
        return {path: value for path, value in flat.items() if not path.startswith("model.fusion")}
    kind = flat.get("model.fusion.kind")
    if kind is not None and flat.get("model.fusion.stages") is None:
        flat["model.fusion.stages"] = ALL_STAGES
    return flat


def _flags(content: Mapping[str, Any]) -> dict[str, Any]:
    """Flat keys, in which some say two things at once."""
    flat: dict[str, Any] = {str(key): plain(value) for key, value in content.items()}
    for key, kind in _PLACED_STAGES.items():
        if key in flat:
            stages = flat.pop(key)
            placed = {"fusion": kind, "stages": stages} if stages else {"fusion": BASELINE_KIND, "stages": ALL_STAGES}
            flat = {**placed, "elsewhere": BASELINE_KIND, **{k: v for k, v in flat.items() if k not in placed}}
    architecture = str(flat.get("architecture") or "").lower().replace("+", "_")
    if "fusion" not in flat and re.search(r"frm_?ffm", architecture):
        del flat["architecture"]
        flat |= {"fusion": BASELINE_KIND, "stages": ALL_STAGES}
    named = next((flat[key] for key in flat if name_of(key) == "fusion"), None)
    if isinstance(named, str) and re.fullmatch(r"frm[_+ ]?ffm", named.lower()):
        flat = {key: value for key, value in flat.items() if name_of(key) != "fusion"} | {"fusion": BASELINE_KIND}
        if not any(name_of(key) == "stages" and value for key, value in flat.items()):
            flat["stages"] = ALL_STAGES  # FRM+FFM, and no stage is named that would be an exception
    return flat


def _modalities_text(value: Any) -> Any:
    """Modalities as `rgb+thermal+event`, in this order, from a list or a text; other values as they are."""
    words: Sequence[str] = re.findall(r"[a-z]+", str(value).lower())
    found = [name for name in MODALITIES if name in words]
    return "+".join(found) if found else value
