"""What the audit of a model finds: data until it is printed."""

from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass
from typing import Any, Literal

from tune_cmx.errors import DataError

_OPTIONAL = {"module": str, "stage": int, "share": float}


@dataclass(frozen=True)
class AuditWarning:
    """One finding on one part of a model."""

    text: str
    """A clause for a person; `{share}` in it stands for the share."""
    kind: Literal["note", "no_gradient"] = "note"
    part: str = ""
    """Of the model, such as `fusion` or `stream aux`."""
    module: str | None = None
    """The class of a fusion."""
    stage: int | None = None
    """Of the encoder, 1 to 4."""
    share: float | None = None
    """0..1."""

    def __str__(self) -> str:
        return _line([self])

    def as_record(self) -> dict[str, Any]:
        """As `trial.json` has it."""
        return asdict(self)

    @classmethod
    def read(cls, entry: object) -> "AuditWarning":
        """An entry of `audit_warnings` in `trial.json`; older studies have a sentence there.

        Raises:
            DataError: It is neither a sentence nor an object with the fields of this class.
        """
        if isinstance(entry, str):
            return cls._of_sentence(entry)
        fits = (
            isinstance(entry, Mapping)
            and entry.keys() <= cls.__dataclass_fields__.keys()
            and isinstance(entry.get("text"), str)
            and isinstance(entry.get("part", ""), str)
            and entry.get("kind", "note") in ("note", "no_gradient")
            and all(isinstance(entry.get(key), kind | None) for key, kind in _OPTIONAL.items())
        )
        if not fits or not isinstance(entry, Mapping):
            needs = "an entry needs text, kind, part, module, stage and share"
            raise DataError(f"audit_warnings: {needs}; got {entry!r:.80}")
        return cls(**entry)

    @classmethod
    def _of_sentence(cls, sentence: str) -> "AuditWarning":
        """Version 0.1.0 wrote `fusion stage 2 (CssaFusion): what was found`, and other parts by their names."""
        kind: Literal["note", "no_gradient"] = "no_gradient" if "no gradient" in sentence else "note"
        place, _, text = sentence.partition(": ")
        words = place.split()
        if len(words) == 4 and words[:2] == ["fusion", "stage"] and words[2].isdigit():
            return cls(text, kind, "fusion", words[3].strip("()"), int(words[2]))
        return cls(sentence, kind)


def merged(found: Iterable[tuple[str, AuditWarning]]) -> list[str]:
    """A line for each finding; those that differ only in configuration, stage or share become one.

    Args:
        found: Name of a configuration, and what the audit of its model found.
    """
    groups: dict[tuple[object, ...], list[tuple[str, AuditWarning]]] = {}
    for name, warning in found:
        groups.setdefault((warning.part, warning.module, warning.text), []).append((name, warning))
    lines = []
    for members in groups.values():
        names = dict.fromkeys(name for name, _ in members)
        where = next(iter(names)) if len(names) == 1 else f"{len(names)} configurations"
        lines.append(f"{_line([warning for _, warning in members])} ({where})")
    return lines


def _line(alike: list[AuditWarning]) -> str:
    first = alike[0]
    stages = sorted({warning.stage for warning in alike if warning.stage is not None})
    shares = sorted({round(100 * warning.share) for warning in alike if warning.share is not None})
    share = f"{shares[0]} %" if len(shares) == 1 else f"{shares[0]} to {shares[-1]} %" if shares else ""
    place = " ".join(
        [
            *([first.part] if first.part else []),
            *([f"stage {'+'.join(map(str, stages))}"] if stages else []),
            *([f"({first.module})"] if first.module else []),
        ]
    )
    text = first.text.replace("{share}", share)
    return f"{place}: {text}" if place else text
