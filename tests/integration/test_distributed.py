"""One trial over several processes, on the CPU: its numbers, its record, and what ends with what."""

from __future__ import annotations

import dataclasses
import multiprocessing
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
import torch
import torch.distributed as dist
from safetensors.torch import load_file

from tune_cmx.data.dataset import epoch_order
from tune_cmx.errors import ConfigError, TrialError
from tune_cmx.seeding import derive
from tune_cmx.training.assembly import TrialData, build_trainer, build_trial_model
from tune_cmx.training.ddp.ranks import Rank, lead_rank
from tune_cmx.training.run import run_trial
from tune_cmx.training.run_folder import RunFolder

if TYPE_CHECKING:
    from collections.abc import Iterator

    from conftest import Tiny

    from tune_cmx.config.trial import TrialConfig
    from tune_cmx.data.prepare import Prepared

CPU = torch.device("cpu")
IN_SECONDS = 120
"""Less than any timeout, more than a busy machine needs."""
pytestmark = pytest.mark.usefixtures("one_thread")


@pytest.fixture(autouse=True)
def _leaves_nothing() -> Iterator[None]:
    yield
    assert not multiprocessing.active_children()
    assert not dist.is_initialized()


@pytest.fixture
def config(tiny: Tiny) -> TrialConfig:
    """FRM+FFM, which normalises batches, on two processes."""
    return with_schedule(tiny.study().arms["baseline"].config, processes=2)


def with_schedule(config: TrialConfig, **changes: object) -> TrialConfig:
    return config.model_copy(update={"schedule": config.schedule.model_copy(update=changes)})


def plan(folder: Path, config: TrialConfig) -> RunFolder:
    return RunFolder.plan(folder, config, arm="baseline", phase="single")


def test_a_trial_left_and_taken_up_gives_the_numbers_of_an_uninterrupted_one_and_its_record(
    tiny: Tiny, prepared: Prepared, config: TrialConfig
) -> None:
    config = with_schedule(config, epochs=2, micro_batch=1, ema_decay=0.9)
    whole, parts = (plan(tiny.folder / name, config) for name in ("whole", "parts"))
    list(run_trial(whole, prepared))
    with closing(run_trial(parts, prepared)) as reports:
        assert next(reports).epoch == 1
    torch.rand(7)
    assert [report.epoch for report in run_trial(parts, prepared)] == [1, 2]
    assert tiny.numbers(parts) == tiny.numbers(whole)
    assert tiny.weights(parts) == tiny.weights(whole)

    alone = plan(tiny.folder / "alone", with_schedule(config, processes=1))
    list(run_trial(alone, prepared))
    assert {path.name for path in whole.folder.iterdir() if "tfevents" not in path.name} == {
        path.name for path in alone.folder.iterdir() if "tfevents" not in path.name
    }
    assert whole.rows()[0].keys() == alone.rows()[0].keys()
    assert tiny.numbers(whole) != tiny.numbers(alone)
    assert whole.state().device == "2 x cpu, 1 threads"
    build_trial_model(config, prepared).load_state_dict(weights(whole))


def weights(record: RunFolder) -> dict[str, torch.Tensor]:
    (checkpoint,) = record.checkpoints.iterdir()
    return load_file(checkpoint / "model.safetensors")


@pytest.mark.slow
@pytest.mark.parametrize("images", [4, 1])
def test_one_step_takes_the_mean_of_the_gradients_over_the_images_of_all(
    tiny: Tiny, prepared: Prepared, config: TrialConfig, images: int
) -> None:
    """Also where one process has none of the images."""
    split = dataclasses.replace(prepared.split, train=prepared.split.train[:images])
    prepared = dataclasses.replace(prepared, split=split)
    plain = {"optimizer": "sgd", "momentum": 0.0, "weight_decay": 0.0, "lr": 1.0}
    config = with_schedule(config, epochs=1, batch_size=4, curve="constant", warmup_epochs=0.0, **plain)
    before = build_trial_model(config, prepared).state_dict()
    record = plan(tiny.folder / "trial", config)
    with closing(run_trial(record, prepared)) as reports:
        next(reports)

    shares = [gradients(config, prepared, Rank(number, 2, CPU)) for number in (0, 1)]
    counts = [(images + 1) // 2, images // 2]
    after = weights(record)
    for name, first in shares[0].items():
        mean = (counts[0] * first + counts[1] * shares[1][name]) / images
        torch.testing.assert_close(before[name] - after[name], mean, rtol=1e-4, atol=1e-6, msg=name)
    assert len(shares[0]) > 100


def gradients(config: TrialConfig, prepared: Prepared, rank: Rank) -> dict[str, torch.Tensor]:
    """Of one rank's share of the first batch, as if it trained alone."""
    model = build_trial_model(config, prepared)
    trainer = dataclasses.replace(build_trainer(config, prepared, model, rank, None), share=None)
    if rank.number > 0:
        rank.seed(config.seed, 1)
    trainer.epoch(1, TrialData(config, prepared, 0, rank).batches(1))
    return {name: weight.grad for name, weight in model.named_parameters() if weight.grad is not None}


def test_the_shares_of_all_processes_are_the_batches_of_one(prepared: Prepared, config: TrialConfig) -> None:
    config = with_schedule(config, batch_size=6, processes=3)
    images = len(prepared.split.train)
    assert images % 6 in (1, 2, 4, 5), "the last batch must be an uneven one"
    whole = list(TrialData(config, prepared, 0, Rank(0, 1, CPU)).batches(2))
    ranks = [Rank(number, 3, CPU) for number in range(3)]
    shares = [list(TrialData(config, prepared, 0, rank).batches(2)) for rank in ranks]
    for step, (batch, _) in enumerate(whole):
        weighted = 0.0
        for rank, share in zip(ranks, shares, strict=True):
            counted = rank.share(step, images=images, batch_size=6)
            mine = batch[rank.number :: 3]
            assert counted.images == len(mine)
            assert counted.weight == pytest.approx(3 * len(mine) / len(batch))
            assert all(torch.equal(ours, own) for ours, own in zip(mine, share[step][0], strict=False))
            weighted += counted.weight
        assert weighted == pytest.approx(3)


def test_a_helper_that_is_killed_fails_the_trial_at_once(tiny: Tiny, prepared: Prepared, config: TrialConfig) -> None:
    record = plan(tiny.folder / "trial", with_schedule(config, epochs=1000))
    reports = run_trial(record, prepared)
    next(reports)
    (helper,) = multiprocessing.active_children()
    killed_at = time.monotonic() + 0.3
    threading.Timer(0.3, os.kill, (helper.pid, signal.SIGKILL)).start()
    with pytest.raises(TrialError, match=r"trial: the process of rank 1, of 2, was killed by SIGKILL; config in "):
        list(reports)
    assert time.monotonic() - killed_at < IN_SECONDS
    state = record.state()
    assert (state.status, state.reason) == ("failed", "the process of rank 1, of 2, was killed by SIGKILL")


@pytest.mark.slow
def test_a_helper_that_fails_gives_its_reason(tiny: Tiny, prepared: Prepared, config: TrialConfig) -> None:
    """A frame that is gone after the audit, and that the second process is the one to read."""
    order = epoch_order(len(prepared.split.train), seed=derive(config.seed, "order"), epoch=1)
    frame = next(f for f in prepared.data.images if f.id == prepared.split.train[order[1]])
    path = next(path for path in tiny.data.glob("rgb/**/*") if path.stem == Path(frame.id).name)
    hidden = path.rename(path.with_suffix(".gone"))
    try:
        record = plan(tiny.folder / "trial", config)
        with pytest.raises(TrialError, match=rf"rank 1 of 2 processes: .*{path.name}"):
            list(run_trial(record, prepared))
    finally:
        hidden.rename(path)
    assert "in the process of rank 1:\nTraceback" in (record.folder / "error.txt").read_text()


@pytest.mark.slow
@pytest.mark.parametrize("interrupted", [False, True])
def test_helpers_end_with_the_iteration_and_listen_on_loopback_alone(
    tiny: Tiny, prepared: Prepared, config: TrialConfig, interrupted: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    other = next((name for _, name in socket.if_nameindex() if name not in ("lo", "lo0")), "lo")
    monkeypatch.setenv("GLOO_SOCKET_IFNAME", other)
    record = plan(tiny.folder / "trial", config)
    reports = run_trial(record, prepared)
    next(reports)
    helpers = multiprocessing.active_children()
    assert len(helpers) == 1
    heard = [place for pid in (os.getpid(), helpers[0].pid) for place in listening(pid)]
    assert heard
    assert all(place in ("0100007F", "00000000000000000000000001000000") for place in heard), heard
    if interrupted:
        with pytest.raises(KeyboardInterrupt):
            reports.throw(KeyboardInterrupt)
    else:
        reports.close()
    assert not helpers[0].is_alive()
    assert record.state().status == ("interrupted" if interrupted else "running")
    assert os.environ["GLOO_SOCKET_IFNAME"] == other


def listening(pid: int | None) -> list[str]:
    """The addresses on which a process listens, as /proc has them."""
    inodes = {str(fd.readlink()) for fd in Path(f"/proc/{pid}/fd").iterdir() if fd.is_symlink()}
    rows = [
        line.split()
        for file in ("tcp", "tcp6")
        for line in Path(f"/proc/{pid}/net/{file}").read_text().splitlines()[1:]
    ]
    return [row[1].partition(":")[0] for row in rows if row[3] == "0A" and f"socket:[{row[9]}]" in inodes]


@pytest.mark.slow
def test_helpers_end_with_a_lead_that_is_killed(tiny: Tiny, prepared: Prepared, config: TrialConfig) -> None:
    record = plan(tiny.folder / "trial", with_schedule(config, epochs=1000))
    script = (
        "from pathlib import Path; from tune_cmx.training.run_folder import RunFolder;"
        "from tune_cmx.training.run import run_trial; from tune_cmx.data.prepare import load_prepared;"
        f"record = RunFolder(Path({str(record.folder)!r}));"
        f"list(run_trial(record, load_prepared(record.config().data, Path({str(prepared.folder)!r}))))"
    )
    with subprocess.Popen([sys.executable, "-c", script], env={**os.environ, "OMP_NUM_THREADS": "1"}) as lead:
        try:
            tiny.wait_until(lambda: record.state().epochs >= 1)
            helpers = [pid for pid, parent in parents().items() if parent == lead.pid and "spawn_main" in command(pid)]
        finally:
            lead.kill()
    assert len(helpers) == 1
    tiny.wait_until(lambda: not any(pid in parents() for pid in helpers), IN_SECONDS)


def parents() -> dict[int, int]:
    """The processes that run, and who started each."""
    found = {}
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            state, parent = (folder / "stat").read_text().rpartition(")")[2].split()[:2]
        except OSError:  # it ended meanwhile
            continue
        if state != "Z":
            found[int(folder.name)] = int(parent)
    return found


def command(pid: int) -> str:
    return Path(f"/proc/{pid}/cmdline").read_text()


def test_more_processes_than_gpus_are_refused(tiny: Tiny, prepared: Prepared, config: TrialConfig) -> None:
    gpus = torch.cuda.device_count()
    record = plan(tiny.folder / "trial", with_schedule(config, processes=gpus + 2, batch_size=gpus + 2))
    with pytest.raises(ConfigError, match=rf"{gpus + 2} processes need a GPU each; {gpus} visible here"):
        list(run_trial(record, prepared, device="cuda"))
    with pytest.raises(ConfigError, match="train on cpu or cuda; got device meta"):
        lead_rank(2, torch.device("meta"))
