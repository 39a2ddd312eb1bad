"""Checkpoints of the earlier group: what is told from their tensors, what is refused, and what is computed."""

import pickle
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from group_checkpoints import (
    COUNT,
    of_shapes,
    saved,
    seen,
    shapes_of_b0,
    shapes_of_nano,
    with_cssa,
    with_gaff,
    without_random_numbers,
)
from torch import Tensor
from torchvision.ops import MultiScaleRoIAlign

from tune_cmx.config.trial import STAGES
from tune_cmx.errors import ConfigError
from tune_cmx.models.detector import Detector, build_detector
from tune_cmx.models.group_checkpoint import MEAN, POOLED, STD, build_as_trained, read_group_checkpoint
from tune_cmx.models.mit import MIT

B0, NANO = MIT["mit_b0"].widths, MIT["mit_nano"].widths


def _read(tmp_path: Path, content: object, **given: Any) -> Any:
    return read_group_checkpoint(saved(content, tmp_path / "theirs.pth"), **given)


class _Code:
    def __reduce__(self) -> tuple[Any, ...]:
        return (print, ("run",))


def test_all_538_tensors_of_the_key_list_are_used(tmp_path: Path) -> None:
    tensors = of_shapes(shapes_of_b0())
    assert len(tensors) == 538
    found = _read(tmp_path, tensors)
    assert found.used == tuple(tensors)
    assert found.unused == ()
    assert len(found.weights) == 538
    assert sum(name.endswith(COUNT) for name in found.used) == 8
    assert (found.model.backbone, found.num_classes, found.model.carry) == ("mit_b0", 1, "separate")
    assert [fusion.kind for fusion in found.model.fusion.stage_fusions()] == ["frm_ffm"] * 4


@pytest.mark.parametrize("holder", ["model_state_dict", "model"])
def test_a_state_dict_is_read_from_the_content_of_a_whole_checkpoint(tmp_path: Path, holder: str) -> None:
    content = {"epoch": 15, "config": {"device": torch.device("cpu")}, holder: of_shapes(shapes_of_b0())}
    assert len(_read(tmp_path, content).used) == 538


def test_a_pickle_that_would_run_code_is_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for path in (saved({"model": _Code()}, tmp_path / "zip.pth"), tmp_path / "plain.pth"):
        if not path.exists():
            path.write_bytes(pickle.dumps(_Code(), protocol=2))
        with pytest.raises(ConfigError, match=rf"{path.name}: not read, as it holds more than tensors"):
            read_group_checkpoint(path)
    assert capsys.readouterr().out == ""


@pytest.mark.parametrize("content", [{"epoch": 3}, [torch.ones(1)], {}])
def test_a_file_without_a_state_dict_is_refused(tmp_path: Path, content: object) -> None:
    with pytest.raises(ConfigError, match=r"theirs\.pth: no state dict, alone or under model_state_dict or model"):
        _read(tmp_path, content)


def test_a_damaged_file_is_refused(tmp_path: Path) -> None:
    path = saved(of_shapes(shapes_of_b0()), tmp_path / "theirs.pth")
    path.write_bytes(path.read_bytes()[:1000])
    with pytest.raises(ConfigError, match="cannot be read as a checkpoint of torch"):
        read_group_checkpoint(path)


@pytest.mark.parametrize("stages", [(1,), (2, 3), (4,), STAGES])
def test_stages_of_cssa_are_those_whose_ffm_has_seen_no_batch(tmp_path: Path, stages: tuple[int, ...]) -> None:
    tensors = seen(of_shapes(with_cssa(shapes_of_b0(), kernel=5)), unused=stages)
    found = _read(tmp_path, tensors, threshold=0.3)
    kinds = [fusion.kind for fusion in found.model.fusion.stage_fusions()]
    assert kinds == ["cssa" if stage in stages else "frm_ffm" for stage in STAGES]
    assert found.model.fusion.options == {"switching_threshold": 0.3, "eca_kernel": 5}
    assert found.model.carry == "fused"
    built = [(module, stage) for stage in STAGES for module in (("FRMs", "FFMs") if stage in stages else ("CSSAs",))]
    idle = tuple(f"backbone.encoder.{module}.{stage - 1}." for module, stage in built)
    assert set(found.unused) == {name for name in tensors if name.startswith(idle)}
    assert set(found.used) | set(found.unused) == set(tensors)


@pytest.mark.parametrize(("reduction", "shared", "bottleneck"), [(4, False, False), (8, True, True)])
def test_options_of_se_gated_fusion_are_told(tmp_path: Path, reduction: int, shared: bool, bottleneck: bool) -> None:
    shapes = with_gaff(shapes_of_b0(), B0, reduction=reduction, shared=shared, bottleneck=bottleneck)
    found = _read(tmp_path, seen(of_shapes(shapes), unused=(2, 4)))
    assert [fusion.kind for fusion in found.model.fusion.stage_fusions()] == ["frm_ffm", "se_gated"] * 2
    assert found.model.fusion.options == {"se_reduction": reduction, "merge_bottleneck": bottleneck}
    assert found.model.carry == "fused"


def test_se_gated_fusion_at_all_stages_is_told_by_its_own_counts(tmp_path: Path) -> None:
    tensors = seen(of_shapes(with_gaff(shapes_of_b0(), B0)), unused=STAGES)
    found = _read(tmp_path, tensors)
    assert [fusion.kind for fusion in found.model.fusion.stage_fusions()] == ["se_gated"] * 4


def test_the_first_cssa_encoder_has_stage_4_alone_and_separate_streams(tmp_path: Path) -> None:
    shapes = {name: shape for name, shape in shapes_of_b0().items() if "Ms.3." not in name}
    former = {f"backbone.encoder.cssa_stage4.eca_{side}.f.weight": (1, 1, 3) for side in ("rgb", "aux")}
    found = _read(tmp_path, of_shapes({**shapes, **former}), threshold=0.5, stages=[4])
    assert [fusion.kind for fusion in found.model.fusion.stage_fusions()] == ["frm_ffm"] * 3 + ["cssa"]
    assert found.model.carry == "separate"


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({}, r"switching threshold is not in the file; give it, as in --threshold 0\.5"),
        ({"threshold": 0.5, "stages": [1]}, r"stages \[1\]: by the counts of batches .*CSSAs was used at \[2, 3\]"),
        ({"threshold": 0.5, "stages": [5]}, r"stages \[5\]: .*CSSAs is at the stages \[1, 2, 3, 4\] of the file"),
    ],
)
def test_what_a_file_of_cssa_needs_besides_is_said(tmp_path: Path, given: dict[str, Any], message: str) -> None:
    tensors = seen(of_shapes(with_cssa(shapes_of_b0())), unused=(2, 3))
    with pytest.raises(ConfigError, match=message):
        _read(tmp_path, tensors, **given)


def test_stages_of_a_file_with_frm_ffm_alone_are_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="FRM\\+FFM at all stages, by its tensors"):
        _read(tmp_path, of_shapes(shapes_of_b0()), stages=[2])


def _without(name: str) -> Callable[[dict[str, Tensor]], None]:
    def change(tensors: dict[str, Tensor]) -> None:
        del tensors[name]

    return change


def _put(name: str, *shape: int) -> Callable[[dict[str, Tensor]], None]:
    return lambda tensors: tensors.update({name: torch.zeros(shape)})


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (
            _put("backbone.encoder.block2.1.attn.q.weight", 64, 65),
            r"backbone\.encoder\.block2\.1\.attn\.q\.weight is 64×65; mit_b0 .* needs 64×64",
        ),
        (
            _put("backbone.encoder.FFMs.2.cross.channel_proj2.bias", 7),
            r"backbone\.encoder\.FFMs\.2\.cross\.channel_proj2\.bias is 7; mit_b0 .* needs 320",
        ),
        (_put("rpn.head.cls_logits.weight", 9, 256, 1, 1), r"rpn\.head\.cls_logits\.weight is 9×256×1×1; .*3×256×1×1"),
        (_without("backbone.encoder.extra_norm3.bias"), r"no tensor backbone\.encoder\.extra_norm3\.bias; .*160"),
        (_without("backbone.encoder.patch_embed1.proj.weight"), r"no tensor backbone\.encoder\.patch_embed1\.proj"),
        (
            _without("roi_heads.box_predictor.bbox_pred.weight"),
            r"no tensor roi_heads\.box_predictor\.bbox_pred",
        ),
        (
            _put("roi_heads.box_predictor.bbox_pred.weight", 12, 1024),
            r"cls_score\.weight is 2×1024, .*bbox_pred\.weight is 12×1024",
        ),
        (_put("backbone.encoder.norm5.bias", 3), r"backbone\.encoder\.norm5\.bias \(3\): mit_b0 has no such tensor"),
        (_put("optimizer.step", 3), r"optimizer\.step \(3\): no tensor of the group's detector has this name"),
        (
            _put("backbone.encoder.patch_embed2.proj.weight", 65, 32, 3, 3),
            r"patch_embed1\.proj\.weight is 32×3×7×7: widths and numbers of blocks .* no Mix Transformer",
        ),
        (
            _put("backbone.encoder.patch_embed1.proj.weight", 32, 4, 7, 7),
            r"patch_embed1\.proj\.weight is 32×4×7×7; mit_b0 .* needs 32×3×7×7",
        ),
    ],
)
def test_a_tensor_that_does_not_fit_is_named_with_its_shape(
    tmp_path: Path, change: Callable[[dict[str, Tensor]], None], message: str
) -> None:
    tensors = of_shapes(shapes_of_b0())
    change(tensors)
    with pytest.raises(ConfigError, match=message):
        _read(tmp_path, tensors)


@pytest.mark.parametrize("classes", [1, 4])
def test_the_number_of_classes_is_told(tmp_path: Path, classes: int) -> None:
    heads = {"cls_score": classes + 1, "bbox_pred": 4 * (classes + 1)}
    rows = {f"roi_heads.box_predictor.{head}": count for head, count in heads.items()}
    shapes = shapes_of_b0()
    shapes |= {f"{head}.weight": (count, 1024) for head, count in rows.items()}
    shapes |= {f"{head}.bias": (count,) for head, count in rows.items()}
    assert _read(tmp_path, of_shapes(shapes)).num_classes == classes


def _small(detector: Detector) -> Detector:
    detector.transform.min_size, detector.transform.max_size = (96,), 160
    return detector


def _drawn(shapes: dict[str, tuple[int, ...]]) -> dict[str, Tensor]:
    """Random weights, whose detections have no near-equal scores as those of the sines have."""
    generator = torch.Generator().manual_seed(1)
    tensors = without_random_numbers(shapes)
    noise = {name: 0.05 * torch.randn(value.shape, generator=generator) for name, value in tensors.items()}
    return {name: value if name.endswith(COUNT) else value + noise[name] for name, value in tensors.items()}


def _image() -> Tensor:
    steps = torch.arange(5 * 72 * 96, dtype=torch.float32)
    return torch.round(127.5 + 127.5 * torch.sin(0.01 * steps)).view(5, 72, 96)


def test_detections_are_those_of_torchvisions_heads_over_five_maps(tmp_path: Path) -> None:
    found = _read(tmp_path, _drawn(shapes_of_nano()))
    plain = build_detector(found.model, bands=(3, 2), num_classes=1, mean=MEAN, std=STD, batched=False)
    plain.roi_heads.box_roi_pool = MultiScaleRoIAlign(list(POOLED), 7, 2)
    plain.load_state_dict(found.weights)
    with torch.inference_mode():
        (wanted,) = _small(plain).eval()([_image()])
        (own,) = _small(build_as_trained(found, white=255.0))([_image()])
        (scaled,) = _small(build_as_trained(found))([_image() / 255])
    assert len(wanted["scores"]) > 0
    for detections, tolerance in ((own, 1e-4), (scaled, 1e-3)):
        torch.testing.assert_close(detections["scores"], wanted["scores"], rtol=tolerance, atol=0)
    torch.testing.assert_close(own["boxes"], wanted["boxes"], rtol=1e-3, atol=1e-2)


def test_one_shared_gate_is_two_gates(tmp_path: Path) -> None:
    apart = seen(without_random_numbers(with_gaff(shapes_of_nano(), NANO)), unused=(2,))
    gates = [f"backbone.encoder.GAFFs.{i}.inter_attn.conv" for i in range(4)]
    together = {name: value for name, value in apart.items() if not name.startswith(tuple(gates))}
    for gate in gates:
        together[f"{gate}.weight"] = torch.cat([apart[f"{gate}_rgb.weight"], apart[f"{gate}_aux.weight"]])
    first, second = _read(tmp_path, apart).weights, _read(tmp_path, together).weights
    assert first.keys() == second.keys()
    assert all(torch.equal(first[name], second[name]) for name in first)


def test_the_threshold_given_is_the_one_that_switches(tmp_path: Path) -> None:
    tensors = seen(without_random_numbers(with_cssa(shapes_of_nano())), unused=(1,))
    with torch.inference_mode():
        sums = []
        for threshold in (0.0, 0.5):
            detector = _small(build_as_trained(_read(tmp_path, tensors, threshold=threshold), white=255.0))
            maps, _ = detector.backbone(detector.transform([_image()])[0].tensors)
            sums.append(maps["0"].sum().item())
    assert sums[0] != sums[1]
