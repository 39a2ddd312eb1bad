"""What this machine has."""

import os


def cores_here() -> int:
    """Of this machine, those that this process may use; all of them where the system does not say."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1
