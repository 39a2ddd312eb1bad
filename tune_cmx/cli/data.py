"""Commands on data sets: `data synth`."""

from pathlib import Path
from typing import Annotated

import typer
from rich.markup import escape

from tune_cmx.cli.output import out

app = typer.Typer(no_args_is_help=True, help="Make data sets.")


@app.command()
def synth(
    folder: Annotated[Path, typer.Argument(help="Folder to write; made if absent.")],
    images: Annotated[int, typer.Option(min=3, help="Number of images.")] = 240,
    size: Annotated[int, typer.Option(min=32, help="Height and width of the images in pixels.")] = 96,
    sequences: Annotated[int, typer.Option(min=3, help="Number of sequences.")] = 24,
    seed: Annotated[int, typer.Option(help="Random seed.")] = 0,
    form: Annotated[
        str, typer.Option(help="Form of the image files: folders, npy, or the name of another reader.")
    ] = "folders",
) -> None:
    """Make a small synthetic RGB + thermal + event data set. One modality alone shows a third of the objects.

    Example: `tune-cmx data synth runs/synthetic`
    """
    from tune_cmx.data.synthetic import synthesize

    path = synthesize(folder, images=images, size=size, sequences=sequences, seed=seed, form=form)
    out.print(f"{images} images in {sequences} sequences: {escape(str(path))}", soft_wrap=True)
