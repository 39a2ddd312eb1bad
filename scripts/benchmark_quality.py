"""Whether speed costs quality: final mAP of the plain path and of ours, on the same seeds of the synthetic set.

python scripts/benchmark_quality.py --date 2026-11-26

Plain is float32, attention unfused, channels first, the optimizer weight by weight, and torchvision's own heads, as
`benchmark.py training` has it. Both train by `run_trial`, to records of their own; a complete one is not trained again.
"""

import argparse
import json
import statistics
from functools import partial
from pathlib import Path
from unittest.mock import patch

import torch
from benchmark_setting import setting
from torch.nn.attention import SDPBackend, sdpa_kernel

from tune_cmx import metrics
from tune_cmx.config.study import read_study
from tune_cmx.config.trial import ComputeConfig, TrialConfig
from tune_cmx.data.prepare import Prepared, prepare
from tune_cmx.data.synthetic import synthesize
from tune_cmx.evidence.report.page import Page
from tune_cmx.evidence.statistics.difference import compare_paired
from tune_cmx.training import assembly, run
from tune_cmx.training.run_folder import RunFolder

ROOT = Path(__file__).parents[1]
SPACE = ROOT / "search_spaces" / "demo_modalities.yaml"
PLAIN = ComputeConfig(precision="fp32", channels_last=False)


def trained(name: str, config: TrialConfig, prepared: Prepared, folder: Path) -> dict[str, float]:
    """The final results on the test split, in points."""
    record = RunFolder.plan(folder / f"{name}-s{config.seed}", config, arm=name, phase="single")
    if name == "plain":
        slow = partial(assembly.build_trial_model, batched=False)
        with (
            patch.object(run, "build_trial_model", slow),
            patch.object(run, "build_trainer", _plain_trainer),
            sdpa_kernel(SDPBackend.MATH),
        ):
            list(run.run_trial(record, prepared))
    else:
        list(run.run_trial(record, prepared))
    results: dict[str, float] = json.loads((record.folder / "final_results.json").read_text())["results"]
    return results


def _plain_trainer(*arguments: object) -> object:
    trainer = assembly.build_trainer(*arguments)  # type: ignore[arg-type]
    for group in trainer.optimizer.param_groups:
        group.update(fused=False, foreach=False)
    return trainer


def main() -> None:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--epochs", type=int, default=8)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--folder", type=Path, default=ROOT / "runs" / "quality", help="of data and records")
    parser.add_argument("--date", required=True)
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    folder = arguments.folder.resolve()
    data = synthesize(folder / "set", images=240, size=96, sequences=24, seed=0)
    study = read_study(SPACE, overrides={"data.root": str(data), "schedule.epochs": arguments.epochs})
    config = study.baseline.config.model_copy(update={"report_split": "test"})
    prepared = prepare(config.data, folder / "prepared")
    found: dict[str, list[dict[str, float]]] = {"plain": [], "ours": []}
    for seed in range(arguments.seeds):
        for name, compute in (("plain", PLAIN), ("ours", ComputeConfig())):
            one = config.model_copy(update={"seed": seed, "compute": compute})
            found[name].append(trained(name, one, prepared, folder))
            print(f"seed {seed}, {name}: mAP {found[name][-1]['mAP']:.2f}", flush=True)
    write(found, arguments, config)


def write(found: dict[str, list[dict[str, float]]], arguments: argparse.Namespace, config: TrialConfig) -> None:
    """benchmarks/quality.md."""
    threads = f"{arguments.threads} thread{'s' if arguments.threads > 1 else ''} a trial"
    page = Page()
    page.heading("Final mAP: the plain path and ours", level=1)
    page.paragraph(setting(("torch", "torchvision", "timm"), threads))
    page.paragraph(
        f"{config.model.backbone}, FRM+FFM, RGB and thermal, 240 synthetic images of 96 pixels, {arguments.epochs} "
        f"epochs; {arguments.seeds} seeds, the same for both; test split, points. Plain: float32, attention unfused, "
        "channels first, optimizer weight by weight, torchvision's heads. Ours: bfloat16 and the rest of the defaults."
    )
    rows = []
    for metric in (name for name, known in metrics.scored().items() if known.selects):
        values = {name: [result[metric] for result in results] for name, results in found.items()}
        compared = compare_paired([b - a for a, b in zip(values["plain"], values["ours"], strict=True)])
        means = [f"{statistics.fmean(v):.2f} ± {statistics.stdev(v):.2f}" for v in values.values()]
        low, high = compared.ci95
        rows.append([metric, *means, f"{compared.difference:+.2f}", f"{low:.2f} to {high:.2f}", f"{compared.p:.2f}"])
    header = ["metric", "plain, mean ± sd", "ours, mean ± sd", "ours - plain", "95 % interval, paired", "p"]
    page.table(header, rows)
    path = ROOT / "benchmarks" / "quality.md"
    path.write_text(page.text(), encoding="utf-8")
    print(page.text())
    print(f"table: {path}")


if __name__ == "__main__":
    main()
