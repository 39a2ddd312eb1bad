"""A new searcher is a class and one line in the table: a space may name it, and its trials are drawn and planned."""

from pathlib import Path
from typing import Annotated, Any, ClassVar, Literal

import numpy as np
import pytest
from pydantic import Field

from tune_cmx.config.arms import BASELINE
from tune_cmx.config.domains import Choice, Domains
from tune_cmx.config.searchers import SEARCHERS, DrawnSearcher
from tune_cmx.config.study import Study, read_study
from tune_cmx.errors import ConfigError
from tune_cmx.search.planning.study_size import size_text

SPACE = """# Which learning rate?
study: test
fixed: {model: {backbone: mit_nano}}
search:
  schedule.lr: {uniform: [0.01, 0.03]}
  schedule.momentum: {uniform: [0.5, 0.9]}
baseline: {schedule.lr: 0.5, schedule.momentum: 0.0}
searcher: {kind: line, trials: 3, bend: 2.0}
"""


class LineSearcher(DrawnSearcher):
    """Points on a line from all lower ends to all upper ends."""

    kind: Literal["line"] = "line"
    bend: Annotated[float, Field(gt=0)] = 1.0
    """Exponent of the points' places on the line."""
    title: ClassVar[str] = "line"

    def draw(self, domains: Domains, seed: int, section: str) -> list[dict[str, Any]]:  # noqa: ARG002
        for path, domain in domains.items():
            if isinstance(domain, Choice):
                raise ConfigError(f"{section}.{path}: a line needs ranges")
        places = np.linspace(0, 1, self.trials) ** self.bend
        return [
            {path: float(ends[0] + place * (ends[1] - ends[0])) for path, ends in _ends(domains)} for place in places
        ]


def _ends(domains: Domains) -> list[tuple[str, tuple[Any, ...]]]:
    return [(path, domain.ends) for path, domain in domains.items()]


def read(folder: Path, text: str = SPACE) -> Study:
    path = folder / "a.yaml"
    path.write_text(text)
    return read_study(path)


@pytest.fixture(autouse=True)
def _line(monkeypatch: pytest.MonkeyPatch) -> None:
    """The one line."""
    monkeypatch.setitem(SEARCHERS, "line", LineSearcher)


def test_a_space_names_it_and_its_trials_are_drawn(tmp_path: Path) -> None:
    study = read(tmp_path)
    assert next(iter(study.arms)) == BASELINE
    values = [study.arms[name].values for name in study.searched]
    assert [value["schedule.lr"] for value in values] == pytest.approx([0.01, 0.015, 0.03])
    assert [value["schedule.momentum"] for value in values] == pytest.approx([0.5, 0.6, 0.9])
    assert study.trials_planned() == (3,)
    assert not study.grows


def test_its_size_is_known_before_it_runs(tmp_path: Path) -> None:
    study = read(tmp_path)
    assert size_text(study).startswith("search: 3 trials, ")
    assert study.lengths() == (15,)


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ("bend: 2.0", "bend: 0.0", r"a\.yaml:8: searcher\.bend: must be above 0; got 0\.0"),
        ("bend: 2.0", "priors: []", r"a\.yaml:8: searcher\.priors: searcher line does not take it; tpe does"),
        ("kind: line", "kind: random", r"a\.yaml:8: searcher\.bend: searcher random does not take it; line does"),
        ("kind: line", "kind: lime", r"a\.yaml:8: .*unknown searcher 'lime'. Known: .*line.* Did you mean 'line'\?"),
        ("{uniform: [0.5, 0.9]}", "{choice: [0.5]}", r"a\.yaml: search\.schedule\.momentum: a line needs ranges"),
    ],
)
def test_its_mistakes_are_named_as_those_of_others(tmp_path: Path, old: str, new: str, said: str) -> None:
    assert old in SPACE
    with pytest.raises(ConfigError, match=said):
        read(tmp_path, SPACE.replace(old, new))
