"""A data set audited and split once, and read back by every trial."""

import json
from pathlib import Path

import pytest

from tune_cmx.config.trial import DataConfig
from tune_cmx.data.prepare import load_prepared, prepare
from tune_cmx.data.synthetic import synthesize
from tune_cmx.errors import DataError


@pytest.fixture
def config(tmp_path: Path) -> DataConfig:
    root = synthesize(tmp_path / "set", images=12, size=32, sequences=6, seed=0)
    return DataConfig(root=str(root))


def test_what_is_read_back_is_what_was_prepared(config: DataConfig, tmp_path: Path) -> None:
    first = prepare(config, tmp_path / "kept")
    again = load_prepared(config, tmp_path / "kept")
    assert (again.audit, again.split) == (first.audit, first.split)
    assert again.hashes() == first.hashes()
    assert set(again.split.statistics) == {"rgb", "thermal", "event"}


def test_a_folder_prepared_before_is_not_read_again(config: DataConfig, tmp_path: Path) -> None:
    prepare(config, tmp_path / "kept")
    done: list[int] = []
    prepare(config, tmp_path / "kept", progress=lambda frames, _: done.append(frames))
    assert done == []


def test_the_summary_counts_each_part(config: DataConfig, tmp_path: Path) -> None:
    summary = prepare(config, tmp_path / "kept").summary()
    assert sum(part["frames"] for part in summary["counts"].values()) == 12
    labels = [path.read_text() for path in (Path(str(config.root)) / "labels").iterdir()]
    assert sum(part["boxes"] for part in summary["counts"].values()) == sum(text.count("\n") for text in labels)
    assert sum(part["negatives"] for part in summary["counts"].values()) == sum(not text for text in labels)


def test_frames_that_went_are_noticed(config: DataConfig, tmp_path: Path) -> None:
    prepare(config, tmp_path / "kept")
    for folder in ("rgb", "thermal", "event", "labels"):
        next((Path(str(config.root)) / folder).glob("s000_0000.*")).unlink()
    with pytest.raises(DataError, match=r"1 frames came or went since .*, such as s000_0000"):
        load_prepared(config, tmp_path / "kept")


def test_another_split_than_the_one_prepared_is_refused(config: DataConfig, tmp_path: Path) -> None:
    kept = prepare(config, tmp_path / "kept")
    parts = {"train": kept.split.val, "val": kept.split.train, "test": kept.split.test}
    (tmp_path / "other.json").write_text(json.dumps(parts))
    with pytest.raises(DataError, match=r"other\.json: is not the split that .*kept was prepared with"):
        prepare(config.model_copy(update={"split": str(tmp_path / "other.json")}), tmp_path / "kept")
    prepare(config.model_copy(update={"split": str(kept.split_file)}), tmp_path / "kept")
