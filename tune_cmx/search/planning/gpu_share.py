"""How many trials share a GPU, by the memory that the largest of them takes."""

from pathlib import Path
from typing import Any

import ray
from ray.exceptions import RayError
from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

from tune_cmx.config.study import Study
from tune_cmx.config.trial import TrialConfig
from tune_cmx.data.prepare import Prepared, load_prepared
from tune_cmx.errors import TrialError, TuneCmxError
from tune_cmx.models.describe import parameters_by_part
from tune_cmx.search.study_folder import StudyFolder
from tune_cmx.storage import Mirror
from tune_cmx.storage.cache import worker_folder
from tune_cmx.training.memory import gpu_total, peak_memory, share
from tune_cmx.training.model_probe import build_for

_GIB = 2**30
_ACTIVATION_BYTES = {"bf16": 2, "fp32": 4}
"""Of a number that the forward keeps for the backward."""


def measured_share(opened: StudyFolder, device: str, *, gpus: bool = True) -> tuple[float, str]:
    """A trial's share of a GPU: 1/k, where k of the largest trials fit the smallest GPU of the cluster.

    The baseline and the arm with the most parameters are trained for a few steps on a node of the cluster.

    Args:
        opened: The study's folder.
        device: What trials compute on.
        GPUs: Whether the nodes' GPUs are asked for; False: a probe runs on any node, as on the CPU in tests.

    Returns:
        The share, and a sentence on it.

    Raises:
        TrialError: A trial does not fit, or cannot train for another reason.
        ConfigError: Not even one trial fits the smallest GPU.
    """
    storage = opened.mirror.uri if opened.mirror else None
    probe = ray.remote(num_cpus=1, num_gpus=int(gpus), max_retries=0)(_probe)
    peaks = []
    for config in largest(opened.study, opened.prepared):
        answer = _answer(probe.remote(config.model_dump_json(), str(opened.prepared.folder), storage, device))
        if isinstance(answer, str):
            raise TrialError(answer)
        peaks.append(answer)
    total = min(_totals(device, gpus=gpus))
    found = share(max(peaks), total)
    return found, (
        f"memory: the largest trial takes {max(peaks) / _GIB:.1f} GiB of a GPU's {total / _GIB:.1f}: "
        f"{round(1 / found)} a GPU, --gpus-per-trial {found:.4g}"
    )


def share_here(study: Study, prepared: Prepared) -> float:
    """The same by this machine's first GPU, without Ray.

    Raises:
        TrialError, ConfigError: As for `measured_share`.
    """
    peaks = [peak_memory(config, prepared, "cuda").peak for config in largest(study, prepared)]
    return share(max(peaks), gpu_total("cuda"))


def largest(study: Study, prepared: Prepared) -> list[TrialConfig]:
    """The baseline, and the configuration that takes the most: by the images in memory at once, then by parameters."""
    first = study.baseline.config
    others = [study.arms[name].config for name in study.searched] + [config for _, config in study.range_ends()]
    if not others:
        return [first]

    def images(config: TrialConfig) -> int:
        detector, schedule = config.model.detector, config.schedule
        pixels = schedule.images_at_once(schedule.micro_batch) * detector.image_size * detector.max_size
        return _ACTIVATION_BYTES[config.compute.precision] * pixels

    def parameters(config: TrialConfig) -> int:
        copies = 1 if config.schedule.ema_decay is None else 2
        return copies * parameters_by_part(build_for(config.model, prepared))["total"]

    most = max(map(images, others))
    equal = [config for config in others if images(config) == most]
    return [first, max(equal, key=parameters) if len(equal) > 1 else equal[0]]  # no model is built without need


def _probe(config_json: str, data_folder: str, storage: str | None, device: str) -> int | str:
    """Bytes at the peak, or why there are none: an error of ours would reach the driver with a page of Ray's."""
    config = TrialConfig.model_validate_json(config_json)
    folder = Path(data_folder)
    try:
        if storage is not None:
            mirror = Mirror(worker_folder(storage), storage)
            mirror.pull("data")
            folder = mirror.local / "data"
        return peak_memory(config, load_prepared(config.data, folder), device).peak
    except (TuneCmxError, OSError, ValueError) as error:
        return str(error)


def _answer(asked: Any) -> int | str:
    """What a probe found, or what became of it."""
    try:
        found: int | str = ray.get(asked)
    except RayError as error:
        return f"memory probe: its worker was lost: {str(error).splitlines()[0]}"
    return found


def _totals(device: str, *, gpus: bool) -> list[int]:
    """Bytes of a GPU of each node that has some."""
    nodes: list[dict[str, Any]] = ray.nodes()  # type: ignore[no-untyped-call]
    ask = ray.remote(num_cpus=0, num_gpus=int(gpus))(gpu_total)
    asked = [
        ask.options(scheduling_strategy=NodeAffinitySchedulingStrategy(node["NodeID"], soft=False)).remote(device)
        for node in nodes
        if node["Alive"] and (node["Resources"].get("GPU", 0) >= 1 or not gpus)
    ]
    found: list[int] = ray.get(asked)
    return found
