"""The detector that the argument MODEL names."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from tune_cmx.cli.options.flags import device_named
from tune_cmx.cli.output import warn
from tune_cmx.state.model_state import MODEL_FILE

if TYPE_CHECKING:
    from tune_cmx.inference.trained_detector import TrainedDetector

Model = Annotated[
    Path,
    typer.Argument(help="Model folder from `tune-cmx best STUDY --export DIR`, or a run folder with `model/`."),
]


def named_detector(model: Path, device: str | None, threads: int | None) -> "TrainedDetector":
    """The detector on its device; what a user should know of its folder is a warning.

    Args:
        model: A model folder, or a run folder that has one.
        device: By the flag.
        threads: By the flag.

    Raises:
        ConfigError, DataError: There is no usable model.
    """
    chosen = device_named(device, here=True)
    import torch

    from tune_cmx.inference.loading import load_with_remarks
    from tune_cmx.inference.model_folder import IN_RUN

    if threads:
        torch.set_num_threads(threads)
    own = model / IN_RUN
    detector, remarks = load_with_remarks(own if (own / MODEL_FILE).is_file() else model, device=chosen)
    for remark in remarks:
        warn(remark)
    return detector
