"""`split.json` and `audit.json` of a study's data folder, as far as a report reads them without the data."""

from tune_cmx.state.json_file import State

SPLIT_FILE, AUDIT_FILE = "split.json", "audit.json"


class SplitFile(State):
    """Which images are in which part. `tune_cmx.data.split` reads and writes the whole file."""

    train: tuple[str, ...] = ()
    """Image ids."""
    val: tuple[str, ...] = ()
    """Image ids."""
    test: tuple[str, ...] = ()
    """Image ids."""
    sequences: dict[str, tuple[str, ...]] = {}
    """Names of the sequences in each part; empty where they are not known."""


class AuditFile(State):
    """What the audit of the data says. `tune_cmx.data.audit.whole_set` reads and writes the whole file."""

    warnings: tuple[str, ...] = ()
    """Sentences on what can be used, but may be a mistake."""
