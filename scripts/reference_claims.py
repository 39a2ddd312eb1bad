"""The page on claims, for `reference.py`. Its examples are answered when the page is made."""

import json
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from reference_tables import fields_table, table

from tune_cmx.cli.claims import answer_case, read_cases
from tune_cmx.config.claims.declared import Claim
from tune_cmx.evidence.claims.form import NEEDS
from tune_cmx.evidence.claims.validity import CHECKS

EXAMPLE = Path(__file__).parents[1] / "docs" / "reference" / "examples" / "claims.json"
INTRO = """# Claims

A claim is a sentence about configurations, written so that it can be tested. Three places take claims:

- under `claims` of a search space: `tune-cmx search` confirms what it names, and the report answers it;
- in a JSON file with the rows of any table of results: `tune-cmx claims FILE` prints an answer for each;
- in a YAML or JSON file beside imported results: `tune-cmx import RESULTS --claims FILE`.

`treatment` and `baseline` are filters: `{fusion: cssa, stages: [4]}` takes the runs with these values. In a search
space the fields are dotted paths (`model.fusion.stages`), and the word `baseline` stands for the study's baseline.

In rows, `arm` is the name of a configuration: a column with any text, equal in all runs of it. A table without this
column is divided by its settings. `{"arm": "cssa"}` takes the runs of that name.

`{"best_of": "cssa_*"}` takes the configurations whose name matches the pattern. In a study it stands for the finalist
that the search selected, trained again on fresh seeds. In rows of any other table the answer is SELECTION_BIASED if
several configurations match: the highest of several means is too high by luck.

A claim on a metric that [metrics.md](metrics.md) does not list needs `direction: lower` or `direction: higher`
where its kind depends on it.

## A whole claims file

`cases` is a list; each case has a claim and its rows, one row for each run. `results` names columns that are
results, so that they may differ between runs; `protocol` names columns in which compared runs must agree. A case may
have both keys too. A column of numbers that nobody names, and that varies between runs of one configuration, is taken
as a result too; the answer names it.
"""
VERDICTS = """
## Verdicts

These checks come first, in this order. The first that applies is the answer.

{checks}
Otherwise the test decides:

| verdict | meaning |
| --- | --- |
| SUPPORTED | The claim holds, at the 5 % level. |
| EQUIVALENT | The two sides differ by less than the margin. |
| CONTRADICTED | The opposite of the claim holds. |
| INCONCLUSIVE | The runs do not decide. The answer says what more runs could show. |
| DESCRIPTIVE_ONLY | A `ratio` or `value` claim names no `value` to test. |

If both sides have the same seeds, runs are paired by seed (paired t); otherwise Welch's t is used. p values are
corrected by Holm over all configurations with two or more runs that are compared with the same baseline. Exact
metrics, such as parameters, are compared without a test.

Average precision is in points, 0 to 100. If no value of a table is above 1, it is read as fractions, and the answer
says so. Then `margin`, `tolerance` and `value` are fractions too.

## Keys of a claim
"""
BASE = {"backbone": "mit_b1", "epochs": 15}


@dataclass(frozen=True)
class Kind:
    """What the page says of a kind of claim."""

    meaning: str
    rules: tuple[tuple[str, str], ...]
    claim: dict[str, Any]
    runs: dict[str, tuple[float, ...]]
    """mAP, or the claim's metric, of each configuration by seed."""


_FRM_FFM = (51.0, 50.8, 51.1, 50.9)
KINDS: dict[str, Kind] = {
    "superiority": Kind(
        "The treatment is better than the baseline.",
        (
            ("SUPPORTED", "better, adjusted p at most 0.05"),
            ("CONTRADICTED", "worse, adjusted p at most 0.05"),
            ("EQUIVALENT", "with `margin`: otherwise, and the 90 % interval of the difference lies within ± margin"),
        ),
        {"metric": "mAP", "treatment": {"arm": "cssa"}, "baseline": {"arm": "frm_ffm"}},
        {"cssa": (53.1, 52.7, 53.4, 52.9), "frm_ffm": _FRM_FFM},
    ),
    "equivalence": Kind(
        "The treatment and the baseline differ by less than `margin` (two one-sided tests).",
        (
            ("EQUIVALENT", "the 90 % interval of the difference lies within ± margin"),
            ("CONTRADICTED", "the 90 % interval lies outside ± margin"),
        ),
        {"metric": "mAP", "treatment": {"arm": "dropout"}, "baseline": {"arm": "frm_ffm"}, "margin": 1.0},
        {"dropout": (50.9, 51.0, 51.2, 50.7), "frm_ffm": _FRM_FFM},
    ),
    "best": Kind(
        "The treatment is better than each other configuration, or than each other value of `among`.",
        (
            ("SUPPORTED", "better than each rival, p at most 0.05 after Holm over the rivals"),
            ("CONTRADICTED", "worse than a rival, by the same test; or, of single runs, a rival has a better value"),
        ),
        {"metric": "mAP", "treatment": {"arm": "cssa"}},
        {"cssa": (53.1, 52.7, 53.4, 52.9), "gaff": (51.9, 52.0, 51.7, 51.8), "frm_ffm": _FRM_FFM},
    ),
    "ratio": Kind(
        "The metric of the treatment is `value` ± `tolerance` times that of the baseline (geometric means).",
        (
            ("SUPPORTED", "the 90 % interval of the ratio lies within `value` ± `tolerance`"),
            ("CONTRADICTED", "it lies outside; without `tolerance`: the 95 % interval does not contain `value`"),
            ("DESCRIPTIVE_ONLY", "there is no `value`"),
        ),
        {
            "metric": "hours",
            "treatment": {"arm": "short"},
            "baseline": {"arm": "long"},
            "value": 0.6,
            "tolerance": 0.05,
        },
        {"short": (2.41, 2.39, 2.42, 2.40), "long": (4.01, 3.98, 4.02, 4.00)},
    ),
    "value": Kind(
        "The mean of the treatment's runs is `value` ± `tolerance`.",
        (
            ("SUPPORTED", "the 90 % interval of the mean lies within `value` ± `tolerance`"),
            ("CONTRADICTED", "it lies outside; without `tolerance`: the 95 % interval does not contain `value`"),
            ("DESCRIPTIVE_ONLY", "there is no `value`"),
        ),
        {"metric": "mAP", "treatment": {"arm": "cssa"}, "value": 53.0, "tolerance": 1.0},
        {"cssa": (53.1, 52.7, 53.4, 52.9)},
    ),
}


def claims_page() -> str:
    """Each kind with its fields, rule and an example with its answer."""
    found = [(check.__doc__ or "").splitlines()[0].partition(": ") for check in CHECKS]
    checks = table(("verdict", "where"), [[verdict, f"{text[:1].upper()}{text[1:]}"] for verdict, _, text in found])
    parts = [
        f"{INTRO}\n```json\n{EXAMPLE.read_text(encoding='utf-8')}```\n",
        f"`tune-cmx claims docs/reference/examples/claims.json` prints:\n\n```json\n{_answers(EXAMPLE)}\n```\n",
        VERDICTS.replace("{checks}", checks),
        fields_table(Claim),
        "## Kinds\n",
        *(_kind_text(kind) for kind in NEEDS),
    ]
    return "\n".join(parts)


def example(kind: str) -> str:
    """A claims file, for `tune-cmx claims`."""
    about = KINDS[kind]
    claim = {"kind": kind, **about.claim}
    rows = [
        {"arm": arm, "seed": seed, **BASE, claim["metric"]: value}
        for arm, values in about.runs.items()
        for seed, value in enumerate(values)
    ]
    lines = ",\n".join(f"   {json.dumps(row)}" for row in rows)
    return f'[{{"id": "{kind}",\n  "claim": {json.dumps(claim)},\n  "rows": [\n{lines}]}}]\n'


def answered(text: str) -> list[dict[str, Any]]:
    """What `tune-cmx claims` prints for a file of this text."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "claims.json"
        path.write_text(text, encoding="utf-8")
        cases, columns = read_cases(path)
    return [answer_case(case, place, columns) for place, case in enumerate(cases, start=1)]


def _answers(path: Path) -> str:
    return "\n".join(json.dumps(entry) for entry in answered(path.read_text(encoding="utf-8")))


def _kind_text(kind: str) -> str:
    about, text = KINDS[kind], example(kind)
    (found,) = answered(text)
    rules = table(("verdict", "where"), [[f"{verdict}", where] for verdict, where in about.rules])
    needs = ", ".join(f"`{key}`" for key in ("metric", *NEEDS[kind]))
    answer = f"{found['verdict']}: {found['why']}"
    return (
        f"### `{kind}`\n\n{about.meaning} It needs {needs}.\n\n{rules}\nINCONCLUSIVE otherwise.\n\n"
        f"```json\n{text}```\n\nIts answer is {answer}.\n"
    )
