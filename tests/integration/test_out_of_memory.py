"""A trial whose memory runs out goes on with fewer images at once, in a process that really has no more."""

from __future__ import annotations

import os
import subprocess
import sys
from typing import TYPE_CHECKING, Any
from unittest.mock import patch

from tune_cmx.data.corruption.kinds import Missing
from tune_cmx.models.detector import Detector
from tune_cmx.training.corruption_scores import measure_robustness
from tune_cmx.training.run import run_trial
from tune_cmx.training.run_folder import RunFolder

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from conftest import Tiny
    from torch import Tensor

    from tune_cmx.config.trial import TrialConfig
    from tune_cmx.data.prepare import Prepared

ROOM_MIB = 1000
"""For training: more than one image of 512 pixels takes, less than sixteen do."""
CHILD = f"""
import resource, sys
from pathlib import Path
import torch
from tune_cmx.data.prepare import load_prepared
from tune_cmx.training.run_folder import RunFolder
from tune_cmx.training.run import run_trial

torch.set_num_threads(1)
record = RunFolder(Path(sys.argv[1]))
prepared = load_prepared(record.config().data, Path(sys.argv[2]))
pages = int(Path("/proc/self/statm").read_text().split()[0])
resource.setrlimit(resource.RLIMIT_AS, (pages * resource.getpagesize() + {ROOM_MIB} * 2**20,) * 2)
for _ in run_trial(record, prepared):
    pass
"""


def _run(record: RunFolder, prepared: Prepared) -> str:
    """In a process with little room, in which what is freed is room again: large blocks go back to the system."""
    at_once = {"MALLOC_MMAP_THRESHOLD_": "65536", "MALLOC_TRIM_THRESHOLD_": "65536", "MALLOC_ARENA_MAX": "1"}
    done = subprocess.run(
        [sys.executable, "-c", CHILD, str(record.folder), str(prepared.folder)],
        env={**os.environ, **at_once, "OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        timeout=1200,
        check=False,
    )
    return done.stderr


def _large(config: TrialConfig, side: int, batch_size: int) -> TrialConfig:
    detector = config.model.detector.model_copy(update={"image_size": side, "max_size": side})
    schedule = config.schedule.model_copy(update={"batch_size": batch_size, "epochs": 2})
    model = config.model.model_copy(update={"detector": detector})
    compute = config.compute.model_copy(update={"precision": "fp32"})  # bfloat16 is slow where a CPU imitates it
    return config.model_copy(update={"model": model, "schedule": schedule, "compute": compute})


def _plan(folder: Path, config: TrialConfig, prepared: Prepared) -> RunFolder:
    return RunFolder.plan(folder, config, arm="stages-2", phase="single", **prepared.hashes())


def test_a_trial_goes_on_with_fewer_images_at_once(tiny: Tiny, prepared: Prepared) -> None:
    record = _plan(tiny.folder / "trial", _large(tiny.study().arms["stages-2"].config, 512, 16), prepared)
    said = _run(record, prepared)
    state = record.state()
    assert state.status == "complete", said
    assert state.epochs == 2
    halvings = state.halvings
    assert [halving.micro_batch for halving in halvings] == [16 // 2**n for n in range(1, len(halvings) + 1)]
    assert state.micro_batch == halvings[-1].micro_batch < 16
    assert f"micro-batch halved to {state.micro_batch} images" in said
    assert record.config().schedule.micro_batch is None, "what was planned stays as it was"


def test_a_trial_taken_up_goes_on_with_what_it_came_down_to(tiny: Tiny, prepared: Prepared) -> None:
    """In training, in its scoring, and where it is measured later."""
    config = tiny.study().arms["stages-2"].config
    record = _plan(tiny.folder / "trial", config, prepared)
    record.note_halving(epoch=1, step=1, micro_batch=1, reason="as if")
    taken: list[tuple[bool, int]] = []
    with patch.object(Detector, "forward", _counting(taken)):
        list(run_trial(record, prepared))
        assert set(taken) == {(True, 1), (False, 1)}
        taken.clear()
        assert measure_robustness(record, prepared, [Missing(modality="rgb")], "val") == 2
        assert set(taken) == {(False, 1)}


def _counting(taken: list[tuple[bool, int]]) -> Callable[..., Any]:
    forward = Detector.forward

    def counted(self: Detector, images: list[Tensor], targets: Any = None) -> Any:
        if targets is None or "image_id" in targets[0]:  # the audit's step is on noise
            taken.append((self.training, len(images)))
        return forward(self, images, targets)

    return counted
