"""What a reader must know before believing a table: stamps for every table, and warnings."""

from collections.abc import Callable

from tune_cmx.evidence.fairness import twin_warnings
from tune_cmx.evidence.precision import precision_missed, seeds_planned
from tune_cmx.evidence.records import METRICS, StudyRecords, Trial
from tune_cmx.evidence.wording import count, listed

FEW_BOXES = 100
"""Below this, one box moves recall by more than a point."""
FEW_SEQUENCES = 10


def stamps(records: StudyRecords) -> list[str]:
    """Sentences that stand above every table."""
    found = []
    if records.split_how == "frame":
        found.append("split over single frames: neighbouring frames leak")
    if records.selection_split == "test":
        found.append("test was used for choosing: test figures hold the luck of the choice")
    return found


def warnings(records: StudyRecords) -> list[str]:
    """Everything about the records that limits what can be said, the gravest first."""
    found = stamps(records)
    for check in (_control, _replication, _mixtures, twin_warnings, _allowed, _data, _sizes):
        found.extend(check(records))
    found.extend(str(warning) for warning in (records.study.get("split") or {}).get("warnings") or [])
    found.extend(f"records: {problem}" for problem in records.problems)
    return list(dict.fromkeys(found))


def _control(records: StudyRecords) -> list[str]:
    if records.control is None:
        return ["the study names no control arm: no difference can be given"]
    if any(trial.arm == records.control for trial in records.confirmed):
        return []
    return [f"the control arm '{records.control}' has no complete confirmation run: no difference can be given"]


def _replication(records: StudyRecords) -> list[str]:
    found = []
    runs: dict[str, int] = {}
    for trial in records.confirmed:
        runs[trial.arm] = runs.get(trial.arm, 0) + 1
    single = [records.label(arm) for arm, n in runs.items() if n < 2]
    if single:
        found.append(f"n = 1 for {listed(single)}: no claim can rest on a single run")
    wanted = seeds_planned(records)
    short = [f"{records.label(arm)} ({n})" for arm, n in runs.items() if wanted and 2 <= n < wanted]
    if short:
        found.append(f"fewer confirmation runs than the {wanted} planned: {listed(short)}")
    found.extend(precision_missed(records))
    lost = [trial for trial in records.of_phase("confirm") if trial.status in ("failed", "interrupted")]
    if lost:
        names = listed(trial.name for trial in lost)
        found.append(
            f"{count(len(lost), 'confirmation run')} did not finish ({names}): what is left may flatter the arm"
        )
    return found


def _mixtures(records: StudyRecords) -> list[str]:
    """Records that were not made under one protocol, by one program, on one kind of machine."""
    fields: dict[str, Callable[[Trial], object]] = {
        "protocol hashes": lambda trial: trial.info.get("protocol_hash"),
        "splits": lambda trial: trial.info.get("split_hash"),
        "data fingerprints": lambda trial: trial.info.get("data_fingerprint"),
        "code versions": lambda trial: trial.info.get("code_version"),
        "package versions": lambda trial: tuple(sorted((trial.info.get("packages") or {}).items())) or None,
        "devices": lambda trial: trial.info.get("device"),
    }
    started = [trial for trial in records.trials if trial.status != "planned"]
    found = []
    for name, of in fields.items():
        values = list(dict.fromkeys(of(trial) for trial in started))
        if len(values) > 1:
            shown = (
                "" if name == "package versions" else f": {listed('unknown' if v is None else str(v) for v in values)}"
            )
            found.append(f"the records hold {len(values)} different {name}{shown}")
    own = records.study.get("protocol_hash")
    strange = [trial.name for trial in started if own and trial.info.get("protocol_hash") not in (own, None)]
    if strange:
        found.append(f"{count(len(strange), 'record')} not under the study's protocol {own}: {listed(strange)}")
    return found


def _allowed(records: StudyRecords) -> list[str]:
    named = [str(name) for name in records.study.get("allow_differences") or []]
    if not named:
        return []
    return [
        f"arms may differ outside the factors in {listed(named)}, as the file allows; under Protocol, where they do"
    ]


def _data(records: StudyRecords) -> list[str]:
    split = records.study.get("split") or {}
    found = []
    for part in ("val", "test"):
        boxes = ((split.get("counts") or {}).get(part) or {}).get("boxes")
        if boxes is not None and boxes < FEW_BOXES:
            found.append(f"only {count(boxes, 'box').replace('boxs', 'boxes')} in {part}: its figures are coarse")
        sequences = (split.get("sequences") or {}).get(part)
        if sequences and len(sequences) < FEW_SEQUENCES:
            found.append(
                f"{part} holds {count(len(sequences), 'sequence')}: intervals over seeds say nothing of other scenes"
            )
    return found


def _sizes(records: StudyRecords) -> list[str]:
    found = []
    for split in ("test", "val"):
        with_results = [trial for trial in records.confirmed if split in trial.results]
        undefined = [
            name
            for name in METRICS
            if with_results and all(trial.result(f"{split}/{name}") is None for trial in with_results)
        ]
        if undefined:
            found.append(f"{listed(undefined)} undefined on {split}: no boxes of that size there")
    return found
