"""What a person sees while a study runs: a live table on a terminal, otherwise a line for each event."""

import datetime
import time
from dataclasses import dataclass

from rich.console import Console, Group
from rich.live import Live
from rich.table import Table
from rich.text import Text

from tune_cmx.counting import count

FINISHED_SHOWN = 12
_REDRAW_S = 0.5
"""The least time between drawings for events; a drawing looks at every trial, and there are more events than trials."""
_OPEN = ("running", "planned", "paused")
_STYLES = {
    "running": "bold",
    "paused": "cyan",
    "stopped": "yellow",
    "failed": "red",
    "complete": "green",
    "planned": "dim",
}


@dataclass
class _Row:
    """One trial as shown."""

    label: str
    epochs: int
    epoch: int = 0
    known: int = 0
    """Epochs that were trained before, or counted since; they may be reported again."""
    value: float | None = None
    seconds: float = 0.0
    status: str = "planned"
    note: str = ""


class StudyConsole:
    """The progress of one phase.

    Args:
        console: Where to write; a terminal gets a live table.
        metric: The name of the metric shown.
    """

    def __init__(self, console: Console, metric: str) -> None:
        self._console, self._metric = console, metric
        self._rows: dict[str, _Row] = {}
        self._expected = 0
        self._began = time.monotonic()
        self._trained = 0
        self._live: Live | None = None
        self._drawn = 0.0

    def start(self, title: str, trials: int, slots: int) -> None:
        """Begin a phase.

        Args:
            title: Its name, for people.
            trials: How many it has, at most.
            slots: How many trials run at once, for people.
        """
        self._rows = {}
        self._expected = trials
        self._began, self._trained = time.monotonic(), 0
        self._console.print(f"[bold]{title}[/bold]: {count(trials, 'trial')}, {max(1, slots)} at a time")
        if self._console.is_terminal:
            self._live = Live(console=self._console, refresh_per_second=2, transient=True, get_renderable=self._render)
            self._live.start()
            self._drawn = float("-inf")  # the first event shows at once

    def add(self, name: str, label: str, epochs: int, known: int) -> None:
        """A trial joins the phase.

        Args:
            name: Of its run folder.
            label: For people.
            epochs: Of its schedule.
            known: How many of them an earlier session trained.
        """
        self._rows[name] = _Row(label, epochs, known=known)

    def begin(self, name: str) -> None:
        """A worker starts or resumes the trial."""
        row = self._rows[name]
        row.status, row.note = "running", ""
        self._event(f"{row.label}: {'resumed' if row.known else 'started'}")

    def epoch(self, name: str, epoch: int, value: float, seconds: float) -> None:
        """A trial finished an epoch. One of an earlier session is no event and does not count for the time left."""
        row = self._rows[name]
        row.epoch, row.value, row.seconds, row.status = epoch, value, seconds, "running"
        if epoch > row.known:
            self._trained += 1
            row.known = epoch
            self._event(f"{row.label}: epoch {epoch} of {row.epochs}, {self._metric} {value:.2f}")

    def end(self, name: str, status: str, note: str = "") -> None:
        """A trial is over, is paused at a rung, or its worker was lost and it starts again."""
        row = self._rows[name]
        row.status, row.note = status, note
        self._event(f"{row.label}: {status}{f', {note}' if note else ''}")

    def say(self, text: str) -> None:
        """A sentence beside the table."""
        self._console.print(Text(text), soft_wrap=True)

    def finish(self) -> None:
        """End the phase; its table stays on the screen."""
        if self._live is not None:
            self._live.stop()
            self._live = None
        self._console.print(self._render())

    def _event(self, text: str) -> None:
        if self._live is not None:
            if time.monotonic() - self._drawn > _REDRAW_S:
                self._live.refresh()
            return
        clock = datetime.datetime.now().strftime("%H:%M:%S")
        self._console.print(Text(f"{clock}  {text}"), soft_wrap=True)

    def _render(self) -> Group:
        table = Table(box=None, pad_edge=False, header_style="bold")
        table.add_column("trial", overflow="fold", max_width=60)
        for heading in ("epoch", self._metric, "time"):
            table.add_column(heading, justify="right", no_wrap=True)
        table.add_column("status", overflow="fold")
        self._drawn = time.monotonic()
        known = list(self._rows.values())  # at once: trials may join while the table draws itself
        running = [row for row in known if row.status == "running"]
        paused = [row for row in known if row.status == "paused"]
        ended = [row for row in known if row.status not in _OPEN]
        for rows in (paused, ended):
            rows.sort(key=lambda row: (-row.epoch / row.epochs, -(row.value or 0.0)))
        ended_shown = ended[:FINISHED_SHOWN] if self._live is not None else ended
        waiting = paused[: max(0, FINISHED_SHOWN - len(ended_shown))] if self._live is not None else paused
        for row in (*running, *waiting, *ended_shown):
            value = "-" if row.value is None else f"{row.value:.2f}"
            status = Text(f"{row.status}{f': {row.note}' if row.note else ''}", style=_STYLES.get(row.status, ""))
            table.add_row(row.label, f"{row.epoch}/{row.epochs}", value, duration(row.seconds), status)
        return Group(table, Text(self._summary(known, ended), style="dim"))

    def _summary(self, known: list[_Row], ended: list[_Row]) -> str:
        counts: dict[str, int] = {}
        for row in ended:
            counts[row.status] = counts.get(row.status, 0) + 1
        expected = max(self._expected, len(known))
        parts = [f"{len(ended)} of {count(expected, 'trial')} ended"]
        parts += [f"{number} {status}" for status, number in sorted(counts.items())]
        spent = time.monotonic() - self._began
        left = sum(row.epochs - row.known for row in known if row.status in _OPEN)
        left += (expected - len(known)) * max((row.epochs for row in known), default=0)
        if left and self._trained:
            parts.append(f"at most {duration(left * spent / self._trained)} left")
        return " · ".join([*parts, f"{duration(spent)} so far"])


def duration(seconds: float) -> str:
    """Seconds for people: `42 s`, `3 min 20 s`, `2 h 05 min`."""
    whole = round(seconds)
    if whole < 60:
        return f"{whole} s"
    if whole < 3600:
        return f"{whole // 60} min {whole % 60:02d} s"
    return f"{whole // 3600} h {whole % 3600 // 60:02d} min"
