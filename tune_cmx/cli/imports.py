"""The command `import`."""

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.markup import escape

from tune_cmx.cli.output import counted, out, say, warn, warn_each
from tune_cmx.config.parse import load_mapping
from tune_cmx.errors import ConfigError

if TYPE_CHECKING:
    from tune_cmx.evidence.importer.collect import Collected


def import_results(
    sources: Annotated[
        list[Path], typer.Argument(help="`final_results.json` files, folders of them, CSV tables.", show_default=False)
    ],
    output_dir: Annotated[str, typer.Option("--output-dir", help="The import goes into a folder of its name here.")] = (
        "runs"
    ),
    name: Annotated[str, typer.Option("--name", help="Of the import's folder.")] = "published",
    claims: Annotated[
        Path | None, typer.Option("--claims", help="YAML or JSON with `claims:`, which the report then answers.")
    ] = None,
) -> None:
    """Take earlier results over as records, so that they can be reported, judged, and begin a search.

    What the sources do not say stays unknown; imported runs are never replicates of an arm.

    Examples:

    `tune-cmx import results/ --name earlier`

    `tune-cmx import published_results.csv --claims published_claims.yaml`
    """
    from tune_cmx.evidence.importer.collect import collect
    from tune_cmx.evidence.importer.imported_study import refuse_existing, write_import

    folder = _folder(output_dir, name)
    refuse_existing(folder)
    stated = _claims(claims) if claims else []
    found = collect(sources)
    write_import(found, folder, stated)
    _say_what(found)
    out.print(f"report: tune-cmx report {escape(str(folder))}", soft_wrap=True)
    out.print(f"[bold]study: {escape(str(folder))}[/bold]", soft_wrap=True)


def _folder(output_dir: str, name: str) -> Path:
    if "://" in output_dir:
        raise ConfigError(
            f"--output-dir {output_dir}: an import goes into a local folder; copy it to storage from there"
        )
    if not name or name in (".", "..") or Path(name).name != name:
        raise ConfigError(f"--name: needs the name of one folder, as in published; got '{name}'")
    return (Path(output_dir) / name).resolve()


def _claims(path: Path) -> list[Mapping[str, Any]]:
    """The claims of a file, each a claim, or a claim under `claim` with the rows that it speaks of under `where`."""
    content, _ = load_mapping(path)
    found = content.get("claims")
    if not isinstance(found, list) or not found or not all(isinstance(entry, dict) for entry in found):
        raise ConfigError(f"{path}: needs claims: with a list of claims, each a mapping")
    return found


def _say_what(found: "Collected") -> None:
    """What was taken, what not, and what can serve as baseline."""
    say(f"taken: {counted(len(found.runs), 'run')} from {escape(', '.join(found.sources))}")
    warn_each("refused", found.refused)
    warn_each("left out, as it is there twice", [f"{run.source} is {other.source}" for run, other in found.repeated])
    for note in found.notes:
        warn(note)
    baselines = [f"{run.name} ({run.source})" for run in found.baselines]
    if baselines:
        say(f"can serve as baseline (FRM+FFM at all four stages): {escape(', '.join(baselines))}")
    else:
        warn("no run has FRM+FFM at all four stages: none can serve as baseline, and what needs one is blocked")
