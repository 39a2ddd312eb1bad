"""What needs torch, done in a process of its own.

Loading torch takes seconds and 0.7 GiB, and the driver of a search has no use for it afterwards.
"""

import signal
import sys
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from multiprocessing import get_context
from typing import Any, TypeVar

from tune_cmx.errors import TrialError
from tune_cmx.training.ddp.parent import end_with_parent

Answer = TypeVar("Answer")
Ask = Callable[..., Callable[[], Any]]
"""Takes a function of a module and its arguments, begins, and gives back what waits for the answer."""


@contextmanager
def torch_process() -> Iterator[Ask]:
    """A process that is begun at the first question and ends with the block; a process that has torch asks itself.

    Raises:
        TrialError: The process was killed, as by a lack of memory. What a function raises is raised by its answer.
    """
    if "torch" in sys.modules:
        yield _here
        return
    context = get_context("spawn")  # a forked one would hold what threads of this one had locked
    with ProcessPoolExecutor(1, mp_context=context, initializer=_belong_to_the_parent) as pool:
        yield lambda function, *values, **named: _waiting(pool.submit(function, *values, **named))


def _here(function: Callable[..., Answer], *values: Any, **named: Any) -> Callable[[], Answer]:
    found = function(*values, **named)
    return lambda: found


def _waiting(asked: "Future[Answer]") -> Callable[[], Answer]:
    def wait() -> Answer:
        try:
            return asked.result()
        except BrokenProcessPool as error:
            raise TrialError("the process that builds the models was killed; is there memory left?") from error

    return wait


def _belong_to_the_parent() -> None:
    """Interrupts are for the parent to act on; and where it is killed, nothing of it stays behind."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    end_with_parent()
