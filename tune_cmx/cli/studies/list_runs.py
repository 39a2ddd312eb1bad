"""The table of `tune-cmx list`."""

from collections.abc import Sequence
from pathlib import Path

from rich.markup import escape

from tune_cmx.cli.objects.listed import ConfigurationValue, Listed, Summary
from tune_cmx.cli.options.json_output import print_object
from tune_cmx.cli.output import bytes_text, say, table_of, warn
from tune_cmx.cli.studies.summary import status_text, summary_of
from tune_cmx.counting import count
from tune_cmx.evidence.studies.found import find
from tune_cmx.evidence.wording import UNKNOWN, number

HEADER = ("study", "status", "date", "trials", "metric", "selected configuration", "baseline", "size")


def list_folder(folder: Path, *, as_json: bool) -> None:
    """Print what is below a folder."""
    found = [summary_of(one) for one in find(folder)]
    if as_json:
        print_object(Listed(folder=str(folder), studies=tuple(found)))
        return
    if not found:
        say(f"{escape(str(folder))}: no study and no run is here; `tune-cmx search` writes them, by default into runs")
        return
    table_of(HEADER, [_cells(one, folder) for one in found], right=(3, 7))
    for one in found:
        _warn_of(one, folder)
    total = bytes_text(sum(one.bytes for one in found))
    say(f"{count(len(found), 'folder')}, {total}; next: tune-cmx show {escape(found[0].folder)}")


def _cells(one: Summary, folder: Path) -> Sequence[str]:
    return (
        _place(one, folder),
        status_text(one),
        one.date or UNKNOWN,
        f"{one.trials_done}/{one.trials_planned}",
        one.metric or UNKNOWN,
        value_text(one.selected),
        value_text(one.baseline, named=False),
        bytes_text(one.bytes),
    )


def value_text(value: ConfigurationValue | None, *, named: bool = True) -> str:
    """`CSSA at stage 4: 31.20 ± 0.66 (n = 3)`."""
    if value is None:
        return UNKNOWN
    sd = "" if value.sd is None else f" ± {number(value.sd)}"
    name = f"{value.name}: " if named else ""
    return f"{name}{number(value.mean)}{sd} (n = {value.n})"


def _place(one: Summary, folder: Path) -> str:
    relative = Path(one.folder).relative_to(folder).as_posix()
    return one.name if relative == "." else relative


def _warn_of(one: Summary, folder: Path) -> None:
    """What the values of a folder may not be shown without; its first problem, and how many more there are."""
    for stamp in one.stamps:
        warn(f"{_place(one, folder)}: {stamp}")
    if one.problems:
        more = f" ({len(one.problems) - 1} more: tune-cmx show {one.folder})" if one.problems[1:] else ""
        warn(f"{_place(one, folder)}: {one.problems[0]}{more}")
