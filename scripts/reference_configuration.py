"""The page on search spaces and trial configurations, for `reference.py`."""

import json
from pathlib import Path

from pydantic import BaseModel
from reference_tables import fields_table, inner_model, table

from tune_cmx.config.claims.declared import Claim
from tune_cmx.config.domains import Choice, Integer, LogUniform, Uniform
from tune_cmx.config.early_stopping import EarlyStopping
from tune_cmx.config.names import fusion_title
from tune_cmx.config.parse import PRESETS
from tune_cmx.config.searchers import SEARCHERS
from tune_cmx.config.searchers.tpe import Prior, possible_objectives
from tune_cmx.config.space import Confirm, PhaseFile, StudyFile
from tune_cmx.config.trial import MODALITIES, TrialConfig
from tune_cmx.config.wording import allowed_text
from tune_cmx.metrics import selectable
from tune_cmx.models.fusion import FUSIONS
from tune_cmx.models.mit import MIT

EXAMPLE = Path(__file__).parents[1] / "docs" / "reference" / "examples" / "search_space.yaml"
INTRO = """# Configuration

A search space is one YAML file for one question. It fixes some fields of a trial, searches others, and names the
baseline with which every configuration is compared. `tune-cmx check FILE` finds its errors in minutes on a CPU;
`tune-cmx plan FILE` prints its cost. The folder `search_spaces/` holds the shipped ones.

Files are read strictly. An unknown key, a key that is given twice, a wrong type or a number out of range is an error
with file and line. Numbers and booleans are those of YAML 1.2: `1e-4` is a number, and `no` is a text.

In the tables below, `-` as a default means: see the meaning.

## A whole search space
"""
AFTER_EXAMPLE = """
The command in its head runs it. `tune-cmx check docs/reference/examples/search_space.yaml` prints the five
configurations: `FRM+FFM (baseline)`, `CSSA at stage 4, threshold 0.3`, and so on.

The rules of a fair comparison:

- A searched field needs a value under `baseline`, or a mapping there that replaces its parent, as in
  `model.fusion: {kind: frm_ffm}`. It has none under `fixed`.
- The configurations differ from the baseline in searched fields only. `allow_differences` names exceptions.
- All share the data, the split, `schedule.micro_batch` and `schedule.processes`.
- If schedules differ in length, `early_stopping.compare_at` must be `fraction` or `gpu_seconds`.
"""
PATHS = """
## Fields of a trial

Give a trial field under `fixed` (nested or as a dotted path), under `search` and `baseline` (as a dotted path,
with a domain or a value), or on the command line, as in `--set schedule.epochs=5`. The `config.json` of a run
folder has the same fields; `tune-cmx train --config FILE` runs it again.
"""
PRETRAINED = """
`pretrained: weights/mit_b1.pth` gives every stream the same file, `pretrained: {rgb: weights/mit_b1.pth}` one
stream, and `pretrained: timm` takes timm's weights. In full:
"""
PRIORS = "An entry of `searcher.priors`, such as `{values: {schedule.lr: 0.02}, value: 53.2}`:\n"


def configuration_page() -> str:
    """Search spaces, their sections, and the fields of a trial."""
    allowed = _allowed()
    searchers = [
        f"### `searcher: {{kind: {name}}}`\n\n{_about(model)}\n\n{fields_table(model, 'searcher.', allowed)}\n"
        for name, model in SEARCHERS.items()
    ]
    stopping = fields_table(EarlyStopping, "early_stopping.", allowed)
    claims = "A list; each entry has these keys. [claims.md](claims.md) explains the kinds."
    parts = [
        f"{INTRO}\n```yaml\n{EXAMPLE.read_text(encoding='utf-8')}```\n{AFTER_EXAMPLE}",
        f"## Keys of a search space\n\n{_all_fields(StudyFile)}",
        f"## Domains\n\nUnder `search`, each dotted path has one of these.\n\n{_domains()}",
        f"## `searcher`\n\n{''.join(searchers)}\n{PRIORS}\n{fields_table(Prior)}",
        f"## `early_stopping`\n\n{_about(EarlyStopping)}\n\n{stopping}",
        f"## `confirm`\n\n{_about(Confirm)}\n\n{fields_table(Confirm, 'confirm.')}",
        f"## `phases`\n\nA list; each entry has these keys.\n\n{fields_table(PhaseFile)}",
        f"## `claims`\n\n{claims}\n\n{fields_table(Claim)}",
        f"{PATHS}\n{_sections(TrialConfig, '')}",
        f"## Presets of `schedule`\n\n{_presets()}",
        f"## Options of each fusion\n\nUnder `model.fusion.options`.\n\n{_fusions()}",
    ]
    return "\n".join(parts)


def _about(model: type[BaseModel]) -> str:
    return " ".join((model.__doc__ or "").split())


def _all_fields(model: type[BaseModel]) -> str:
    """A row for each key of a search space; sections have tables of their own."""
    rows = []
    for name, field in model.model_fields.items():
        inner = inner_model(field) is not None
        needed = ", required" if field.is_required() else ""
        form = "mapping, see below" if inner else f"{allowed_text(field)}{needed}"
        rows.append([f"`{name}`", field.description or "", form])
    return table(("key", "meaning", "value"), rows)


def _domains() -> str:
    forms: dict[str, type[BaseModel]] = {
        "{choice: [0.3, 0.5, 0.7]}": Choice,
        "{uniform: [0.0, 1.0]}": Uniform,
        "{loguniform: [1.0e-4, 1.0e-1]}": LogUniform,
        "{int: [5, 25]}": Integer,
    }
    rows = [[f"`{form}`", _about(model)] for form, model in forms.items()]
    conditional = "{choice: [4, 8], when: {model.fusion.kind: se_gated}}"
    rows.append(
        [f"`{conditional}`", "Searched only where an earlier field has that value, or one of a list of values."]
    )
    listed = "arms: {choice: [{model.streams: rgb}, {schedule.lr: 0.01}]}"
    rows.append([f"`{listed}`", "In place of paths: configurations one by one, each as its changes of the baseline."])
    return table(("form", "meaning"), rows)


def _sections(model: type[BaseModel], prefix: str) -> str:
    """A table for each section of the configuration, those within it after it."""
    parts = []
    if any(inner_model(field) is None for field in model.model_fields.values()):
        title = f"`{prefix.rstrip('.')}`" if prefix else "Top level"
        parts.append(f"### {title}\n\n{_about(model)}\n\n{fields_table(model, prefix, _allowed())}")
    for name, field in model.model_fields.items():
        inner = inner_model(field)
        if inner is not None and name == "pretrained":
            parts.append(f"### `{prefix}{name}`\n{PRETRAINED}\n{_pretrained(inner, f'{prefix}{name}.')}")
        elif inner is not None:
            parts.append(_sections(inner, f"{prefix}{name}."))
    return "\n".join(parts)


def _pretrained(model: type[BaseModel], prefix: str) -> str:
    rows = [[f"`{prefix}{name}`", field.description or ""] for name, field in model.model_fields.items()]
    file = next(inner for field in model.model_fields.values() if (inner := inner_model(field)) is not None)
    rows += [[f"`{prefix}every.{name}`", field.description or ""] for name, field in file.model_fields.items()]
    return table(("field", "meaning"), rows)


def _presets() -> str:
    names = list(dict.fromkeys(name for preset in PRESETS.values() for name in preset))
    rows = [[f"`{title}`", *(str(preset.get(name, "-")) for name in names)] for title, preset in PRESETS.items()]
    return table(("preset", *(f"`{name}`" for name in names)), rows)


def _fusions() -> str:
    parts = []
    for kind, (options, module) in FUSIONS.items():
        about = " ".join((module.__doc__ or "").split("\n\n")[0].split())
        fields = fields_table(options) if options.model_fields else "No options.\n"
        parts.append(f"### `{kind}`: {fusion_title(kind)}\n\n{about}\n\n{fields}")
    return "\n".join(parts)


def _allowed() -> dict[str, str]:
    """What is allowed where a table decides, and not the type."""
    fusions = _listed(FUSIONS)
    return {
        "early_stopping.metric": _listed(selectable()),
        "searcher.objectives": f"list of two or more of {_listed(possible_objectives())}",
        "model.backbone": f"{_listed(MIT)}, or `timm/NAME`",
        "model.streams": f"one or two sides of {_listed(MODALITIES)}, with `+` and `|`",
        "model.fusion.kind": fusions,
        "model.fusion.elsewhere": fusions,
        "model.fusion.stages": f"list such as `{json.dumps([3, 4])}`",
        "schedule.preset": _listed(PRESETS),
        "data.bands": "mapping such as `{rgb: [0, 1, 2], thermal: [3]}`",
    }


def _listed(names: object) -> str:
    assert hasattr(names, "__iter__")
    return ", ".join(f"`{name}`" for name in names)
