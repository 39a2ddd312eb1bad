"""Derive a seed for each purpose from one seed."""

import hashlib


def derive(seed: int, *names: str | int) -> int:
    """A seed of 63 bits for one purpose, the same on every machine.

    Args:
        seed: Of the trial or the study.
        names: Of the purpose.
    """
    digest = hashlib.sha256("/".join(map(str, (seed, *names))).encode()).digest()
    return int.from_bytes(digest[:8], "big") >> 1
