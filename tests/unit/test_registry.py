"""Tables that other packages extend: what is found, what is refused, and what a broken package does not stop."""

import logging
import subprocess
import sys
from pathlib import Path

import pytest
from plugins import broken, seen

from tune_cmx.config.searchers import SEARCHERS, read_searcher
from tune_cmx.data.readers import READERS, signs
from tune_cmx.errors import ConfigError
from tune_cmx.metrics import METRICS, find, scored
from tune_cmx.models.fusion import FUSIONS, check_options
from tune_cmx.registry import Table, has_plugins, plugin_versions

METRIC = "from tune_cmx.metrics import Metric\nTOY = Metric('toy', 'a toy', 'points', 'higher'{})\n"


def test_a_table_has_its_own_entries_first_and_finds_no_others_here() -> None:
    assert next(iter(METRICS)) == "mAP"
    assert not has_plugins()
    assert {*METRICS} == {*METRICS.own()}
    assert plugin_versions({"tune_cmx.fusions": ["cssa"]}) == {}


def test_an_entry_point_is_found_and_imported_when_it_is_asked_for(tmp_path: Path) -> None:
    points = "[tune_cmx.metrics]\ntoy = some_toy:TOY\n"
    with seen(broken(tmp_path, points, "toys", some_toy=METRIC.format(", aliases=('toy@1',)"))):
        assert "toy" in METRICS
        assert list(METRICS)[-1] == "toy"
        assert len(METRICS) == len(METRICS.own()) + 1
        assert "some_toy" not in sys.modules, "the names alone import nothing"
        assert find("Toy@1") == ("toy", METRICS["toy"])
        assert "some_toy" in sys.modules
        assert plugin_versions({"tune_cmx.metrics": ["mAP", "toy"]}) == {"toys": "0.3"}
    assert "toy" not in METRICS
    assert find("toy") is None


@pytest.mark.parametrize(
    ("points", "module", "wrong"),
    [
        ("toy = some_toy:TOY", None, "ModuleNotFoundError: No module named 'some_toy'"),
        ("toy = some_toy:GONE", METRIC.format(""), "AttributeError: module 'some_toy' has no attribute 'GONE'"),
        ("toy = some_toy:TOY", "TOY = 1 / 0", "ZeroDivisionError: division by zero"),
        ("toy = some_toy:TOY", "TOY = 3", "needs a tune_cmx.metrics.Metric; got 3"),
        (
            "toy = some_toy:TOY",
            METRIC.format(", aliases=('AP-50',)"),
            "the name or alias 'ap50' is that of mAP_50, a metric of tune_cmx",
        ),
        ("a/b = some_toy:TOY", METRIC.format(""), "'a/b' is not made of letters, digits, - and _. Rename it, or"),
        (
            "mAP = some_toy:TOY",
            METRIC.format(""),
            "the name 'mAP' is taken by tune_cmx itself. Give it another name, or",
        ),
    ],
)
def test_what_cannot_be_used_is_an_error_for_who_asks_for_it_and_a_warning_for_others(
    points: str, module: str | None, wrong: str, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    files = {} if module is None else {"some_toy": module}
    name = points.split(" ")[0]
    with seen(broken(tmp_path, f"[tune_cmx.metrics]\n{points}\n", **files)):
        with pytest.raises(ConfigError) as error:
            METRICS[name]
        text = str(error.value)
        assert text.startswith(f"package broken-plugin 0.3, entry point {points} of tune_cmx.metrics: ")
        assert wrong in text
        assert text.endswith("remove it: pip uninstall broken-plugin")
        with caplog.at_level(logging.WARNING):
            assert {*METRICS.own()} == {*dict(METRICS.items())}
            assert next(iter(scored())) == "mAP"
            assert len(METRICS.values()) == len(METRICS.own())
        assert [record.getMessage() for record in caplog.records] == [text]


def test_two_packages_with_one_name_are_named(tmp_path: Path) -> None:
    points = "[tune_cmx.metrics]\ntoy = some_toy:TOY\n"
    folders = [broken(tmp_path / name, points, name, some_toy=METRIC.format("")) for name in ("toys-b", "toys-a")]
    with (
        seen(*folders),
        pytest.raises(ConfigError, match=r"'toy' is given by several packages: toys-a 0.3, toys-b 0.3"),
    ):
        METRICS["toy"]


FUSION = """
from tune_cmx.models.fusion import Fusion, FusionOptions
class Options(FusionOptions):
    {}
class Toy(Fusion):
    {}
"""


@pytest.mark.parametrize(
    ("module", "value", "wrong"),
    [
        (FUSION.format("'''None.'''", "'''A toy.'''"), "Toy", r"needs a pair, the options model and the module"),
        (FUSION.format("pass", "'''A toy.'''"), "PAIR", r"Options needs a docstring"),
        (FUSION.format("'''None.'''", "pass"), "PAIR", r"Toy needs a docstring"),
        (FUSION.format("'''None.'''", "'''A toy.'''"), "PAIR", r"Toy does not define fuse"),
        (
            "PAIR = (int, float)",
            "PAIR",
            r"needs a subclass of tune_cmx.models.fusion.base.FusionOptions; got <class 'int'>",
        ),
    ],
)
def test_a_fusion_that_breaks_the_contract_is_refused(module: str, value: str, wrong: str, tmp_path: Path) -> None:
    if "class Toy" in module:
        module += "PAIR = (Options, Toy)\n"
    with seen(broken(tmp_path, f"[tune_cmx.fusions]\ntoy = some_toy:{value}\n", some_toy=module)):
        with pytest.raises(ConfigError, match=wrong):
            check_options("toy", {})
        assert "toy" not in dict(FUSIONS.items())
        assert check_options("add", {}) is not None


SEARCHER = """
from typing import ClassVar, Literal
from tune_cmx.config.searchers import Searcher
class Toy(Searcher):
    '''A toy.'''
    kind: Literal["{}"] = "{}"
    title: ClassVar[str] = "toy"
    {}
"""


@pytest.mark.parametrize(
    ("module", "wrong"),
    [
        (
            SEARCHER.format("other", "other", ""),
            "Toy.kind needs the default 'toy', the entry point's name; got 'other'",
        ),
        (SEARCHER.format("toy", "toy", ""), "Toy needs a title, which the report prints, and a method draw"),
        (
            SEARCHER.format("toy", "toy", "draw = lambda *_: []; one_by_one: ClassVar[str | None] = 'a:b'"),
            "a searcher of another package draws all trials at once",
        ),
    ],
)
def test_a_searcher_that_breaks_the_contract_is_refused(module: str, wrong: str, tmp_path: Path) -> None:
    with seen(broken(tmp_path, "[tune_cmx.searchers]\ntoy = some_toy:Toy\n", some_toy=module)):
        with pytest.raises(ConfigError, match=wrong):
            read_searcher({"kind": "toy"})
        assert read_searcher({}).kind == "grid"
        assert "toy" in SEARCHERS


@pytest.mark.parametrize("text", ["TOY = object()", "from tune_cmx.data.readers import Reader\nTOY = Reader"])
def test_a_reader_that_breaks_the_contract_does_not_stop_others(text: str, tmp_path: Path) -> None:
    (tmp_path / "set" / "rgb").mkdir(parents=True)
    with seen(broken(tmp_path, "[tune_cmx.readers]\ntoy = some_toy:TOY\n", some_toy=text)):
        assert [name for name, _ in signs(tmp_path / "set")] == ["folders"]
        with pytest.raises(ConfigError, match=r"needs an instance of a subclass of tune_cmx\.data\.readers\.Reader"):
            READERS["toy"]


def test_an_entry_of_this_package_may_be_imported_late() -> None:
    table: Table[object] = Table(
        "tune_cmx.nothing", {"here": 1}, lambda *_: None, later={"there": "fractions:Fraction"}
    )
    assert list(table) == ["there", "here"]
    assert table["there"].__name__ == "Fraction"  # type: ignore[attr-defined]
    assert "elsewhere" not in table
    with pytest.raises(KeyError):
        table["elsewhere"]


def test_metrics_are_read_without_importing_fusions(tmp_path: Path) -> None:
    points = "[tune_cmx.metrics]\ntoy = some_toy:TOY\n[tune_cmx.fusions]\ntoy = torch_toy:TOY\n"
    broken(tmp_path, points, some_toy=METRIC.format(""), torch_toy="import torch\n")
    code = "import sys; from tune_cmx.metrics import METRICS; dict(METRICS.items())['toy']; "
    code += "import tune_cmx.evidence.report.write; sys.exit('torch' in sys.modules)"
    found = subprocess.run(
        [sys.executable, "-c", code], env={"PYTHONPATH": f"{Path(__file__).parents[2]}:{tmp_path}"}, check=False
    )
    assert found.returncode == 0
