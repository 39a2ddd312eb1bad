"""Each file of search_spaces/ says what it asks and how to run it, and all that it asks for can be built.

RGB + thermal data and RGB + thermal + event data are the field's; every file takes both, unless it asks for events.
"""

from collections.abc import Iterator
from functools import cache
from pathlib import Path

import pytest
import torch
from torch import nn

from tune_cmx.config.arms import BASELINE
from tune_cmx.config.model_sections import DefaultStreams
from tune_cmx.config.study import Study, read_study
from tune_cmx.config.study_rules import unserved_text
from tune_cmx.config.trial import FusionConfig, ModelConfig, StageFusion
from tune_cmx.models.fusion import build_fusion
from tune_cmx.models.streams import stream_shape
from tune_cmx.search.planning.study_size import rungs_text, size_text
from tune_cmx.training.model_probe import DEFAULT_BANDS, build_plain

ROOT = Path(__file__).parents[2]
FILES = sorted((ROOT / "search_spaces").iterdir())
ASK_FOR_EVENTS = ("modalities_event",)
DATA = (("rgb", "thermal"), ("rgb", "thermal", "event"))


@pytest.fixture(params=FILES, ids=lambda path: path.stem)
def path(request: pytest.FixtureRequest) -> Path:
    found: Path = request.param
    return found


@pytest.fixture(params=DATA, ids="+".join)
def held(request: pytest.FixtureRequest) -> tuple[str, ...]:
    """The modalities of data."""
    found: tuple[str, ...] = request.param
    return found


@cache
def study_of(path: Path) -> Study:
    return read_study(path)


@cache
def on(path: Path, held: tuple[str, ...]) -> Study:
    """The study on data with these modalities; each file is read once for all tests of a process."""
    return read_study(path, default_streams=DefaultStreams.of_data(held))


def head(path: Path) -> Iterator[str]:
    for line in path.read_text(encoding="utf-8").splitlines():
        if not line.startswith("#"):
            return
        yield line.removeprefix("#").strip()


def test_there_are_the_spaces_that_the_design_ships() -> None:
    shipped = "demo demo_people cssa_stages cssa_thresholds schedules gaff modalities fusion_showdown cssa_components"
    shipped += " small_objects cssa_gates modality_dropout"
    assert {f"{name}.yaml" for name in shipped.split()} <= {path.name for path in FILES}


def test_the_head_asks_a_question_and_names_the_command(path: Path) -> None:
    lines = list(head(path))
    assert "?" in " ".join(lines)
    assert any(line.startswith("Run:") for line in lines)
    commands = [line for line in lines if "tune-cmx search" in line]
    assert commands, "the command to run it"
    assert all(f"tune-cmx search search_spaces/{path.name} " in line for line in commands)
    assert any(line.startswith(("Expect:", "Cost")) for line in lines), "what it costs"


def test_the_name_of_the_study_is_the_files(path: Path) -> None:
    assert study_of(path).file.study == path.stem.replace("_", "-")


def test_the_data_have_its_modalities_unless_it_asks_for_events(path: Path, held: tuple[str, ...]) -> None:
    refused = unserved_text(on(path, held).streams_asked(), held)
    if path.stem in ASK_FOR_EVENTS and "event" not in held:
        assert "need event; the data have rgb, thermal" in refused
        assert refused.endswith("Streams that fit the data: 'rgb', 'thermal', 'rgb | thermal'")
    else:
        assert refused == ""


def test_a_file_that_names_no_streams_sees_every_modality_of_the_data(path: Path, held: tuple[str, ...]) -> None:
    study = on(path, held)
    if "model.streams" not in study.factors:
        assert {arm.config.model.modalities() for arm in study.arms.values()} == {held}


def test_every_configuration_can_be_built(path: Path, held: tuple[str, ...]) -> None:
    """Part by part: a detector for each kind of streams, pyramid and heads, a fusion for each stage and its options."""
    for arm in on(path, held).arms.values():
        model = arm.config.model
        plain = model.model_copy(update={"fusion": FusionConfig(kind="add"), "carry": "separate"})
        assert _detector(plain.model_dump_json()) > 100_000
        if len(model.stream_modalities()) > 1:
            for stage, fusion in enumerate(model.fusion.stage_fusions()):
                assert _fusion(model.backbone, stage, fusion.model_dump_json()) >= 0


@cache
def _detector(model: str) -> int:
    with torch.device("meta"), torch.random.fork_rng(devices=[]):
        return _count(build_plain(ModelConfig.model_validate_json(model), DEFAULT_BANDS, num_classes=1))


@cache
def _fusion(backbone: str, stage: int, fusion: str) -> int:
    shape, wanted = stream_shape(backbone), StageFusion.model_validate_json(fusion)
    with torch.device("meta"), torch.random.fork_rng(devices=[]):
        return _count(build_fusion(wanted.kind, shape.widths[stage], wanted.options, heads=shape.heads[stage]))


def _count(module: nn.Module) -> int:
    return sum(parameter.numel() for parameter in module.parameters())


def test_the_baseline_is_the_fields_baseline_or_says_otherwise(path: Path, held: tuple[str, ...]) -> None:
    model = on(path, held).arms[BASELINE].config.model
    assert [stage.kind for stage in model.fusion.stage_fusions()] == ["frm_ffm"] * 4
    assert len(model.stream_modalities()) == 2


def test_its_size_can_be_said_before_it_runs(path: Path) -> None:
    study = study_of(path)
    assert size_text(study).startswith(f"search: {len(study.searched)} trial")
    assert rungs_text(study).startswith("early stopping: ")


def test_the_number_of_trials_in_the_head_is_the_number_drawn(path: Path) -> None:
    expectation = next((line for line in head(path) if line.startswith("Expect:")), None)
    if expectation is not None:
        assert f"{len(study_of(path).searched)} trials" in expectation
