"""A logger: a text file with a line for each call."""

from pathlib import Path

from tune_cmx.training.loggers import LoggedTrial, Logger, Row, Status


class LineLogger(Logger):
    """Writes `toy.log` into the run folder."""

    def begin(self, trial: LoggedTrial) -> None:
        self._file = Path(trial.folder) / "toy.log"
        self._write(f"begin {trial.label} after {len(trial.history)}")

    def epoch(self, row: Row) -> None:
        self._write(f"epoch {row['epoch']:.0f}")

    def end(self, status: Status, results: Row) -> None:
        self._write(f"{status} {len(results) > 0}")

    def _write(self, line: str) -> None:
        with self._file.open("a", encoding="utf-8") as file:
            file.write(line + "\n")
