"""The DDP workers of a trial: the processes beside the lead, which started the trial. Started, instructed, ended.

The lead has a pipe to each worker. A worker sends that it is built, the sums of an epoch, or why it failed. It ends
when the lead closes the pipe, kills it, or has itself ended, whatever the worker waits for then.
"""

import atexit
import os
import signal
import socket
import threading
import time
import traceback
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from multiprocessing import get_context
from multiprocessing.connection import Connection, wait
from pathlib import Path
from tempfile import TemporaryDirectory
from types import TracebackType
from typing import Any, NamedTuple, Self

import torch
import torch.distributed as dist

from tune_cmx.errors import TrialError
from tune_cmx.training.ddp.parent import end_with_parent
from tune_cmx.training.ddp.ranks import RETRY_S, Rank, join
from tune_cmx.training.loop import failure_reason
from tune_cmx.training.trainer import Seen, Trainer

_NEWS_S = 5.0
"""How long after a broken connection the lead waits to hear which process broke it."""


class _Failure(NamedTuple):
    """What a worker sends before it ends in an error."""

    at: float
    """By the machine's monotonic clock: what came first is the cause."""
    rank: int
    reason: str
    traceback: str


class Tasks:
    """A worker's pipe to the lead."""

    def __init__(self, rank: Rank, pipe: Connection, rendezvous: Path) -> None:
        self._rank, self._pipe, self._rendezvous = rank, pipe, rendezvous

    def join(self, trainer: Trainer) -> Trainer:
        """Say that this process is built, and join the others."""
        self._pipe.send(None)
        return join(self._rank, trainer, self._rendezvous)

    def __iter__(self) -> Iterator[int]:
        """The epochs, as the lead begins them, until it closes the pipe."""
        while True:
            try:
                yield self._pipe.recv()
            except EOFError:
                return

    def done(self, seen: Seen) -> None:
        """Hand the epoch's sums in."""
        self._pipe.send(seen)


Work = Callable[..., None]
"""What a worker does: called with its rank, its tasks and further arguments, in a fresh process."""


@dataclass
class _Worker:
    rank: int
    process: Any
    pipe: Connection


class Workers:
    """The processes beside the lead, as a context: they end with it.

    Args:
        lead: Rank 0.
        work: What each worker runs; a function that another process can import.
        arguments: For it.

    Raises:
        TrialError: On leaving, where a worker failed or was killed: with its reason, in place of the broken
            connection that the lead saw.
    """

    def __init__(self, lead: Rank, work: Work, *arguments: object) -> None:
        self._lead, self._work, self._arguments = lead, work, arguments
        self._others: list[_Worker] = []
        self._failures: list[_Failure] = []
        self._ending = threading.Event()
        self._at_exit = ExitStack()

    def __enter__(self) -> Self:
        # multiprocessing waits for its processes when the interpreter ends, also where nobody closed this context
        atexit.register(self._end)
        try:
            self._at_exit.enter_context(_loopback_only())
            folder = self._at_exit.enter_context(TemporaryDirectory(prefix="tune-cmx-", ignore_cleanup_errors=True))
            self._rendezvous = Path(folder) / "rendezvous"
            for number in range(1, self._lead.processes):
                self._start(number)
        except BaseException:
            self._end()
            raise
        return self

    def _start(self, number: int) -> None:
        context = get_context("spawn")
        here, there = context.Pipe()
        device = torch.device("cuda", number) if self._lead.device.type == "cuda" else self._lead.device
        rank = replace(self._lead, number=number, device=device)
        process = context.Process(
            target=_run_worker,
            args=(rank, there, self._rendezvous, torch.get_num_threads(), self._work, self._arguments),
            name=f"rank {number}",
        )
        process.start()
        there.close()
        self._others.append(_Worker(number, process, here))

    def join(self, trainer: Trainer) -> Trainer:
        """The lead's trainer, its model joined to the workers', once all are built."""
        self._receive("to be ready")
        joined = join(self._lead, trainer, self._rendezvous)
        if self._lead.device.type == "cuda":
            threading.Thread(target=self._abort_when_one_ends, daemon=True).start()
        return joined

    def begin(self, epoch: int) -> None:
        """Start an epoch in the workers."""
        for worker in self._others:
            worker.pipe.send(epoch)

    def add(self, seen: Seen) -> Seen:
        """The sums over all processes, once the workers have finished the epoch."""
        parts: list[Seen] = [seen, *self._receive("to finish an epoch")]
        losses = {name: sum(part.losses[name] for part in parts) for name in seen.losses}
        return Seen(sum(part.images for part in parts), losses, seen.lr, seen.gradient_norm)

    def _receive(self, what: str) -> list[Any]:
        """A message of each worker, by rank.

        Raises:
            EOFError: A worker failed or ended instead.
            TrialError: None came in time.
        """
        pending = {worker.pipe: worker for worker in self._others}
        received: dict[int, Any] = {}
        deadline = time.monotonic() + RETRY_S
        while pending:
            ready = wait(list(pending), max(0.0, deadline - time.monotonic()))
            if not ready:
                ranks = ", ".join(str(worker.rank) for worker in pending.values())
                raise TrialError(f"waited {RETRY_S:g} s for the processes of rank {ranks} {what}")
            for pipe in ready:
                assert isinstance(pipe, Connection)
                message = pipe.recv()
                if isinstance(message, _Failure):
                    self._failures.append(message)
                    raise EOFError(message.reason)
                received[pending.pop(pipe).rank] = message
        return [received[worker.rank] for worker in self._others]

    def _abort_when_one_ends(self) -> None:
        """NCCL would wait for a process that is gone until its own timeout; gloo's connections break by themselves."""
        wait([worker.process.sentinel for worker in self._others])
        if not self._ending.is_set() and dist.is_initialized():
            dist.distributed_c10d._abort_process_group()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        try:
            if isinstance(error, RuntimeError | OSError | EOFError) and not isinstance(error, torch.OutOfMemoryError):
                found = self._cause()
                if found is not None:
                    raise found from error
        finally:
            self._end()

    def _cause(self) -> TrialError | None:
        """The error of the worker that failed first, if one did. A killed worker sends nothing, but the workers whose
        connections its end broke do: a killed worker comes first."""
        if not self._failures:
            wait([source for worker in self._others for source in (worker.pipe, worker.process.sentinel)], _NEWS_S)
        time.sleep(0.5)  # a killed process closes its connections before it can be seen to have ended
        spoken = {failure.rank for failure in self._failures}
        for worker in self._others:
            try:
                while worker.pipe.poll():
                    message = worker.pipe.recv()
                    if isinstance(message, _Failure):
                        self._failures.append(message)
                        spoken.add(message.rank)
            except (EOFError, OSError):
                worker.process.join(_NEWS_S)
            code = worker.process.exitcode
            if code is not None and worker.rank not in spoken:
                how = f"was killed by {signal.Signals(-code).name}" if code < 0 else f"ended with exit code {code}"
                return TrialError(f"the process of rank {worker.rank}, of {self._lead.processes}, {how}")
        if not self._failures:
            return None
        first = min(self._failures)
        found = TrialError(f"rank {first.rank} of {self._lead.processes} processes: {first.reason}")
        found.add_note(f"in the process of rank {first.rank}:\n{first.traceback}")
        return found

    def _end(self) -> None:
        """Workers hold no state that must be saved, so they are killed at once."""
        atexit.unregister(self._end)
        self._ending.set()
        for worker in self._others:
            worker.process.kill()
            worker.process.join()
            worker.pipe.close()
        self._others.clear()
        if dist.is_initialized():
            dist.destroy_process_group()
        self._at_exit.close()


def _run_worker(
    rank: Rank, pipe: Connection, rendezvous: Path, threads: int, work: Work, arguments: tuple[object, ...]
) -> None:
    """What runs in a worker's process."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # a terminal sends it to all; the lead decides
    end_with_parent()
    torch.set_num_threads(threads)
    if rank.device.type == "cuda":
        torch.cuda.set_device(rank.device)
    try:
        work(rank, Tasks(rank, pipe, rendezvous), *arguments)
    except Exception as error:
        text = "".join(traceback.format_exception(error))
        pipe.send(_Failure(time.monotonic(), rank.number, failure_reason(error), text))


@contextmanager
def _loopback_only() -> Iterator[None]:
    """Have this process and those that it starts listen for each other on loopback alone, whatever its host's name."""
    loopback = next(name for _, name in socket.if_nameindex() if name in ("lo", "lo0"))
    wanted = {
        "GLOO_SOCKET_IFNAME": loopback,
        "NCCL_SOCKET_IFNAME": loopback,
        "TORCH_NCCL_ASYNC_ERROR_HANDLING": "0",  # it would end this process, where the trial is to fail
    }
    before = {name: os.environ.get(name) for name in wanted}
    os.environ.update(wanted)
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                os.environ.pop(name, None)
            else:
                os.environ[name] = value
