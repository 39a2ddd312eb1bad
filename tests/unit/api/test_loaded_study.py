"""`tune_cmx.Study`, and what `import tune_cmx` loads."""

import subprocess
import sys
from importlib.resources import files
from pathlib import Path

import pandas as pd
import pytest
from study_writer import StudyWriter

import tune_cmx as tc
from tune_cmx.errors import DataError

OLD = Path(__file__).parents[2] / "golden" / "study_of_version_0.1.0"


def test_runs_and_results_are_tables() -> None:
    study = tc.Study.load(OLD)
    assert (study.status, study.baseline, study.metric) == ("complete", "baseline", "test/mAP")
    runs, results = study.runs(), study.results()
    assert len(runs) == 17
    assert set(runs["phase"]) == {"search", "confirm"}
    assert results["verdict"].iloc[0] == "baseline"
    assert study.learnt
    assert study.selected in set(results["arm"])
    row = results[results["arm"] == study.selected].iloc[0]
    own = runs[(runs["arm"] == study.selected) & (runs["phase"] == "confirm")]
    assert row["mean"] == pytest.approx(own["test/mAP"].mean())
    assert results["mean"].dtype == float
    assert pd.isna(results["difference"].iloc[0])


def test_nothing_is_compared_where_nothing_was_learnt(tmp_path: Path) -> None:
    writer = StudyWriter(tmp_path / "study")
    for arm in ("baseline", "stages-1"):
        writer.arm(arm, [0.01, 0.02, 0.03])
    study = tc.Study.load(writer.write())
    assert not study.learnt
    results = study.results()
    assert list(results["mean"]) == [0.02, 0.02]
    assert results[["difference", "adjusted_p", "verdict", "why"]].isna().all(axis=None)


def test_a_path_may_be_text_and_a_folder_without_a_study_is_refused(tmp_path: Path) -> None:
    assert tc.Study.load(str(OLD)).name == tc.Study.load(OLD).name
    with pytest.raises(DataError, match=r"no study\.json here"):
        tc.Study.load(tmp_path)


def test_the_study_says_what_it_is() -> None:
    assert "complete, 17 runs" in repr(tc.Study.load(OLD))


def test_public_names_are_listed_and_others_are_refused() -> None:
    assert {"Study", "__version__"} <= set(tc.__all__) <= set(dir(tc))
    with pytest.raises(AttributeError, match="has no attribute 'Studies'; it has Study"):
        tc.Studies  # type: ignore[attr-defined]  # noqa: B018


def test_the_package_is_typed() -> None:
    assert (files("tune_cmx") / "py.typed").is_file()


def test_importing_the_package_loads_nothing_heavy() -> None:
    code = "import sys, tune_cmx; print({'torch', 'ray', 'pandas', 'numpy'} & sys.modules.keys())"
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert found.stdout.strip() == "set()"
