"""What a user, a file or a trial can cause to go wrong; the command line ends each of these with exit code 2."""


class TuneCmxError(Exception):
    """The common ancestor, so that the command line can tell a clear message from a bug."""


class ConfigError(TuneCmxError):
    """A setting is unknown, missing, of the wrong type or out of its range."""


class DataError(TuneCmxError):
    """An image, a label or a split cannot be used."""


class ShapeError(TuneCmxError):
    """Two feature maps that must agree in shape do not."""


class TrialError(TuneCmxError):
    """One training run failed; the search notes the reason and continues with the others."""


class StorageError(TuneCmxError):
    """A place for data or results cannot be read or written, and did not come back in time."""
