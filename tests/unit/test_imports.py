"""Who may import whom: docs/design.md draws the tree, from low to high."""

import ast
from functools import cache
from pathlib import Path

import pytest

import tune_cmx

ROOT = Path(tune_cmx.__file__).parent
FILES = sorted(path.relative_to(ROOT).as_posix() for path in ROOT.rglob("*.py"))
BELOW: dict[str, set[str]] = {
    "__init__": {"api", "inference"},  # at the first use of a public name
    "api": {"counting", "evidence"},
    "counting": set(),
    "errors": set(),
    "ties": set(),
    "machine": set(),
    "metrics": {"registry"},
    "model_audit": {"errors"},
    "old_form": {"config", "errors"},
    "retry": {"errors"},
    "smoothing": {"ties"},
    "state": {"model_audit", "errors", "retry"},
    "storage": {"errors", "retry"},
    "stein": {"ties"},
    "seeding": set(),
    "registry": {"errors"},
    "config": {"metrics", "errors", "registry"},
    "evaluation": {"metrics", "errors"},
    "data": {"config", "counting", "errors", "evaluation", "old_form", "registry", "seeding", "state", "storage"},
    "models": {"model_audit", "config", "errors", "registry"},
    "training": {
        *("config", "data", "errors", "evaluation", "metrics", "models", "registry", "retry", "seeding", "state"),
    },
    "inference": {"config", "counting", "data", "errors", "evaluation", "metrics", "models", "state", "training"},
    "search": {
        *("config", "counting", "data", "errors", "inference", "machine", "models", "model_audit", "old_form"),
        *("registry", "retry"),
        *("seeding", "smoothing", "state", "storage", "training", "stein", "ties"),
    },
    "evidence": {
        "config",
        "counting",
        "metrics",
        "data",
        "errors",
        "evaluation",
        "model_audit",
        "old_form",
        "registry",
        "smoothing",
        "state",
        "stein",
        "ties",
    },  # data: frames to show
}
"""What each part may import of the package; cli may import all, and nothing imports cli."""
ROOMS = ("wording", "statistics", "claims", "results", "studies", "importer", "report")
"""Of `evidence`, from low to high: a room imports from those before it."""
REPORT_ROOMS = ("sections", "warnings", "first_screen")
"""Folders of `evidence/report`: none imports from another, and `write.py` puts them together."""
FOREIGN = {
    "torch": {"data", "evaluation", "inference", "models", "training", "search", "cli"},
    "ray": {"search"},
}


def part_of(file: str) -> str:
    return file.split("/")[0].removesuffix(".py")


@cache
def imported(file: str) -> set[str]:
    """The dotted names that a file imports, wherever the line stands in it."""
    names: set[str] = set()
    for node in ast.walk(ast.parse((ROOT / file).read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{file}: relative import"
            names |= {f"{node.module}.{alias.name}" for alias in node.names}
    return names


def parts_imported(file: str) -> set[str]:
    names = [name.split(".") for name in imported(file)]
    return {name[1] for name in names if name[0] == "tune_cmx" and len(name) > 1 and name[1] != "__version__"}


def test_every_part_of_the_package_has_its_place() -> None:
    assert {part_of(file) for file in FILES} == {*BELOW, "cli"}


def test_a_file_imports_only_what_lies_below_it() -> None:
    above = {
        file: reached
        for file in FILES
        if (part := part_of(file)) != "cli" and (reached := parts_imported(file) - {part} - BELOW[part])
    }
    assert above == {}


def test_no_part_may_import_what_it_does_not_use() -> None:
    used: dict[str, set[str]] = {part: set() for part in BELOW}
    for file in FILES:
        used.setdefault(part_of(file), set()).update(parts_imported(file))
    assert {part: idle for part, allowed in BELOW.items() if (idle := allowed - used[part])} == {}


def test_a_room_of_evidence_imports_only_the_rooms_below_it() -> None:
    above = {}
    for file in FILES:
        if file.startswith("evidence/") and file.count("/") > 1:
            room = file.split("/")[1]
            used = {name.split(".")[2] for name in imported(file) if name.startswith("tune_cmx.evidence.")}
            above[file] = used - {*ROOMS[: ROOMS.index(room)], room}
    assert len(above) > 1
    assert {file: rooms for file, rooms in above.items() if rooms} == {}


def test_the_folders_of_the_report_do_not_import_each_other() -> None:
    """Of the files beside the folders, only `write.py` imports from them."""
    wrong = {}
    for file in FILES:
        if not file.startswith("evidence/report/") or file.endswith("/report/write.py"):
            continue
        inside = file.split("/")[2]
        names = [name.split(".") for name in imported(file) if name.startswith("tune_cmx.evidence.report.")]
        forbidden = {*REPORT_ROOMS, "imported", "write"} - {inside} if inside in REPORT_ROOMS else {*REPORT_ROOMS}
        wrong[file] = {name[3] for name in names} & forbidden
    assert len(wrong) > 1
    assert {file: reached for file, reached in wrong.items() if reached} == {}


def test_no_folder_holds_more_than_sixteen_files() -> None:
    folders = {path.parent for path in ROOT.rglob("*.py")}
    counts = {str(folder.relative_to(ROOT)): len(list(folder.glob("*.py"))) for folder in folders}
    assert {name: count for name, count in counts.items() if count > 16} == {}


@pytest.mark.parametrize("package", FOREIGN)
def test_torch_and_ray_stay_where_they_belong(package: str) -> None:
    found = {file for file in FILES if any(name.split(".")[0] == package for name in imported(file))}
    assert {part_of(file) for file in found} <= FOREIGN[package], found
    assert found, "the rule would hold of nothing"
