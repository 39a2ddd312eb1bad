"""For all tests: 50 drawn examples, each as slow as a busy machine is, and imports are not searched for garbage."""

import atexit
import gc
from collections.abc import Iterator

import pytest
from hypothesis import settings

settings.register_profile("busy machine", deadline=None, max_examples=50)
settings.load_profile("busy machine")

gc.disable()  # while all is imported: nothing of it is garbage, and looking through it takes a fifth of the time


@pytest.fixture(scope="session", autouse=True)
def _audits_of_tests(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """What the audits of tests find is not kept in the user's cache folder."""
    folder = tmp_path_factory.mktemp("audits")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("tune_cmx.storage.cache.audit_folder", lambda: folder)
        yield


@pytest.hookimpl(trylast=True)
def pytest_collection_finish() -> None:
    """From here on garbage is collected, and what was imported is left out of the search."""
    gc.freeze()
    gc.enable()


atexit.register(gc.unfreeze)  # at the very end: extension modules report what is left then as leaked
