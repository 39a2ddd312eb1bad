"""The classes of a set: as its labels name them, and as the detector learns them."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property

from tune_cmx.errors import ConfigError, DataError
from tune_cmx.registry import suggestion

LEFT_OUT, IGNORED = -1, -2
ANY_CLASS = -1
"""The class id of an ignore region that holds for every class."""
IGNORE = "ignore"
"""As the new name of a class: its boxes are ignore regions."""


@dataclass(frozen=True)
class ClassMap:
    """Which class of the labels becomes which class of the detector."""

    source: tuple[str, ...]
    """Names as the labels have them; where labels have numbers, by number."""
    names: tuple[str, ...]
    """Names of the classes that the detector learns, by id."""
    to: tuple[int, ...]
    """For each source class its id, or LEFT_OUT or IGNORED."""

    @cached_property
    def id_of(self) -> dict[str, int]:
        """Number of each source class by its name."""
        return {name: number for number, name in enumerate(self.source)}

    def ordered(self, wanted: Sequence[str]) -> "ClassMap":
        """The same classes, with ids in another order, and with classes that no label has.

        Raises:
            ConfigError: A class is not in the new order.
        """
        places = _in_order(self.names, "the labels", wanted).to
        return ClassMap(self.source, tuple(wanted), tuple(places[id] if id >= 0 else id for id in self.to))

    @cached_property
    def is_identity(self) -> bool:
        """Whether every class stays as it is."""
        return self.to == tuple(range(len(self.source)))


def class_map(
    source: Sequence[str], place: str, said: Sequence[str] | Mapping[str, str | None] | None = None
) -> ClassMap:
    """The classes of a set.

    Args:
        source: Names as the labels have them.
        place: Where these names are from, for error messages.
        said: New name of some classes, as in `{rider: person, dog: null}`: null leaves a class out, `ignore` makes its
            boxes ignore regions, and two classes of one name are merged. Or the names to learn, in their order; every
            class of the labels must be one of them. None: all classes as they are.

    Raises:
        ConfigError: A class that is mapped is not in the labels.
        DataError: No class is left, or a name is there twice.
    """
    names = [name.strip() for name in source if name.strip()]
    if not names:
        raise DataError(f"{place}: no class named; at least one is needed")
    twice = next((name for name in names if names.count(name) > 1), None)
    if twice is not None:
        raise DataError(f"{place}: class '{twice}' is named twice; each name occurs once")
    if said is None:
        return ClassMap(tuple(names), tuple(names), tuple(range(len(names))))
    if not isinstance(said, Mapping):
        return _in_order(names, place, [name.strip() for name in said if name.strip()])
    for name in said:
        if name not in names:
            raise ConfigError(
                f"classes: '{name}' is not a class of {place}. It has {', '.join(names)}.{suggestion(name, names)}"
            )
    for name, new in said.items():
        if new is not None and new.lower() in ("none", "null"):
            raise ConfigError(
                f"classes: '{name}' would be called '{new}'. To leave it out, write {name}= in --classes, or null "
                "without quotation marks in data.yaml"
            )
        if new is not None and (not new.strip() or (new.strip().lower() == IGNORE and new != IGNORE)):
            raise ConfigError(
                f"classes: '{name}' would be called '{new}'. Write {IGNORE} in lower case to make its boxes ignore "
                "regions, null to leave it out, or another name"
            )
    renamed: dict[str, str | None] = {name: said.get(name, name) for name in names}
    learnt = list(dict.fromkeys(name for name in renamed.values() if name not in (None, IGNORE)))
    if not learnt:
        raise DataError(f"classes: every class of {place} is left out; keep at least one of {', '.join(names)}")
    return ClassMap(tuple(names), tuple(map(str, learnt)), tuple(_id(renamed[name], learnt) for name in names))


def _id(name: str | None, learnt: Sequence[str | None]) -> int:
    return LEFT_OUT if name is None else IGNORED if name == IGNORE else learnt.index(name)


def _in_order(names: Sequence[str], place: str, wanted: Sequence[str]) -> ClassMap:
    if not wanted:
        raise DataError("classes: no class named; at least one is needed")
    twice = next((name for name in wanted if list(wanted).count(name) > 1), None)
    if twice is not None:
        raise DataError(f"classes: class '{twice}' is named twice; each name occurs once")
    unknown = next((name for name in names if name not in wanted), None)
    if unknown is not None:
        raise ConfigError(
            f"classes: {place} has the class '{unknown}', which is not in {', '.join(wanted)}; add it, or leave it out "
            f"by a mapping, as in classes: {{{unknown}: null}}"
        )
    return ClassMap(tuple(names), tuple(wanted), tuple(wanted.index(name) for name in names))
