"""A study from its planned trials to its confirmation runs, on Ray Tune.

Run folders are the truth: a trial that is over is not run again, and any other trial resumes from its own checkpoint.
So a search is resumed by planning the same trials again, without Ray's snapshots.
"""

import math
import pkgutil
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

from tune_cmx.config.arms import BASELINE
from tune_cmx.config.phases import SearchPhase
from tune_cmx.errors import ConfigError, TrialError
from tune_cmx.search.cluster import Resources, check_nodes, slots
from tune_cmx.search.console import StudyConsole
from tune_cmx.search.finalists import SearchResult, finalists, winner
from tune_cmx.search.optuna.journal import STORAGE
from tune_cmx.search.optuna.known_trials import Outcome
from tune_cmx.search.optuna.tpe import TpeSearch
from tune_cmx.search.study_folder import StudyFolder
from tune_cmx.search.trainable import Trainable, train
from tune_cmx.search.trials import Facts, TrialRunner
from tune_cmx.state.final_results import RESULTS_FILE, FinalResults
from tune_cmx.state.json_file import read_model
from tune_cmx.stein import fix_seeds
from tune_cmx.training.run_folder import RunFolder


class _Interrupted(Exception):
    """The study was ended before all its trials were over."""


def run_study(
    opened: StudyFolder,
    resources: Resources,
    console: StudyConsole,
    *,
    before_s: float = 0.0,
    trainable: Trainable = train,
) -> bool:
    """Search, choose the finalists, confirm them with the baseline; inside of a `ray_cluster`.

    Args:
        opened: The study's folder.
        resources: What each trial gets.
        console: Shows the progress.
        before_s: Wall time that earlier sessions of the study took.
        trainable: What a worker runs; scripts/benchmark.py has one that trains nothing.

    Returns:
        Whether all is done; False after an interruption, and the study can be resumed.
    """
    with opened.alone():
        return _run(opened, resources, console, before_s, trainable)


def _run(
    opened: StudyFolder, resources: Resources, console: StudyConsole, before_s: float, trainable: Trainable
) -> bool:
    began = time.monotonic()
    opened.settle()

    def note(status: str, **course: Any) -> None:
        opened.write(status=status, seconds=before_s + time.monotonic() - began, **course)

    try:
        note("searching")  # nodes look for the study's file, and a probe reads the data's split beside it
        resources = _fitted(opened, resources, console)
        course = _Course(opened, TrialRunner(opened, resources, console, trainable), note)
        chosen = course.search()
        course.confirm(chosen)
        winning = course.winner(chosen)
    except (_Interrupted, KeyboardInterrupt):
        opened.settle()
        note("interrupted")
        return False
    note("complete", winner=winning)
    return True


def _fitted(opened: StudyFolder, resources: Resources, console: StudyConsole) -> Resources:
    """The resources as the cluster has them: its nodes asked for the study's places, a share of a GPU measured."""
    slots(resources)  # there is a node, or one has been waited for
    if resources.address is not None:
        place = opened.folder if opened.mirror is None else opened.mirror.uri
        check_nodes(place, opened.study.baseline.config.data.root)
    if not resources.measure_share:
        return resources
    from tune_cmx.search.planning.gpu_share import measured_share  # it loads torch, for which a driver has no other use

    gpus_per_trial, sentence = measured_share(opened, resources.device)
    console.say(sentence)
    return replace(resources, gpus_per_trial=gpus_per_trial)


@dataclass
class _Course:
    """The steps of a study."""

    opened: StudyFolder
    runner: TrialRunner
    note: Callable[..., None]

    def search(self) -> list[str]:
        """Run every phase; the configurations that the search ends with."""
        study = self.opened.study
        self.note("searching", finalists=[], phases=[])
        searched: dict[str, RunFolder] = {}
        kept: list[str] = []
        course: list[dict[str, Any]] = []
        for phase in study.phases:
            run_folders = self._search_phase(phase, kept)
            searched |= {run_folder.folder.name: run_folder for run_folder in run_folders}
            self._refuse_none(run_folders)
            kept = self._finalists(run_folders, phase.keep)
            arms = [run_folder.state().arm for run_folder in run_folders]
            course.append({"name": phase.name, "arms": arms, "kept": kept})
            self.note("searching", phases=course if len(study.phases) > 1 else [])
        return self._finalists(list(searched.values()), study.file.confirm.finalists)

    def _search_phase(self, phase: SearchPhase, kept: Sequence[str]) -> list[RunFolder]:
        study = self.opened.study
        title = "Search" if len(study.phases) == 1 else f"Search, phase {phase.name}"
        if study.file.searcher.one_by_one is not None:
            return self._search_drawn(phase, title)
        arms = study.draw(phase, [study.arms[name] for name in kept])
        run_folders = [self.opened.plan(arm, study.file.seed, "search") for arm in arms]
        self.note("searching")
        if not self.runner.run(phase.name, title, run_folders, stopping=True):
            raise _Interrupted
        return run_folders

    def _search_drawn(self, phase: SearchPhase, title: str) -> list[RunFolder]:
        """A search whose trials are drawn one by one, each from the results so far."""
        study, settings = self.opened.study, self.opened.study.file.searcher
        metric = study.file.early_stopping.metric
        assert settings.one_by_one is not None
        draws = pkgutil.resolve_name(settings.one_by_one)
        handed_out: set[str] = set()

        def searcher(join: Callable[[RunFolder], Facts]) -> TpeSearch:
            def propose(values: dict[str, Any]) -> Facts | None:
                try:
                    arm = study.arm(values)
                except ConfigError as error:  # valid at the ends of its ranges, and not in this combination
                    self.runner.console.say(f"not drawn: {error}")
                    return None
                if arm.id == BASELINE:
                    return None
                run_folder = self.opened.plan(arm, study.file.seed, "search")
                name = run_folder.folder.name
                if name in handed_out or run_folder.over:
                    return None
                handed_out.add(name)
                return join(run_folder)

            search: TpeSearch = draws(
                phase.domains,
                settings,
                study_name=study.file.study,
                storage=self.opened.folder / STORAGE,
                seed=study.file.seed,
                metric=metric,
                propose=propose,
                outcome=lambda name: outcome(self.opened.run_folder(name), settings.optimised(metric)),
            )
            return search

        if not self.runner.run_drawn(phase.name, title, sum(study.trials_planned()), searcher):
            raise _Interrupted
        return [run_folder for run_folder in self.opened.run_folders() if run_folder.state().phase == "search"]

    def _finalists(self, run_folders: Sequence[RunFolder], count: int) -> list[str]:
        stopping = self.opened.study.file.early_stopping
        results = [_result(run_folder, stopping.metric) for run_folder in run_folders]
        able = [result for result in results if result is not None]
        return finalists(able, stopping.smooth_epochs, count)

    def _refuse_none(self, run_folders: Sequence[RunFolder]) -> None:
        states = [run_folder.state() for run_folder in run_folders]
        if states and all(state.status == "failed" for state in states):
            self.note("failed")
            raise TrialError(f"every trial of the search failed, the first with: {states[0].reason}")

    def confirm(self, chosen: Sequence[str]) -> None:
        """Train finalists, baseline, and what the claims name, in full on fresh seeds; where the number of seeds
        follows from the precision wanted, a pilot comes first, and fixes it."""
        study, settings = self.opened.study, self.opened.study.file.confirm
        names = list(dict.fromkeys([BASELINE, *chosen, *study.claimed()]))
        self.note("confirming", finalists=list(chosen))
        repeats = self._repeat(names, study.seeds(settings.first_seeds), "Confirmation on fresh seeds, in full")
        if settings.half_width is None:
            return
        if self.opened.state.two_stage is None:  # fixed once, whatever an earlier session's failures come to later
            self._fix_seeds(repeats)
        seeds = self.opened.confirm_seeds()
        self._repeat(names, seeds, f"Confirmation, {len(seeds)} seeds as the pilot asks for")

    def _fix_seeds(self, pilot: Mapping[str, list[RunFolder]]) -> None:
        """Write the number of seeds that the pilot's runs ask for into `study.json`."""
        study, settings = self.opened.study, self.opened.study.file.confirm
        assert settings.half_width is not None
        metric = f"test/{study.file.early_stopping.metric.rpartition('/')[2]}"
        seeds = study.seeds(settings.first_seeds)
        values = {
            name: {seed: _tested(run_folder, metric) for seed, run_folder in zip(seeds, runs, strict=True)}
            for name, runs in pilot.items()
        }
        fixed = fix_seeds(
            {name: found for name, found in values.items() if name != BASELINE},
            values[BASELINE],
            pilot_seeds=seeds,
            half_width=settings.half_width,
            max_seeds=settings.max_seeds,
        )
        self.note("confirming", two_stage={"metric": metric, **asdict(fixed)})

    def winner(self, chosen: Sequence[str]) -> str | None:
        """The finalist that the validation split puts first; what is claimed of it rests on test."""
        stopping = self.opened.study.file.early_stopping
        curves: dict[str, list[tuple[float, ...]]] = {name: [] for name in chosen}
        searched = []
        for run_folder in self.opened.run_folders():
            state, result = run_folder.state(), _result(run_folder, stopping.metric)
            if result is None or result.arm not in curves:
                continue
            if state.phase == "search":
                searched.append(result)
            elif state.status == "complete":
                curves[result.arm].append(tuple(result.values))
        return winner(curves, searched, stopping.smooth_epochs)

    def _repeat(self, names: Sequence[str], seeds: Sequence[int], title: str) -> Mapping[str, list[RunFolder]]:
        """Train configurations on seeds: all of them on one seed, then all on the next."""
        arms = self.opened.study.arms
        run_folders = [self.opened.plan(arms[name], seed, "confirm") for seed in seeds for name in names]
        if not self.runner.run("confirm", title, run_folders, stopping=False):
            raise _Interrupted
        return {name: run_folders[number :: len(names)] for number, name in enumerate(names)}


def _result(run_folder: RunFolder, metric: str) -> SearchResult | None:
    """What a search trial reached; None of one that failed."""
    rows, state = run_folder.rows(), run_folder.state()
    if state.status not in ("complete", "stopped") or not rows:
        return None
    return SearchResult(state.arm, float(rows[-1]["fraction"]), tuple(row[metric] for row in rows))


def outcome(run_folder: RunFolder, objectives: Sequence[str]) -> Outcome:
    """What a searcher that draws one by one learns of a trial."""
    state, rows = run_folder.state(), run_folder.rows()
    last = {**rows[-1], "milliseconds": rows[-1]["val/milliseconds"]} if rows else {}
    last["parameters"] = float(state.parameters.total) if state.parameters else math.nan
    by_epoch = {int(row["epoch"]): row[objectives[0]] for row in rows}
    in_full = state.stopped is not None and state.stopped.cutoff is None  # as far as the search trains any
    return Outcome(
        "complete" if in_full else state.status, tuple(last.get(name, math.nan) for name in objectives), by_epoch
    )


def _tested(run_folder: RunFolder, metric: str) -> float | None:
    """A metric of a complete trial, by split and name."""
    path = run_folder.folder / RESULTS_FILE
    if run_folder.state().status != "complete" or not path.exists():
        return None
    split, _, name = metric.partition("/")
    return read_model(FinalResults, path).results_by_split[split][name]
