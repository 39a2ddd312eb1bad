"""The names of the earlier group's checkpoints, and ours for the same tensors.

Source: the group's public code, craigxyz/crossattentiondet; its CSSA and SE-gated encoders hold the modules `CSSAs` and
`GAFFs` of all four stages.
"""

import re
from collections.abc import Sequence

FRMS, FFMS, CSSAS, GAFFS = (f"backbone.encoder.{module}" for module in ("FRMs", "FFMs", "CSSAs", "GAFFs"))
FIRST = "backbone.encoder.patch_embed1.proj.weight"
FIRST_EXTRA = "backbone.encoder.extra_patch_embed1.proj.weight"
SHARED_GATE = "inter_attn.conv.weight"
"""Of a GAFF module: both gates in one tensor, the RGB stream's rows first."""

_HERE, _OURS = "backbone.encoder.", "backbone.encoder.fusions.{i}."
_STREAM = ("patch_embed{rest}", "block{rest}", "norm{rest}")
_CROSS = {
    "channel_proj1": "project_rgb",
    "channel_proj2": "project_aux",
    "cross_attn.kv1": "attention.kv_rgb",
    "cross_attn.kv2": "attention.kv_aux",
    "end_proj1": "end_rgb",
    "end_proj2": "end_aux",
    "norm1": "norm_rgb",
    "norm2": "norm_aux",
}
_GATED = {
    "se_rgb.fc1": "se_rgb.mlp.0",
    "se_rgb.fc2": "se_rgb.mlp.2",
    "se_aux.fc1": "se_aux.mlp.0",
    "se_aux.fc2": "se_aux.mlp.2",
    "inter_attn.conv_rgb": "gate_rgb",
    "inter_attn.conv_aux": "gate_aux",
    "merge_conv": "merge.0",
    "merge_bn": "merge.1",
    "merge_conv1": "merge.0",
    "merge_bn1": "merge.1",
    "merge_conv2": "merge.3",
    "merge_bn2": "merge.4",
}
_PAIRS: tuple[tuple[str, str], ...] = (
    *((f"{_HERE}{part}", f"{_HERE}streams.rgb.{part}") for part in _STREAM),
    *((f"{_HERE}extra_{part}", f"{_HERE}streams.aux.{part}") for part in _STREAM),
    (f"{FRMS}.{{i}}.{{rest}}", f"{_OURS}frm.{{rest}}"),
    *((f"{FFMS}.{{i}}.cross.{old}.{{rest}}", f"{_OURS}ffm.cross.{new}.{{rest}}") for old, new in _CROSS.items()),
    (f"{FFMS}.{{i}}.channel_emb.channel_embed.{{rest}}", f"{_OURS}ffm.channel_embed.embed.{{rest}}"),
    (f"{FFMS}.{{i}}.channel_emb.{{rest}}", f"{_OURS}ffm.channel_embed.{{rest}}"),
    *((f"{CSSAS}.{{i}}.eca_{side}.f.{{rest}}", f"{_OURS}eca_{side}.conv.{{rest}}") for side in ("rgb", "aux")),
    *((f"{GAFFS}.{{i}}.{old}.{{rest}}", f"{_OURS}{new}.{{rest}}") for old, new in _GATED.items()),
    *((f"{part}.{{rest}}", f"{part}.{{rest}}") for part in ("backbone.fpn", "rpn", "roi_heads")),
)
"""Their form of a name and ours; `i` is a stage from 0. The first pair that fits counts."""


def _pattern(form: str) -> re.Pattern[str]:
    exact = re.escape(form).replace(r"\{i\}", "(?P<i>[0-3])").replace(r"\{rest\}", "(?P<rest>.+)")
    return re.compile(exact)


_TO_OURS = tuple((_pattern(theirs), ours) for theirs, ours in _PAIRS)
_TO_THEIRS = tuple((_pattern(ours), theirs) for theirs, ours in _PAIRS)


def our_name(theirs: str) -> str | None:
    """Our name of one of their tensors; None: they have no such name."""
    return _first(_TO_OURS, theirs)


def their_name(ours: str) -> str | None:
    """Their name of one of our tensors; None: they have no such tensor."""
    return _first(_TO_THEIRS, ours)


def _first(pairs: Sequence[tuple[re.Pattern[str], str]], name: str) -> str | None:
    for pattern, form in pairs:
        found = pattern.fullmatch(name)
        if found:
            return form.format(**found.groupdict())
    return None


def stage_of(theirs: str, module: str) -> int | None:
    """The stage, 1 to 4, of a tensor of a module's list; None: the tensor belongs elsewhere."""
    found = re.match(rf"{re.escape(module)}\.([0-3])\.", theirs)
    return int(found[1]) + 1 if found else None
