"""Files of Mix Transformer weights.

A file is read as safetensors, or by torch without anything in it being run. It may use any of three spellings of the
same names: its authors' (`patch_embed1.proj.weight`, which are this package's), those of Hugging Face's files
(`encoder.patch_embeddings.0.proj.weight`), or those of transformers 5 at run time
(`stages.0.patch_embeddings.proj.weight`); each under any prefix, such as `segformer.` or `backbone.`.
"""

import pickle
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor

from tune_cmx.errors import ConfigError
from tune_cmx.models.mit import MIT

Weights = Mapping[str, Tensor]

FIRST = "patch_embed1.proj.weight"
"""Of the convolution that the image meets first."""
_ANCHORS = (FIRST, "encoder.patch_embeddings.0.proj.weight", "stages.0.patch_embeddings.proj.weight")
"""The first convolution in each spelling: what stands before it is the prefix."""
_PLACES: tuple[tuple[re.Pattern[str], str], ...] = (
    (re.compile(r"encoder\.patch_embeddings\.(\d+)\.()(.+)"), "patch_embed{stage}.{rest}"),
    (re.compile(r"stages\.(\d+)\.patch_embeddings\.()(.+)"), "patch_embed{stage}.{rest}"),
    (re.compile(r"encoder\.block\.(\d+)\.(\d+)\.(.+)"), "block{stage}.{block}.{rest}"),
    (re.compile(r"stages\.(\d+)\.blocks\.(\d+)\.(.+)"), "block{stage}.{block}.{rest}"),
    (re.compile(r"encoder\.layer_norm\.(\d+)\.()(.+)"), "norm{stage}.{rest}"),
    (re.compile(r"stages\.(\d+)\.layer_norm\.()(.+)"), "norm{stage}.{rest}"),
)
_PARTS = {
    "layer_norm": "norm",
    "layer_norm_1": "norm1",
    "layernorm_before": "norm1",
    "layer_norm_2": "norm2",
    "layernorm_after": "norm2",
    "attention.self.query": "attn.q",
    "attention.q_proj": "attn.q",
    "attention.self.key": "attn.k",
    "attention.k_proj": "attn.k",
    "attention.self.value": "attn.v",
    "attention.v_proj": "attn.v",
    "attention.self.sr": "attn.sr",
    "attention.sequence_reduction.sequence_reduction": "attn.sr",
    "attention.self.layer_norm": "attn.norm",
    "attention.sequence_reduction.layer_norm": "attn.norm",
    "attention.output.dense": "attn.proj",
    "attention.o_proj": "attn.proj",
    "mlp.dense1": "mlp.fc1",
    "mlp.dense2": "mlp.fc2",
}


def read_weights(path: Path) -> dict[str, Tensor]:
    """All tensors of a file by name: safetensors by its suffix, else what torch saved, also one level down under
    `state_dict` or `model`.

    Raises:
        ConfigError: The file is absent or damaged, holds no tensors by name, or could be read only by running code.
    """
    try:
        content = load_file(path) if path.suffix == ".safetensors" else _torch_load(path)
    except pickle.UnpicklingError as error:
        raise ConfigError(
            f"model.pretrained: {path}: not read, as it holds more than tensors, and reading that could run code; load "
            "it where you trust it and save its state_dict alone, best as .safetensors"
        ) from error
    except (OSError, RuntimeError, SafetensorError, EOFError, ValueError) as error:
        raise ConfigError(f"model.pretrained: {path}: cannot be read as weights: {error}; download it again") from error
    for key in ("state_dict", "model"):
        if isinstance(content, Mapping) and isinstance(content.get(key), Mapping):
            content = content[key]
    found = {str(name): value for name, value in content.items()} if isinstance(content, Mapping) else {}
    tensors = {name: value for name, value in found.items() if isinstance(value, Tensor)}
    if not tensors:
        raise ConfigError(f"model.pretrained: {path}: holds no tensors by name; a state_dict is needed")
    return tensors


def _torch_load(path: Path) -> Any:
    return torch.load(path, map_location="cpu", weights_only=True)


def published_names(weights: Weights, source: str) -> tuple[dict[str, Tensor], tuple[str, ...]]:
    """A file's encoder in its authors' names, which are this package's, and what the file holds besides.

    Args:
        weights: In any of the three spellings, under any prefix.
        source: For the message.

    Raises:
        ConfigError: There is no Mix Transformer in it.
    """
    prefixes = [
        name.removesuffix(anchor)
        for name in weights
        for anchor in _ANCHORS
        if name == anchor or name.endswith(f".{anchor}")
    ]
    if not prefixes:
        raise ConfigError(
            f"model.pretrained: {source}: holds no Mix Transformer: none of {', '.join(_ANCHORS)} is in it; it has "
            f"{', '.join(list(weights)[:3])} ...; take the encoder's file of SegFormer's authors, or Hugging Face's"
        )
    prefix = min(prefixes, key=len)
    parts: dict[str, Tensor] = {}
    unused = []
    for name, value in weights.items():
        renamed = _published_name(name.removeprefix(prefix)) if name.startswith(prefix) else None
        if renamed is None:
            unused.append(name)
        else:
            parts[renamed] = value
    return _joined(parts), tuple(unused)


def _published_name(name: str) -> str | None:
    """In the authors' spelling; keys and values still apart, as `attn.k` and `attn.v`. None: no part of an encoder."""
    if re.match(r"(patch_embed|block|norm)[1-4]\.", name):
        return name
    for pattern, form in _PLACES:
        found = pattern.fullmatch(name)
        if found:
            stage, block, rest = found.groups()
            part, dot, kind = rest.rpartition(".")
            return form.format(stage=int(stage) + 1, block=block, rest=_PARTS.get(part, part) + dot + kind)
    return None


def _joined(parts: Weights) -> dict[str, Tensor]:
    """Keys and values in one tensor, the keys first."""
    whole: dict[str, Tensor] = {}
    for name, value in parts.items():
        pair = [name.replace(".attn.v.", ".attn.k."), name.replace(".attn.k.", ".attn.v.")]
        if len(set(pair)) == 1 or not set(pair) <= set(parts):
            whole[name] = value
        elif name == pair[0]:
            whole[name.replace(".attn.k.", ".attn.kv.")] = torch.cat([parts[half] for half in pair])
    return whole


def size_of(weights: Weights) -> str | None:
    """The Mix Transformer whose widths and depths these are, by the authors' names; None: none, or a part is absent."""
    widths, depths = [], []
    for stage in range(1, 5):
        first = weights.get(f"patch_embed{stage}.proj.weight")
        widths.append(0 if first is None else first.shape[0])
        blocks = {name.split(".")[1] for name in weights if name.startswith(f"block{stage}.")}
        depths.append(len(blocks))
    alike = [name for name, shape in MIT.items() if (shape.widths, shape.depths) == (tuple(widths), tuple(depths))]
    return alike[0] if alike else None
