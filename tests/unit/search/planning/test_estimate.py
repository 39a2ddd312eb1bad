"""What a study will take, said before it runs."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
import yaml

from tune_cmx.config.study import Study, read_study
from tune_cmx.config.trial import ModelConfig, TrialConfig
from tune_cmx.data.prepare import Prepared, prepare
from tune_cmx.data.synthetic import synthesize
from tune_cmx.errors import ConfigError
from tune_cmx.models.describe import flops, network_size
from tune_cmx.search.planning.costs import Costs, earlier_times
from tune_cmx.search.planning.estimate import Amount, Estimate, Places, estimate
from tune_cmx.search.planning.model_sizes import ModelSizes
from tune_cmx.search.planning.study_size import most_epochs, size_text
from tune_cmx.training.model_probe import build_plain
from tune_cmx.training.run_folder import RunFolder

STAGES, THRESHOLD = "model.fusion.stages", "model.fusion.options.switching_threshold"
EPOCHS = 10
FUSION = {"kind": "cssa", "elsewhere": "add"}
SPACE: dict[str, Any] = {
    "study": "test",
    "fixed": {
        "model": {"backbone": "mit_nano", "fusion": FUSION, "detector": {"image_size": 64, "max_size": 64}},
        "schedule": {"epochs": EPOCHS, "batch_size": 4},
    },
    "search": {STAGES: {"choice": [[1], [2], [3], [4], [1, 2], [3, 4], [1, 4], [1, 2, 3, 4]]}},
    "baseline": {"model.fusion": {"kind": "add"}},
    "early_stopping": {"kind": "none"},
    "confirm": {"finalists": 2, "seeds": 3},
}
Reader = Callable[..., Study]


@pytest.fixture(scope="module")
def prepared(tmp_path_factory: pytest.TempPathFactory) -> Prepared:
    folder = tmp_path_factory.mktemp("data")
    root = synthesize(folder / "set", images=24, size=64, sequences=6, seed=0)
    return prepare(TrialConfig.model_validate({"data": {"root": str(root)}}).data, folder / "prepared")


def study_of(path: Path, **keys: Any) -> Study:
    """The space with some keys changed; None leaves one out."""
    content = {key: value for key, value in {**SPACE, **keys}.items() if value is not None}
    path.write_text("# Why?\n" + yaml.safe_dump(content, sort_keys=False))
    return read_study(path)


def write_record(folder: Path, prepared: Prepared, config: TrialConfig, epoch_s: float, **facts: Any) -> None:
    """A trial of two epochs that took so many seconds each."""
    record = RunFolder.plan(folder, config, **{"arm": "any", **prepared.hashes(), **facts})
    record.begin_session(1, device="cpu, 1 threads")
    for epoch in (1, 2):
        row = {"epoch": epoch, "fraction": epoch / EPOCHS, "seconds": epoch * epoch_s, "val/milliseconds": 50.0}
        record.add_epoch(row, session_seconds=row["seconds"])


@pytest.fixture
def read(tmp_path: Path) -> Reader:
    return lambda **keys: study_of(tmp_path / "a.yaml", **keys)


@pytest.fixture
def record(tmp_path: Path, prepared: Prepared) -> Callable[..., None]:
    return lambda config, name, epoch_s, **facts: write_record(
        tmp_path / "earlier" / name, prepared, config, epoch_s, **facts
    )


@pytest.fixture(scope="module")
def sizes(prepared: Prepared) -> ModelSizes:
    """Each detector is counted once for all tests."""
    return ModelSizes(prepared)


@pytest.fixture(scope="module")
def costs(prepared: Prepared, sizes: ModelSizes, tmp_path_factory: pytest.TempPathFactory) -> Costs:
    """Epochs of ten seconds, whatever the arm."""
    folder = tmp_path_factory.mktemp("costs")
    study = study_of(folder / "a.yaml")
    for arm in study.arms.values():
        write_record(folder / "earlier" / arm.id, prepared, arm.config, 10.0)
    times, _ = earlier_times([folder / "earlier"], prepared, [study.baseline.config], "cpu", sizes)
    assert times is not None
    return Costs(sizes, times, images=len(prepared.split.test))


def planned(study: Study, costs: Costs, places: int = 2, **options: Any) -> Estimate:
    return estimate(study, costs, Places(places, share=1.0, gpu=False), repetitions=20, **options)


def amount(study: Study, costs: Costs, places: int = 2, **options: Any) -> Amount:
    return planned(study, costs, places, **options).expected


def test_without_early_stopping_the_epochs_are_exact(read: Reader, costs: Costs) -> None:
    found = planned(read(), costs)
    assert (found.expected.search_trials, found.expected.search_epochs) == (8, 8 * EPOCHS)
    assert (found.expected.confirm_trials, found.expected.confirm_epochs) == (3 * 3, 3 * 3 * EPOCHS)
    assert found.epochs_span == (170, 170)
    assert found.worst.epochs == found.expected.epochs
    assert found.worst.wall_s == pytest.approx(found.expected.wall_s)
    assert found.grid is not None
    assert found.grid.epochs == (8 + 1) * 3 * EPOCHS


@pytest.mark.parametrize("stopping", [{"variant": "promote"}, {"variant": "stop", "last": 1}, {"last": 1}])
def test_the_epochs_expected_hang_little_on_the_curves_made_up(
    stopping: dict[str, Any], read: Reader, costs: Costs
) -> None:
    study = read(early_stopping={**stopping, "reduction_factor": 2})
    found = [amount(study, costs, seed=seed).epochs for seed in range(3)]
    assert max(found) < 1.05 * min(found)
    longest = most_epochs(study.file.early_stopping, EPOCHS)
    assert 8 * 2 < found[0] - 90 < 8 * longest
    assert f"{8 * longest} epochs if no trial is stopped early" in size_text(study)


def test_a_promoted_part_is_counted_as_the_scheduler_counts_it(read: Reader, costs: Costs) -> None:
    """Eight to epoch 2, four of them to 4, where the search ends."""
    study = read(early_stopping={"reduction_factor": 2, "grace": 2, "spacing": 2, "last": 0.4})
    assert amount(study, costs).search_epochs == pytest.approx(8 * 2 + 4 * 2, rel=0.02)


def test_more_places_never_take_longer(read: Reader, costs: Costs) -> None:
    walls = [amount(read(), costs, places).wall_s for places in (1, 2, 8)]
    assert walls == sorted(walls, reverse=True)
    assert walls[0] - walls[1] > 0.4 * 170 * 10


def test_seeds_that_follow_from_the_precision_are_a_pilot_at_first_and_the_most_at_worst(
    read: Reader, costs: Costs
) -> None:
    study = read(confirm={"finalists": 2, "half_width": 0.5, "pilot_seeds": 4, "max_seeds": 12})
    found = planned(study, costs)
    assert (found.expected.confirm_trials, found.worst.confirm_trials) == (3 * 4, 3 * 12)


def test_an_arm_that_a_claim_names_is_confirmed_beside_the_finalists(read: Reader, costs: Costs) -> None:
    claim = {"kind": "superiority", "treatment": {STAGES: [1]}, "baseline": "baseline", "metric": "test/mAP"}
    found = planned(read(claims=[{**claim, "text": "x"}]), costs)
    assert 3 * 3 < found.expected.confirm_trials < found.worst.confirm_trials == 4 * 3
    by_chance = 3 * (3 + 6 / 8)  # two of eight are finalists
    assert 3 * (3 + 0.3) < found.expected.confirm_trials < by_chance, "who claims it hopes for more than chance"


def test_a_phase_trains_what_the_one_before_has_not(read: Reader, costs: Costs) -> None:
    phases = [
        {"name": "stages", "fixed": {THRESHOLD: 0.5}, "search": SPACE["search"], "keep": 2},
        {"name": "thresholds", "search": {THRESHOLD: {"choice": [0.3, 0.5, 0.7]}}},
    ]
    study = read(search=None, phases=phases)
    found = planned(study, costs)
    assert found.expected.search_trials == 8 + 2 * 2
    assert found.grid is not None
    assert found.grid.search_trials == 3 * (8 * 3 + 1)
    assert len(study.searched) == 8, "the study's own arms are left alone"


def test_a_searcher_that_draws_as_it_goes_has_its_trials_counted(read: Reader, costs: Costs) -> None:
    uniform = {**SPACE["search"], THRESHOLD: {"uniform": [0.2, 0.8]}}
    found = planned(read(search=uniform, searcher={"kind": "tpe", "trials": 12}), costs)
    assert (found.expected.search_trials, found.expected.search_epochs) == (12, 12 * EPOCHS)
    assert found.grid is None


def test_complete_trials_keep_their_weights_and_others_what_they_need_to_go_on(read: Reader, costs: Costs) -> None:
    study = read()
    weights = 4 * sum(costs.sizes.of(arm.config.model).parameters for arm in study.arms.values()) / 9
    complete, stopped = (
        amount(read(early_stopping=stopping), costs).disk_bytes
        for stopping in ({"kind": "none"}, {"reduction_factor": 2, "last": 0.5})
    )
    assert (8 + 9) * weights < complete < (8 + 9 + 2 * 2 * 2) * 1.3 * weights
    assert stopped == pytest.approx(complete + 8 * weights, rel=0.15), "SGD keeps one number a parameter"


@pytest.mark.parametrize(
    "fusion", [{"kind": "frm_ffm"}, {"kind": "cssa", "stages": (2, 3), "elsewhere": "frm_ffm"}, {"kind": "se_gated"}]
)
def test_sizes_are_those_of_the_model_that_is_built(
    fusion: dict[str, Any], prepared: Prepared, sizes: ModelSizes
) -> None:
    model = ModelConfig.model_validate({"backbone": "mit_nano", "fusion": fusion})
    with torch.device("meta"), torch.random.fork_rng(devices=[]):
        bands = {name: len(found) for name, found in prepared.data.bands.items()}
        built = build_plain(model, bands, len(prepared.data.classes))
    size = sizes.of(model)
    assert size.parameters == sum(parameter.numel() for parameter in built.parameters())
    assert size.gflop == pytest.approx(flops(built, *network_size(model.detector, 64, 64)), rel=1e-6)


def test_an_arm_has_the_time_of_its_own_record_and_others_one_by_their_operations(
    read: Reader, prepared: Prepared, sizes: ModelSizes, record: Callable[..., None], tmp_path: Path
) -> None:
    study = read(baseline={"model.fusion": {"kind": "frm_ffm"}})
    baseline, arm, other = (study.arms[name].config for name in ("baseline", "stages-1", "stages-1+2"))
    record(baseline, "a", 20.0)
    record(baseline, "b", 22.0)
    record(arm, "c", 10.0)
    times, _ = earlier_times([tmp_path / "earlier"], prepared, [baseline], "cpu", sizes)
    assert times is not None
    assert times.source == "3 earlier trials on the CPU"
    assert times.image_s == pytest.approx(0.05)
    costs = Costs(sizes, times, images=4)
    assert costs.epoch_s(baseline) == 21.0
    assert costs.epoch_s(arm) == 10.0
    assert costs.epoch_s(other) < 21.0
    bare = baseline.model_copy(update={"model": baseline.model.model_copy(update={"streams": "thermal"})})
    assert costs.epoch_s(bare) < 10.0


def test_records_of_something_else_say_nothing(
    read: Reader, prepared: Prepared, sizes: ModelSizes, record: Callable[..., None], tmp_path: Path
) -> None:
    config = read().baseline.config
    record(config, "a", 1.0, data_fingerprint="other")
    detector = config.model.detector.model_copy(update={"image_size": 32})
    smaller = config.model.model_copy(update={"detector": detector})
    record(config.model_copy(update={"model": smaller}), "b", 1.0)
    record(config, "h", 1.0, micro_batch=2)  # memory ran out
    left_out = "1 (another data set), 1 (another image size), 1 (computed in another way)"
    assert earlier_times([tmp_path / "earlier"], prepared, [config], "cpu", sizes) == (None, left_out)
    record(config, "i", 1.0)
    assert earlier_times([tmp_path / "earlier"], prepared, [config], "cuda", sizes) == (
        None,
        f"{left_out}, 1 (another device)",
    )
    times, _ = earlier_times([tmp_path / "earlier"], prepared, [config], "cpu", sizes)
    assert times is not None
    assert times.source == f"1 earlier trial on the CPU; left out: {left_out}"
    with pytest.raises(ConfigError, match=r"--from: .* holds no run folders"):
        earlier_times([tmp_path / "nowhere"], prepared, [config], "cpu", sizes)


def test_an_arm_has_the_time_of_records_that_compute_as_it_does(
    read: Reader, prepared: Prepared, sizes: ModelSizes, record: Callable[..., None], tmp_path: Path
) -> None:
    rounded = read(baseline={"model.fusion": {"kind": "add"}}).baseline.config
    exact = rounded.model_copy(update={"compute": rounded.compute.model_copy(update={"precision": "fp32"})})
    apart = rounded.model_copy(update={"schedule": rounded.schedule.model_copy(update={"micro_batch": 2})})
    record(rounded, "a", 10.0)
    record(exact, "b", 20.0)
    asked = [tmp_path / "earlier"], prepared
    times, _ = earlier_times(*asked, [rounded, exact], "cpu", sizes)
    assert times is not None
    costs = Costs(sizes, times, images=4)
    assert (costs.epoch_s(rounded), costs.epoch_s(exact)) == (10.0, 20.0)
    nothing = None, "1 (computed in another way), 1 (computed as only some of the configurations are)"
    assert earlier_times(*asked, [rounded, apart], "cpu", sizes) == nothing
