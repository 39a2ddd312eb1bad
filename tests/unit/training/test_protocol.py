"""The hash that says whether two runs may be compared."""

from pathlib import Path
from typing import Any

import pytest

from tune_cmx.config.pretrained import PretrainedConfig
from tune_cmx.config.trial import DataConfig, FusionConfig, TrialConfig
from tune_cmx.training.protocol import PACKAGES, code_version, package_versions, protocol, protocol_hash

FACTORS = ("model.fusion.stages", "model.fusion.options")
DATA = {"split_hash": "a1", "data_fingerprint": "b2"}


def _hash(config: TrialConfig, **data: str) -> str:
    return protocol_hash(protocol(config, FACTORS, {**DATA, **data}, {}))


def _changed(config: TrialConfig, section: str | None, **update: Any) -> TrialConfig:
    if section is None:
        return config.model_copy(update=update)
    return config.model_copy(update={section: getattr(config, section).model_copy(update=update)})


@pytest.mark.parametrize(
    ("section", "update"),
    [
        ("schedule", {"lr": 0.03}),
        ("schedule", {"epochs": 4}),
        ("schedule", {"clip_norm": 1.0}),
        ("model", {"backbone": "mit_b0"}),
        ("model", {"streams": "rgb | thermal"}),
        ("model", {"carry": "fused"}),
        ("model", {"fusion": FusionConfig(kind="se_gated", stages=(2, 3), elsewhere="frm_ffm")}),
        ("data", {"fractions": (0.6, 0.2, 0.2)}),
        ("data", {"classes": ("person",)}),
        ("data", {"guard": 3}),
    ],
)
def test_a_field_of_the_protocol_changes_it(config: TrialConfig, section: str, update: dict[str, Any]) -> None:
    assert _hash(_changed(config, section, **update)) != _hash(config)


def test_each_split_and_each_state_of_the_data_has_its_own(config: TrialConfig) -> None:
    assert len({_hash(config), _hash(config, split_hash="a2"), _hash(config, data_fingerprint="b3")}) == 3


@pytest.mark.parametrize(
    ("section", "update"),
    [
        (None, {"seed": 5}),
        (None, {"report_split": "test"}),
        ("data", {"root": "elsewhere", "labels": "there", "split": "split.json"}),
        ("model", {"fusion": FusionConfig(kind="cssa", stages=(1,), elsewhere="frm_ffm")}),
        (
            "model",
            {"fusion": FusionConfig(kind="cssa", stages=(2, 3), elsewhere="frm_ffm", options={"threshold": 0.5})},
        ),
    ],
)
def test_factor_seed_and_place_do_not(config: TrialConfig, section: str | None, update: dict[str, Any]) -> None:
    assert _hash(_changed(config, section, **update)) == _hash(config)


def test_what_is_below_a_factor_is_left_out_and_what_is_like_it_is_not(config: TrialConfig) -> None:
    fields = protocol(config, ("model.fusion",), DATA, {})
    assert not [path for path in fields if path.startswith("model.fusion")]
    assert "model.carry" in fields
    assert "schedule.step_epochs" in protocol(config, ("schedule.step",), DATA, {})


def test_versions_are_part_of_it(config: TrialConfig) -> None:
    fields = protocol(config, FACTORS, DATA, {})
    assert {f"packages.{name}" for name in PACKAGES} < set(fields)
    assert all(package_versions().values())
    assert fields["code_version"] == code_version()
    for path in ("packages.torch", "code_version"):
        assert protocol_hash({**fields, path: "0"}) != protocol_hash(fields)


def test_the_order_of_fields_does_not_matter() -> None:
    assert protocol_hash({"a": 1, "b": 2}) == protocol_hash({"b": 2, "a": 1})


def test_a_data_config_has_no_place_in_the_protocol(config: TrialConfig) -> None:
    placed = config.model_copy(update={"data": DataConfig(root="somewhere")})
    assert "somewhere" not in protocol(placed, (), DATA, {}).values()


def test_the_content_of_first_weights_counts_and_their_place_does_not(config: TrialConfig, tmp_path: Path) -> None:
    hashes = []
    for name, content in (("a.pth", b"1"), ("b.pth", b"1"), ("c.pth", b"2")):
        (tmp_path / name).write_bytes(content)
        given = PretrainedConfig.model_validate(str(tmp_path / name))
        hashes.append(_hash(_changed(config, "model", pretrained=given)))
    assert hashes[0] == hashes[1]
    assert len({*hashes, _hash(config)}) == 3
