"""The report on imported results: their tables to the printed digit, what is unknown, and a verdict on each claim."""

from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from functools import partial
from typing import Any

from tune_cmx.evidence.importer.imported_claims import answered, protocol_fields, run_row
from tune_cmx.evidence.importer.vocabulary import ALL_STAGES, IMPORTED, is_fusion
from tune_cmx.evidence.report.imported_cells import (
    SCHEDULE,
    cells,
    fact,
    factor_value,
    field_value,
    has_figure,
    header,
    heading,
    link,
    printed,
    resumed_words,
)
from tune_cmx.evidence.report.page import Page
from tune_cmx.evidence.results.study_results import StudyResults, Trial
from tune_cmx.evidence.wording import UNKNOWN, cell_text, count, listed
from tune_cmx.state.study_state import ImportedStudy

TITLES = {"stages": "Stage placement", "threshold": "Switching threshold", "fusion": "Fusion", "schedule": "Schedule"}
OTHER_PROTOCOL = "†"
"""Marks a row of another protocol than most."""
_REPORTED = ("mAP", "mAP_50", "mAP_75", "mAP_small", "mAP_medium", "mAP_large", "train_loss", "hours", "params_M")
"""What the section on unknown values asks of each run."""


def is_imported(study: StudyResults) -> bool:
    """Whether the folder was made by an import."""
    return study.state.imported is not None


def imported_page(study: StudyResults) -> Page:
    """The whole report on an import."""
    page = Page()
    page.heading(study.state.study, level=1)
    imported_section(page, study)
    return page


def imported_section(page: Page, study: StudyResults) -> None:
    """All that a report on an import says, below its title."""
    runs = study.of_phase(IMPORTED)
    about = study.imported
    page.paragraph(
        f"{count(len(runs), 'run')} from {listed(about.sources)}. This software did not train "
        "them, so none counts as a confirmation run. Tables print each figure as its source does; mAP is in points."
    )
    _claims(page, study)
    _baseline(page, study, runs)
    for factor in _factors(runs):
        _factor_tables(page, runs, factor)
    _all_runs(page, runs)
    _parameters(page, runs)
    _unknown(page, runs)
    _source_notes(page, study, about)


def _claims(page: Page, study: StudyResults) -> None:
    """Print the earlier report's sentences in quotation marks, as this report does not make them."""
    page.heading("Claims")
    claims = answered(study)
    if not claims:
        page.paragraph("The import has no claims. `tune-cmx import SOURCES --claims FILE` adds them.")
        return
    verdicts = Counter(answer["verdict"] for _, answer in claims)
    page.paragraph(f"{count(len(claims), 'claim')}: {', '.join(f'{n} {name}' for name, n in verdicts.items())}.")
    page.table(
        ["", "claim", "verdict"], [[str(n), f"“{text}”", a["verdict"]] for n, (text, a) in enumerate(claims, 1)], 3
    )
    page.paragraph("Why, in the same order:")
    page.numbered(f"{found['verdict']}: {found['why']}." for _, found in claims)


def _baseline(page: Page, study: StudyResults, runs: Sequence[Trial]) -> None:
    page.heading("Baseline")
    baselines = study.imported.baselines
    if not baselines:
        page.paragraph(
            "No imported run has FRM+FFM at all four stages, so none can serve as baseline. A claim that compares with "
            "the baseline is BLOCKED until a baseline is trained under the same protocol."
        )
        return
    others = [run_row(run) for run in runs if run.arm not in baselines]
    lines = []
    for arm in baselines:
        own = [run_row(run) for run in runs if run.arm == arm]
        known = protocol_fields([*own, *others])
        fields = [name for name in known if any(other.get(name) != own[0].get(name) for other in others)]
        differs = (
            f"differs from other runs in {listed(fields)}" if fields else "has the same protocol as every other run"
        )
        lines.append(f"{listed(str(row['exp_id']) for row in own)}: {differs}")
    page.paragraph("These runs have FRM+FFM at all four stages by their configuration, and can serve as baseline:")
    page.bullets(lines)


def _factors(runs: Sequence[Trial]) -> list[str]:
    """What varies: fields of the fusion, then the schedule as a whole."""
    fields = dict.fromkeys(field for run in runs for field in run.imported.fields)
    varied = [field for field in fields if len({field_value(run, field) for run in runs}) > 1]
    of_fusion = sorted(
        (field for field in varied if is_fusion(field)),
        key=lambda field: list(TITLES).index(field) if field in TITLES else 9,
    )
    return [*of_fusion, *(["schedule"] if any(field in SCHEDULE for field in varied) else [])]


def _factor_tables(page: Page, runs: Sequence[Trial], factor: str) -> None:
    """Add a table for each set of runs whose fusions differ in this factor alone."""
    fields = dict.fromkeys(field for run in runs for field in run.imported.fields)
    held = [field for field in fields if is_fusion(field) and field != factor]
    groups: dict[tuple[str, ...], list[Trial]] = {}
    for run in runs:
        groups.setdefault(tuple(field_value(run, field) for field in held), []).append(run)
    tables = [(key, group) for key, group in groups.items() if len({factor_value(run, factor) for run in group}) > 1]
    if not tables:
        return
    page.heading(TITLES.get(factor, factor))
    varied = [field for field in held if len({field_value(run, field) for run in runs}) > 1]
    for key, group in sorted(tables, key=lambda entry: -len(entry[1])):
        where = [
            f"{field} {value}" for field, value in zip(held, key, strict=True) if field in varied and value != UNKNOWN
        ]
        odd = _odd_ones(group) if factor != "schedule" else []
        marks = {run.name: f" {OTHER_PROTOCOL}" for run in odd}
        rows = [
            [link(run), factor_value(run, factor) + marks.get(run.name, ""), *cells(run, runs)]
            for run in _ranked(group)
        ]
        note = f" {OTHER_PROTOCOL}: not comparable with the other rows ({_odd_words(odd, group)})." if odd else ""
        page.paragraph(f"{'Runs with ' + ', '.join(where) if where else 'All runs'}.{note}{resumed_words(group)}")
        page.table(["run", factor, *header(runs)], rows, left=2, in_paper=False)


def _all_runs(page: Page, runs: Sequence[Trial]) -> None:
    page.heading("All runs")
    fields = dict.fromkeys(field for run in runs for field in run.imported.fields)
    differ = [field for field in fields if len({field_value(run, field) for run in runs}) > 1]
    varied = [field for field in differ if "." not in field or is_fusion(field)]
    same = [f"{field} {field_value(runs[0], field)}" for field in fields if field not in differ]
    others = [field for field in differ if field not in varied]
    if others:
        page.paragraph(f"The runs also differ in {listed(others)}, or it is unknown whether they do.")
    if same:
        page.paragraph(f"The same in all runs: {', '.join(same)}.")
    if resumed_words(runs):
        page.paragraph(resumed_words(runs).strip())
    facts = [name for name in ("arm", "seed") if any(fact(run, name) for run in runs)]
    notes = ["notes"] if any(fact(run, "notes") for run in runs) else []
    rows = [
        [
            link(run),
            *(fact(run, name) or UNKNOWN for name in facts),
            *(field_value(run, field) for field in varied),
            *cells(run, runs),
            *(fact(run, name) or UNKNOWN for name in notes),
        ]
        for run in _ranked(runs)
    ]
    named = ["configuration" if name == "arm" else name for name in facts]
    names = ["run", *named, *varied, *header(runs), *notes]
    page.table(names, rows, left=1 + len(facts) + len(varied), in_paper=False)


def _parameters(page: Page, runs: Sequence[Trial]) -> None:
    """Say what the reported parameter counts can mean."""
    counts = {printed(run, "params_M") for run in runs} - {UNKNOWN}
    if not counts:
        return
    page.heading("Parameters as reported")
    placements = {field_value(run, "stages") for run in runs if printed(run, "params_M") != UNKNOWN}
    if len(counts) == 1 and len(placements) > 1:
        page.paragraph(
            f"Every run reports {next(iter(counts))} M, at {count(len(placements), 'different placement')}. Fusions "
            "differ in size, so this count includes modules that are built and not used. "
            "`tune-cmx describe --fusion-type FUSION --stages STAGES` counts the modules that are used."
        )
        return
    page.paragraph(f"Reported: {listed(sorted(counts))} M. Unknown: whether modules that are not used are counted.")


def _unknown(page: Page, runs: Sequence[Trial]) -> None:
    """List what the sources do not say; no verdict can use it."""
    page.heading("What is unknown")
    known: dict[str, Callable[[Trial], bool]] = {
        "seed": lambda run: run.seed is not None,
        "split of the figures, and whether test was used to select": lambda run: run.reported_on is not None,
        "images of the split": lambda run: bool(run.state.split_hash),
        "code version": lambda run: bool(run.state.code_version),
        "package versions": lambda run: bool(run.state.packages),
        "device": lambda run: bool(run.state.device),
        "fusion at the other stages": lambda run: (
            field_value(run, "stages") == ALL_STAGES or field_value(run, "elsewhere") != UNKNOWN
        ),
    }
    known.update((heading(name), partial(has_figure, name)) for name in _REPORTED)
    lacking: dict[str, list[str]] = {}
    for what, is_known in known.items():
        names = [run.imported.name for run in runs if not is_known(run)]
        if names:
            who = "every run" if len(names) == len(runs) else listed(names)
            lacking.setdefault(who, []).append(what)
    lines = [f"{who}: {'; '.join(what)}" for who, what in lacking.items()]
    page.bullets(lines or ["Nothing that this report needs."])


def _source_notes(page: Page, study: StudyResults, about: ImportedStudy) -> None:
    lines = [f"left out: {entry}" for entry in about.refused]
    lines += [f"left out: {entry.left_out}, the same run as {entry.same_as}" for entry in about.repeated]
    lines += about.notes
    lines += [f"run folders: {problem}" for problem in study.problems]
    if lines:
        page.heading("Sources")
        page.bullets(lines)


def _odd_ones(group: Sequence[Trial]) -> list[Trial]:
    """Runs whose protocol differs from that of the largest set of runs with one protocol."""
    rows = {run.name: run_row(run) for run in group}
    fields = protocol_fields(list(rows.values()))
    by_protocol: dict[tuple[Any, ...], list[Trial]] = {}
    for run in group:
        by_protocol.setdefault(tuple(rows[run.name].get(field) for field in fields), []).append(run)
    most = max(by_protocol.values(), key=len)
    return [run for run in group if run not in most]


def _odd_words(odd: Sequence[Trial], group: Sequence[Trial]) -> str:
    usual = run_row(next(run for run in group if run not in odd))
    rows = [run_row(run) for run in odd]
    fields = [
        field for field in protocol_fields([usual, *rows]) if any(row.get(field) != usual.get(field) for row in rows)
    ]
    return "; ".join(
        dict.fromkeys(", ".join(f"{field} {cell_text(row.get(field))}" for field in fields) for row in rows)
    )


def _ranked(runs: Iterable[Trial]) -> list[Trial]:
    return sorted(runs, key=lambda run: -run.imported.figures["mAP"])
