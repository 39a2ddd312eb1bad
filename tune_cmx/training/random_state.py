"""The random state of torch, numpy and python in this process: set from one seed, saved and restored."""

import random
from typing import Any

import numpy as np
import torch

from tune_cmx.seeding import derive


def seed_all(seed: int) -> None:
    """Set the whole random state; a trial's initial weights, drop path and sampling follow from it."""
    random.seed(derive(seed, "python"))
    np.random.seed(derive(seed, "numpy") % 2**32)  # noqa: NPY002  libraries draw from the global one
    torch.manual_seed(derive(seed, "torch"))


def random_state() -> dict[str, Any]:
    """The random state, in types that `torch.load(weights_only=True)` takes."""
    version, internal, gauss = random.getstate()
    name, keys, position, has_gauss, cached = np.random.get_state()  # noqa: NPY002
    return {
        "python": [version, list(internal), gauss],
        "numpy": [str(name), torch.from_numpy(np.asarray(keys).astype(np.int64)), position, has_gauss, cached],
        "torch": torch.get_rng_state(),
        "cuda": torch.cuda.get_rng_state_all() if torch.cuda.is_available() else [],
    }


def restore_random_state(state: dict[str, Any]) -> None:
    """Set the random state that `random_state` returned."""
    version, internal, gauss = state["python"]
    random.setstate((version, tuple(internal), gauss))
    name, keys, position, has_gauss, cached = state["numpy"]
    np.random.set_state((name, keys.numpy().astype(np.uint32), position, has_gauss, cached))  # noqa: NPY002
    torch.set_rng_state(state["torch"])
    if state["cuda"]:
        torch.cuda.set_rng_state_all(state["cuda"][: torch.cuda.device_count()])  # it may have more GPUs, or fewer
