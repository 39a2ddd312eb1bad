"""Tables of named entries, which other packages may extend by entry points; and a lookup with an error that helps."""

import difflib
import importlib.metadata
import logging
import re
from collections import defaultdict
from collections.abc import Callable, ItemsView, Iterable, Iterator, Mapping, MutableMapping, ValuesView
from dataclasses import dataclass
from functools import cache
from importlib.metadata import EntryPoint
from typing import Any, Generic, TypeVar

from tune_cmx.errors import ConfigError

Entry = TypeVar("Entry")
_NAME = re.compile(r"[A-Za-z0-9]+([_-][A-Za-z0-9]+)*")
_log = logging.getLogger(__name__)


@dataclass
class _Foreign(Generic[Entry]):
    """What other packages give under one name; it is loaded when it is first asked for."""

    points: tuple[EntryPoint, ...]
    entry: Entry | None = None
    fault: str | None = None


class Table(MutableMapping[str, Entry]):
    """Entries by name: those of this package, then those of other packages, by name.

    An entry point of the table's group names an object that is what a line of the table would be. Its module is
    imported when the entry, or all entries, are first asked for; the names alone import nothing. An entry point that
    cannot be used is an error for whoever asks for its name. `items` and `values` leave it out and log a warning, so
    that it does not stop a command that works without it.

    Args:
        group: Of the entry points, such as `tune_cmx.fusions`.
        entries: Those of this package.
        check: Given a name and the object of its entry point, returns what is wrong with it; None: it may be an entry.
        later: Further entries of this package that are imported when they are asked for, as `module:object`.
    """

    def __init__(
        self,
        group: str,
        entries: Mapping[str, Entry],
        check: Callable[[str, Any], str | None],
        later: Mapping[str, str] | None = None,
    ) -> None:
        self.group = group
        self._own, self._check = dict(entries), check
        self._later = {name: EntryPoint(name, value, group) for name, value in (later or {}).items()}
        self._others: dict[str, _Foreign[Entry]] | None = None
        self._usable: dict[str, Entry] | None = None

    def __getitem__(self, name: str) -> Entry:
        """The entry of that name.

        Raises:
            KeyError: There is none.
            ConfigError: Another package gives it, and it cannot be used.
        """
        found = self._foreign().get(name)
        if found is None:
            if name in self._later and name not in self._own:
                self._own[name] = self._later[name].load()
            return self._own[name]
        self._load(name, found)
        if found.entry is None:
            raise ConfigError(str(found.fault))
        return found.entry

    def __setitem__(self, name: str, entry: Entry) -> None:
        self._own[name] = entry
        self._usable = None

    def __delitem__(self, name: str) -> None:
        del self._own[name]
        self._usable = None

    def __contains__(self, name: object) -> bool:
        return name in self._names() or name in self._foreign()

    def __iter__(self) -> Iterator[str]:
        here = self._names()
        yield from here
        yield from (name for name in self._foreign() if name not in here)

    def __len__(self) -> int:
        return sum(1 for _ in self)

    def items(self) -> ItemsView[str, Entry]:
        """Names and entries, without what cannot be used."""
        return self._all().items()

    def values(self) -> ValuesView[Entry]:
        """Entries, without what cannot be used."""
        return self._all().values()

    def own(self) -> Mapping[str, Entry]:
        """The entries of this package."""
        return self._own

    def refresh(self) -> None:
        """Forget the entries of other packages, as after one was installed; the next reading finds them anew."""
        _every_entry_point.cache_clear()
        self._others = self._usable = None

    def _names(self) -> dict[str, None]:
        return dict.fromkeys((*self._later, *self._own))

    def _foreign(self) -> dict[str, _Foreign[Entry]]:
        if self._others is None:
            self._others = {name: _Foreign(points) for name, points in _entry_points(self.group).items()}
        return self._others

    def _all(self) -> dict[str, Entry]:
        if self._usable is None:
            usable = {
                name: self._own[name] if name in self._own else self._later[name].load() for name in self._names()
            }
            for name, found in self._foreign().items():
                self._load(name, found)
                if found.entry is not None:
                    usable[name] = found.entry
                else:
                    _log.warning("%s", found.fault)
            self._usable = usable
        return self._usable

    def _load(self, name: str, found: _Foreign[Entry]) -> None:
        """Set its entry, or what is wrong with it."""
        if found.entry is not None or found.fault is not None:
            return
        taken = (
            f"the name '{name}' is taken by tune_cmx itself" if name in self._names() else _taken(name, found.points)
        )
        if taken:
            found.fault = _fault(found.points[0], taken, "Give it another name, or")
            return
        if not _NAME.fullmatch(name):
            found.fault = _fault(found.points[0], f"'{name}' is not made of letters, digits, - and _", "Rename it, or")
            return
        try:
            entry = found.points[0].load()
        except Exception as error:  # another package's code, which may raise anything; whoever needs it is told
            found.fault = _fault(found.points[0], f"{type(error).__name__}: {error}")
            return
        wrong = self._check(name, entry)
        if wrong is None:
            found.entry = entry
        else:
            found.fault = _fault(found.points[0], wrong)


def _taken(name: str, points: tuple[EntryPoint, ...]) -> str | None:
    if len(points) == 1:
        return None
    return f"the name '{name}' is given by several packages: {', '.join(_package(point) for point in points)}"


def _fault(point: EntryPoint, wrong: str, fix: str = "Correct or update that package, or") -> str:
    package = point.dist.name if point.dist else ""
    return (
        f"package {_package(point)}, entry point {point.name} = {point.value} of {point.group}: {wrong}. {fix} remove "
        f"it: pip uninstall {package}"
    )


def _package(point: EntryPoint) -> str:
    return f"{point.dist.name} {point.dist.version}" if point.dist else "unknown"


@cache
def _every_entry_point() -> dict[str, dict[str, tuple[EntryPoint, ...]]]:
    """Those for tables of this package by group and name, sorted; several of a name where packages disagree.

    It is found once: it reads a file of every installed package.
    """
    found: dict[str, dict[str, list[EntryPoint]]] = defaultdict(lambda: defaultdict(list))
    every = importlib.metadata.entry_points()
    for group in every.groups:
        for point in every.select(group=group) if group.startswith("tune_cmx.") else ():
            found[group][point.name].append(point)
    return {
        group: {name: tuple(sorted(points[name], key=_package)) for name in sorted(points)}
        for group, points in found.items()
    }


def _entry_points(group: str) -> dict[str, tuple[EntryPoint, ...]]:
    return _every_entry_point().get(group, {})


def has_plugins() -> bool:
    """Whether any installed package has an entry point for a table of this one."""
    return bool(_every_entry_point())


def plugin_versions(used: Mapping[str, Iterable[str]]) -> dict[str, str]:
    """The packages that give some entries by entry point, with their versions; nothing is imported.

    Args:
        used: Names by group, such as `{"tune_cmx.fusions": ["cssa", "mixture"]}`; those of this package count nothing.
    """
    points = [point for group, names in used.items() for name in names for point in _entry_points(group).get(name, ())]
    return dict(sorted({(point.dist.name, point.dist.version) for point in points if point.dist}))


def undescribed(entry: Any, base: type) -> str | None:
    """What is wrong with an object that must be a described subclass; None: nothing."""
    if not (isinstance(entry, type) and issubclass(entry, base)):
        return f"needs a subclass of {base.__module__}.{base.__qualname__}; got {entry!r}"
    if not (entry.__doc__ or "").strip() or entry.__doc__ == base.__doc__:
        return f"{entry.__qualname__} needs a docstring, which the reference and messages print"
    return None


def nearest(name: str, known: Iterable[str]) -> str | None:
    """The known name that is most like this one; None where none is near."""
    return next(iter(difflib.get_close_matches(name, list(known), n=1, cutoff=0.6)), None)


def suggestion(name: str, known: Iterable[str]) -> str:
    """The words `" Did you mean 'x'?"` for the nearest known name, or nothing where none is near."""
    near = nearest(name, known)
    return f" Did you mean '{near}'?" if near else ""


def lookup(table: Mapping[str, Entry], name: str, what: str) -> Entry:
    """The table's entry of that name.

    Args:
        table: Entries by name.
        name: The name asked for.
        what: Where the name stands and what it names, as in `model.fusion: unknown fusion`.

    Raises:
        ConfigError: No such entry; the message lists the names and suggests the nearest. Or another package gives the
            entry, and it cannot be used.
    """
    if name in table:
        return table[name]
    raise ConfigError(f"{what} '{name}'. Known: {', '.join(sorted(table))}.{suggestion(name, table)}")
