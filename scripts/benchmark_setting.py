"""With what a benchmark was run: the first words of its page."""

import os
import platform
import shlex
import sys
from collections.abc import Iterable
from importlib.metadata import version


def setting(packages: Iterable[str], *details: str) -> str:
    """The command, the machine, further details, and versions.

    Args:
        packages: Distributions whose versions move the figures.
        details: Of the machine or the run, such as `one thread`.
    """
    command = shlex.join(["python", *sys.argv])
    machine = ", ".join((f"{os.cpu_count()} CPU cores ({platform.machine()})", *details))
    versions = ", ".join(f"{name} {version(name)}" for name in packages)
    return f"`{command}`, {machine}; Python {platform.python_version()}, {versions}."
