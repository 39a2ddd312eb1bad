"""Search over fusion in RGB + thermal + event detectors, with a baseline, seeds and verdicts.

The public names are those of `__all__`; everything else is private and may change.

    import tune_cmx as tc

    study = tc.Study.load("runs/demo")
    study.results()  # a DataFrame: each confirmed configuration against the baseline
"""

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from tune_cmx.api.loaded_study import Study as Study
    from tune_cmx.inference.loading import load as load
else:
    _HOMES = {"Study": "tune_cmx.api.loaded_study", "load": "tune_cmx.inference.loading"}
    """The file of each public name. It is imported at the first use, so `import tune_cmx` stays fast."""

    def __getattr__(name):
        if name not in _HOMES:
            raise AttributeError(f"module 'tune_cmx' has no attribute '{name}'; it has {', '.join(__all__)}")
        return getattr(import_module(_HOMES[name]), name)

    def __dir__():
        return sorted({*globals(), *__all__})


__all__ = ["Study", "__version__", "load"]
__version__ = "0.1.0"
