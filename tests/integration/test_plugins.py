"""Entries of another package in real processes: the driver, Ray's workers, DDP workers and loader processes."""

from __future__ import annotations

import json
import os
import subprocess
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from PIL import Image
from plugins import broken, install

from tune_cmx.config.parse import dump

if TYPE_CHECKING:
    from pathlib import Path

    from conftest import Tiny


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The toy package, installed; beside it one that is broken."""
    folder = install(tmp_path_factory.mktemp("site"))
    points = "[tune_cmx.readers]\ngone = not_there:GONE\n[tune_cmx.metrics]\ngone = not_there:GONE\n"
    return broken(folder, points)


@pytest.fixture(scope="module")
def pairs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Twenty-four pictures of 64 pixels, in the layout of the toy package; a bright square is a car."""
    root = tmp_path_factory.mktemp("pairs")
    generator = np.random.default_rng(0)
    for folder in ("pairs", "labels"):
        (root / folder).mkdir()
    for number in range(24):
        pair = generator.integers(0, 60, (64, 128, 3), dtype=np.uint8)
        left, top = (int(place) for place in generator.integers(4, 36, 2))
        for start in (0, 64):
            pair[top : top + 24, start + left : start + left + 24] = 230
        Image.fromarray(pair).save(root / "pairs" / f"p{number:02d}.png")
        (root / "labels" / f"p{number:02d}.txt").write_text(f"1 {(left + 12) / 64} {(top + 12) / 64} 0.375 0.375\n")
    return root


def _run(tiny: Tiny, site: Path, *words: object) -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    environment["PYTHONPATH"] = os.pathsep.join([str(site), environment.get("PYTHONPATH", "")])
    command = [*tiny.command, *map(str, words)]
    return subprocess.run(command, env=environment, text=True, capture_output=True, check=False, timeout=500)


def _model(tiny: Tiny) -> dict[str, Any]:
    return {**tiny.fixed["model"], "fusion": {"kind": "toy_mixture"}, "streams": "rgb | thermal"}


def test_a_search_uses_every_kind_of_entry(tiny: Tiny, site: Path, pairs: Path) -> None:
    space = tiny.space(
        fixed={**tiny.fixed, "model": _model(tiny), "schedule": {**tiny.fixed["schedule"], "epochs": 2}},
        search={"model.fusion.options.start": {"uniform": [-1.0, 1.0]}},
        searcher={"kind": "toy_line", "trials": 2},
        early_stopping={"kind": "none", "metric": "val/toy_mAP_90"},
        loggers=["toy_lines"],
    )
    done = _run(tiny, site, "search", space, "--data", pairs, "--device", "cpu", "--output-dir", tiny.folder)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "package broken-plugin 0.3, entry point gone = not_there:GONE of tune_cmx.readers: " in done.stderr
    study = json.loads((tiny.folder / "tiny" / "study.json").read_text())
    assert study["protocol"]["packages.toy-plugin"] == "1.2.0"
    assert study["data"]["layout"] == "pairs side by side"
    records = tiny.records()
    assert len(records) == 4, "two searched, one finalist and the baseline confirmed"
    for record in records.values():
        assert record.state().status == "complete"
        assert record.state().packages["toy-plugin"] == "1.2.0"
        assert "val/toy_mAP_90" in record.rows()[0]
        lines = (record.folder / "toy.log").read_text().splitlines()
        assert lines == [f"begin {record.state().label} after 0", "epoch 1", "epoch 2", "complete True"]
        assert not list(record.folder.glob("events.*")), "the space names one logger, which is not TensorBoard"
    assert "mAP@90" in (tiny.folder / "tiny" / "report" / "report.md").read_text()


def test_ddp_workers_and_loader_processes_use_them(tiny: Tiny, site: Path, pairs: Path) -> None:
    config = dump(tiny.study().baseline.config)
    config["model"].update(_model(tiny))
    config["schedule"].update(epochs=1, processes=2)
    config["data"].update(root=None, layout="toy_pairs")
    path = tiny.folder / "config.json"
    path.write_text(json.dumps(config))
    words = ("train", "--config", path, "--data", pairs, "--workers", 1, "--device", "cpu")
    folder = tiny.folder / "trial"
    done = _run(tiny, site, *words, "--logger", "toy_lines", "--logger", "tensorboard", "--output-dir", folder)
    assert done.returncode == 0, done.stdout + done.stderr
    assert (folder / "toy.log").read_text().splitlines() == ["begin None after 0", "epoch 1", "complete True"]
    assert len(list(folder.glob("events.*"))) == 1
    again = _run(tiny, site, *words, "--logger", "toy_line", "--output-dir", tiny.folder / "other")
    assert again.returncode == 2
    assert "--logger: unknown logger 'toy_line'. Known: mlflow, tensorboard, toy_lines." in " ".join(
        again.stderr.split()
    )
