"""What a fresh process loads: torch and Ray cost seconds and memory, and are loaded only where they are needed."""

import subprocess
import sys


def modules_after(statement: str) -> set[str]:
    """Top-level modules of a fresh process after a statement."""
    code = f"import sys\n{statement}\nprint(*{{name.split('.')[0] for name in sys.modules}})"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    return set(done.stdout.split())


def test_a_report_needs_neither_torch_nor_ray_and_the_driver_of_a_search_no_torch() -> None:
    statement = (
        "import tune_cmx.evidence.report, tune_cmx.config.study\n"
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
