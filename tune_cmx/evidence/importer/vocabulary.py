"""The names that earlier results use, and the names of a row's fields.

Known are the columns of the group's published table, the metric table's names and aliases, the paths of a
configuration, and the flags of the group's scripts that say two things at once. For every other name the user gives a
mapping: `columns: {their name: our name}`. A column without a known name keeps its own.
"""

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from dataclasses import field as default
from typing import Any

from tune_cmx.config.model_sections import MODALITIES
from tune_cmx.config.parse import flatten
from tune_cmx.errors import ConfigError
from tune_cmx.evidence.claims.rows import BOOKKEEPING, plain
from tune_cmx.evidence.results.study_results import NOT_PROTOCOL
from tune_cmx.metrics import METRICS, find
from tune_cmx.registry import suggestion

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
FIELDS = (*PATHS, "inter_shared", "modalities")
"""All fields of a row that say how a run was made."""
RUN_FIELDS = frozenset({*BOOKKEEPING, "cumulative_seconds"})
"""Fields that say which run a row is."""
BASELINE_KIND = "frm_ffm"
IMPORTED = "imported"
"""The phase of imported trials: they are no replicates of any configuration that a search confirms."""
ALL_STAGES = "1+2+3+4"

_PLACED_STAGES = {"cssa_stages": "cssa", "gaff_stages": "se_gated"}
"""Flags of the group's scripts: this fusion at the stages named, FRM+FFM at the others. Their GAFF is SE-gated."""
_NO_FIELDS = frozenset({"no_cssa", *NOT_PROTOCOL})
_KNOWN: Mapping[str, str] = {
    **{name: name for name in (*FIELDS, *RUN_FIELDS)},
    **{path: name for name, path in PATHS.items()},
    **{path.rpartition(".")[2]: name for name, path in PATHS.items() if name != "fusion"},
    "fusion_type": "fusion",
}
"""Every name of a field to the field: its own, its path, the last part of the path, and a flag of the scripts."""


@dataclass(frozen=True)
class Names:
    """What the names of some sources stand for."""

    columns: Mapping[str, str] = default(default_factory=dict)
    """The user's mapping: a column or key of a source to a known name."""
    results: frozenset[str] = frozenset()
    """Further columns that hold results, under the sources' names."""
    beside: frozenset[str] = frozenset()
    """Further columns that say which run a row is, such as dates and hosts, under the sources' names."""

    protocol: frozenset[str] = frozenset()
    """Further columns that hold settings, whatever their values, under the sources' names."""

    @classmethod
    def given(cls, columns: Mapping[str, Any], results: Iterable[str] = (), protocol: Iterable[str] = ()) -> "Names":
        """Names as a user gives them.

        Raises:
            ConfigError: The mapping names something that is not known.
        """
        known = {theirs: _known_name(theirs, ours) for theirs, ours in columns.items()}
        return cls(known, frozenset(results), protocol=frozenset(protocol))

    def of(self, key: str) -> str:
        """The field or metric that a column or a key stands for, or the key itself."""
        if key in self.columns:
            return self.columns[key]
        plain_key = key.strip()
        name = _KNOWN.get(plain_key) or _KNOWN.get(re.sub(r"[\s-]+", "_", plain_key).lower())
        if name is not None:
            return name
        found = find(plain_key)
        return plain_key if found is None else found[0]

    def is_metric(self, key: str) -> bool:
        """Whether a column or key holds a result."""
        return self.of(key) in METRICS or key in self.results

    def is_beside(self, key: str) -> bool:
        """Whether a column says which run a row is."""
        return self.of(key) in RUN_FIELDS or key in self.beside

    def is_unknown(self, key: str) -> bool:
        """Whether neither this table nor the user says what the column holds."""
        name = self.of(key)
        known = name in _KNOWN or name in METRICS or name in _PLACED_STAGES or name in _NO_FIELDS
        return not known and key not in self.results | self.protocol and "." not in name


def _known_name(theirs: str, ours: Any) -> str:
    if isinstance(ours, str):
        if ours in _KNOWN:
            return _KNOWN[ours]
        found = find(ours)
        if found is not None:
            return found[0]
        if "." in ours:
            return ours
    known = (*FIELDS, *sorted(RUN_FIELDS), *METRICS)
    raise ConfigError(
        f"columns: {theirs}: unknown name {ours!r}. Known: {', '.join(known)}, or the path of a configuration field."
        f"{suggestion(str(ours), known)}"
    )


def fields_of(content: Mapping[str, Any], names: Names) -> dict[str, Any]:
    """The settings of a configuration, or of a table's row without its results, as a row's fields.

    Args:
        content: Flat keys of a script or a table, or nested as this software's own `config.json`.
        names: What the keys stand for.

    Returns:
        Values by field; what the content does not say is left out.
    """
    nested = isinstance(content.get("model"), Mapping) and "schedule" in content
    flat = _own(content) if nested else _flags(content, names)
    known = {key: value for key, value in flat.items() if value is not None and key not in _NO_FIELDS}
    # a configuration holds no results: its `loss` is a setting
    return {key if names.of(key) in METRICS else names.of(key): value for key, value in known.items()}


def serves_as_baseline(fields: Mapping[str, Any]) -> bool:
    """Whether the configuration has FRM+FFM at all four stages; False also where it does not say."""
    modalities = fields.get("modalities")
    if modalities is not None and "+" not in str(modalities):
        return False  # a single stream fuses nothing
    per_stage = fields.get("model.fusion.per_stage")
    if per_stage is not None:
        return all(dict(stage).get("kind") == BASELINE_KIND for stage in per_stage)
    everywhere = fields.get("stages") == ALL_STAGES or fields.get("elsewhere") == BASELINE_KIND
    return fields.get("fusion") == BASELINE_KIND and everywhere


def normal(field: str, value: Any) -> Any:
    """A claim's value of a field in the form that rows have."""
    if field == "stages":
        return read_stages(value) or value
    return modalities_text(value) if field == "modalities" else value


def read_stages(value: Any) -> str | None:
    """Stages as `1+2`, from a list, a number, or a text such as `[1, 2]`, `1+2`, `2-4` or `all`; None: no stages.

    `2-4` is a range, as in the names that this software gives.
    """
    text = str(value).strip()
    if text.lower() == "all":
        return ALL_STAGES
    part = r"[1-4](?:\s*[-–]\s*[1-4])?"
    if isinstance(value, bool) or not re.fullmatch(rf"[\[(]?\s*{part}(?:\s*[,;+ ]\s*{part})*\s*,?\s*[\])]?", text):
        return None
    ends = [re.findall("[1-4]", found) for found in re.findall(part, text)]
    if any(end[0] > end[-1] for end in ends):
        return None
    stages = {stage for end in ends for stage in range(int(end[0]), int(end[-1]) + 1)}
    return "+".join(str(stage) for stage in sorted(stages))


def modalities_text(value: Any) -> Any:
    """Modalities as `rgb+thermal+event`, in this order, from a list or a text; with an unknown word as they are."""
    words: Sequence[str] = re.findall(r"[a-z]+", str(value).lower())
    known = words and all(word in MODALITIES for word in words)
    return "+".join(name for name in MODALITIES if name in words) if known else value


def fusion_text(value: Any) -> Any:
    """A fusion's name; FRM+FFM in the spellings of papers is `frm_ffm`."""
    text = str(value).strip()
    return BASELINE_KIND if re.fullmatch(r"frm[_+ -]?ffm", text.lower()) else text


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


def is_partly_timed(says: Mapping[str, Any]) -> bool:
    """Whether a run was resumed and its source does not say that the time covers all segments."""
    return bool(says.get("resumed")) and "cumulative_seconds" not in says


def is_fusion(field: str) -> bool:
    """Whether the field is about the fusion."""
    return field in FUSION_FIELDS or field.startswith("model.fusion")


def _own(content: Mapping[str, Any]) -> dict[str, Any]:
    """Our own configuration: of a single stream without its fusion, of two streams with every stage spelled out.

    A whole one names its streams; of a part that does not, the modalities are not known.
    """
    flat = {path: plain(value) for path, value in flatten(content).items() if value not in ({}, [])}
    streams = flat.get("model.streams")
    if streams is not None:
        flat["modalities"] = re.sub(r"[\s|]+", "+", str(streams))
    if streams is not None and "|" not in str(streams):
        return {path: value for path, value in flat.items() if not path.startswith("model.fusion")}
    if flat.get("model.fusion.kind") is not None and flat.get("model.fusion.stages") is None:
        flat["model.fusion.stages"] = ALL_STAGES
    return flat


def _flags(content: Mapping[str, Any], names: Names) -> dict[str, Any]:
    """Flat keys, in which some say two things at once."""
    flat: dict[str, Any] = {str(key): plain(value) for key, value in content.items()}
    for key, kind in _PLACED_STAGES.items():
        if key in flat:
            stages = flat.pop(key)
            placed = {"fusion": kind, "stages": stages} if stages else {"fusion": BASELINE_KIND, "stages": ALL_STAGES}
            flat = {**placed, "elsewhere": BASELINE_KIND, **{k: v for k, v in flat.items() if k not in placed}}
    by_name = {names.of(key): key for key in flat}
    fusion = flat.get(by_name.get("fusion", "fusion"))
    if fusion is None:
        return flat
    kind = fusion_text(fusion)
    if kind.lower() == "gaff" and flat.get(by_name.get("se_reduction", "se_reduction")) is not None:
        kind = "se_gated"
    flat[by_name.get("fusion", "fusion")] = kind
    if kind == BASELINE_KIND and not flat.get(by_name.get("stages", "stages")):
        flat[by_name.get("stages", "stages")] = ALL_STAGES  # no stage is named that would be an exception
    return flat
