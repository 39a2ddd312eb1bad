"""For all tests: 50 drawn examples, each as slow as a busy machine is, and imports are not searched for garbage."""

import atexit
import gc

import pytest
from hypothesis import settings

settings.register_profile("busy machine", deadline=None, max_examples=50)
settings.load_profile("busy machine")

gc.disable()  # while all is imported: nothing of it is garbage, and looking through it takes a fifth of the time


@pytest.hookimpl(trylast=True)
def pytest_collection_finish() -> None:
    """From here on garbage is collected, and what was imported is left out of the search."""
    gc.freeze()
    gc.enable()


atexit.register(gc.unfreeze)  # at the very end: extension modules report what is left then as leaked
