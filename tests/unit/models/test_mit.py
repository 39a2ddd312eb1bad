from dataclasses import replace

import pytest
import torch
from timm.layers.drop import DropPath
from timm.models.pvt_v2 import PyramidVisionTransformerV2
from torch import Tensor, nn

from tune_cmx.models.mit import MIT, MixTransformer


def _stream(variant: str, bands: int = 3, drop_path: float = 0.0) -> MixTransformer:
    return MixTransformer(MIT[variant], bands, drop_path)


def _stages(stream: MixTransformer, image: Tensor) -> list[Tensor]:
    maps = [image]
    for stage in (1, 2, 3, 4):
        maps.append(stream.forward_stage(stage, maps[-1]))
    return maps[1:]


@pytest.mark.parametrize("variant", sorted(MIT))
def test_maps_have_the_widths_and_strides_promised(variant: str) -> None:
    """With one block a stage: more of them change no map's size."""
    with torch.device("meta"):
        stream = MixTransformer(replace(MIT[variant], depths=(1, 1, 1, 1)), 2, drop_path=0.0)
        maps = _stages(stream, torch.empty(1, 2, 64, 96))
    found = [(x.shape[1], 64 // x.shape[2], 96 // x.shape[3]) for x in maps]
    assert found == [(width, stride, stride) for width, stride in zip(stream.channels, stream.strides, strict=True)]


def test_odd_image_sizes_run() -> None:
    assert [tuple(x.shape[2:]) for x in _stages(_stream("mit_nano"), torch.rand(1, 3, 75, 50))] == [
        (19, 13),
        (10, 7),
        (5, 4),
        (3, 2),
    ]


@pytest.mark.parametrize(("variant", "keys"), [("mit_b0", 176), ("mit_b1", 176), ("mit_b2", 332)])
def test_names_are_those_of_the_published_files(variant: str, keys: int) -> None:
    """The files' classifier, `head`, is not counted."""
    with torch.device("meta"):
        state = _stream(variant).state_dict()
    width = MIT[variant].widths[0]
    assert len(state) == keys
    assert state["patch_embed1.proj.weight"].shape == (width, 3, 7, 7)
    assert state["block1.0.attn.kv.weight"].shape == (2 * width, width)
    assert state["block1.0.attn.sr.weight"].shape == (width, width, 8, 8)
    assert state["block1.1.mlp.dwconv.dwconv.weight"].shape == (4 * width, 1, 3, 3)
    assert {"block1.0.attn.q.bias", "block1.0.attn.norm.weight", "block1.0.attn.proj.bias"} <= set(state)
    assert {"block4.1.mlp.fc1.bias", "block4.1.mlp.fc2.bias", "block4.1.norm2.bias", "norm4.weight"} <= set(state)
    assert "block4.0.attn.sr.weight" not in state


def _timm_name(name: str) -> str:
    """timm calls the parts of PVT v2, which has the same blocks, by other names."""
    head, _, rest = name.partition(".")
    part, stage = head[:-1], int(head[-1])
    if part == "patch_embed":
        return f"patch_embed.{rest}" if stage == 1 else f"stages.{stage - 1}.downsample.{rest}"
    return f"stages.{stage - 1}.{ {'block': 'blocks', 'norm': 'norm'}[part] }.{rest}".replace("dwconv.dwconv", "dwconv")


def test_features_agree_with_an_independent_implementation() -> None:
    """With MLP ratio 4 throughout, timm's PVT v2 is a Mix Transformer but for the eps of its norms."""
    torch.manual_seed(0)
    shape = MIT["mit_b0"]
    stream = _stream("mit_b0").eval()
    reference = PyramidVisionTransformerV2(
        depths=shape.depths, embed_dims=shape.widths, num_heads=shape.heads, sr_ratios=shape.reductions,
        mlp_ratios=(4, 4, 4, 4), num_classes=0,
    ).eval()  # fmt: skip
    reference.load_state_dict({_timm_name(name): value for name, value in stream.state_dict().items()})
    eps = {name: module.eps for name, module in stream.named_modules() if isinstance(module, nn.LayerNorm)}
    for name, value in eps.items():
        reference.get_submodule(_timm_name(name + ".").rstrip(".")).eps = value
    image = torch.rand(2, 3, 64, 96)
    with torch.no_grad():
        found, x = _stages(stream, image), reference.patch_embed(image)
        for mine, stage in zip(found, reference.stages, strict=True):
            x = stage(x)
            torch.testing.assert_close(mine, x, rtol=1e-4, atol=1e-4)


def test_norms_have_the_eps_of_cmx() -> None:
    modules = dict(_stream("mit_nano").named_modules())
    eps = {name: module.eps for name, module in modules.items() if isinstance(module, nn.LayerNorm)}
    assert {eps["norm1"], eps["block1.0.norm1"], eps["block4.0.norm2"]} == {1e-6}
    assert {eps["patch_embed1.norm"], eps["block1.0.attn.norm"]} == {1e-5}


def test_drop_path_rises_linearly() -> None:
    drops = [module.drop_prob for module in _stream("mit_b0", drop_path=0.1).modules() if isinstance(module, DropPath)]
    assert drops == pytest.approx([0.1 * index / 7 for index in range(8)])


def test_drop_path_acts_in_training_only() -> None:
    torch.manual_seed(0)
    stream, image = _stream("mit_nano", drop_path=0.9), torch.rand(2, 3, 32, 32)
    assert not torch.equal(_stages(stream, image)[3], _stages(stream, image)[3])
    stream.eval()
    assert torch.equal(_stages(stream, image)[3], _stages(stream, image)[3])


def test_weights_start_as_published() -> None:
    torch.manual_seed(0)
    state = _stream("mit_b0").state_dict()
    assert state["block4.0.mlp.fc1.weight"].std().item() == pytest.approx(0.02, rel=0.02)
    fan_out = 3 * 3 * 256
    assert state["patch_embed4.proj.weight"].std().item() == pytest.approx((2 / fan_out) ** 0.5, rel=0.02)
    depthwise_fan_out = 3 * 3
    assert state["block4.0.mlp.dwconv.dwconv.weight"].std().item() == pytest.approx(
        (2 / depthwise_fan_out) ** 0.5, rel=0.05
    )
    assert state["block4.0.mlp.fc1.bias"].abs().max() == 0
