"""`robustness.json` in a run folder: the metrics of its detector with one modality corrupted."""

import json
from contextlib import suppress
from pathlib import Path
from typing import Annotated, Literal

from pydantic import Field, ValidationError

from tune_cmx.config.section import Section
from tune_cmx.data.corruption.kinds import Corruption
from tune_cmx.errors import DataError
from tune_cmx.old_form import current_robustness

ROBUSTNESS = "robustness.json"
Results = dict[str, Annotated[float, Field(ge=0, le=100)] | None]
"""Metrics in points by name; None: not defined, such as that of a size that no box has."""


class Outcome(Section):
    """The metrics under one corruption."""

    corruption: Annotated[Corruption, Field(discriminator="kind")]
    results: Results


class Basis(Section):
    """What the results depend on; results of another basis are measured again."""

    weights: str
    """Hash of the weights' file, twelve hexadecimal digits."""
    split_hash: str
    data_fingerprint: str
    code_version: str
    device: str | None = None
    """`cpu` or `cuda`, which round differently; None: an earlier version did not store it."""


class OnSplit(Section):
    """The metrics on one part of the split, clean and corrupted, of the same weights."""

    basis: Basis
    clean: Results
    corrupted: tuple[Outcome, ...] = ()

    def results(self, corruption: Corruption) -> Results | None:
        """The metrics under this corruption; None: not measured."""
        return next((one.results for one in self.corrupted if one.corruption == corruption), None)

    def with_results(self, corruption: Corruption, results: Results) -> "OnSplit":
        """The same, with the metrics under one more corruption."""
        outcome = Outcome(corruption=corruption, results=results)
        return self.model_copy(update={"corrupted": (*self.corrupted, outcome)})


class Robustness(Section):
    """The whole file."""

    splits: dict[Literal["val", "test"], OnSplit] = {}


def read_robustness(run_folder: Path) -> Robustness | None:
    """The file of a run folder; None: there is none.

    Raises:
        DataError: It cannot be read, or a field is missing or out of range.
    """
    path = run_folder / ROBUSTNESS
    if not path.is_file():
        return None
    try:
        content: str | bytes = path.read_bytes()
        with suppress(ValueError):  # of a file that is not JSON, the model tells where
            content = json.dumps(current_robustness(json.loads(content)))
        return Robustness.model_validate_json(content)
    except ValidationError as error:
        first = error.errors()[0]
        field = ".".join(map(str, first["loc"]))
        raise DataError(f"{ROBUSTNESS} is damaged: {field + ': ' if field else ''}{first['msg']}") from error
    except OSError as error:
        raise DataError(f"{ROBUSTNESS} cannot be read: {error.strerror}") from error
