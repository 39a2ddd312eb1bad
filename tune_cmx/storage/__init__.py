"""Data and results on storage that is named by a URI, such as `s3://bucket/prefix`.

A URI is resolved as Ray resolves its `storage_path`: by `pyarrow.fs.FileSystem.from_uri`. So
`s3://bucket/prefix?endpoint_override=host:9000&scheme=http` names another S3 server than Amazon's, and credentials come
from the environment or the machine's role.

Run folders need locks, appends and renames, which object stores lack. They are written locally and mirrored:

1. The driver plans the run folders and pushes them, with the study's other files.
2. A trial pulls its run folder (`mirror.pull("trials/NAME")`), trains locally, and pushes the folder after every
   epoch, before it reports the epoch to the driver.
3. The driver then pulls `trials/NAME/trial.json` and `metrics.csv`. What it changes there (stopped, failed) it pushes
   once the trial no longer writes.

The driver and the workers of a machine have one local folder each. Only what is on the storage counts: what was not
pushed is done again. A run folder is pushed in the order configuration, checkpoint, other files, `metrics.csv`,
`trial.json`, and read in the opposite order. So a reader never sees an epoch without its checkpoint. A checkpoint is
complete once it has its `history.json`; only then are older ones removed.
"""

from tune_cmx.storage.data import fetch_data
from tune_cmx.storage.mirror import Mirror
from tune_cmx.storage.store import below, check_writable, is_uri

__all__ = ["Mirror", "below", "check_writable", "fetch_data", "is_uri"]
