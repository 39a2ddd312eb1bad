"""First weights as others save them, from the file to the trained trial."""

from __future__ import annotations

import json
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
import timm
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor, nn
from transformers import (
    SegformerConfig,
    SegformerForImageClassification,
    SegformerForSemanticSegmentation,
    SegformerModel,
)
from transformers.utils.logging import disable_progress_bar

from tune_cmx.config.parse import parse_trial
from tune_cmx.config.trial import FusionConfig, ModelConfig
from tune_cmx.errors import ConfigError
from tune_cmx.models.encoder import Encoder
from tune_cmx.models.mit import MIT, MixTransformer
from tune_cmx.models.pretrained import check_pretrained, load_pretrained
from tune_cmx.models.timm_stream import TimmStream
from tune_cmx.training.assembly import build_trial_model
from tune_cmx.training.run import run_trial
from tune_cmx.training.run_folder import RunFolder

if TYPE_CHECKING:
    from conftest import Tiny

    from tune_cmx.config.trial import TrialConfig
    from tune_cmx.data.prepare import Prepared

IMAGE = torch.rand(2, 3, 64, 96, generator=torch.Generator().manual_seed(1))


def _reference(backbone: str, kind: Any = SegformerModel) -> Any:
    """Hugging Face's model with no weight at a round number: one taken for another shows."""
    disable_progress_bar()
    torch.manual_seed(3)
    shape = MIT[backbone]
    config = SegformerConfig(
        depths=list(shape.depths), hidden_sizes=list(shape.widths), num_attention_heads=list(shape.heads),
        sr_ratios=list(shape.reductions), num_labels=5,
    )  # fmt: skip
    model = kind(config).eval()
    with torch.no_grad():
        for weight in model.parameters():
            weight.add_(0.05 * torch.randn_like(weight))
    return model


def _nvidia(hugging_face: dict[str, Tensor]) -> dict[str, Tensor]:
    """The published conversion, from the end to the start: what it replaces in a name, put back."""
    back = [
        ("attention.output.dense", "attn.proj"), ("attention.self.query", "attn.q"), ("attention.self.sr", "attn.sr"),
        ("attention.self.layer_norm", "attn.norm"), ("layer_norm_1", "norm1"), ("layer_norm_2", "norm2"),
        ("mlp.dense1", "mlp.fc1"), ("mlp.dense2", "mlp.fc2"),
    ]  # fmt: skip
    found = {}
    for full, value in hugging_face.items():
        name = full.removeprefix("segformer.").removeprefix("encoder.")
        if ".attention.self.value." in name:
            continue
        if ".attention.self.key." in name:
            value = torch.cat([value, hugging_face[full.replace("self.key", "self.value")]], dim=0)
            name = name.replace("attention.self.key", "attn.kv")
        for theirs, original in back:
            name = name.replace(theirs, original)
        for stage in range(4):
            name = name.replace(f"patch_embeddings.{stage}.layer_norm", f"patch_embed{stage + 1}.norm")
            name = name.replace(f"patch_embeddings.{stage}.", f"patch_embed{stage + 1}.")
            name = f"block{stage + 1}.{name[8:]}" if name.startswith(f"block.{stage}.") else name
            name = f"norm{stage + 1}.{name[13:]}" if name.startswith(f"layer_norm.{stage}.") else name
        found[name.replace("classifier.", "head.")] = value
    return found


def _stream(backbone: str, path: Path) -> MixTransformer:
    """Its weights from the file, the eps of its norms as Hugging Face has them."""
    config = ModelConfig.model_validate({"backbone": backbone, "streams": "rgb", "pretrained": str(path)})
    torch.manual_seed(0)
    encoder = Encoder(config, (3,)).eval()
    (transfer,) = load_pretrained(encoder, config)
    assert (transfer.random, dict(transfer.adapted)) == ((), {})
    assert len(transfer.loaded) == len(encoder.streams["single"].state_dict())
    for module in encoder.modules():
        if isinstance(module, nn.LayerNorm):
            module.eps = 1e-5
    stream = encoder.streams["single"]
    assert isinstance(stream, MixTransformer)
    return stream


def _assert_same_features(stream: MixTransformer, reference: Any) -> None:
    assert {module.eps for module in reference.modules() if isinstance(module, nn.LayerNorm)} == {1e-5}
    x = IMAGE
    with torch.no_grad():
        theirs = reference(IMAGE, output_hidden_states=True).hidden_states
        assert len(theirs) == 4
        for stage in (1, 2, 3, 4):
            x = stream.forward_stage(stage, x)
            torch.testing.assert_close(x, theirs[stage - 1], rtol=0, atol=1e-5)


@pytest.mark.parametrize("backbone", ["mit_b0", "mit_b2"])
def test_features_are_those_of_hugging_face_from_each_form_of_file(backbone: str, tmp_path: Path) -> None:
    reference = _reference(backbone)
    reference.save_pretrained(tmp_path)
    saved = load_file(tmp_path / "model.safetensors")
    assert len(saved) == {"mit_b0": 192, "mit_b2": 364}[backbone]
    assert "encoder.block.0.0.attention.self.query.weight" in saved
    torch.save(saved, tmp_path / "pytorch_model.bin")
    torch.save(_nvidia(saved), tmp_path / f"{backbone}.pth")
    assert len(_nvidia(saved)) == {"mit_b0": 176, "mit_b2": 332}[backbone]
    torch.save(reference.state_dict(), tmp_path / "at_run_time.pth")
    for name in ("model.safetensors", "pytorch_model.bin", f"{backbone}.pth", "at_run_time.pth"):
        _assert_same_features(_stream(backbone, tmp_path / name), reference)


@pytest.mark.parametrize(
    ("kind", "left"),
    [(SegformerForImageClassification, "classifier."), (SegformerForSemanticSegmentation, "decode_head.")],
)
def test_a_whole_models_file_gives_its_encoder(kind: Any, left: str, tmp_path: Path) -> None:
    """Published encoders come with their classifier; NVIDIA calls it `head`."""
    reference = _reference("mit_b0", kind)
    reference.save_pretrained(tmp_path)
    saved = load_file(tmp_path / "model.safetensors")
    assert any(name.startswith("segformer.encoder.") for name in saved)
    assert any(name.startswith(left) for name in saved)
    _assert_same_features(_stream("mit_b0", tmp_path / "model.safetensors"), reference.segformer)
    save_file(_nvidia(saved), tmp_path / "nvidia.safetensors")
    _assert_same_features(_stream("mit_b0", tmp_path / "nvidia.safetensors"), reference.segformer)


def test_a_file_of_b0_does_not_pass_for_b1(tmp_path: Path) -> None:
    _reference("mit_b0").save_pretrained(tmp_path)
    config = ModelConfig.model_validate({"pretrained": str(tmp_path / "model.safetensors")})
    with pytest.raises(ConfigError, match=r"0 of 176 tensors fit mit_b1; .* set model\.backbone: mit_b0"):
        check_pretrained(config, (3, 2))


@pytest.fixture
def config(tiny: Tiny, tmp_path: Path) -> TrialConfig:
    """A trial that starts from a file."""
    torch.manual_seed(9)
    torch.save(MixTransformer(MIT["mit_nano"], 3, 0.0).state_dict(), tmp_path / "mit_nano.pth")
    content = json.loads(tiny.study().arms["stages-2"].config.model_dump_json())
    content["model"]["pretrained"] = str(tmp_path / "mit_nano.pth")
    return parse_trial(content, source="test")


def test_a_trial_starts_from_the_file_and_says_so(
    tiny: Tiny, prepared: Prepared, config: TrialConfig, tmp_path: Path
) -> None:
    plain = config.model_copy(update={"model": config.model.model_copy(update={"pretrained": None})})
    records = []
    for name, one in (("pretrained", config), ("random", plain)):
        records.append(RunFolder.plan(tiny.folder / name, one, arm="stages-2", phase="single"))
        assert len(list(run_trial(records[-1], prepared))) == 3
    rgb, aux = records[0].state().transfer
    assert (rgb.stream, rgb.source, rgb.adapted) == ("rgb", str(tmp_path / "mit_nano.pth"), {})
    assert config.model.pretrained is not None
    assert config.model.pretrained.every is not None
    assert aux.sha256 == config.model.pretrained.every.sha256
    assert (list(aux.adapted), aux.random) == (["patch_embed1.proj.weight"], 0)
    assert records[1].state().transfer == ()
    assert tiny.numbers(records[0]) != tiny.numbers(records[1])


def test_a_resumed_trial_does_not_read_the_file_again(tiny: Tiny, prepared: Prepared, config: TrialConfig) -> None:
    whole = RunFolder.plan(tiny.folder / "whole", config, arm="stages-2", phase="single")
    list(run_trial(whole, prepared))
    parts = RunFolder.plan(tiny.folder / "parts", config, arm="stages-2", phase="single")
    with closing(run_trial(parts, prepared)) as epochs:
        next(epochs)
    assert config.model.pretrained is not None
    assert config.model.pretrained.every is not None
    Path(config.model.pretrained.every.path).unlink()
    assert len(list(run_trial(parts, prepared))) == 3
    assert tiny.numbers(parts) == tiny.numbers(whole)
    assert tiny.weights(parts) == tiny.weights(whole)
    assert parts.state().transfer == whole.state().transfer


def test_fusion_and_heads_start_alike_with_and_without_the_file(prepared: Prepared, config: TrialConfig) -> None:
    first, second = (build_trial_model(config, prepared) for _ in range(2))
    load_pretrained(first.backbone.encoder, config.model)
    states = (first.state_dict(), second.state_dict())
    moved = {name.split(".")[2] for name, value in states[0].items() if not torch.equal(value, states[1][name])}
    assert moved == {"streams"}


@pytest.fixture
def hub(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> dict[str, Tensor]:
    """A cache of the hub that holds timm's weights of one model, as an earlier run leaves it; no network."""
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path))
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    torch.manual_seed(5)
    weights: dict[str, Tensor] = timm.create_model("pvt_v2_b0").state_dict()
    kept = tmp_path / "models--timm--pvt_v2_b0.in1k"
    (kept / "snapshots" / "1").mkdir(parents=True)
    (kept / "refs").mkdir()
    (kept / "refs" / "main").write_text("1")
    save_file(weights, kept / "snapshots" / "1" / "model.safetensors")
    return weights


def _timm_encoder(backbone: str) -> tuple[Encoder, ModelConfig]:
    fields = {"backbone": backbone, "pretrained": "timm", "fusion": FusionConfig(kind="add")}
    config = ModelConfig.model_validate(fields)
    check_pretrained(config, (3, 2))
    torch.manual_seed(0)
    return Encoder(config, (3, 2)), config


def test_timm_gives_its_backbone_the_weights_that_it_publishes(hub: dict[str, Tensor]) -> None:
    encoder, config = _timm_encoder("timm/pvt_v2_b0")
    generator = torch.get_rng_state()
    rgb, aux = load_pretrained(encoder, config)
    assert torch.equal(torch.get_rng_state(), generator)
    assert (rgb.source, rgb.random, dict(rgb.adapted)) == ("timm/pvt_v2_b0.in1k", (), {})
    assert list(aux.adapted) == ["patch_embed.proj.weight"]
    assert set(rgb.loaded) == {*aux.loaded, "patch_embed.proj.weight"}
    stream = encoder.streams["rgb"]
    assert isinstance(stream, TimmStream)
    state = stream.net.state_dict()
    assert torch.equal(state["patch_embed.proj.weight"], hub["patch_embed.proj.weight"])
    assert torch.equal(state["stages_3.norm.weight"], hub["stages.3.norm.weight"])
    assert torch.equal(state["stages_1.blocks.1.mlp.fc1.weight"], hub["stages.1.blocks.1.mlp.fc1.weight"])


@pytest.mark.usefixtures("hub")
def test_weights_that_cannot_be_fetched_are_an_error_that_names_the_way_out() -> None:
    encoder, config = _timm_encoder("timm/resnet18")
    with pytest.raises(ConfigError, match=r"the weights of timm/resnet18 cannot be fetched; they need the network"):
        load_pretrained(encoder, config)


def test_a_model_that_timm_publishes_no_weights_for_is_refused_up_front() -> None:
    with pytest.raises(ConfigError, match="timm publishes no weights for timm/davit_large; leave"):
        check_pretrained(ModelConfig.model_validate({"backbone": "timm/davit_large", "pretrained": "timm"}), (3, 2))
