"""Which trial of a study takes the most memory."""

from pathlib import Path
from typing import Any

import pytest
import yaml

from tune_cmx.config.study import read_study
from tune_cmx.config.trial import TrialConfig
from tune_cmx.data.prepare import Prepared, prepare
from tune_cmx.data.synthetic import synthesize
from tune_cmx.search.planning.gpu_share import largest


@pytest.fixture(scope="module")
def prepared(tmp_path_factory: pytest.TempPathFactory) -> Prepared:
    folder = tmp_path_factory.mktemp("data")
    root = synthesize(folder / "set", images=12, size=64, sequences=6, seed=0)
    return prepare(TrialConfig.model_validate({"data": {"root": str(root)}}).data, folder / "prepared")


@pytest.mark.parametrize(
    ("arms", "micro_batch"),
    [
        ([{"compute.precision": "bf16"}, {"compute.precision": "fp32"}], None),
        ([{"compute.precision": "fp32", "schedule.batch_size": 4}, {"schedule.batch_size": 16}], None),
        ([{"schedule.batch_size": 16}, {"schedule.batch_size": 4, "model.backbone": "mit_b0"}], 4),
        ([{"schedule.ema_decay": None}, {"schedule.ema_decay": 0.99}], None),
        ([{"model.backbone": "mit_nano"}, {"model.backbone": "mit_b0"}], None),
    ],
)
def test_the_largest_has_most_bytes_of_images_at_once_then_of_weights(
    arms: list[dict[str, Any]], micro_batch: int | None, prepared: Prepared, tmp_path: Path
) -> None:
    """Of two arms the second."""
    detector = {"image_size": 64, "max_size": 64}
    space = {
        "study": "test",
        "fixed": {
            "model": {"fusion": {"kind": "add"}, "detector": detector},
            "schedule": {"epochs": 4, "micro_batch": micro_batch},
        },
        "search": {"arms": {"choice": [{**arm, "schedule.lr": 0.01} for arm in arms]}},
        "baseline": {"model.backbone": "mit_nano"},
        "allow_differences": ["model.backbone"],
        "confirm": {"finalists": 1},
        "early_stopping": {"kind": "none"},
    }
    path = tmp_path / "a.yaml"
    path.write_text("# Why?\n" + yaml.safe_dump(space))
    study = read_study(path)
    second = list(study.searched)[1]
    assert largest(study, prepared) == [study.baseline.config, study.arms[second].config]
