"""The command `import`."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from pydantic import field_validator
from rich.markup import escape

from tune_cmx.cli.output import out, say, warn, warn_each
from tune_cmx.config.parse import load_mapping, validate
from tune_cmx.config.section import Section, as_tuple
from tune_cmx.counting import count
from tune_cmx.errors import ConfigError

if TYPE_CHECKING:
    from tune_cmx.evidence.importer.collect import Collected


def import_results(
    sources: Annotated[
        list[Path], typer.Argument(help="`final_results.json` files, folders of them, CSV tables.", show_default=False)
    ],
    output_dir: Annotated[str, typer.Option("--output-dir", help="Folder that receives the import's folder.")] = "runs",
    name: Annotated[str, typer.Option("--name", help="Name of the import's folder.")] = "published",
    claims: Annotated[
        Path | None,
        typer.Option(
            "--claims",
            help="YAML or JSON with any of: `claims: [...]`, which the report answers; `columns: {their name: our "
            "name}` for columns and keys that are not known here; `results: [column, ...]` and `protocol: [column, "
            "...]` for further results and settings.",
        ),
    ] = None,
) -> None:
    """Import earlier results as run folders: report them, answer claims about them, begin a search with them.

    What the sources do not say stays unknown. Imported runs never count as confirmation runs.

    A table has a column mAP and a row for each run. Known columns: arm, exp_id, seed, study, status, source, notes,
    resumed, epochs_logged, fusion, stages, elsewhere, threshold, kernel_size, se_reduction, inter_shared,
    merge_bottleneck, modalities, backbone, epochs, batch, lr, and the metrics with their aliases. A column with another
    name keeps it, and the command names it.

    Examples:

    `tune-cmx import results/ --name earlier`

    `tune-cmx import published_results.csv --claims published_claims.yaml`
    """
    from tune_cmx.evidence.importer.collect import collect
    from tune_cmx.evidence.importer.imported_study import refuse_existing, write_import
    from tune_cmx.evidence.importer.vocabulary import Names

    folder = _folder(output_dir, name)
    refuse_existing(folder)
    given = _given(claims) if claims else _Given()
    names = Names.given(given.columns, given.results, given.protocol)
    found = collect(sources, names)
    write_import(found, folder, given.claims, names)
    _say_what(found, given.claims)
    out.print(f"report: tune-cmx report {escape(str(folder))}", soft_wrap=True)
    out.print(f"[bold]study: {escape(str(folder))}[/bold]", soft_wrap=True)


class _Given(Section):
    """The file of `--claims`."""

    claims: tuple[dict[str, Any], ...] = ()
    columns: dict[str, str] = {}
    results: tuple[str, ...] = ()
    protocol: tuple[str, ...] = ()

    @field_validator("claims", "results", "protocol", mode="before")
    @classmethod
    def _listed(cls, value: Any) -> Any:
        return as_tuple(value)


def _folder(output_dir: str, name: str) -> Path:
    if "://" in output_dir:
        raise ConfigError(
            f"--output-dir {output_dir}: an import needs a local folder; copy it to the storage afterwards"
        )
    if not name or name in (".", "..") or Path(name).name != name:
        raise ConfigError(f"--name: needs the name of one folder, as in published; got '{name}'")
    return (Path(output_dir) / name).resolve()


def _given(path: Path) -> _Given:
    """The claims of a file, and what it says of columns.

    A claim stands alone, or under `claim` with the rows that it speaks of under `where`. Each metric that a claim names
    is a result.
    """
    from tune_cmx.evidence.claims.columns import refuse_settings

    content, lines = load_mapping(path)
    given = validate(_Given, content, source=str(path), lines=lines)
    if not (given.claims or given.columns or given.results or given.protocol):
        raise ConfigError(f"{path}: has none of claims, columns, results and protocol; give a list under claims:")
    refuse_settings(given.results, f"{path}: results")
    return given.model_copy(update={"results": (*given.results, *_metrics(given.claims))})


def _metrics(claims: Sequence[Mapping[str, Any]]) -> list[str]:
    """The metrics that claims name, each alone or under `claim`."""
    asked = [entry["claim"] if isinstance(entry.get("claim"), Mapping) else entry for entry in claims]
    return [claim["metric"] for claim in asked if isinstance(claim.get("metric"), str)]


def _say_what(found: "Collected", claims: Sequence[Mapping[str, Any]]) -> None:
    """Say what was imported, what not, and what can serve as baseline."""
    say(f"imported: {count(len(found.runs), 'run')} from {escape(', '.join(found.sources))}")
    warn_each("left out", found.refused)
    warn_each("left out, the same run twice", [f"{run.source} is {other.source}" for run, other in found.repeated])
    for note in found.notes:
        warn(note)
    baselines = [f"{run.name} ({run.source})" for run in found.baselines]
    if baselines:
        say(f"can serve as baseline (FRM+FFM at all four stages): {escape(', '.join(baselines))}")
    elif any("baseline" in _sides(claim) for claim in claims):
        warn(
            "no run has FRM+FFM at all four stages, so claims with the word baseline are BLOCKED; name another "
            "configuration there, as in `baseline: {arm: NAME}`"
        )


def _sides(entry: Mapping[str, Any]) -> list[Any]:
    """The sides of a claim that stands alone or under `claim`; an older file says `control` for the baseline."""
    claim = entry["claim"] if isinstance(entry.get("claim"), Mapping) else entry
    sides = [claim.get(side) for side in ("treatment", "baseline", "control")]
    return ["baseline" if side == "control" else side for side in sides]
