"""The object that `claims --json` prints."""

from typing import Any

from tune_cmx.cli.options.json_output import Printed


class AnsweredClaim(Printed):
    """A claim and its answer."""

    id: Any
    """The case's id; its place in the file where it has none."""
    text: str | None = None
    """The claim as a sentence. null: the claim is of a file of cases."""
    verdict: str
    """The verdict."""
    numbers: dict[str, Any]
    """The numbers that the verdict rests on; they depend on the kind of claim and the verdict."""
    why: str
    """The reason of the verdict."""


class AnsweredClaims(Printed):
    """The answers of a file or a folder."""

    answers: tuple[AnsweredClaim, ...]
    """An answer for each claim that could be read."""
    problems: tuple[str, ...]
    """Cases that cannot be read, and why. With one or more the exit code is 2."""
