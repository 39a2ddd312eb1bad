"""Data and results on storage that is named by a URI, such as `s3://bucket/prefix`.

A URI is resolved as Ray resolves its `storage_path`: by `pyarrow.fs.FileSystem.from_uri`. So
`s3://bucket/prefix?endpoint_override=host:9000&scheme=http` names another S3 server than Amazon's, and credentials come
from the environment or the machine's role.

Records need locks, appends and renames, which object stores lack. They are written to a local folder and mirrored:

1. The driver plans the records and pushes them, with the study's other files.
2. A trial pulls its record (`mirror.pull("trials/NAME")`), trains on it locally, and pushes it after every epoch,
   before it reports the epoch to the driver.
3. The driver, told of the epoch, pulls `trials/NAME/trial.json` and `metrics.csv`; what it changes there (stopped,
   failed) it pushes when the trial no longer writes.

The driver and the workers of a machine have one local folder each. The storage is the truth: what was not pushed is
done again. A record is pushed in the order configuration, checkpoint, other files, `metrics.csv`, `trial.json`, and
read in the opposite one, so that a reader never sees an epoch whose checkpoint is not there. A checkpoint is complete
once it has its `history.json`, and only then are older ones removed.
"""

from tune_cmx.storage.data import fetch_data
from tune_cmx.storage.mirror import Mirror
from tune_cmx.storage.store import below, check_writable, is_uri

__all__ = ["Mirror", "below", "check_writable", "fetch_data", "is_uri"]
