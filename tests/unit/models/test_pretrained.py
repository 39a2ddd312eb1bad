"""First weights from files: what is loaded, what is fitted, what is refused."""

import argparse
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import save_file
from torch import Tensor

from tune_cmx.config.trial import FusionConfig, ModelConfig
from tune_cmx.errors import ConfigError
from tune_cmx.models.encoder import Encoder
from tune_cmx.models.mit import MIT, MixTransformer
from tune_cmx.models.pretrained import check_pretrained, load_pretrained

Save = Callable[[Mapping[str, Tensor]], Path]
FIRST = "patch_embed1.proj.weight"


def _published(backbone: str = "mit_nano", bands: int = 3) -> dict[str, Tensor]:
    """As an encoder's authors would publish it, with a classifier."""
    torch.manual_seed(7)
    state = MixTransformer(MIT[backbone], bands, 0.0).state_dict()
    width = MIT[backbone].widths[3]
    return {**state, "head.weight": torch.rand(1000, width), "head.bias": torch.rand(1000)}


@pytest.fixture
def save(tmp_path: Path) -> Save:
    def written(weights: Mapping[str, Tensor]) -> Path:
        path = tmp_path / f"{len(list(tmp_path.iterdir()))}.pth"
        torch.save(dict(weights), path)
        return path

    return written


def _config(pretrained: Any, **model: Any) -> ModelConfig:
    given = str(pretrained) if isinstance(pretrained, Path) else pretrained
    fields = {"backbone": "mit_nano", "pretrained": given, "fusion": FusionConfig(kind="frm_ffm"), **model}
    return ModelConfig.model_validate(fields)


def _encoder(config: ModelConfig, bands: tuple[int, ...] = (3, 2)) -> Encoder:
    torch.manual_seed(0)
    return Encoder(config, bands)


def test_both_streams_take_the_file_and_all_else_keeps_its_weights(save: Save) -> None:
    weights = _published()
    config = _config(save(weights))
    encoder = _encoder(config)
    fusions = {name: value.clone() for name, value in encoder.fusions.state_dict().items()}
    generator = torch.get_rng_state()
    rgb, aux = load_pretrained(encoder, config)
    for stream in encoder.streams.values():
        state = stream.state_dict()
        assert all(torch.equal(state[name], weights[name]) for name in state if name != FIRST)
    assert torch.equal(encoder.streams["rgb"].state_dict()[FIRST], weights[FIRST])
    assert all(torch.equal(value, fusions[name]) for name, value in encoder.fusions.state_dict().items())
    assert torch.equal(torch.get_rng_state(), generator)
    assert (rgb.stream, aux.stream) == ("rgb", "aux")
    assert set(rgb.loaded) == set(weights) - {"head.weight", "head.bias"}
    assert (rgb.adapted, rgb.random, rgb.unused) == ({}, (), ("head.weight", "head.bias"))
    assert set(rgb.loaded) - set(aux.loaded) == {FIRST} == set(aux.adapted)


@pytest.mark.parametrize("bands", [1, 2, 5])
def test_an_image_of_equal_bands_gives_the_same_response_at_any_number_of_bands(save: Save, bands: int) -> None:
    config = _config(save(_published()), streams="thermal")
    encoder = _encoder(config, (bands,))
    (transfer,) = load_pretrained(encoder, config)
    reference = MixTransformer(MIT["mit_nano"], 3, 0.0)
    reference.load_state_dict({name: value for name, value in _published().items() if "head" not in name})
    grey = torch.rand(1, 1, 32, 32)
    stream = encoder.streams["single"]
    assert isinstance(stream, MixTransformer)
    filters = stream.state_dict()[FIRST]
    assert all(torch.equal(filters[:, 0], filters[:, band]) for band in range(bands))
    response = stream.patch_embed1.proj(grey.expand(1, bands, 32, 32))  # type: ignore[operator, union-attr]
    expected = reference.patch_embed1.proj(grey.expand(1, 3, 32, 32))  # type: ignore[operator, union-attr]
    torch.testing.assert_close(response, expected)
    assert transfer.adapted == {FIRST: f"mean of 3 bands, scaled, for each of {bands}"}


def test_a_file_a_stream(save: Save) -> None:
    weights, others = _published(), {name: value + 1 for name, value in _published(bands=2).items()}
    config = _config({"rgb": str(save(weights)), "aux": str(save(others))})
    encoder = _encoder(config)
    transfers = load_pretrained(encoder, config)
    assert torch.equal(encoder.streams["aux"].state_dict()[FIRST], others[FIRST])
    assert torch.equal(encoder.streams["rgb"].state_dict()[FIRST], weights[FIRST])
    assert [part.adapted for part in transfers] == [{}, {}]


def test_a_stream_without_a_file_stays_random_and_says_so(save: Save) -> None:
    config = _config({"aux": str(save(_published()))})
    encoder, fresh = _encoder(config), _encoder(config)
    rgb, aux = load_pretrained(encoder, config)
    assert (rgb.source, rgb.sha256, rgb.loaded) == ("random", None, ())
    assert set(rgb.random) == set(encoder.streams["rgb"].state_dict())
    assert aux.random == ()
    before = fresh.streams["rgb"].state_dict()
    assert all(torch.equal(value, before[name]) for name, value in encoder.streams["rgb"].state_dict().items())


def test_what_a_file_lacks_stays_random_and_is_listed(save: Save) -> None:
    weights = {name: value for name, value in _published().items() if not name.startswith("norm")}
    weights["block1.0.attn.q.weight"] = torch.zeros(3, 3)
    config = _config(save(weights), streams="rgb")
    (transfer,) = load_pretrained(_encoder(config, (3,)), config)
    lacking = [f"norm{stage}.{kind}" for stage in (1, 2, 3, 4) for kind in ("weight", "bias")]
    assert sorted(transfer.random) == sorted(["block1.0.attn.q.weight", *lacking])
    assert "block1.0.attn.q.weight" in transfer.unused
    short = transfer.short()
    assert (short["loaded"], short["random"]) == (len(transfer.loaded), 9)
    assert short["random_names"][-1] == "and 1 more"


def test_safetensors_half_precision_and_a_wrapper_of_another_program(tmp_path: Path) -> None:
    weights = _published()
    half = tmp_path / "half.safetensors"
    save_file({name: value.half() for name, value in weights.items()}, half)
    wrapped = tmp_path / "wrapped.pth"
    torch.save({"state_dict": {f"backbone.{name}": value for name, value in weights.items()}, "epoch": 3}, wrapped)
    for path, tolerance in ((half, 1e-3), (wrapped, 0.0)):
        config = _config(path, streams="rgb")
        encoder = _encoder(config, (3,))
        (transfer,) = load_pretrained(encoder, config)
        state = encoder.streams["single"].state_dict()
        assert transfer.random == ()
        assert state[FIRST].dtype == torch.float32
        torch.testing.assert_close(state[FIRST], weights[FIRST], rtol=0, atol=tolerance)


class _Dangerous:
    """Unpickling it would make a file."""

    def __init__(self, mark: Path) -> None:
        self._mark = mark

    def __reduce__(self) -> Any:
        return Path.touch, (self._mark,)


def test_a_pickle_is_never_run(tmp_path: Path) -> None:
    path, mark = tmp_path / "weights.bin", tmp_path / "ran"
    torch.save({**_published(), "args": _Dangerous(mark)}, path)
    config = _config(path)
    with pytest.raises(ConfigError, match=r"weights\.bin: not read, as it holds more than tensors"):
        load_pretrained(_encoder(config), config)
    torch.save({"state_dict": _published(), "args": argparse.Namespace(lr=1)}, path)
    config = _config(path)
    with pytest.raises(ConfigError, match=r"save its state_dict alone"):
        check_pretrained(config, (3, 2))
    assert not mark.exists()


def _other(weights: dict[str, Tensor]) -> dict[str, Tensor]:
    return {name.replace("block", "layer").replace("norm", "ln"): value for name, value in weights.items()}


@pytest.mark.parametrize(
    ("backbone", "weights", "message"),
    [
        (
            "mit_nano",
            _published("mit_b0"),
            r"patch_embed1.proj.weight is \(32, 3, 7, 7\) in the file, .*: set model.backbone: mit_b0, or take",
        ),
        ("mit_nano", _other(_published()), r"of 100 tensors fit mit_nano; .* take a file of mit_nano"),
        (
            "mit_nano",
            {"layer.weight": torch.ones(3)},
            r"holds no Mix Transformer: none of patch_embed1.*has layer.weight",
        ),
        ("mit_nano", {}, "holds no tensors by name"),
    ],
)
def test_a_file_that_does_not_fit_is_refused_when_read_and_when_checked(
    save: Save, backbone: str, weights: dict[str, Tensor], message: str
) -> None:
    path = save(weights)
    config = _config(path, backbone=backbone)
    for act in (lambda: load_pretrained(_encoder(config), config), lambda: check_pretrained(config, (3, 2))):
        with pytest.raises(ConfigError, match=message) as error:
            act()
        assert str(path) in str(error.value)


def test_a_deeper_model_of_the_same_widths_is_refused(save: Save) -> None:
    """More than half of B2 would fit, with random blocks between: no one means that."""
    with torch.device("meta"):
        shallow = MixTransformer(MIT["mit_b1"], 3, 0.0).state_dict()
    path = save({name: torch.zeros(1).expand(value.shape) for name, value in shallow.items()})
    with pytest.raises(ConfigError, match=r"176 of 332 tensors fit mit_b2; .* the file is of mit_b1"):
        check_pretrained(_config(path, backbone="mit_b2"), (3, 2))
    check_pretrained(_config(path, backbone="mit_b1"), (3, 2))


def test_a_file_that_changed_or_went_since_is_refused(save: Save) -> None:
    path = save(_published())
    config = _config(path)
    torch.save(_published(bands=2), path)
    with pytest.raises(ConfigError, match="its content is not what the configuration says"):
        load_pretrained(_encoder(config), config)
    path.unlink()
    with pytest.raises(ConfigError, match="no such file of weights; put it back"):
        load_pretrained(_encoder(config), config)


@pytest.mark.parametrize("name", ["weights.safetensors", "weights.pth"])
def test_a_damaged_file_is_refused(tmp_path: Path, name: str) -> None:
    path = tmp_path / name
    path.write_bytes(b"no weights at all")
    with pytest.raises(ConfigError, match=rf"{name}: "):
        check_pretrained(_config(path), (3, 2))


def test_a_checked_file_leaves_the_generator_as_it_was(save: Save) -> None:
    config = _config(save(_published()))
    before = torch.get_rng_state()
    check_pretrained(config, (3, 2))
    assert torch.equal(torch.get_rng_state(), before)


def test_without_weights_nothing_is_done() -> None:
    config = _config(None)
    assert load_pretrained(_encoder(config), config) == []
    check_pretrained(config, (3, 2))
