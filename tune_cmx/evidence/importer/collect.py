"""Find and read the sources of an import; keep each run once."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from tune_cmx.errors import ConfigError, DataError
from tune_cmx.evidence.importer.forms import Run, read_results
from tune_cmx.evidence.importer.tables import read_table
from tune_cmx.evidence.importer.vocabulary import Names, serves_as_baseline
from tune_cmx.metrics import scored
from tune_cmx.state.final_results import RESULTS_FILE

_ALIKE = 3
"""So many equal figures in one configuration are one run, whatever it is called; a single mAP can coincide."""


@dataclass
class Collected:
    """What some sources held."""

    sources: list[str]
    runs: list[Run] = field(default_factory=list)
    refused: list[str] = field(default_factory=list)
    """Damaged files and rows without mAP: the place and what is wrong, one sentence each."""
    repeated: list[tuple[Run, Run]] = field(default_factory=list)
    """Runs left out, each with the one that was taken and is the same."""
    notes: list[str] = field(default_factory=list)

    @property
    def baselines(self) -> list[Run]:
        """Runs with FRM+FFM at all four stages."""
        return [run for run in self.runs if serves_as_baseline(run.fields)]


def collect(sources: Sequence[Path], names: Names | None = None) -> Collected:
    """Read all sources.

    A damaged `final_results.json` and a row without mAP are left out and listed. A wrong value in a table is an error:
    a table can be corrected.

    Args:
        sources: `final_results.json` files under any name that ends in .json, folders of them, and CSV tables.
        names: What their columns and keys stand for, besides the known names.

    Raises:
        ConfigError: A source does not exist, is of another kind, or none holds a run.
        DataError: A table has wrong values; a line for each of them.
    """
    found = Collected([str(source) for source in sources])
    for run in _read_all(sources, names or Names(), found):
        same = next((taken for taken in found.runs if _same(run, taken)), None)
        if same is None:
            found.runs.append(run)
        else:
            found.repeated.append((run, same))
    if not found.runs:
        why = f": {found.refused[0]}" if found.refused else ""
        raise ConfigError(f"{', '.join(found.sources)}: nothing to import{why}")
    found.notes += _notes(found.runs, names or Names())
    return found


def _read_all(sources: Sequence[Path], names: Names, found: Collected) -> Iterator[Run]:
    for path in _files(sources, found.refused):
        if path.suffix == ".csv":
            table = read_table(path, names)
            found.refused += table.without_result
            found.notes += table.notes
            yield from table.runs
            continue
        try:
            yield read_results(path, names)
        except DataError as error:
            found.refused += str(error).splitlines()


def _files(sources: Sequence[Path], refused: list[str]) -> Iterator[Path]:
    """The files to read, each place once."""
    seen: set[Path] = set()
    for source in sources:
        if source.is_dir():
            below = sorted(source.rglob(RESULTS_FILE))
            if not below:
                refused.append(f"{source}: no {RESULTS_FILE} in it or below it")
        elif not source.exists():
            raise ConfigError(f"{source}: does not exist; name a {RESULTS_FILE}, a folder of them, or a CSV table")
        elif source.suffix not in (".json", ".csv"):
            raise ConfigError(f"{source}: neither .json, .csv nor a folder; name a {RESULTS_FILE} or a table as CSV")
        else:
            below = [source]
        for path in below:
            if path.resolve() not in seen:
                seen.add(path.resolve())
                yield path


def _same(run: Run, other: Run) -> bool:
    """Whether two sources hold one run: its name, or enough figures, and nothing known that speaks against it."""
    shared = [name for name in run.figures if name in other.figures]
    if not all(_agree(run, other, name) for name in shared):
        return False
    fields = [name for name in run.fields if name in other.fields]
    if any(run.fields[name] != other.fields[name] for name in fields):
        return False
    for key in ("seed", "arm"):
        if key in run.says and key in other.says and run.says[key] != other.says[key]:
            return False
    alike = len([name for name in shared if name in scored()]) >= _ALIKE and run.fields.keys() == other.fields.keys()
    return run.name == other.name or alike


def _agree(run: Run, other: Run, name: str) -> bool:
    """Whether two figures are equal to the digits that both sources print."""
    printed = [text for one in (run, other) if (text := one.printed.get(name)) is not None]
    if not printed:  # both sources have all digits
        return run.figures[name] == other.figures[name]
    digits = min(len(text.partition(".")[2]) for text in printed)
    gap = abs(run.figures[name] - other.figures[name])
    half = 0.5000001 * 10.0**-digits  # of the last digit, and what the halves of floats are off
    return gap <= half


def _notes(runs: Sequence[Run], names: Names) -> list[str]:
    """What the reader of an import should know of its sources."""
    notes = []
    of_files = [run for run in runs if run.source.endswith(".json")]
    unknown = dict.fromkeys(key for run in of_files for key in run.content if names.is_unknown(key))
    if unknown:
        notes.append(
            f"{of_files[0].source}: keys of config without a known name are kept as settings: {', '.join(unknown)}. "
            "For known names give `columns: {KEY: NAME}` in the file of --claims"
        )
    fractions = [run.source for run in runs if run.fractions]
    if fractions:
        notes.append(
            f"{len(fractions)} of {len(runs)} runs have mAP as fractions from 0 to 1, the first {fractions[0]}: "
            "multiplied by 100"
        )
    notes += [
        f"{run.source}: {run.name} was resumed, by its column or its note: its time may cover the last segment only; "
        "claims about time do not use it"
        for run in runs
        if run.partly_timed
    ]
    by_name: dict[str, list[str]] = {}
    for run in runs:
        by_name.setdefault(run.name, []).append(run.source)
    notes += [
        f"{len(places)} different runs are called {name}: {', '.join(places)}; all are imported"
        for name, places in by_name.items()
        if len(places) > 1
    ]
    return notes
