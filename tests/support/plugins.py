"""The toy package of `plugin_package/`, installed into a folder, and tables that see it."""

import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

PACKAGE = Path(__file__).parent / "plugin_package"


def install(folder: Path) -> Path:
    """Install the toy package there, as pip does; no network is asked."""
    pip = (sys.executable, "-m", "pip", "install", "--quiet", "--disable-pip-version-check")
    subprocess.run(
        [*pip, "--no-deps", "--no-build-isolation", "--target", str(folder), str(PACKAGE)], check=True, text=True
    )
    return folder


def broken(folder: Path, points: str, name: str = "broken-plugin", **files: str) -> Path:
    """A folder that is as if a package with these entry points were installed there, with some modules."""
    about = folder / f"{name.replace('-', '_')}-0.3.dist-info"
    about.mkdir(parents=True)
    (about / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: 0.3\n")
    (about / "entry_points.txt").write_text(points)
    for module, text in files.items():
        (folder / f"{module}.py").write_text(text)
    return folder


@contextmanager
def seen(*folders: Path) -> Iterator[None]:
    """Within it this process finds what is installed in these folders."""
    from tune_cmx.config.searchers import SEARCHERS
    from tune_cmx.data.readers import READERS
    from tune_cmx.metrics import METRICS
    from tune_cmx.models.fusion import FUSIONS
    from tune_cmx.training.loggers import LOGGERS

    tables = (FUSIONS, METRICS, SEARCHERS, READERS, LOGGERS)
    before = set(sys.modules)
    with pytest.MonkeyPatch.context() as patch:
        for folder in folders:
            patch.syspath_prepend(str(folder))
        try:
            for table in tables:
                table.refresh()
            yield
        finally:
            for name in set(sys.modules) - before:
                if any(str(folder) in str(getattr(sys.modules[name], "__file__", "")) for folder in folders):
                    del sys.modules[name]
    for table in tables:
        table.refresh()
