"""Warnings about the runs of a study: missing, diverged, mixed, halved, equivalent, without gradient."""

import math
from collections.abc import Callable, Iterator

from tune_cmx.evidence.report.warnings.warning import Severity, Warning
from tune_cmx.evidence.results.interval_width import seeds_planned, width_missed
from tune_cmx.evidence.results.searched_factors import taken_up
from tune_cmx.evidence.results.study_claims import resume_command
from tune_cmx.evidence.results.study_results import StudyResults, Trial
from tune_cmx.evidence.results.training_curves import divergence_words
from tune_cmx.evidence.results.undeclared_differences import equivalent_warnings
from tune_cmx.evidence.wording import count, listed
from tune_cmx.model_audit import AuditWarning, merged

RETRY = f"{resume_command()} --retry-failed"


def of_runs(study: StudyResults) -> Iterator[Warning]:
    """In the order in which a reader meets them."""
    comparisons = (_baseline, _replication, _missing, _lost, _diverged, _mixtures, _halvings, _equivalent)
    checks = (*comparisons, _gates, _allowed, _resumed)
    for check in checks:
        yield from check(study)
    for problem in study.problems:
        yield Warning("unreadable", Severity.LIMITED, problem, "Repair this file before you trust the run's row")


def _baseline(study: StudyResults) -> Iterator[Warning]:
    if study.baseline is None:
        fact = "The study names no baseline, so the report has no differences"
        yield Warning("baseline", Severity.INVALID, fact, "Name one under `baseline` in the search-space file")
    elif not any(trial.arm == study.baseline for trial in study.confirmed):
        fact = "The baseline has no complete confirmation run, so the report has no differences"
        yield Warning("baseline", Severity.INVALID, fact, _resume(study))


def _replication(study: StudyResults) -> Iterator[Warning]:
    runs = _runs(study)
    single = [study.label(arm) for arm, n in runs.items() if n < 2]
    if single:
        fact = f"n = 1 for {listed(single)}: no claim can rest on a single run"
        yield Warning("replication", Severity.UNDECIDED, fact, "Confirm with 3 seeds or more (`confirm.seeds`)")
    wanted = seeds_planned(study)
    short = [f"{study.label(arm)} ({n})" for arm, n in runs.items() if wanted and 2 <= n < wanted]
    if short:
        fact = f"Fewer confirmation runs than the {wanted} planned: {listed(short)}"
        yield Warning("replication", Severity.UNDECIDED, fact, _resume(study))
    for missed in width_missed(study):
        advice = "Read the interval that was reached, or raise `confirm.max_seeds` in a new study"
        yield Warning("interval width", Severity.UNDECIDED, missed, advice)


def _missing(study: StudyResults) -> Iterator[Warning]:
    """Seeds that other configurations have, and finalists that were not confirmed."""
    planned = study.of_phase("confirm")
    wanted = sorted({trial.seed for trial in planned if trial.seed is not None})
    lacking = {}
    for arm in dict.fromkeys(trial.arm for trial in planned):
        done = {trial.seed for trial in study.confirmed if trial.arm == arm}
        if done and (seeds := [str(seed) for seed in wanted if seed not in done]):
            lacking[study.label(arm)] = f"{'seed' if len(seeds) == 1 else 'seeds'} {listed(seeds)}"
    if lacking:
        words = "; ".join(f"{name} ({seeds})" for name, seeds in lacking.items())
        fact = f"No complete confirmation run of {words}, which other configurations have"
        yield Warning("missing", Severity.UNDECIDED, fact, _resume(study))
    confirmed = _runs(study)
    if confirmed and (without := [study.label(arm) for arm in study.finalists if arm not in confirmed]):
        fact = f"Finalists without a complete confirmation run: {listed(without)}"
        yield Warning("missing", Severity.UNDECIDED, fact, _resume(study))


def _lost(study: StudyResults) -> Iterator[Warning]:
    lost = [trial for trial in study.trials if trial.status in ("failed", "interrupted")]
    confirm = [trial.name for trial in lost if trial.phase == "confirm"]
    others = [trial.name for trial in lost if trial.phase != "confirm"]
    if confirm:
        fact = (
            f"{count(len(confirm), 'confirmation run')} did not finish ({listed(confirm)}). "
            "The runs that are left may flatter the configuration"
        )
        yield Warning("failed", Severity.UNDECIDED, fact, f"Find out why before you compare, then run `{RETRY}`")
    if others:
        fact = f"{count(len(others), 'search trial')} did not finish ({listed(others)}), so they could not be selected"
        yield Warning("failed", Severity.LIMITED, fact, f"See `error.txt` in each run folder, then run `{RETRY}`")


def _diverged(study: StudyResults) -> Iterator[Warning]:
    """Complete runs whose training diverged. Their results count all the same, so that the reader must know."""
    advice = "Lower `schedule.lr` or set `schedule.clip_norm`, and run again"
    for confirmed in (True, False):
        runs = [trial for trial in study.trials if (trial.phase == "confirm") == confirmed]
        words = [f"{trial.name} ({where})" for trial in runs if (where := divergence_words(trial)) is not None]
        if words and confirmed:
            fact = f"Training diverged in {count(len(words), 'confirmation run')}, which the comparison counts"
            yield Warning("diverged", Severity.INVALID, f"{fact}: {listed(words)}", advice)
        elif words:
            fact = f"Training diverged in {count(len(words), 'search trial')}: {listed(words)}"
            yield Warning("diverged", Severity.LIMITED, fact, advice)


def _mixtures(study: StudyResults) -> Iterator[Warning]:
    """Runs that do not have one protocol, one program or one kind of machine."""
    # a plugin's package is noted by the runs that use it alone
    noted = {name: version for trial in study.trials for name, version in (trial.state.packages or {}).items()}
    fields: dict[str, Callable[[Trial], object]] = {
        "protocol hashes": lambda trial: trial.state.protocol_hash,
        "splits": lambda trial: trial.state.split_hash,
        "data fingerprints": lambda trial: trial.state.data_fingerprint,
        "code versions": lambda trial: trial.state.code_version,
        "package versions": lambda trial: (
            trial.state.packages and tuple(sorted({**noted, **trial.state.packages}.items()))
        ),
        "devices": lambda trial: trial.state.device,
    }
    started = [trial for trial in study.trials if trial.status != "planned"]
    for name, of in fields.items():
        values = list(dict.fromkeys(of(trial) for trial in started))
        if len(values) < 2:
            continue
        shown = "" if name == "package versions" else f": {listed('unknown' if v is None else str(v) for v in values)}"
        fact = f"The runs have {len(values)} different {name}{shown}"
        if len({of(trial) for trial in study.confirmed}) > 1:
            advice = "Confirmed runs are compared across them: run them again under one"
            yield Warning("mixture", Severity.INVALID, fact, advice)
        else:
            advice = "Confirmed runs agree in it: read the figures of the search apart from theirs"
            yield Warning("mixture", Severity.LIMITED, fact, advice)
    own = study.state.protocol_hash
    strange = [trial.name for trial in started if own and trial.state.protocol_hash not in (own, None)]
    if strange:
        fact = f"{count(len(strange), 'run')} not under the study's protocol {own}: {listed(strange)}"
        yield Warning("mixture", Severity.INVALID, fact, "Remove these folders from trials/, or run them again")


def _halvings(study: StudyResults) -> Iterator[Warning]:
    """Trials that ran out of memory and continued with smaller micro-batches."""
    halved = {trial.name: trial.halved_to for trial in study.trials if trial.halved_to is not None}
    if not halved:
        return
    shown = listed(f"{name} ({count(images, 'image')})" for name, images in halved.items())
    fact = (
        f"Out of memory; micro-batch halved: {shown}. Batch normalisation and losses are computed over a micro-batch, "
        "so these runs do not compare with others"
    )
    images = _micro_batch_for_all(study, min(halved.values()))
    advice = f"Set `schedule.micro_batch: {images}` for all configurations and run again"
    yield Warning("memory", Severity.INVALID, fact, advice)


def _micro_batch_for_all(study: StudyResults, most: int) -> int:
    """The largest micro-batch, up to `most`, that divides what a process has of a batch in each trial."""
    schedules = [trial.config.get("schedule") or {} for trial in study.trials]
    sizes = [(schedule.get("batch_size"), schedule.get("processes", 1)) for schedule in schedules]
    common = math.gcd(*(batch // processes for batch, processes in sizes if _counts(batch) and _counts(processes)))
    return next(images for images in range(most, 0, -1) if common % images == 0)


def _counts(value: object) -> bool:
    """Whether it is a number of things; a damaged file may hold anything."""
    return isinstance(value, int) and value > 0


def _equivalent(study: StudyResults) -> Iterator[Warning]:
    for fact in equivalent_warnings(study):
        yield Warning("equivalent", Severity.LIMITED, fact, "Keep one of them in the search-space file")


def _gates(study: StudyResults) -> Iterator[Warning]:
    """Parts of the built models that get no gradient, such as the gates of CSSA."""
    found: list[tuple[str, AuditWarning]] = []
    for trial in study.trials:
        found.extend((study.label(trial.arm), entry) for entry in trial.state.audit_warnings)
    advice = "Count active parameters, and do not name such a part as the cause of a difference"
    for fact in merged(pair for pair in found if pair[1].kind == "no_gradient"):
        yield Warning("no gradient", Severity.NOTE, fact, advice)


def _allowed(study: StudyResults) -> Iterator[Warning]:
    named = study.state.allow_differences
    if named:
        fact = f"Configurations may differ outside the factors in {listed(named)}, as the file allows"
        yield Warning("allowed", Severity.LIMITED, fact, "Name these fields wherever you quote a difference")


def _resumed(study: StudyResults) -> Iterator[Warning]:
    resumed = [trial.name for trial in taken_up(study)]
    if resumed:
        fact = f"{count(len(resumed), 'run')} resumed after an interruption: {listed(resumed)}"
        yield Warning("resumed", Severity.NOTE, fact, "Do not compare the training times of these runs")


def _resume(study: StudyResults) -> str:
    """With `--retry-failed` where runs failed, since `--resume` alone leaves them as they are."""
    failed = any(trial.status == "failed" for trial in study.of_phase("confirm"))
    return f"Run `{RETRY if failed else resume_command()}`"


def _runs(study: StudyResults) -> dict[str, int]:
    """Complete confirmation runs by configuration."""
    runs: dict[str, int] = {}
    for trial in study.confirmed:
        runs[trial.arm] = runs.get(trial.arm, 0) + 1
    return runs
