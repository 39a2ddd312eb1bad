"""Where first weights come from, as a configuration has it: their content counts, their place does not."""

import hashlib
import json
import os
from pathlib import Path
from typing import Any

import pytest

from tune_cmx.config.parse import dump, flatten, parse_trial
from tune_cmx.config.trial import TrialConfig
from tune_cmx.errors import ConfigError


def _parse(**model: Any) -> TrialConfig:
    return parse_trial({"model": model}, source="space.yaml", lines={"model.pretrained": 7})


@pytest.fixture
def weights(tmp_path: Path) -> Path:
    path = tmp_path / "mit_b1.pth"
    path.write_bytes(b"weights")
    return path


def test_a_path_stands_for_every_stream(weights: Path) -> None:
    given = _parse(pretrained=str(weights)).model.pretrained
    assert given is not None
    for stream in ("rgb", "aux", "single"):
        file = given.file(stream)
        assert file is not None
        assert (file.path, file.sha256) == (str(weights), hashlib.sha256(b"weights").hexdigest())


def test_a_stream_may_be_left_out(weights: Path) -> None:
    given = _parse(pretrained={"rgb": str(weights)}).model.pretrained
    assert given is not None
    assert given.rgb is not None
    assert given.file("aux") is None


def test_none_is_the_default() -> None:
    assert _parse().model.pretrained is None


def test_a_relative_path_starts_where_the_command_runs(weights: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(weights.parent)
    assert _parse(pretrained=weights.name) == _parse(pretrained=str(weights))


def test_a_record_is_read_where_the_file_is_not(weights: Path) -> None:
    config = _parse(pretrained=str(weights))
    kept = json.loads(json.dumps(dump(config)))
    weights.unlink()
    assert parse_trial(kept, source="config.json") == config


def test_the_place_is_no_part_of_what_is_compared_and_the_content_is(weights: Path, tmp_path: Path) -> None:
    moved = tmp_path / "elsewhere.pth"
    weights.rename(moved)
    moved_config = _parse(pretrained=str(moved))
    weights.write_bytes(b"weights")
    assert _parse(pretrained=str(weights)) != moved_config
    assert _parse(pretrained=str(weights)).placeless() == moved_config.placeless()
    weights.write_bytes(b"others!")  # of the same length, perhaps within one tick of the clock
    os.utime(weights, ns=(0, 0))
    assert _parse(pretrained=str(weights)).placeless() != moved_config.placeless()
    assert _parse().placeless() != moved_config.placeless()
    paths = [path for path, value in flatten(dump(moved_config.placeless())).items() if str(tmp_path) in str(value)]
    assert paths == []


@pytest.mark.parametrize(
    ("model", "message"),
    [
        ({"pretrained": "absent.pth"}, r"space\.yaml:7: .*absent\.pth: no such file of weights"),
        ({"pretrained": {"rgb": "absent.pth"}}, r"absent\.pth: no such file of weights"),
        ({"pretrained": {}}, "give either a path, or paths for rgb and aux, or timm"),
        ({"pretrained": 3}, r"model\.pretrained: .*got 3"),
        ({"pretrained": {"rgb": 3}}, r"model\.pretrained\.rgb: .*got 3"),
        ({"pretrained": {"rgbb": "x.pth"}}, "Did you mean 'rgb'"),
        ({"pretrained": {"every": {"path": "x", "sha256": "12"}}}, r"pretrained\.every\.sha256: .*got '12'"),
        ({"pretrained": "timm"}, "the backbone 'mit_b1' takes the path of a file"),
    ],
)
def test_what_is_not_allowed_is_named(model: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        _parse(**model)


def test_a_backbone_of_timm_takes_no_file(weights: Path) -> None:
    with pytest.raises(ConfigError, match="the backbone 'timm/resnet50' takes timm"):
        _parse(backbone="timm/resnet50", pretrained=str(weights))
    assert _parse(backbone="timm/resnet50", pretrained="timm").model.pretrained is not None


def test_one_stream_takes_one_path(weights: Path) -> None:
    with pytest.raises(ConfigError, match="'thermal' is one stream; give one path"):
        _parse(streams="thermal", pretrained={"rgb": str(weights)})
    assert _parse(streams="thermal", pretrained=str(weights)).model.pretrained is not None
