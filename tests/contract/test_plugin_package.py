"""A package of somebody else, installed by pip: its entries are found, and nothing here was edited for them."""

import json
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from plugins import install, seen
from study_writer import StudyWriter
from timm.scheduler.step_lr import StepLRScheduler

from tune_cmx.config.space import read_space
from tune_cmx.config.study import read_study
from tune_cmx.config.trial import DataConfig
from tune_cmx.data.dataset import PairedDataset, build_loader
from tune_cmx.data.prepare import prepare
from tune_cmx.data.readers import open_data
from tune_cmx.data.synthetic import synthesize
from tune_cmx.errors import ConfigError
from tune_cmx.evidence.report.write import write_report
from tune_cmx.evidence.results.reading import read_study as read_results
from tune_cmx.evidence.results.study_claims import evaluate_study_claims
from tune_cmx.models.describe import inspected
from tune_cmx.models.fusion import FUSIONS
from tune_cmx.search.check import check_study
from tune_cmx.search.study_definition import study_plugins, study_protocol
from tune_cmx.training.loggers import require_loggers
from tune_cmx.training.model_probe import build_for
from tune_cmx.training.protocol import plugins_of
from tune_cmx.training.trainer import Trainer

SPACE = """# Does one number a channel do?
study: toy
fixed:
  model:
    backbone: mit_nano
    streams: rgb | thermal
    detector: {image_size: 64, max_size: 96, fpn_channels: 16, head_width: 32, anchor_sizes: [8, 16, 32, 48, 64],
               proposals_train: 50, proposals_eval: 20, rois_per_image: 16}
  schedule: {epochs: 2, batch_size: 4}
search:
  model.fusion.options.start: {uniform: [-1.0, 1.0]}
baseline:
  model.fusion: {kind: frm_ffm}
searcher: {kind: toy_line, trials: 3}
early_stopping: {kind: none, metric: val/toy_mAP_90}
confirm: {finalists: 1, seeds: 2}
loggers: [toy_lines]
claims:
  - {kind: superiority, metric: test/toy_mAP_90, treatment: {model.fusion.kind: toy_mixture}, baseline: baseline}
"""


@pytest.fixture(scope="module", autouse=True)
def _installed(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """The package, in a folder on the path."""
    with seen(install(tmp_path_factory.mktemp("site"))):
        yield


@pytest.fixture
def space(tmp_path: Path) -> Path:
    """A search space that uses each entry but the reader."""
    path = tmp_path / "space.yaml"
    path.write_text(SPACE.replace("    streams", "    fusion: {kind: toy_mixture}\n    streams"))
    return path


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """Thirty pairs of 6 rows and 8 columns: red left, and right a grey that counts up; one car in every second."""
    root = tmp_path / "set"
    for folder in ("pairs", "labels"):
        (root / folder).mkdir(parents=True)
    for number in range(30):
        pair = np.zeros((6, 16, 3), dtype=np.uint8)
        pair[:, :8, 0] = 255
        pair[:, 8:] = number
        Image.fromarray(pair).save(root / "pairs" / f"p{number}.png")
        (root / "labels" / f"p{number}.txt").write_text("1 0.5 0.5 0.5 0.5\n" if number % 2 == 0 else "")
    return root


def test_the_searcher_draws_and_the_metric_selects(space: Path) -> None:
    study = read_study(space)
    drawn = [study.arms[name].values["model.fusion.options.start"] for name in study.searched]
    assert drawn == [-1.0, 0.0, 1.0]
    assert study.file.early_stopping.metric == "val/toy_mAP_90"
    require_loggers(study.file.loggers, "loggers")
    assert study.claimed()


def test_the_fusion_is_checked_and_described(space: Path) -> None:
    study = read_study(space)
    assert [arm.id for arm in check_study(study, None).arms] == list(study.arms)
    (arm,) = (arm for arm in study.arms.values() if arm.values.get("model.fusion.options.start") == 0.0)
    counts = inspected(build_for(arm.config.model, None)).parameters
    assert [counts[f"fusion.{stage}"] for stage in (1, 2, 3, 4)] == [16, 32, 48, 64]


def test_wrong_options_of_the_fusion_are_named(space: Path) -> None:
    space.write_text(space.read_text().replace("[-1.0, 1.0]", "[-9.0, 1.0]"))
    with pytest.raises(ConfigError, match=r"model.fusion.options.start: must be from -4 to 4; got -9.0"):
        check_study(read_study(space), None)


def test_the_fusion_trains(space: Path) -> None:
    study = read_study(space)
    (arm,) = (arm for arm in study.arms.values() if arm.values.get("model.fusion.options.start") == 0.0)
    detector = build_for(arm.config.model, None)
    share = detector.backbone.encoder.fusions[3].share
    optimizer = torch.optim.SGD(detector.parameters(), lr=0.01)
    trainer = Trainer(detector, optimizer, StepLRScheduler(optimizer, 1), 1, torch.device("cpu"))
    box = {"boxes": torch.tensor([[8.0, 8.0, 30.0, 40.0]]), "labels": torch.ones(1, dtype=torch.int64)}
    images = [torch.rand(4, 64, 64, generator=torch.Generator().manual_seed(seed)) for seed in range(2)]
    trainer.epoch(1, [(images, [box, box])])
    assert share.any()


@pytest.mark.parametrize("workers", [0, 1])
def test_the_reader_opens_a_set_here_and_in_loader_processes(root: Path, workers: int) -> None:
    data = open_data(root)
    assert data.layout == "toy_pairs"
    dataset = PairedDataset(data, ["p9", "p10"], ["thermal", "rgb"], augment=None, seed=0)
    ((images, targets),) = build_loader(dataset, batch_size=2, shuffle=False, seed=0, epoch=1, workers=workers)
    assert torch.equal(images[0][:, 0, 0], torch.tensor([9 / 255, 1.0, 0.0, 0.0]))
    assert [target["labels"].tolist() for target in targets] == [[], [2]]


def test_the_protocol_names_the_package_where_a_trial_uses_it(space: Path, root: Path, tmp_path: Path) -> None:
    study = read_study(space, overrides={"data.root": str(root), "data.guard": 2})
    prepared = prepare(study.baseline.config.data, tmp_path / "prepared")
    assert study_plugins(study, prepared) == {"toy-plugin": "1.2.0"}
    fields = study_protocol(study, prepared)
    assert fields["packages.toy-plugin"] == "1.2.0"
    fused = study.arms[study.searched[0]].config
    assert plugins_of([fused], "folders") == {"toy-plugin": "1.2.0"}
    assert plugins_of([study.baseline.config], "folders") == {}
    assert plugins_of([study.baseline.config], "toy_pairs") == {"toy-plugin": "1.2.0"}
    assert plugins_of([study.baseline.config], "folders", ["mAP"]) == {}
    assert plugins_of([study.baseline.config], "folders", ["toy_mAP_90"]) == {"toy-plugin": "1.2.0"}


def test_a_study_that_uses_the_reader_alone_names_it_for_that(space: Path, root: Path, tmp_path: Path) -> None:
    plain = SPACE.partition("searcher:")[0].replace("options.start: {uniform: [-1.0, 1.0]}", "kind: {choice: [add]}")
    space.write_text(f"{plain}early_stopping: {{kind: none}}\n")
    study = read_study(space, overrides={"data.root": str(root)})
    prepared = prepare(DataConfig(root=str(root), guard=2), tmp_path / "prepared")
    assert study_plugins(study, prepared) == {"toy-plugin": "1.2.0"}
    synthetic = prepare(
        DataConfig(root=str(synthesize(tmp_path / "plain", images=12, size=32, sequences=4, seed=0))), tmp_path / "b"
    )
    assert study_plugins(study, synthetic) == {}


def test_the_metric_is_in_claims_and_report(tmp_path: Path) -> None:
    writer = StudyWriter(tmp_path / "cssa-stages")
    writer.arm("baseline", [30.0, 31.0, 32.0])
    writer.arm("stages-4", [33.0, 34.1, 34.9])
    treatment, baseline = ({"model.fusion.kind": kind} for kind in ("cssa", "frm_ffm"))
    claim = {"kind": "superiority", "metric": "test/toy_mAP_90", "treatment": treatment, "baseline": baseline}
    writer.study["claims"] = [{**claim, "text": "CSSA is above on the toy metric"}]
    for file in (writer.folder / "trials").glob("*/final_results.json"):
        content = json.loads(file.read_text())
        for results in content["results_by_split"].values():
            results["toy_mAP_90"] = results["mAP"] / 4
        file.write_text(json.dumps(content))
    folder = Path(writer.write())
    ((_, found),) = evaluate_study_claims(read_results(folder))
    assert found["verdict"] == "SUPPORTED", found["why"]
    text = write_report(folder).read_text(encoding="utf-8")
    assert "mAP@90" in text
    assert "8.50" in text


def test_an_unknown_name_lists_those_of_the_package(space: Path) -> None:
    for wrong, right in (("toy_line,", "toy_lin,"), ("toy_mixture", "toy_mixtur"), ("val/toy_mAP_90", "val/toy_mAP")):
        text = space.read_text()
        space.write_text(text.replace(wrong, right))
        with pytest.raises(ConfigError, match=wrong.strip(",")):
            check_study(read_study(space), None)
        space.write_text(text)
    with pytest.raises(ConfigError, match=r"unknown logger 'toy_line'. Known: .*toy_lines. Did you mean 'toy_lines'"):
        require_loggers(["toy_line"], f"{read_space(space).path}: loggers")
    assert "toy_mixture" in FUSIONS
