"""What a reader must know before believing a table: stamps for every table, and warnings with what to do."""

import json
import math
from collections.abc import Callable, Mapping
from itertools import combinations
from typing import Any

from tune_cmx.evidence.report.sections.object_sizes import FEW_BOXES, few_boxes_words
from tune_cmx.evidence.results.interval_width import precision_missed, seeds_planned
from tune_cmx.evidence.results.study_results import METRICS, StudyResults, Trial
from tune_cmx.evidence.results.undeclared_differences import equivalent_warnings
from tune_cmx.evidence.wording import count, listed, number
from tune_cmx.notes import together

FEW_SEQUENCES = 10
SATURATED_POINTS = 99.0
"""Of mAP_50, from which on what is left to gain is of the order of a step of AP."""
RECALL_LEVELS = 101
"""Over which AP is a mean, as COCO counts it."""
PARTS = ("train", "val", "test")
FRAME_SPLIT = "split over single frames: neighbouring frames leak"
TEST_CHOSE = "test was used for choosing: test figures hold the luck of the choice"
ADVICE = {
    FRAME_SPLIT: "split by sequence or by blocks (data.split_by) and run again",
    TEST_CHOSE: "choose on val (early_stopping.metric: val/mAP) and confirm on fresh seeds",
}


def stamps(records: StudyResults) -> list[str]:
    """Sentences that stand above every table."""
    found = []
    if records.split_how == "frame":
        found.append(FRAME_SPLIT)
    if records.selection_split == "test":
        found.append(TEST_CHOSE)
    return found


def warnings(records: StudyResults) -> list[str]:
    """Everything about the records that limits what can be said, the gravest first, each with what to do."""
    found = [f"{stamp}; {ADVICE[stamp]}" for stamp in stamps(records)]
    checks: tuple[Callable[[StudyResults], list[str]], ...] = (
        *(_baseline, _replication, _leaks, _mixtures, _halvings, _equivalent, _gates, _allowed),
        *(_data, _sizes, _saturated, _audits),
    )
    for check in checks:
        found.extend(check(records))
    found.extend(f"records: {problem}; look into the record before trusting its row" for problem in records.problems)
    return list(dict.fromkeys(found))


def _baseline(records: StudyResults) -> list[str]:
    if records.baseline is None:
        return ["the study names no baseline arm: no difference can be given; name one under `baseline` in the file"]
    if any(trial.arm == records.baseline for trial in records.confirmed):
        return []
    without = f"the baseline arm '{records.baseline}' has no complete confirmation run: no difference can be given"
    return [f"{without}; go on with --resume"]


def _replication(records: StudyResults) -> list[str]:
    found = []
    runs: dict[str, int] = {}
    for trial in records.confirmed:
        runs[trial.arm] = runs.get(trial.arm, 0) + 1
    single = [records.label(arm) for arm, n in runs.items() if n < 2]
    if single:
        found.append(
            f"n = 1 for {listed(single)}: no claim can rest on a single run; confirm with 3 seeds or more "
            "(confirm.seeds)"
        )
    wanted = seeds_planned(records)
    short = [f"{records.label(arm)} ({n})" for arm, n in runs.items() if wanted and 2 <= n < wanted]
    if short:
        found.append(f"fewer confirmation runs than the {wanted} planned: {listed(short)}; go on with --resume")
    found.extend(precision_missed(records))
    lost = [trial for trial in records.of_phase("confirm") if trial.status in ("failed", "interrupted")]
    if lost:
        names = listed(trial.name for trial in lost)
        found.append(
            f"{count(len(lost), 'confirmation run')} did not finish ({names}): what is left may flatter the arm; find "
            "out why before comparing, and go on with --resume"
        )
    return found


def _leaks(records: StudyResults) -> list[str]:
    """Frames or sequences that stand in two parts of the split."""
    listed_parts = _data_file(records, "split.json")
    sequences = listed_parts.get("sequences") or (records.study.get("split") or {}).get("sequences") or {}
    found = []
    for first, second in combinations(PARTS, 2):
        frames = {*listed_parts.get(first, ())} & {*listed_parts.get(second, ())}
        if frames:
            found.append(
                f"{count(len(frames), 'frame')} in both {first} and {second}, such as {min(map(str, frames))}: figures "
                "there hold what was trained on; make a split without overlap and run again"
            )
        shared = {*sequences.get(first, ())} & {*sequences.get(second, ())}
        if shared:
            found.append(
                f"{count(len(shared), 'sequence')} in both {first} and {second} ({listed(sorted(map(str, shared)))}): "
                "neighbouring frames leak; split by sequence and run again"
            )
    return found


def _mixtures(records: StudyResults) -> list[str]:
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
            compared = len({of(trial) for trial in records.confirmed}) > 1
            where = (
                "confirmed runs are compared across them: run again under one"
                if compared
                else "confirmed runs agree in it: read the search's figures apart from theirs"
            )
            found.append(f"the records hold {len(values)} different {name}{shown}; {where}")
    own = records.study.get("protocol_hash")
    strange = [trial.name for trial in started if own and trial.info.get("protocol_hash") not in (own, None)]
    if strange:
        found.append(
            f"{count(len(strange), 'record')} not under the study's protocol {own}: {listed(strange)}; take them out "
            "of trials/, or run them again"
        )
    return found


def _halvings(records: StudyResults) -> list[str]:
    """Trials that ran out of memory and went on with fewer images at once."""
    halved = {trial.name: trial.halved_to for trial in records.trials if trial.halved_to is not None}
    if not halved:
        return []
    shown = listed(f"{name} ({images} at once)" for name, images in halved.items())
    why = "batch normalisation and losses are taken over these, so that such runs do not compare with others"
    fix = f"set schedule.micro_batch: {_micro_batch_for_all(records, min(halved.values()))} for all arms and run again"
    return [f"memory ran out, and micro-batches were halved: {shown}; {why}: {fix}"]


def _micro_batch_for_all(records: StudyResults, most: int) -> int:
    """The most images at once, up to `most`, that divide what a process has of a batch in each trial."""
    schedules = [trial.config.get("schedule") or {} for trial in records.trials]
    sizes = [(schedule.get("batch_size"), schedule.get("processes", 1)) for schedule in schedules]
    common = math.gcd(*(batch // processes for batch, processes in sizes if _counts(batch) and _counts(processes)))
    return next(images for images in range(most, 0, -1) if common % images == 0)


def _counts(value: object) -> bool:
    """Whether it is a number of things; a damaged record may hold anything."""
    return isinstance(value, int) and value > 0


def _equivalent(records: StudyResults) -> list[str]:
    return [f"{warning}; take all but one of them out of the file" for warning in equivalent_warnings(records)]


def _gates(records: StudyResults) -> list[str]:
    """Parts of the built models that get no gradient, as the gates of CSSA."""
    said = [
        (records.label(trial.arm), str(warning))
        for trial in records.trials
        for warning in trial.info.get("audit_warnings") or []
        if "no gradient" in str(warning)
    ]
    advice = "count active parameters, and do not name such a part as what made a difference"
    return [f"{warning}; {advice}" for warning in together(said)]


def _allowed(records: StudyResults) -> list[str]:
    named = [str(name) for name in records.study.get("allow_differences") or []]
    if not named:
        return []
    may = f"arms may differ outside the factors in {listed(named)}, as the file allows; under Protocol, where they do"
    return [f"{may}; name them wherever a difference is quoted"]


def _data(records: StudyResults) -> list[str]:
    split = records.study.get("split") or {}
    found = []
    for part in ("val", "test"):
        boxes = ((split.get("counts") or {}).get(part) or {}).get("boxes")
        if boxes is not None and boxes < FEW_BOXES:
            found.append(
                f"only {count(boxes, 'box')} in {part}: its figures are coarse; give {part} a "
                "larger share (data.fractions), or label more"
            )
        sequences = (split.get("sequences") or {}).get(part)
        if sequences and len(sequences) < FEW_SEQUENCES:
            found.append(
                f"{part} holds {count(len(sequences), 'sequence')}: intervals over seeds say nothing of other scenes; "
                "say so beside them, or record more sequences"
            )
    return found


def _sizes(records: StudyResults) -> list[str]:
    found = []
    for split in ("test", "val"):
        with_results = [trial for trial in records.confirmed if split in trial.results]
        undefined = [
            name
            for name in METRICS
            if with_results and all(trial.result(f"{split}/{name}") is None for trial in with_results)
        ]
        if undefined:
            found.append(f"{listed(undefined)} undefined on {split}: no boxes of that size there; leave the size out")
        few = few_boxes_words(records, split)
        if few:
            found.append(f"few boxes of a size on {split}: {few}; leave the size out, or pool it with its neighbour")
    return found


def _saturated(records: StudyResults) -> list[str]:
    """Arms whose mAP_50 is so near its end that steps of AP are what is left to compare."""
    metric = f"{records.primary_metric.partition('/')[0]}/mAP_50"
    reached: dict[str, float] = {}
    for trial in records.confirmed:
        value = trial.result(metric)
        if value is not None and value >= SATURATED_POINTS:
            reached[records.label(trial.arm)] = max(value, reached.get(records.label(trial.arm), 0.0))
    if not reached:
        return []
    classes = len((records.study.get("data") or {}).get("classes") or [0])
    step = number(100 / RECALL_LEVELS / classes)
    full = f"{metric} is saturated (a run at {number(max(reached.values()))}; {listed(reached)})"
    coarse = f"AP is a mean over {RECALL_LEVELS} recall levels, so that one level less is {step} points of it"
    return [f"{full}: {coarse}; compare on mAP or mAP_75"]


def _audits(records: StudyResults) -> list[str]:
    """What the audit of the data and the split said, once each."""
    said = [
        *((records.study.get("split") or {}).get("warnings") or []),
        *(_data_file(records, "audit.json").get("warnings") or []),
    ]
    stamped, leaks = stamps(records), _leaks(records)
    return [
        f"data: {warning}; check the data with `tune-cmx check`"
        for warning in dict.fromkeys(map(str, said))
        if not (FRAME_SPLIT in stamped and warning.startswith("split over single frames"))
        and not (warning.startswith("sequence ") and " is in " in warning and leaks)
    ]


def _data_file(records: StudyResults, name: str) -> Mapping[str, Any]:
    """A file of the study's data folder; empty where there is none that can be read."""
    try:
        content = json.loads((records.folder / "data" / name).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return content if isinstance(content, dict) else {}
