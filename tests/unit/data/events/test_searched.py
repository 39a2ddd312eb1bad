"""One prepared set whose configurations represent events in different ways."""

import json
from pathlib import Path

import pytest
from event_sets import dsec_det

from tune_cmx.config.data.events import EventsConfig
from tune_cmx.config.data.ranges import PixelRange, PixelRanges
from tune_cmx.config.trial import DataConfig
from tune_cmx.data import event_sums
from tune_cmx.data.audit import audit, statistics
from tune_cmx.data.prepare import load_prepared, open_configured, prepare
from tune_cmx.data.readers import open_data, read_image
from tune_cmx.data.shared.image_cache import shared_images
from tune_cmx.data.synthetic import synthesize
from tune_cmx.errors import ConfigError

VOXELS = EventsConfig(representation="voxel_grid", bins=3)


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(tmp_path / "home"))


@pytest.fixture
def config(tmp_path: Path) -> DataConfig:
    return DataConfig(root=str(dsec_det(tmp_path / "set")))


@pytest.fixture
def folder(config: DataConfig, tmp_path: Path) -> Path:
    prepare(config, tmp_path / "prepared")
    return tmp_path / "prepared"


def test_the_statistics_are_those_of_the_configurations_own_images(config, folder, tmp_path) -> None:
    other = config.model_copy(update={"events": VOXELS})
    loaded = load_prepared(other, folder)
    fresh = prepare(other, tmp_path / "fresh")
    assert loaded.split.statistics == fresh.split.statistics
    assert len(loaded.split.statistics["event"]["mean"]) == 3
    assert (
        load_prepared(config, folder).split.statistics == json.loads((folder / "split.json").read_text())["statistics"]
    )


def test_data_that_were_opened_before_are_seen_as_the_configuration_says(config, tmp_path) -> None:
    other = config.model_copy(update={"events": VOXELS})
    prepared = prepare(other, tmp_path / "prepared", opened=open_configured(config))
    assert len(prepared.data.bands["event"]) == 3
    assert prepared.split.statistics == prepare(other, tmp_path / "fresh").split.statistics


def test_event_images_refuse_the_section(tmp_path) -> None:
    root = synthesize(tmp_path / "images", images=6, size=32, sequences=3)
    config = DataConfig(root=str(root), events=EventsConfig())
    said = r"data\.events: is for raw events, and .* has event images, .*; leave data\.events out"
    for opened in (None, open_data(root)):
        with pytest.raises(ConfigError, match=said):
            prepare(config, tmp_path / "prepared", opened=opened)


def test_their_sums_are_computed_once(config, folder, monkeypatch) -> None:
    other = config.model_copy(update={"events": VOXELS})
    first = load_prepared(other, folder)
    monkeypatch.setattr(event_sums, "_computed", lambda *_: pytest.fail("computed again"))
    assert load_prepared(other, folder).split.statistics == first.split.statistics


def test_a_range_is_found_for_each_representation(config, folder) -> None:
    ranges = PixelRanges(event=PixelRange(kind="percentile"))
    other = load_prepared(config.model_copy(update={"events": VOXELS}), folder)
    one = load_prepared(config, folder).pixel_statistics(ranges)["event"]
    two = other.pixel_statistics(ranges)["event"]
    assert (len(one["mean"]), len(two["mean"])) == (2, 3)
    assert one["scale"] != two["scale"]


def test_the_default_written_out_is_the_default(config, folder, monkeypatch) -> None:
    monkeypatch.setattr(event_sums, "_computed", lambda *_: pytest.fail("computed again"))
    load_prepared(config.model_copy(update={"events": EventsConfig()}), folder)


def test_a_view_has_the_bands_of_its_configuration(config, folder) -> None:
    prepared = load_prepared(config, folder)
    assert len(prepared.with_events(config.model_copy(update={"events": VOXELS})).data.bands["event"]) == 3
    assert prepared.with_events(config).data.bands == prepared.data.bands


def test_shared_images_of_two_representations_are_apart(config, folder, tmp_path) -> None:
    prepared = load_prepared(config, folder)
    time_surface = prepared.data.with_events(EventsConfig(representation="time_surface"))
    base = tmp_path / "memory"
    with (
        shared_images(prepared.data, prepared.audit, base) as one,
        shared_images(time_surface, prepared.audit, base) as two,
    ):
        assert one is not None
        assert two is not None
        image = prepared.data.images[3]
        for data, shared in ((prepared.data, one), (time_surface, two)):
            expected = read_image(data, image, ["event"])["event"]
            assert (shared.read(image.id, ["event"])[0] == expected).all()
        assert (one.read(image.id, ["event"])[0] != two.read(image.id, ["event"])[0]).any()


def test_the_fingerprint_is_of_the_files_and_not_of_the_representation(config, folder, tmp_path) -> None:
    """A run of a study that is trained again alone has the study's fingerprint."""
    alone = prepare(config.model_copy(update={"events": VOXELS}), tmp_path / "alone")
    assert alone.hashes() == load_prepared(config, folder).hashes()
    path = alone.data.images[0].files["event"]
    path.write_bytes(path.read_bytes() + b" ")
    assert prepare(config, tmp_path / "changed").hashes() != alone.hashes()


def test_statistics_of_the_audit_are_the_default(config) -> None:
    data = open_data(Path(str(config.root)))
    found = audit(data)
    assert len(statistics(found, list(found.sizes))["event"]["std"]) == 2
