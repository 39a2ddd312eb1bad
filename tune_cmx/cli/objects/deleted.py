"""What `delete --json` prints."""

from tune_cmx.cli.options.json_output import Printed


class KeptRun(Printed):
    """A run whose weights stay."""

    configuration: str
    """Id of its configuration."""
    run: str
    """Its run folder."""


class Deleted(Printed):
    """What was removed, or would be."""

    folder: str
    """The study folder."""
    removed: bool
    """Whether it was removed. false: the question was answered with no."""
    places: tuple[str, ...]
    """What is removed: files, folders and links, from the study folder on."""
    bytes_freed: int
    """Space that this frees. A file with another name elsewhere frees none."""
    bytes_kept: int
    """Space that stays in use."""
    kept_runs: tuple[KeptRun, ...]
    """Runs whose weights stay."""
    left: tuple[str, ...]
    """What stays although it is in the folder, a sentence each."""
