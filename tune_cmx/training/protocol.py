"""The fields that must be equal for two runs to be compared, and their hash."""

import hashlib
import importlib.metadata
import json
from collections.abc import Iterable, Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import Any

import tune_cmx
from tune_cmx.config.parse import dump, flatten
from tune_cmx.config.trial import TrialConfig
from tune_cmx.registry import plugin_versions

PACKAGES = ("torch", "torchvision", "timm", "numpy", "faster-coco-eval", "pycocotools")
"""Their versions are part of the protocol: each can change a metric."""
_NO_PROTOCOL = (
    *("seed", "report_split", "data.root", "data.labels", "data.split", "data.sequences"),
    *(f"model.pretrained.{stream}.path" for stream in ("every", "rgb", "aux")),  # the content's hash stays
)
_CODE = ("config", "data", "models", "training", "evaluation.py", "metrics.py", "seeding.py")


@cache
def code_version() -> str:
    """The package's version and a hash of the code that the numbers come from."""
    root = Path(tune_cmx.__file__).parent
    files = sorted(
        file for part in _CODE for file in ((root / part).rglob("*.py") if (root / part).is_dir() else [root / part])
    )
    digest = hashlib.sha256()
    for file in files:
        digest.update(file.relative_to(root).as_posix().encode() + b"\0" + file.read_bytes())
    return f"{tune_cmx.__version__}+{digest.hexdigest()[:10]}"


@cache
def package_versions() -> dict[str, str]:
    """The versions of the packages that the numbers come from."""
    return {name: importlib.metadata.version(name) for name in PACKAGES}


def plugins_of(configs: Iterable[TrialConfig], layout: str, metrics: Iterable[str] = ()) -> dict[str, str]:
    """The other packages that give fusions, reader or metrics of some trials by entry point, with their versions.

    Args:
        configs: Of the trials.
        layout: Name of the reader of their data.
        metrics: By name, without split: those that the trials are selected, compared or reported on.
    """
    models = [config.model for config in configs]
    fusions = {
        stage.kind for model in models if len(model.stream_modalities()) > 1 for stage in model.fusion.stage_fusions()
    }
    used = {"tune_cmx.fusions": fusions, "tune_cmx.readers": [layout], "tune_cmx.metrics": metrics}
    return plugin_versions(used)


def protocol(
    config: TrialConfig, factors: Sequence[str], data: Mapping[str, str], plugins: Mapping[str, str]
) -> dict[str, Any]:
    """Every field, without the factors, the seed and the paths.

    Args:
        config: Of any configuration of the study.
        factors: Dotted paths in which configurations may differ; the fields below them are left out too.
        data: The split's and the data's hashes.
        plugins: As `plugins_of` the study's trials, or of the one.
    """
    left_out = [*_NO_PROTOCOL, *factors]
    fields = {
        path: value
        for path, value in flatten(dump(config)).items()
        if not any(path == above or path.startswith(above + ".") for above in left_out)
    }
    return {
        **fields,
        **data,
        "code_version": code_version(),
        **{f"packages.{n}": v for n, v in {**package_versions(), **plugins}.items()},
    }


def protocol_hash(fields: Mapping[str, Any]) -> str:
    """The first 12 hexadecimal digits of the fields' SHA-256 hash."""
    return hashlib.sha256(json.dumps(fields, sort_keys=True).encode()).hexdigest()[:12]
