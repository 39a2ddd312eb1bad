"""Sources found, read, and freed of what stands there twice."""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from tune_cmx.errors import ConfigError, DataError
from tune_cmx.evidence.importer.forms import RESULTS_FILE, Run, read_results, read_table
from tune_cmx.evidence.importer.vocabulary import serves_as_baseline
from tune_cmx.evidence.results.study_results import METRICS

_ALIKE = 3
"""So many equal figures in one configuration are one run, whatever it is called; a single mAP can coincide."""


@dataclass
class Collected:
    """What some sources held."""

    sources: list[str]
    runs: list[Run] = field(default_factory=list)
    refused: list[str] = field(default_factory=list)
    """Damaged files and rows: the place and what is wrong, one sentence each."""
    repeated: list[tuple[Run, Run]] = field(default_factory=list)
    """Runs left out, each with the one that was taken and is the same."""
    notes: list[str] = field(default_factory=list)

    @property
    def baselines(self) -> list[Run]:
        """Runs with FRM+FFM at all four stages."""
        return [run for run in self.runs if serves_as_baseline(run.fields)]


def collect(sources: Sequence[Path]) -> Collected:
    """Read all sources; what is damaged is listed, and the rest kept.

    Args:
        sources: `final_results.json` files under any name that ends in .json, folders of them, and CSV tables.

    Raises:
        ConfigError: A source does not exist, is of another kind, or none holds a run.
    """
    found = Collected([str(source) for source in sources])
    for run in _read_all(sources, found.refused):
        same = next((taken for taken in found.runs if _same(run, taken)), None)
        if same is None:
            found.runs.append(run)
        else:
            found.repeated.append((run, same))
    if not found.runs:
        why = f": {found.refused[0]}" if found.refused else ""
        raise ConfigError(f"{', '.join(found.sources)}: nothing to import{why}")
    found.notes += _notes(found.runs)
    return found


def _read_all(sources: Sequence[Path], refused: list[str]) -> Iterator[Run]:
    for path in _files(sources, refused):
        try:
            read: Iterable[Run | DataError] = read_table(path) if path.suffix == ".csv" else [read_results(path)]
            for entry in read:
                if isinstance(entry, Run):
                    yield entry
                else:
                    refused.append(str(entry))
        except DataError as error:
            refused.append(str(error))


def _files(sources: Sequence[Path], refused: list[str]) -> Iterator[Path]:
    """The files to read, each place once."""
    seen: set[Path] = set()
    for source in sources:
        if source.is_dir():
            below = sorted(source.rglob(RESULTS_FILE))
            if not below:
                refused.append(f"{source}: no {RESULTS_FILE} in it or below it")
        elif not source.exists():
            raise ConfigError(f"{source}: is not there; name a {RESULTS_FILE}, a folder of them, or a CSV table")
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
    seeds = [one.says.get("seed") for one in (run, other)]
    if None not in seeds and seeds[0] != seeds[1]:
        return False
    alike = len([name for name in shared if name in METRICS]) >= _ALIKE and run.fields.keys() == other.fields.keys()
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


def _notes(runs: Sequence[Run]) -> list[str]:
    """What the reader of an import should know of its sources."""
    notes = []
    fractions = [run.source for run in runs if run.fractions]
    if fractions:
        notes.append(
            f"mAP stands from 0 to 1 in {len(fractions)} of {len(runs)} runs, the first {fractions[0]}: taken times 100"
        )
    by_name: dict[str, list[str]] = {}
    for run in runs:
        by_name.setdefault(run.name, []).append(run.source)
    notes += [
        f"{len(places)} different runs are called {name}: {', '.join(places)}; all are taken"
        for name, places in by_name.items()
        if len(places) > 1
    ]
    return notes
