"""The object that `plan --json` prints."""

from typing import TYPE_CHECKING

from tune_cmx.cli.objects.checked import DataUsed, data_used
from tune_cmx.cli.options.json_output import Printed
from tune_cmx.config.study import Study

if TYPE_CHECKING:
    from tune_cmx.data.prepare import Prepared
    from tune_cmx.search.planning.costs import Times
    from tune_cmx.search.planning.estimate import Amount, Estimate, Places


class PlannedAmount(Printed):
    """What a study takes."""

    trials: float
    """Trials of search and confirmation."""
    search_epochs: float
    """Epochs of the search."""
    confirm_epochs: float
    """Epochs of the confirmation."""
    epochs: float
    """Epochs in total."""
    hours: float
    """GPU-hours or core-hours, as `hours_of` says."""
    wall_hours: float
    """Hours from start to end."""
    disk_bytes: float
    """Space on disk at its fullest."""


class Probe(Printed):
    """What a few training steps of a configuration took."""

    configuration: str | None
    """Id of the configuration. null: an end of a range."""
    step_s: float
    """Seconds of a step."""
    images: int
    """Images of a step."""
    peak_bytes: int
    """Memory at its peak."""


class PlannedStudy(Printed):
    """The cost of a study before it runs."""

    space: str
    """The search-space file."""
    study: str
    """Name of the study."""
    hours_of: str
    """What hours are of: GPU-hours or core-hours."""
    at_once: int
    """Trials at a time."""
    share: float
    """GPUs of each trial; without GPUs, CPU cores."""
    expected: PlannedAmount
    """What to expect."""
    epochs_low: int
    """Epochs that 19 of 20 simulated searches exceed."""
    epochs_high: int
    """Epochs that 19 of 20 simulated searches stay below."""
    worst: PlannedAmount
    """The worst case."""
    grid: PlannedAmount | None
    """The whole grid trained in full. null: a domain is a range."""
    times: str
    """Where the times come from."""
    probes: tuple[Probe, ...]
    """Probes of configurations; empty where earlier runs give the times."""
    data: DataUsed
    """The data."""


def planned_object(
    space: str, study: Study, found: "Estimate", places: "Places", times: "Times", prepared: "Prepared"
) -> PlannedStudy:
    """The object of `plan`."""
    low, high = found.epochs_span
    ids = {id(arm.config): arm.id for arm in study.arms.values()}
    return PlannedStudy(
        space=space,
        study=study.file.study,
        hours_of="GPU-hours" if places.gpu else "core-hours",
        at_once=places.count,
        share=places.share,
        expected=_amount(found.expected, places),
        epochs_low=low,
        epochs_high=high,
        worst=_amount(found.worst, places),
        grid=None if found.grid is None else _amount(found.grid, places),
        times=times.source,
        probes=tuple(
            Probe(
                configuration=ids.get(id(one.config)),
                step_s=one.step_s,
                images=one.config.schedule.batch_size,
                peak_bytes=one.peak,
            )
            for one in times.probed
        ),
        data=data_used(prepared),
    )


def _amount(amount: "Amount", places: "Places") -> PlannedAmount:
    return PlannedAmount(
        trials=amount.search_trials + amount.confirm_trials,
        search_epochs=amount.search_epochs,
        confirm_epochs=amount.confirm_epochs,
        epochs=amount.epochs,
        hours=amount.busy_s * places.share / 3600,
        wall_hours=amount.wall_s / 3600,
        disk_bytes=amount.disk_bytes,
    )
