from typing import Any

import pytest
import torch
from torch import Tensor

from tune_cmx.config.trial import FusionConfig, ModelConfig, StageFusion
from tune_cmx.errors import ConfigError, ShapeError
from tune_cmx.models.encoder import Encoder
from tune_cmx.models.fusion import FUSIONS, Fusion, FusionOptions, FusionOutput


class ToyOptions(FusionOptions):
    penalty: float = 2.0


class ToyFusion(Fusion):
    """The mean goes to the pyramid; each stream's own way is cut off."""

    def __init__(self, stage: Any, options: ToyOptions) -> None:
        super().__init__(stage, options)
        self.penalty = options.penalty

    def fuse(self, rgb_BCHW: Tensor, aux_BCHW: Tensor) -> FusionOutput:
        fused_BCHW = (rgb_BCHW + aux_BCHW) / 2
        penalty = self.penalty * fused_BCHW.square().mean()
        return FusionOutput(torch.zeros_like(rgb_BCHW), torch.zeros_like(aux_BCHW), fused_BCHW, {"penalty": penalty})


@pytest.fixture
def toy(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(FUSIONS, "toy", (ToyOptions, ToyFusion))


def _encoder(bands: tuple[int, ...] = (3, 2), **config: Any) -> Encoder:
    torch.manual_seed(0)
    return Encoder(ModelConfig(**{"backbone": "mit_nano", **config}), bands).eval()


def _image(seed: int = 0) -> Tensor:
    return torch.rand(1, 5, 64, 32, generator=torch.Generator().manual_seed(seed))


def test_gives_four_maps_at_strides_4_to_32() -> None:
    maps, losses = _encoder()(_image())
    assert {name: tuple(x.shape) for name, x in maps.items()} == {
        "0": (1, 16, 16, 8),
        "1": (1, 32, 8, 4),
        "2": (1, 48, 4, 2),
        "3": (1, 64, 2, 1),
    }
    assert losses == {}


@pytest.mark.usefixtures("toy")
@pytest.mark.parametrize(("carry", "reached"), [("separate", ["0"]), ("fused", ["0", "1", "2", "3"])])
def test_carry_says_what_the_next_stage_receives(carry: str, reached: list[str]) -> None:
    """A fusion that cuts its streams' own ways: only a fused map carries the image on."""
    encoder = _encoder(carry=carry, fusion=FusionConfig(kind="toy"))
    first, second = encoder(_image(0))[0], encoder(_image(1))[0]
    assert [name for name in first if not torch.equal(first[name], second[name])] == reached


@pytest.mark.usefixtures("toy")
def test_a_fusion_in_the_table_builds_with_its_options_and_losses() -> None:
    options = {"penalty": 3.0}
    _, triple = _encoder(fusion=FusionConfig(kind="toy", stages=(1, 3), elsewhere="add", options=options))(_image())
    _, single = _encoder(fusion=FusionConfig(kind="toy", stages=(1, 3), elsewhere="add", options={"penalty": 1}))(
        _image()
    )
    assert list(triple) == ["fusion1_penalty", "fusion3_penalty"]
    assert triple["fusion1_penalty"].item() == pytest.approx(3 * single["fusion1_penalty"].item())


def test_fusions_may_differ_by_stage() -> None:
    kinds = ("frm_ffm", "cssa", "concat", "add")
    encoder = _encoder(fusion=FusionConfig(per_stage=tuple(StageFusion(kind=kind) for kind in kinds)))
    assert [type(fusion) for fusion in encoder.fusions] == [FUSIONS[kind][1] for kind in kinds]


def test_bands_go_to_their_own_stream() -> None:
    """With `add`, nothing crosses over but at the mean: the difference of two stage-1 maps is one stream's alone."""
    encoder, image = _encoder(fusion=FusionConfig(kind="add")), _image()
    rgb_only, aux_only = image.clone(), image.clone()
    rgb_only[:, 3:] = 0
    aux_only[:, :3] = 0
    maps = [encoder(x)[0]["0"] for x in (image, rgb_only, aux_only, torch.zeros_like(image))]
    torch.testing.assert_close(maps[0] + maps[3], maps[1] + maps[2])
    assert not torch.equal(maps[1], maps[3])
    assert not torch.equal(maps[2], maps[3])


def test_one_stream_alone_has_no_fusion() -> None:
    encoder = _encoder(bands=(3,), streams="rgb")
    maps, losses = encoder(_image()[:, :3])
    assert list(encoder.streams) == ["single"]
    assert len(encoder.fusions) == 0
    assert [x.shape[1] for x in maps.values()] == [16, 32, 48, 64]
    assert losses == {}


def test_arms_of_one_seed_that_differ_in_fusion_start_with_the_same_streams() -> None:
    arms, after = [], []
    for kind in ("frm_ffm", "cssa", "add"):
        arms.append(_encoder(fusion=FusionConfig(kind=kind)).streams.state_dict())
        after.append(torch.rand(1).item())
    assert all(torch.equal(arms[0][name], arm[name]) for arm in arms for name in arms[0])
    assert len(set(after)) == 1  # what is drawn next, such as the heads, is the same too


def test_stages_do_not_share_random_numbers() -> None:
    encoder = _encoder(fusion=FusionConfig(kind="cssa"))
    weights = [parameter.flatten() for parameter in encoder.fusions.parameters()]
    assert len({tuple(weight.tolist()) for weight in weights}) == 8


@pytest.mark.parametrize(
    ("bands", "config", "message"),
    [
        ((3, 2), {"backbone": "mit_b9"}, "model.backbone: unknown backbone 'mit_b9'"),
        ((5,), {}, "has 2 streams; got bands for 1"),
        ((3, 2), {"fusion": FusionConfig(kind="ad")}, "Did you mean 'add'?"),
        ((3,), {"streams": "rgb", "fusion": FusionConfig(kind="ad")}, "Did you mean 'add'?"),
    ],
)
def test_what_cannot_be_built_is_named(bands: tuple[int, ...], config: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError) as error:
        _encoder(bands, **config)
    assert message in str(error.value)


def test_an_image_of_other_bands_is_refused() -> None:
    with pytest.raises(ShapeError, match=r"image has 4 bands; the streams take \(3, 2\)"):
        _encoder()(_image()[:, :4])


@pytest.mark.usefixtures("toy")
def test_a_shape_error_names_its_stage(monkeypatch: pytest.MonkeyPatch) -> None:
    class Lopsided(ToyFusion):
        def fuse(self, rgb_BCHW: Tensor, aux_BCHW: Tensor) -> FusionOutput:
            return FusionOutput(rgb_BCHW[..., :12], aux_BCHW, aux_BCHW)

    monkeypatch.setitem(FUSIONS, "toy", (ToyOptions, Lopsided))
    with pytest.raises(ShapeError, match="encoder stage 2: rgb is "):
        _encoder(fusion=FusionConfig(kind="toy"))(torch.rand(1, 5, 64, 64))


def test_gates_are_told_by_stage_as_means_over_the_images() -> None:
    encoder = _encoder(fusion=FusionConfig(kind="cssa", stages=(2,), elsewhere="add"))
    images = [_image(seed) for seed in range(3)]
    with torch.no_grad():
        encoder(torch.cat(images[:2]))
        encoder(images[2])
        together = encoder.take_statistics()
        apart = []
        for image in images:
            encoder(image)
            apart.append(encoder.take_statistics())
    assert list(together) == ["stage2_exactly_one", "stage2_from_aux", "stage2_from_rgb"]
    for name, mean in together.items():
        assert mean == pytest.approx(sum(one[name] for one in apart) / 3)
    assert encoder.take_statistics() == {}
    encoder.train()(torch.cat(images))
    assert encoder.take_statistics() == {}
