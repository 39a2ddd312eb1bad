"""What a fresh process loads: torch and Ray cost seconds and memory, and are loaded only where they are needed."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path


def modules_after(statement: str) -> set[str]:
    """Top-level modules of a fresh process after a statement."""
    code = f"import sys\n{statement}\nprint(*{{name.split('.')[0] for name in sys.modules}})"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    return set(done.stdout.split())


def test_a_report_needs_neither_torch_nor_ray_and_the_driver_of_a_search_no_torch() -> None:
    statement = (
        "import tune_cmx.evidence.report.write, tune_cmx.config.study\n"
        "assert 'ray' not in sys.modules\n"
        "import tune_cmx.search.runner, tune_cmx.search.study_folder"
    )
    loaded = modules_after(statement)
    assert {"tune_cmx", "ray"} <= loaded
    assert not {"torch", "torchvision", "timm"} & loaded


def test_the_command_line_starts_without_torch_and_ray() -> None:
    assert not {"torch", "ray", "pandas", "matplotlib"} & modules_after("import tune_cmx.cli")


def test_training_and_all_below_it_load_no_ray_and_draw_no_random_number() -> None:
    statement = (
        "import numpy, torch\n"
        "state = lambda: (numpy.random.get_state()[1].tolist(), torch.get_rng_state().tolist())\n"
        "before = state()\n"
        "import tune_cmx.training.run, tune_cmx.data.prepare, tune_cmx.models.describe, tune_cmx.search.check\n"
        "assert state() == before"
    )
    loaded = modules_after(statement)
    assert "timm" in loaded
    assert "ray" not in loaded


ASKED = """
import os, time
from tune_cmx.cli.torch_process import torch_process
from tune_cmx.errors import TrialError
if __name__ == "__main__":
    with torch_process() as ask:
        print(ask(os.getpid)(), flush=True)
        try:
            ask(time.sleep, 60)()
        except TrialError as error:
            print(error, flush=True)
"""


def test_the_process_that_builds_models_ends_with_a_driver_that_is_killed() -> None:
    with subprocess.Popen([sys.executable, "-c", ASKED], stdout=subprocess.PIPE, text=True) as driver:
        assert driver.stdout is not None
        builder = Path(f"/proc/{int(driver.stdout.readline())}")
        driver.kill()
    deadline = time.monotonic() + 240
    while builder.exists() and time.monotonic() < deadline:
        time.sleep(0.05)
    assert not builder.exists()


def test_a_driver_says_so_where_the_process_that_builds_models_is_killed() -> None:
    with subprocess.Popen([sys.executable, "-c", ASKED], stdout=subprocess.PIPE, text=True) as driver:
        assert driver.stdout is not None
        os.kill(int(driver.stdout.readline()), signal.SIGKILL)
        assert driver.stdout.read() == "the process that builds the models was killed; is there memory left?\n"
    assert driver.returncode == 0
