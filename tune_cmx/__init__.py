"""Search over fusion in RGB + thermal + event detectors, with a baseline, seeds and verdicts."""

__version__ = "0.1.0"
