"""The pages on metrics and on the files of a study, for `reference.py`."""

from typing import get_args

from pydantic import BaseModel
from reference_tables import table

from tune_cmx.config.wording import allowed_text
from tune_cmx.metrics import METRICS, scored
from tune_cmx.state.final_results import RESULTS_FILE, FinalResults
from tune_cmx.state.model_state import CARD_FILE, MODEL_FILE, WEIGHTS_FILE, ModelState
from tune_cmx.state.study_state import StudyState
from tune_cmx.state.trial_state import TrialState

METRICS_INTRO = """# Metrics

One table, `tune_cmx/metrics.py`, holds every metric. Scoring, configuration, claims, imports, report and
TensorBoard read it; a new metric is one entry there.

Detection metrics are scored on a split and named with it, as in `val/mAP` and `test/mAP`. They are in points: 100
times the fraction. A `noisy` metric differs between seeds and is tested; an `exact` one is the same in all runs of
a configuration and is compared as it is; a `time` depends on the machine and its load. A search can select on those
marked in the last column, on the split val.
"""
RECORDS_INTRO = """# Files of a study

A study is one folder, and each trial a run folder in it. All files can be read without this software: JSON, CSV,
images and safetensors.

## Study folder
"""
STUDY_FILES = {
    "space.yaml": "The search space as it was given.",
    "study.json": "State of the study; its fields are below.",
    "trials/NAME/": "Run folder of a trial. NAME is its phase, configuration and seed, as in `search-stages-4-s0`.",
    "data/split.json": "Images of train, val and test, and how they were split.",
    "data/audit.json": "What the check of the data found: sizes, pixel statistics, warnings.",
    "data/event_sums_*.json": "Pixel sums of event images, for each other representation of raw events.",
    "data/ground_truth_val.json.gz, data/ground_truth_test.json.gz": "Ground truth of a split, in COCO's form.",
    "search/rungs.jsonl": "ASHA's decisions, one line each: pause, promotion or stop.",
    "search/optuna.log": "The journal of a TPE search, for optuna-dashboard.",
    "robustness.csv": "After `tune-cmx robustness`: a row for each run, split and corruption.",
    "report/": "report.html, report.md, tables.tex, trials.csv and pictures.",
}
RUN_FILES = {
    "config.json": "The whole configuration, defaults included. It is written once.",
    "trial.json": "State of the trial; its fields are below.",
    "metrics.csv": "A row for each epoch; its columns are below. It is only appended to.",
    RESULTS_FILE: "Final metrics; its fields are below.",
    "detections.json.gz": "Detections on the split of `final_results.json`, as COCO results.",
    "robustness.json": "After `tune-cmx robustness`: metrics of the clean and the corrupted images, by split.",
    "checkpoint/epoch_NNNN/": "Weights (`model.safetensors`; with EMA also `ema.safetensors`) and history. Until the "
    "trial is complete also the optimizer and the random state.",
    "model/": "Of a complete confirmation run or single trial: the model folder, which is described below. Its weights "
    "are a hard link to those of the checkpoint; on object storage they are in the checkpoint only.",
    "events.out.tfevents.*": "TensorBoard: scalars, HParams, example images, precision-recall curves.",
    "mlflow.json": "With the logger mlflow: the id of the trial's MLflow run.",
    "error.txt": "Traceback of a failed trial.",
}
MODEL_INTRO = """## Model folder

It needs nothing else: copied elsewhere, it predicts and validates.
"""
MODEL_FILES = {
    MODEL_FILE: "Description of the detector; its fields are below.",
    WEIGHTS_FILE: "The weights that were scored, as safetensors; with EMA the averaged ones.",
    "split.json": "Images of train, val and test in the training.",
    CARD_FILE: "Model card with the front matter that model hubs read.",
}
COLUMNS = {
    "epoch": ("number of the epoch, from 1", ""),
    "fraction": ("share of the schedule", "0 to 1"),
    "seconds": ("training time over all sessions, up to this epoch", "s"),
    "train/loss": ("sum of the losses, mean over the images", ""),
    "train/loss_*": ("each loss; `train/fusion1_*` is a loss of the fusion at stage 1", ""),
    "train/gradient_norm": ("largest norm of the gradient", ""),
    "lr": ("learning rate at the end of the epoch", ""),
    "images_per_second": ("training images per second", "images/s"),
    "memory_mib": ("GPU memory at its peak; on a CPU, memory of the process", "MiB"),
}
AFTER = {
    "val/milliseconds": ("forward time of one image", "ms"),
    "gates/stageN_*": (
        "mean of a gate of the fusion at stage N; `from_aux`: share taken from the other stream",
        "0 to 1",
    ),
}


def metrics_page() -> str:
    """The table of metrics."""
    rows = [
        [
            f"`{name}`",
            metric.title,
            metric.meaning,
            metric.unit,
            metric.better,
            metric.kind,
            ", ".join(f"`{alias}`" for alias in metric.aliases) or "-",
            "yes" if metric.selects else "-",
        ]
        for name, metric in METRICS.items()
    ]
    header = ("name", "printed as", "meaning", "unit", "better", "kind", "also read as", "selects")
    return f"{METRICS_INTRO}\n{table(header, rows)}"


def records_page() -> str:
    """Files, and the fields of those that are typed."""
    scores = {f"val/{name}": (metric.meaning, metric.unit) for name, metric in scored().items()}
    columns = [[f"`{name}`", *about] for name, about in {**COLUMNS, **scores, **AFTER}.items()]
    parts = [
        f"{RECORDS_INTRO}\n{_files(STUDY_FILES)}",
        f"## Run folder\n\n{_files(RUN_FILES)}",
        f"{MODEL_INTRO}\n{_files(MODEL_FILES)}",
        f"## Columns of `metrics.csv`\n\n{table(('column', 'meaning', 'unit'), columns)}",
        *(f"## Fields of `{file}`\n\n{_state(model)}" for file, model in state_files().items()),
    ]
    return "\n".join(parts)


def state_files() -> dict[str, type[BaseModel]]:
    """The typed files."""
    return {"study.json": StudyState, "trial.json": TrialState, RESULTS_FILE: FinalResults, MODEL_FILE: ModelState}


def _files(files: dict[str, str]) -> str:
    return table(("file", "content"), [[f"`{name}`".replace(", ", "`, `"), about] for name, about in files.items()])


def _state(model: type[BaseModel]) -> str:
    """The model's fields, then those of the models within it."""
    rows = []
    for name, field in model.model_fields.items():
        inner = _models(field.annotation)
        kind = f"{inner[0].__name__}, see below" if inner else allowed_text(field)
        rows.append([f"`{name}`", field.description or "", kind])
    found = [table(("field", "meaning", "value"), rows)]
    for part in dict.fromkeys(kind for field in model.model_fields.values() for kind in _models(field.annotation)):
        about = " ".join((part.__doc__ or "").split())
        found.append(f"### {part.__name__}\n\n{about}\n\n{_state(part)}")
    return "\n".join(found)


def _models(annotation: object) -> list[type[BaseModel]]:
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return [annotation]
    return [found for part in get_args(annotation) for found in _models(part)]
