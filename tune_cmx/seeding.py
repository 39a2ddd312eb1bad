"""One seed in; a seed for each purpose out."""

import hashlib


def derive(seed: int, *names: str | int) -> int:
    """A seed of 63 bits for one purpose, the same on every machine."""
    digest = hashlib.sha256("/".join(map(str, (seed, *names))).encode()).digest()
    return int.from_bytes(digest[:8], "big") >> 1
