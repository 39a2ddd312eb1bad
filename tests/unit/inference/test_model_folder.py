"""A model folder stands alone, stores no weight twice, and is refused where it is not whole."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
import yaml
from complete_run import change, complete_run
from huggingface_hub import ModelCard
from safetensors.torch import load_file, save_file

import tune_cmx
from tune_cmx.errors import ConfigError, DataError
from tune_cmx.inference.loading import load_with_remarks
from tune_cmx.inference.model_folder import export_run, leave_model, sha256_of, try_to_leave_model
from tune_cmx.state.model_state import read_model_state
from tune_cmx.training.run_folder import RunFolder

Change = Callable[[Path], None]


@pytest.fixture
def copied(model: Path, tmp_path: Path) -> Path:
    """The folder somewhere else, so that it may be spoilt."""
    return shutil.copytree(model, tmp_path / "copied")


def test_the_folder_describes_the_model(model: Path, run: RunFolder, images: Path) -> None:
    assert {path.name for path in model.iterdir()} == {"model.json", "model.safetensors", "split.json", "README.md"}
    state = read_model_state(model / "model.json")
    assert (state.name, state.classes, state.streams) == (run.folder.name, ("object",), "rgb | thermal")
    assert list(state.modalities) == ["rgb", "thermal"]
    rgb = state.modalities["rgb"]
    assert (rgb.channels, rgb.number_type, rgb.scale.kind, len(rgb.mean), len(rgb.std)) == (
        (0, 1, 2),
        "uint8",
        "type",
        3,
        3,
    )
    assert state.image_sizes is not None
    assert state.image_sizes.largest == (64, 64)
    recorded = json.loads((run.folder / "final_results.json").read_text())["results"]
    assert {name: one.value for name, one in state.metrics["test"].items()} == recorded
    assert state.metrics["test"]["mAP"].n == len(json.loads((model / "split.json").read_text())["test"])
    assert state.data_fingerprint == run.state().data_fingerprint
    assert state.split_hash == json.loads((model / "split.json").read_text())["hash"]
    assert str(images) not in (model / "model.json").read_text()


def test_the_weights_are_stored_once(model: Path, run: RunFolder) -> None:
    (weights,) = run.checkpoints.glob("*/model.safetensors")
    assert weights.stat().st_ino == (model / "model.safetensors").stat().st_ino


def test_the_averaged_weights_are_those_of_the_folder(images: Path, tmp_path: Path) -> None:
    made, prepared = complete_run(
        tmp_path / "trials" / "run",
        images,
        phase="single",
        scores=(1, 2),
        schedule={"epochs": 2, "batch_size": 4, "ema_decay": 0.9},
    )
    (checkpoint,) = made.checkpoints.iterdir()
    weights = {name: tensor + 1 for name, tensor in load_file(checkpoint / "model.safetensors").items()}
    save_file(weights, checkpoint / "ema.safetensors")
    folder = leave_model(made, prepared)
    assert folder is not None
    assert (folder / "model.safetensors").stat().st_ino == (checkpoint / "ema.safetensors").stat().st_ino
    assert read_model_state(folder / "model.json").ema


@pytest.mark.parametrize(("phase", "status"), [("search", "complete"), ("confirm", "stopped"), ("confirm", "failed")])
def test_other_runs_leave_no_model(phase: str, status: str, images: Path, tmp_path: Path) -> None:
    made, prepared = complete_run(tmp_path / "trials" / "run", images, phase=phase, scores=(1, 2))
    made.update(status=status)
    try_to_leave_model(made, prepared)
    assert not (made.folder / "model").exists()


def test_a_disk_that_fails_does_not_fail_the_trial(
    images: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    made, prepared = complete_run(tmp_path / "trials" / "run", images, scores=(1, 2))

    def fail(*_: object, **__: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("tune_cmx.inference.model_folder.shutil.copyfile", fail)
    monkeypatch.setattr("tune_cmx.inference.model_folder.os.link", fail)
    try_to_leave_model(made, prepared)
    assert "no model folder was written: [Errno 28] No space left on device" in caplog.text
    assert not [path for path in made.folder.iterdir() if "model" in path.name]


def test_a_model_is_taken_out_of_its_run(run: RunFolder, tmp_path: Path) -> None:
    target = tmp_path / "out" / "model"
    export_run(run.folder, target, license="apache-2.0")
    assert read_model_state(target / "model.json").license == "apache-2.0"
    assert (target / "model.safetensors").stat().st_ino != (run.folder / "model" / "model.safetensors").stat().st_ino
    with pytest.raises(ConfigError, match="a model is there; add --force to replace it"):
        export_run(run.folder, target)
    export_run(run.folder, target, force=True)
    assert read_model_state(target / "model.json").license is None
    assert [path.name for path in target.parent.iterdir()] == ["model"]
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "letter.txt").write_text("keep")
    with pytest.raises(ConfigError, match="exists and is no model folder"):
        export_run(run.folder, tmp_path / "mine", force=True)


def test_weights_of_a_copy_without_its_links_come_from_the_checkpoint(run: RunFolder, tmp_path: Path) -> None:
    copy = Path(shutil.copytree(run.folder, tmp_path / "run"))
    (copy / "model" / "model.safetensors").unlink()  # as on object storage
    export_run(copy, tmp_path / "out")
    assert sha256_of(tmp_path / "out" / "model.safetensors") == sha256_of(run.folder / "model" / "model.safetensors")


def test_the_card_has_what_hubs_read(run: RunFolder, tmp_path: Path) -> None:
    export_run(run.folder, tmp_path / "out", license="mit", layout="llvip")
    card = ModelCard.load(tmp_path / "out" / "README.md")
    assert (card.data.license, card.data.library_name, card.data.pipeline_tag) == (
        "mit",
        "tune_cmx",
        "object-detection",
    )
    assert card.data.datasets == ["llvip"]
    assert {"rgb", "thermal"} <= set(card.data.tags or [])
    assert card.data.eval_results is not None
    results = {(one.dataset_split, one.metric_type): one.metric_value for one in card.data.eval_results}
    assert results["val", "mAP"] == 1.0
    assert ("test", "mAP_large") not in results  # undefined: no box is that large
    front = yaml.safe_load((run.folder / "model" / "README.md").read_text().split("---")[1])
    assert "license" not in front


def test_a_copy_is_loaded_and_the_random_state_stays(copied: Path) -> None:
    before = torch.random.get_rng_state()
    detector = tune_cmx.load(copied, device="cpu")
    assert torch.equal(torch.random.get_rng_state(), before)
    assert (detector.classes, list(detector.modalities)) == (("object",), ["rgb", "thermal"])
    kept = load_file(copied / "model.safetensors")
    assert all(torch.equal(kept[name], tensor) for name, tensor in detector.network.state_dict().items())


def _config(path: Path, **changes: object) -> None:
    content = json.loads((path / "model.json").read_text())
    change(path / "model.json", config={**content["config"], "model": {**content["config"]["model"], **changes}})


def _weights(path: Path, edit: Callable[[dict[str, torch.Tensor]], object]) -> None:
    tensors = load_file(path / "model.safetensors")
    edit(tensors)
    save_file(tensors, path / "model.safetensors")
    change(path / "model.json", weights_sha256=sha256_of(path / "model.safetensors"))


def _without(path: Path, modality: str) -> None:
    content = json.loads((path / "model.json").read_text())["modalities"]
    change(path / "model.json", modalities={name: one for name, one in content.items() if name != modality})


BIAS = "roi_heads.box_predictor.cls_score.bias"
SPOILT: dict[str, tuple[Change, str]] = {
    "no description": (lambda path: (path / "model.json").unlink(), r"copied: no model.json here, so it is no model"),
    "no weights": (lambda path: (path / "model.safetensors").unlink(), r"model.safetensors: is missing"),
    "no JSON": (lambda path: (path / "model.json").write_text("{"), r"model.json: not valid JSON"),
    "wrong type": (lambda path: change(path / "model.json", classes="person"), r"model.json: classes: .*got 'person'"),
    "no classes": (lambda path: change(path / "model.json", classes=[]), r"model.json: classes: "),
    "newer": (lambda path: change(path / "model.json", form=99), r"form is 99; this version reads 1"),
    "modality": (lambda path: _without(path, "thermal"), r"modalities: thermal is missing, which config.model.streams"),
    "option": (lambda path: _config(path, colour=1), r"model.json: config: model.colour: unknown key"),
    "cut": (
        lambda path: (path / "model.safetensors").write_bytes((path / "model.safetensors").read_bytes()[:-9]),
        r"model.safetensors: its SHA-256 hash is",
    ),
    "tensor": (lambda path: _weights(path, lambda t: t.pop(BIAS)), rf"{BIAS} is missing; these are not the weights"),
    "shape": (
        lambda path: _weights(path, lambda t: t.update({BIAS: torch.zeros(7)})),
        rf"{BIAS} has shape \(7,\); \(2,\) is needed",
    ),
    "further": (
        lambda path: _weights(path, lambda t: t.update(more=torch.zeros(1))),
        r"more has no place",
    ),
    "deviation": (lambda path: _unequal(path), r"modalities.rgb: 3 channels, 1 means and 3 deviations"),
}


def _unequal(path: Path) -> None:
    content = json.loads((path / "model.json").read_text())["modalities"]
    content["rgb"]["mean"] = [0.5]
    change(path / "model.json", modalities=content)


@pytest.mark.parametrize("name", SPOILT)
def test_a_damaged_folder_is_refused(name: str, copied: Path) -> None:
    spoil, words = SPOILT[name]
    spoil(copied)
    with pytest.raises((DataError, ConfigError), match=words):
        tune_cmx.load(copied, device="cpu")


def test_a_pickle_in_place_of_the_weights_is_not_read(copied: Path) -> None:
    torch.save({"weights": torch.zeros(1)}, copied / "model.safetensors")
    change(copied / "model.json", weights_sha256=sha256_of(copied / "model.safetensors"))
    with pytest.raises(DataError, match="is no file of safetensors"):
        tune_cmx.load(copied, device="cpu")


def test_another_code_version_is_a_warning(copied: Path) -> None:
    change(copied / "model.json", code_version="0.0.9+abc")
    with pytest.warns(UserWarning, match=r"code_version is 0.0.9\+abc, this is") as caught:
        tune_cmx.load(copied, device="cpu")
    assert caught[0].filename == __file__
    _, remarks = load_with_remarks(copied, device="cpu")
    assert len(remarks) == 1
    _config(copied, colour=1)
    with pytest.raises(ConfigError, match=r"unknown key.*0.0.9\+abc.*install the version that wrote it"):
        tune_cmx.load(copied, device="cpu")
