"""Flags that had another name in an earlier version: the old name is an error that names the new one."""

from collections.abc import Sequence

from tune_cmx.errors import ConfigError

RENAMED_FLAGS = {
    "--blank": "--missing",
    "--delay": "--delayed",
    "--frame": "--input-size",
    "--frames": "--images",
    "--go-on": "--resume-or-start",
    "--shift": "--shifted",
}
"""Old name -> new name. No command may use an old name for something else."""


def refuse_renamed_flags(arguments: Sequence[str]) -> None:
    """Raise ConfigError if the command line uses an old name of a flag.

    Args:
        arguments: What follows `tune-cmx`.
    """
    for argument in arguments:
        name = argument.partition("=")[0]
        if name in RENAMED_FLAGS:
            raise ConfigError(f"{name}: this flag was renamed; use {RENAMED_FLAGS[name]}")
