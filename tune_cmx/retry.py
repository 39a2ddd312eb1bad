"""Retry reads and writes while storage fails for a while: a disk, a network file system, an object store."""

import errno
import logging
import random
import time
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

from tune_cmx.errors import TrialError

RETRY_S = 600.0
"""Seconds of retries: a file server that restarts or fails over is back by then."""
FIRST_WAIT_S, LONGEST_WAIT_S = 0.1, 30.0
FULL = frozenset({errno.ENOSPC, errno.EDQUOT})
PASSING = FULL | {
    errno.EAGAIN,
    errno.EBUSY,
    errno.ECONNREFUSED,
    errno.ECONNRESET,
    errno.EHOSTDOWN,
    errno.EHOSTUNREACH,
    errno.EINTR,
    errno.EIO,
    errno.ENETDOWN,
    errno.ENETUNREACH,
    errno.ENOLCK,
    errno.ENOTCONN,
    errno.EROFS,
    errno.ESTALE,
    errno.ETIMEDOUT,
}
"""Errors of a disk or network file system that may pass; some mount themselves read-only (EROFS) after an error."""

Result = TypeVar("Result")
_log = logging.getLogger(__name__)
_jitter = random.SystemRandom()  # a trial's own random state must stay as it is


def with_retry(
    attempt: Callable[[], Result],
    place: str,
    *,
    retry_s: float,
    passes: Callable[[OSError], bool],
    failure: Callable[[OSError, float], Exception],
) -> Result:
    """Try an action again, with longer and longer waits, while its error may pass.

    Args:
        attempt: The action; it must be repeatable after a failure at any point.
        place: What is read or written, for the log.
        retry_s: Seconds in all; 0: one attempt.
        passes: Whether an error may pass.
        failure: Makes the exception to raise in the end, from the last error and the seconds spent.
    """
    began = time.monotonic()
    wait_s = FIRST_WAIT_S
    while True:
        try:
            return attempt()
        except OSError as error:
            spent_s = time.monotonic() - began
            left_s = retry_s - spent_s
            if left_s <= 0 or not passes(error):
                final = failure(error, spent_s)
                if final is error:
                    raise
                raise final from error
            if wait_s == FIRST_WAIT_S:
                _log.warning("%s: %s; trying again for up to %.0f s", place, error, left_s)
        time.sleep(min(wait_s * _jitter.uniform(0.75, 1.25), left_s))
        wait_s = min(2 * wait_s, LONGEST_WAIT_S)


def on_disk(path: Path, attempt: Callable[[], Result], retry_s: float | None = None) -> Result:
    """Read or write a file of a run folder, with retries while the disk is full or unavailable.

    Args:
        path: Of the file, for the message.
        attempt: The action; it must be repeatable after a failure at any point.
        retry_s: Seconds of retries; None: `RETRY_S`.

    Raises:
        TrialError: The disk still fails after that time.
        OSError: An error that waiting does not help, such as a missing file.
    """

    def failure(error: OSError, spent_s: float) -> Exception:
        if error.errno not in PASSING:
            return error
        fix = "free some space there" if error.errno in FULL else "make this storage available again"
        return TrialError(
            f"{path}: {error.strerror} for {spent_s:.0f} s; {fix}, then resume from the last checkpoint with "
            "--resume --retry-failed"
        )

    return with_retry(
        attempt,
        str(path),
        retry_s=RETRY_S if retry_s is None else retry_s,
        passes=lambda error: error.errno in PASSING,
        failure=failure,
    )
