"""Warnings about the data of a study: leaks, few boxes, few sequences, saturated metrics."""

from collections.abc import Iterator, Mapping
from itertools import combinations

from tune_cmx import metrics
from tune_cmx.errors import DataError
from tune_cmx.evidence.report.stamps import FRAME_SPLIT, TEST_CHOSE, stamps
from tune_cmx.evidence.report.warnings.warning import Severity, Warning
from tune_cmx.evidence.results.box_counts import FEW_BOXES, few_boxes_words
from tune_cmx.evidence.results.study_results import StudyResults
from tune_cmx.evidence.wording import count, listed, number
from tune_cmx.state.damaged import parsed_as_far
from tune_cmx.state.data_files import AUDIT_FILE, SPLIT_FILE, AuditFile, SplitFile
from tune_cmx.state.json_file import Model, json_object

FEW_SEQUENCES = 10
SATURATED_POINTS = 99.0
"""Of mAP_50: from here on the possible gain is about one step of AP."""
RECALL_LEVELS = 101
"""AP is a mean over these, as COCO counts it."""
ADVICE = {
    FRAME_SPLIT: "Split by sequence or by blocks (`data.split_by`) and run again",
    TEST_CHOSE: "Choose on val (`early_stopping.metric: val/mAP`) and confirm on fresh seeds",
}


def of_data(study: StudyResults) -> Iterator[Warning]:
    """In the order in which a reader meets them."""
    for stamp in stamps(study):
        yield Warning("stamp", Severity.INVALID, stamp, ADVICE[stamp])
    split, split_problems = _data_file(SplitFile, study, SPLIT_FILE)
    audit, audit_problems = _data_file(AuditFile, study, AUDIT_FILE)
    for problem in (*split_problems, *audit_problems):
        yield Warning("data", Severity.LIMITED, problem, "Restore the file: some warnings about the data rest on it")
    leaks = [*_leaks(study, split)]
    yield from leaks
    yield from _few(study)
    yield from _sizes(study)
    yield from _saturated(study)
    yield from _audits(study, audit, has_leaks=bool(leaks))


def _leaks(study: StudyResults, split: SplitFile) -> Iterator[Warning]:
    """Images or sequences that are in two parts of the split."""
    parts = {"train": split.train, "val": split.val, "test": split.test}
    sequences = split.sequences or study.state.split.sequences
    for first, second in combinations(parts, 2):
        images = {*parts[first]} & {*parts[second]}
        if images:
            fact = f"{count(len(images), 'image')} in both {first} and {second}, such as {min(images)}"
            advice = "Make a split without overlap and run again"
            yield Warning("leak", Severity.INVALID, fact, advice)
        shared = {*sequences.get(first, ())} & {*sequences.get(second, ())}
        if shared:
            names = listed(sorted(shared))
            fact = f"{count(len(shared), 'sequence')} in both {first} and {second} ({names}): neighbouring images leak"
            yield Warning("leak", Severity.INVALID, fact, "Split by sequence and run again")


def _few(study: StudyResults) -> Iterator[Warning]:
    split = study.state.split
    for part in ("test", "val"):
        boxes = split.counts.get(part, {}).get("boxes")
        if boxes is not None and boxes < FEW_BOXES:
            fact = f"Only {count(boxes, 'box')} in {part}: its figures are coarse"
            advice = f"Give {part} a larger share (`data.fractions`), or label more"
            yield Warning("few boxes", Severity.LIMITED, fact, advice)
        sequences = split.sequences.get(part)
        if sequences and len(sequences) < FEW_SEQUENCES:
            fact = (
                f"{part} has {count(len(sequences), 'sequence')}: intervals over seeds do not cover other scenes "
                f"(at least {FEW_SEQUENCES} sequences are needed)"
            )
            yield Warning(
                "few sequences", Severity.LIMITED, fact, "Say so beside the figures, or record more sequences"
            )


def _sizes(study: StudyResults) -> Iterator[Warning]:
    for split in ("test", "val"):
        with_results = [trial for trial in study.confirmed if split in trial.results]
        absent = [
            metric
            for name, metric in metrics.scored().items()
            if with_results and all(trial.result(f"{split}/{name}") is None for trial in with_results)
        ]
        undefined = [metric.title for metric in absent if _is_of_a_size(metric)]
        if undefined:
            fact = f"{listed(undefined)} undefined on {split}: no boxes of that size there"
            yield Warning("size", Severity.NOTE, fact, "Leave the size out")
        others = [metric.title for metric in absent if not _is_of_a_size(metric)]
        if others:
            fact = f"{listed(others)} not recorded on {split} by these runs"
            yield Warning("metric", Severity.NOTE, fact, "Leave the metric out, or confirm again to have it")
        few = few_boxes_words(study, split)
        if few:
            fact = f"Few boxes of a size on {split}: {few}"
            yield Warning("size", Severity.NOTE, fact, "Leave the size out, or pool it with its neighbour")


def _is_of_a_size(metric: metrics.Metric) -> bool:
    return metric.matches is not None and metric.matches[0] != "all"


def _saturated(study: StudyResults) -> Iterator[Warning]:
    """Configurations whose mAP_50 is so high that only steps of AP are left to compare."""
    metric = f"{study.primary_metric.partition('/')[0]}/mAP_50"
    reached: dict[str, float] = {}
    for trial in study.confirmed:
        value = trial.result(metric)
        if value is not None and value >= SATURATED_POINTS:
            reached[study.label(trial.arm)] = max(value, reached.get(study.label(trial.arm), 0.0))
    if reached:
        classes = len(study.state.data.classes) or 1
        fact = (
            f"{metric} is saturated (a run at {number(max(reached.values()))}; {listed(reached)}). AP is a mean over "
            f"{RECALL_LEVELS} recall levels, so one level is {number(100 / RECALL_LEVELS / classes)} points"
        )
        yield Warning("saturated", Severity.LIMITED, fact, "Compare on mAP or mAP_75")


def _audits(study: StudyResults, audit: AuditFile, *, has_leaks: bool) -> Iterator[Warning]:
    """What the audit of the data and the split said, once each."""
    said_above = {
        *(["single images"] if FRAME_SPLIT in stamps(study) else []),
        *(["leak"] if has_leaks else []),
    }
    of_split = [warning.text for warning in study.state.split.warnings if warning.kind not in said_above]
    for text in dict.fromkeys((*of_split, *audit.warnings)):
        yield Warning("data", Severity.LIMITED, f"Data: {text}", "Check the data with `tune-cmx check`")


def _data_file(model: type[Model], study: StudyResults, name: str) -> tuple[Model, list[str]]:
    """A file of the study's data folder as far as it can be read, and what is wrong with it; a missing one is empty."""
    path, problems = study.folder / "data" / name, list[str]()
    content: Mapping[str, object] = {}
    if path.is_file():
        try:
            content = json_object(path, path.read_bytes())
        except (OSError, DataError):
            problems.append(f"data/{name} is damaged")
    known = {key: value for key, value in content.items() if key in model.model_fields}
    return parsed_as_far(model, known, f"data/{name}", problems, {}), problems
