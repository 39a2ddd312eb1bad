"""Many small objects without a search for garbage among them."""

import gc
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def uncollected() -> Iterator[None]:
    """No search for garbage: none of a large set's objects is, and the search takes a third of the time.

    For a whole process, also for its other threads, until the end of the block; not for what decodes images.
    """
    enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if enabled:
            gc.enable()
