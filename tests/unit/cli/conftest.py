"""The command line as a newcomer meets it: bad input gets one clear message and exit code 2, before any training."""

import io
from collections.abc import Callable
from functools import cache
from pathlib import Path

import pytest
from PIL import Image
from rich.console import Console
from typer.main import get_command

from tune_cmx.cli import main
from tune_cmx.cli.output import out

BOX = "0 0.5 0.5 0.5 0.5\n"
MODEL = (
    "{backbone: mit_nano, streams: rgb | thermal, "
    "detector: {image_size: 32, max_size: 64, fpn_channels: 8, head_width: 16, rois_per_image: 8}}"
)
SPACE = f"""# Which fusion?
study: tiny
fixed: {{model: {MODEL}, schedule: {{epochs: 3, batch_size: 2}}, compute: {{precision: fp32}}}}
search: {{model.fusion: {{choice: [{{kind: add}}]}}}}
baseline: {{model.fusion: {{kind: frm_ffm}}}}
early_stopping: {{kind: none}}
"""
PLAIN = ("--set", "compute.precision=fp32")
"""A CPU imitates bfloat16 and takes twice as long."""
TINY = ("--set", f"model={MODEL}", "--set", "schedule={epochs: 1, batch_size: 2}", *PLAIN, "--device", "cpu")
Run = Callable[..., tuple[int, str, str]]
Refusal = Callable[..., str]


_command = cache(get_command)
"""Typer makes all commands anew at each call."""


@pytest.fixture
def run(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path) -> Run:
    """Run a command in the test's folder: exit code, what it prints, what it complains of."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("typer.main.get_command", _command)

    def call(*arguments: object) -> tuple[int, str, str]:
        text = io.StringIO()
        console = Console(file=text, width=100, highlight=False)
        monkeypatch.setattr(out, "__dict__", vars(console))  # one console, known to every file of the package
        try:
            main([str(argument) for argument in arguments])
            code = 0
        except SystemExit as end:
            code = int(end.code or 0)
        captured = capsys.readouterr()
        return code, text.getvalue() + captured.out, captured.err

    return call


@pytest.fixture
def refusal(run: Run) -> Refusal:
    """Run a command that must be refused: the message, where it is the only thing complained of and the code is 2."""

    def call(*arguments: object) -> str:
        code, _, error = run(*arguments)
        assert code == 2, error
        assert error.startswith("error: ")
        assert error.count("error: ") == 1
        assert "Traceback" not in error
        return error.removeprefix("error: ").strip()

    return call


@pytest.fixture
def data(tmp_path: Path) -> Path:
    """Twelve RGB + thermal images in three sequences."""
    return write_images(tmp_path / "frames")


@pytest.fixture(scope="session")
def earlier(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The run folder of one epoch on the same images, trained once for all tests of a process."""
    folder = tmp_path_factory.mktemp("earlier")
    root = write_images(folder / "frames")
    with pytest.raises(SystemExit, match=r"^0$"):
        main(["train", "--data", str(root), "--output-dir", str(folder / "runs"), *TINY])
    return folder / "runs"


def write_images(root: Path) -> Path:
    """Always the same ones."""
    ids = [f"f{number:02d}" for number in range(12)]
    for name in ("rgb", "thermal", "labels"):
        (root / name).mkdir(parents=True)
    for number, id in enumerate(ids):
        Image.new("RGB", (32, 32), (number, 9, 9)).save(root / "rgb" / f"{id}.png")
        Image.new("L", (32, 32), number).save(root / "thermal" / f"{id}.png")
        (root / "labels" / f"{id}.txt").write_text(BOX)
    (root / "classes.txt").write_text("person\n")
    rows = [f"{id},s{number // 4}" for number, id in enumerate(ids)]
    (root / "sequences.csv").write_text("\n".join(["id,sequence", *rows]) + "\n")
    return root


@pytest.fixture
def space(tmp_path: Path) -> Path:
    """A search-space file of one arm and the baseline."""
    path = tmp_path / "space.yaml"
    path.write_text(SPACE)
    return path


@pytest.fixture
def tiny() -> tuple[str, ...]:
    """Flags of a training run of one epoch that takes a second."""
    return TINY
