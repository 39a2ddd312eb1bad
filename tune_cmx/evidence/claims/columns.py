"""Which columns of a table of runs are results, which are bookkeeping, and which are the protocol."""

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from tune_cmx import metrics
from tune_cmx.errors import ConfigError
from tune_cmx.evidence.claims.notes import is_note
from tune_cmx.evidence.claims.rows import BOOKKEEPING, Row, by_arm, covered, is_number

_SETTINGS = frozenset(
    {"epoch", "epochs", "batch", "batchsize", "microbatch", "lr", "lr0", "learningrate", "weightdecay", "momentum"}
    | {"imagesize", "imgsize", "imgsz", "inputsize", "threshold", "kernelsize", "sereduction", "droppath"}
)
"""Numbers that say how a run was made, also where the runs of one configuration differ in them; without case, signs."""
_PLACES = frozenset({"host", "hosts", "hostname"})
_PATHS = frozenset({"path", "paths", "dir", "directory", "folder", "url"})
_DATES = frozenset({"date", "datetime", "timestamp"})
_TIMES = _DATES | {"time", "at", "when", "start", "started", "end", "ended", "finish", "finished", "created", "updated"}
_SETTING_WORDS = frozenset(
    {"pretrained", "data", "dataset", "datasets", "weights", "split", "splits", "config", "cfg", "init", "backbone"}
    | {"version", "annotations", "labels"}
)
"""A column with one of them is a setting, also where its values are paths or dates."""
_RUN_NAMES = frozenset(
    {"node", "machine", "user", "username", "logfile", "gitsha", "gitcommit", "wandbrun", "wandbid", "jobid", "pid"}
    | {"slurmjobid"}
)
"""Names of columns that say where and by whom a run was made; without case, signs."""
_DATE = re.compile(r"\d{4}-\d{1,2}-\d{1,2}([T ]\d{1,2}:\d{2}.*)?")
_DATE_OR_TIME = re.compile(
    rf"{_DATE.pattern}|\d{{1,2}}[/.]\d{{1,2}}[/.]\d{{4}}.*|([01]\d|2[0-3]):[0-5]\d(:[0-5]\d(\.\d+)?)?"
)
_ABSOLUTE_PATH = re.compile(r"(/|~/|[A-Za-z]:[\\/]).+")


@dataclass(frozen=True)
class Columns:
    """The columns of one table."""

    results: frozenset[str]
    """What came out of the runs."""
    bookkeeping: frozenset[str]
    """What says which run a row is: names, dates, hosts, paths, notes. The fixed fields are in `rows.BOOKKEEPING`."""
    found: tuple[str, ...] = field(default=())
    """Results that nobody named: unknown numbers that vary between runs of one configuration."""

    def is_protocol(self, column: str) -> bool:
        """Whether runs that are compared must agree in it."""
        return column not in self.results and column not in self.bookkeeping

    def protocol(self, row: Row) -> dict[str, Any]:
        """What the row says of how its run was made."""
        return {column: value for column, value in row.items() if self.is_protocol(column)}


def read_columns(
    rows: Sequence[Row],
    *,
    results: Iterable[str] = (),
    protocol: Iterable[str] = (),
    settings: Iterable[str] = (),
) -> Columns:
    """Sort the columns of a table.

    A result is what the table of metrics or `results` names, and an unknown number that varies between runs of one
    configuration. Names, dates, hosts, paths and notes are bookkeeping. Every other column is protocol.

    Args:
        rows: One a run.
        results: Columns that are results whatever their values.
        protocol: Columns that are protocol whatever their names and values.
        settings: Columns that a claim names as factor, filter or pairing: protocol, unless `results` names them.

    Raises:
        ConfigError: A column is named as both.
    """
    named, held = frozenset(results), frozenset(protocol)
    if named & held:
        both = sorted(named & held)[0]
        raise ConfigError(f"column '{both}' is named in `results` and in `protocol`; keep it in one of them")
    values = _values(rows)
    unnamed = {column: found for column, found in values.items() if column not in named and column not in held}
    known = {column for column, found in unnamed.items() if _is_known_result(column, found)} - set(settings)
    bookkeeping = {
        column for column, found in unnamed.items() if column not in known and _is_bookkeeping(column, found)
    }
    rest = [column for column in unnamed if column not in known and column not in bookkeeping]
    found = tuple(column for column in rest if _varies_as_a_result(column, values[column], rows, frozenset(settings)))
    return Columns(frozenset({*named, *known, *found}), (BOOKKEEPING - named - held) | bookkeeping, found)


def differing_columns(
    columns: Columns, rows: Sequence[Row], factor: Iterable[str], match_on: Sequence[str] = ()
) -> list[str]:
    """Protocol columns in which rows differ although they must not, sorted.

    Without `match_on` all rows must agree; with it, those with equal values of those columns. A value that is not
    known differs from one that is.
    """
    allowed = [*factor, *match_on]
    names = {column for row in rows for column in row if columns.is_protocol(column)}
    groups: dict[tuple[Any, ...], list[Row]] = {}
    for row in rows:
        groups.setdefault(tuple(row.get(column) for column in match_on), []).append(row)
    return sorted(
        column
        for column in names
        if not covered(column, allowed)
        and any(len({row.get(column) for row in group}) > 1 for group in groups.values())
    )


def _values(rows: Sequence[Row]) -> dict[str, list[Any]]:
    """The known values of each column."""
    values: dict[str, list[Any]] = {}
    for row in rows:
        for column, value in row.items():
            values.setdefault(column, []).extend([] if value is None else [value])
    return values


def _is_known_result(column: str, values: Sequence[Any]) -> bool:
    """Whether the table of metrics has it; a column such as `loss` with words in it is a setting."""
    return metrics.find(column) is not None and (not values or any(map(is_number, values)))


def _is_bookkeeping(column: str, values: Sequence[Any]) -> bool:
    if column in BOOKKEEPING:
        return True
    if "." in column:
        return False  # a path of a configuration
    words = set(re.split(r"[\s_/-]+", column.lower()))
    texts = [value.strip() for value in values if isinstance(value, str)]
    only_texts = len(texts) == len(values) > 0
    if words & _PLACES or _plain(column) in _RUN_NAMES or (is_note(column) and only_texts):
        return True
    if words & _SETTING_WORDS:
        return False
    if words & _DATES and any(re.search(r"\d.|.\d", str(value)) for value in values):
        return True
    date = _DATE_OR_TIME if words & _TIMES else _DATE
    return only_texts and (
        bool(words & _PATHS) or any(all(map(form.fullmatch, texts)) for form in (date, _ABSOLUTE_PATH))
    )


def _varies_as_a_result(column: str, values: Sequence[Any], rows: Sequence[Row], settings: frozenset[str]) -> bool:
    setting = column in settings or is_setting(column)
    if setting or "." in column or not all(map(is_number, values)):
        return False
    by_arm: dict[Any, set[Any]] = {}
    for row in rows:
        if row.get("arm") is not None and row.get(column) is not None:
            by_arm.setdefault(str(row["arm"]), set()).add(row[column])
    return any(len(found) > 1 for found in by_arm.values())


def _plain(column: str) -> str:
    """The name without case and signs."""
    return re.sub(r"[^a-z0-9]+", "", column.lower())


def not_compared(columns: Columns, rows: Sequence[Row], allowed: Iterable[str]) -> list[str]:
    """Bookkeeping that is equal in all runs of each configuration and differs between configurations, sorted.

    Such a column may be a setting. Fixed fields of a row, and those that the claim allows to differ, are left out.
    """
    arms = by_arm(rows).values()
    names = {column for row in rows for column in row} & columns.bookkeeping - BOOKKEEPING - {*allowed}
    found = {column: [{row.get(column) for row in arm} for arm in arms] for column in names}
    return sorted(
        column
        for column, sides in found.items()
        if all(len(side) == 1 for side in sides) and len(set.union(*sides)) > 1
    )


def columns_words(found: Sequence[str], unchecked: Sequence[str]) -> list[str]:
    """Names the results that nobody named, and the bookkeeping that `not_compared` found; a sentence for each."""
    words = []
    if found:
        words.append(
            f"taken as results, as they vary between runs of one configuration: {', '.join(found)} "
            "(if one of them is a setting, name it under `protocol`)"
        )
    if unchecked:
        words.append(
            f"not compared: {', '.join(unchecked)} (the configurations differ there; for a setting, name it under "
            "`protocol`)"
        )
    return words


def named_columns(content: Mapping[str, Any], key: str, where: str) -> tuple[str, ...]:
    """The names under `results` or `protocol` of a file's object.

    Raises:
        ConfigError: They are no list of names, or `results` names a known setting.
    """
    names = content.get(key)
    if names is None:
        return ()
    if not isinstance(names, list) or not all(isinstance(name, str) and name for name in names):
        raise ConfigError(f'{where}{key}: needs a list of column names, such as ["FPS", "recall"]; got {names!r}')
    if key == "results":
        refuse_settings(names, f"{where}{key}")
    return tuple(names)


def is_setting(column: str) -> bool:
    """Whether the column is known to say how a run was made."""
    return _plain(column.rpartition("/")[2]) in _SETTINGS


def is_host(column: str) -> bool:
    """Whether the column names the machine of a run."""
    return bool(set(re.split(r"[\s_/-]+", column.lower())) & _PLACES) or _plain(column) in ("node", "machine")


def refuse_settings(names: Iterable[str], where: str) -> None:
    """Raises ConfigError where a known setting is named as a result."""
    for name in names:
        if is_setting(name):
            raise ConfigError(
                f"{where}: '{name}' says how a run was made, so it is no result; if a claim compares different "
                f'{name}, add `"factor": ["{name}"]` to the claim'
            )
