"""`--json`: one object of the documented form on standard output, and nothing else there."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
import vehicle_sets
from typer.main import get_command

from tune_cmx.cli import app, main
from tune_cmx.cli.objects.checked import CheckedStudy
from tune_cmx.cli.objects.inspected import InspectedData
from tune_cmx.cli.options.json_output import Printed
from tune_cmx.cli.output import out

if TYPE_CHECKING:
    from conftest import Run

OLD = Path(__file__).parents[2] / "golden" / "study_of_version_0.1.0"
GOLDEN = Path(__file__).parents[2] / "golden" / "claims.json"


def commands(group: Any = None, prefix: str = "") -> dict[str, Any]:
    """Every command by its name."""
    found = {}
    for name, command in (group or get_command(app)).commands.items():
        inner = hasattr(command, "commands")
        found |= commands(command, f"{prefix}{name} ") if inner else {f"{prefix}{name}": command}
    return found


def printed(run: Run, name: str, *arguments: object) -> tuple[dict[str, Any], str]:
    """The object, which must be of the form that the reference shows, and what is on stderr."""
    code, output, error = run(*name.split(), *arguments, "--json")
    assert code == 0, error
    commands()[name].callback.printed.model_validate_json(output, strict=False)
    content: dict[str, Any] = json.loads(output)
    return content, error


def test_every_command_with_json_says_what_it_prints() -> None:
    flagged = {name for name, found in commands().items() if any("--json" in one.opts for one in found.params)}
    marked = {name for name, found in commands().items() if hasattr(found.callback, "printed")}
    assert flagged == marked
    here = {"list", "show", "compare", "delete", "check", "plan", "describe", "data inspect", "claims"}
    assert here <= flagged


def test_the_command_line_loads_nothing_heavy_before_a_command_needs_it() -> None:
    code = "import sys, tune_cmx.cli; print({'torch', 'ray', 'pandas', 'scipy', 'matplotlib'} & sys.modules.keys())"
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert found.stdout.strip() == "set()"


def test_every_key_is_explained() -> None:
    def unexplained(model: type[Printed]) -> list[str]:
        return [f"{model.__name__}.{name}" for name, field in model.model_fields.items() if not field.description]

    def below(model: type[Printed]) -> list[type[Printed]]:
        return [model, *(found for part in model.__subclasses__() for found in below(part))]

    assert [name for model in below(Printed) for name in unexplained(model)] == []


def test_check(run: Run, data: Path, space: Path) -> None:
    content, error = printed(run, "check", space, "--data", data)
    assert [one["name"] for one in content["configurations"]] == ["FRM+FFM (baseline)", "mean fusion"]
    assert content["data"]["parts"]["train"]["images"] == 4
    assert content["configurations"][0]["parameters"] >= content["configurations"][0]["active"] > 0
    assert "can be built and compared" in error
    assert "data:" in error
    without, _ = printed(run, "check", space)
    assert (without["data"], without["configurations"][0]["gflops"]) == (None, None)


def test_plan(run: Run, data: Path, space: Path, earlier: Path) -> None:
    flags = ("--data", data, "--from", earlier, "--gpus", 0, "--max-concurrent", 1)
    content, error = printed(run, "plan", space, *flags)
    assert (content["expected"]["trials"], content["expected"]["epochs"], content["grid"]["epochs"]) == (13, 39, 36)
    assert (content["hours_of"], content["at_once"], content["probes"]) == ("core-hours", 1, [])
    assert "plan:" not in error


def test_describe(run: Run) -> None:
    flags = ("--backbone", "mit_nano", "--fusion-type", "cssa", "--stages", "2,3")
    content, _ = printed(run, "describe", *flags)
    _, text, _ = run("describe", *flags)
    assert content["fusions"] == ["frm_ffm", "cssa", "cssa", "frm_ffm"]
    assert f"{content['parameters']['total']:,}" in text
    assert f"{content['gflops']:,.1f}" in text
    assert content["input_size"] == [320, 416]


def test_data_inspect(run: Run, tmp_path: Path) -> None:
    vehicle_sets.smod(tmp_path / "set")
    content, error = printed(run, "data inspect", tmp_path / "set")
    assert (content["layout"], content["certainty"], content["images"]) == ("smod", "certain", 12)
    assert content["class_boxes"] == {"person": 12, "rider": 12, "bicycle": 12}
    assert content["modalities"]["rgb"]["sizes"] == [[64, 80]]
    assert content["sequences"] is None
    assert "next: tune-cmx check" in error


def test_problems_of_data_are_in_the_object_and_in_the_message(run: Run, data: Path) -> None:
    (data / "labels" / "f00.txt").write_text("0 0.5 0.5 0.5\n")
    code, output, error = run("data", "inspect", data, "--json")
    assert code == 2
    content = InspectedData.model_validate_json(output)
    assert len(content.problems) == 1
    assert content.problems[0] in error


def test_claims_of_a_file_and_of_a_study(run: Run, tmp_path: Path) -> None:
    content, error = printed(run, "claims", GOLDEN)
    lines = [json.loads(line) for line in run("claims", GOLDEN)[1].splitlines()]
    assert [{key: one[key] for key in ("id", "verdict", "numbers", "why")} for one in content["answers"]] == lines
    assert (content["problems"], error) == ([], "")
    assert all(one["text"] for one in printed(run, "claims", OLD)[0]["answers"])
    bad = tmp_path / "cases.json"
    bad.write_text('[{"id": "a", "rows": 5, "claim": {}}]')
    code, output, error = run("claims", bad, "--json")
    assert code == 2
    (problem,) = json.loads(output)["problems"]
    assert problem in error


def test_nothing_is_printed_of_a_command_that_fails(run: Run, tmp_path: Path, space: Path) -> None:
    for arguments in (("show", tmp_path), ("check", space, "--data", tmp_path / "none"), ("list", tmp_path / "none")):
        code, output, error = run(*arguments, "--json")
        assert (code, output) == (2, "")
        assert error.startswith("error: ")


def test_messages_are_on_standard_output_again_afterwards() -> None:
    before = out.file
    with pytest.raises(SystemExit, match=r"^0$"):
        main(["show", str(OLD), "--json"])
    assert out.file is before


def test_a_key_that_is_not_known_is_refused() -> None:
    with pytest.raises(ValueError, match="extra"):
        CheckedStudy.model_validate({"other": 1})
