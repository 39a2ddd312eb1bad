"""Search over fusion in RGB + thermal + event detectors, with a control, seeds and verdicts."""

__version__ = "0.1.0"
