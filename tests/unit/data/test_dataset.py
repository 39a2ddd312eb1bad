"""Tensors, targets, and an order that hangs on seed and epoch alone."""

import numpy as np
import pytest
import torch
from PIL import Image

from tune_cmx.config.trial import AugmentConfig, FusionConfig, ModelConfig
from tune_cmx.data.dataset import PairedDataset, build_loader
from tune_cmx.data.ground_truth import ground_truth
from tune_cmx.data.readers import open_data
from tune_cmx.errors import DataError
from tune_cmx.models.detector import build_detector

ALL = ["rgb", "thermal", "event"]


@pytest.fixture
def augmented(folders):
    """A function that opens the same augmented set anew."""
    data = open_data(folders([f"f{number}" for number in range(6)]))

    def dataset(**changes):
        settings = {"augment": AugmentConfig(), "seed": 4, **changes}
        return PairedDataset(data, [frame.id for frame in data.images], ALL, **settings)

    return dataset


def same(first, second):
    return torch.equal(first[0], second[0]) and all(torch.equal(first[1][key], second[1][key]) for key in first[1])


def test_bands_stand_in_the_order_asked_for(folders):
    root = folders()
    data = open_data(root)
    image, _ = PairedDataset(data, ["b"], ["event", "rgb"], augment=None, seed=0)[0]
    event = np.array(Image.open(root / "event" / "b.png"))
    rgb = np.array(Image.open(root / "rgb" / "b.png"))
    assert image.dtype == torch.float32
    assert torch.equal(image[0], torch.from_numpy(event).float() / 255)
    assert torch.equal(image[1:], torch.from_numpy(rgb).permute(2, 0, 1).float() / 255)


def test_packed_and_folders_give_the_same(folders, packed):
    root = folders(["a"])
    arrays = [np.atleast_3d(np.asarray(Image.open(root / name / "a.png"))) for name in ALL]
    both = [open_data(root), open_data(packed({"a": np.concatenate(arrays, axis=2)}))]
    folder, numpy = (PairedDataset(data, ["a"], ["thermal", "rgb"], augment=None, seed=0)[0] for data in both)
    assert same(folder, numpy)


def test_targets_are_in_pixels_with_classes_from_one(folders):
    text = "1 0.5 0.25 0.5 0.5\n0 0.25 0.5 0.5 1\n"
    data = open_data(folders(["a", "b"], labels={"b": text}, classes=["person", "car"]))
    dataset = PairedDataset(data, ["b", "a"], ["rgb"], augment=None, seed=0)
    target = dataset[0][1]
    assert target["boxes"].tolist() == [[3.0, 0.0, 9.0, 4.0], [0.0, 0.0, 6.0, 8.0]]
    assert target["labels"].tolist() == [2, 1]
    assert target["labels"].dtype == torch.int64
    assert int(target["image_id"]) == 0
    negative = dataset[1][1]
    assert negative["boxes"].shape == (0, 4)
    assert negative["labels"].shape == (0,)
    assert int(negative["image_id"]) == 1


@pytest.mark.parametrize(
    ("value", "dtype", "expected"),
    [(51, np.uint8, 0.2), (13107, np.uint16, 0.2), (13107, ">u2", 0.2), (0.2, float, 0.2)],
)
def test_pixels_are_scaled_by_their_own_range(packed, value, dtype, expected):
    data = open_data(packed({"a": np.full((4, 6, 5), value, dtype=dtype)}))
    image, _ = PairedDataset(data, ["a"], ALL, augment=None, seed=0)[0]
    assert torch.allclose(image, torch.tensor(expected), atol=1e-7)


def test_one_frame_may_mix_eight_and_sixteen_bits(folders):
    thermal = {f"thermal/{id}": np.full((8, 12), 65535, dtype=np.uint16) for id in "abc"}
    data = open_data(folders(images=thermal))
    image, _ = PairedDataset(data, ["a"], ["rgb", "thermal"], augment=None, seed=0)[0]
    assert image[3].min() == 1
    assert 0.1 < image[:3].mean() < 0.9


def test_frames_of_differing_sizes_share_a_batch(packed):
    data = open_data(packed({"a": np.zeros((4, 6, 5), np.uint8), "b": np.zeros((8, 2, 5), np.uint8)}))
    dataset = PairedDataset(data, ["a", "b"], ALL, augment=None, seed=0)
    images, targets = next(iter(build_loader(dataset, batch_size=2, shuffle=False, seed=0, epoch=0)))
    assert [tuple(image.shape) for image in images] == [(5, 4, 6), (5, 8, 2)]
    assert [target["boxes"].tolist() for target in targets] == [[[1.5, 1.0, 4.5, 3.0]], [[0.5, 2.0, 1.5, 6.0]]]


def test_a_spoilt_file_is_named(folders):
    root = folders()
    data = open_data(root)
    (root / "rgb" / "a.png").write_bytes(b"")
    with pytest.raises(DataError, match=r"rgb/a\.png: the file is empty"):
        PairedDataset(data, ["a"], ALL, augment=None, seed=0)[0]
    with pytest.raises(DataError, match="no image 'z'"):
        PairedDataset(data, ["z"], ALL, augment=None, seed=0)
    with pytest.raises(DataError, match="no depth images; the set has rgb, thermal, event"):
        PairedDataset(data, ["a"], ["depth"], augment=None, seed=0)


class TestAugmentation:
    def test_it_hangs_on_seed_epoch_and_index_alone(self, augmented):
        straight, jumping = augmented(), augmented()
        for epoch in range(3):
            straight.set_epoch(epoch)
            images = [straight[index] for index in range(6)]
        jumping.set_epoch(2)
        assert all(same(jumping[index], images[index]) for index in (5, 0, 3))

    @pytest.mark.parametrize("change", [{"seed": 5}, {"augment": None}])
    def test_other_settings_give_other_images(self, augmented, change):
        assert not same(augmented()[0], augmented(**change)[0])

    def test_epochs_differ(self, augmented):
        dataset = augmented()
        first = dataset[0]
        dataset.set_epoch(1)
        assert not same(first, dataset[0])

    def test_the_cache_changes_nothing(self, augmented):
        cached, plain = augmented(), augmented(cache_mib=0)
        for _ in range(2):
            assert same(cached[1], plain[1])

    def test_the_cache_is_not_written_into(self, augmented):
        dataset = augmented(augment=None)
        dataset[0][0].zero_()
        assert dataset[0][0].max() > 0


class TestModalityDropout:
    MEANS = {"rgb": [0.1, 0.2, 0.3], "thermal": [0.4], "event": [0.5]}
    BANDS = {"rgb": slice(0, 3), "thermal": slice(3, 4), "event": slice(4, 5)}

    def dataset(self, augmented, probability, **changes):
        augment = AugmentConfig(modality_dropout=probability)
        return augmented(augment=augment, means=self.MEANS, **changes)

    def blanked(self, image):
        """The modalities whose bands show their means alone."""
        found = []
        for modality, bands in self.BANDS.items():
            mean = torch.tensor(self.MEANS[modality])[:, None, None].expand_as(image[bands])
            found += [modality] if torch.equal(image[bands], mean) else []
        return found

    def drawn(self, dataset, epochs):
        found = []
        for epoch in range(epochs):
            dataset.set_epoch(epoch)
            found += [self.blanked(dataset[index][0]) for index in range(len(dataset))]
        return found

    def test_one_modality_each_as_likely_in_such_a_share_of_the_frames(self, augmented):
        found = self.drawn(self.dataset(augmented, 0.3), 200)
        assert all(len(modalities) <= 1 for modalities in found)
        counts = [sum(modalities == [name] for modalities in found) for name in ALL]
        assert all(90 <= count <= 150 for count in counts), counts  # of 1200 frames 120 are expected, sd 10

    def test_geometry_boxes_and_the_other_bands_stay_as_they_are(self, augmented):
        plain, dropped = augmented(), self.dataset(augmented, 1.0)
        for index in range(6):
            (image, target), (blank, same_target) = plain[index], dropped[index]
            (modality,) = self.blanked(blank)
            others = [band for band in range(5) if band not in range(5)[self.BANDS[modality]]]
            assert torch.equal(image[others], blank[others])
            assert all(torch.equal(target[key], same_target[key]) for key in target)

    def test_it_hangs_on_seed_epoch_and_index_alone(self, augmented):
        first = self.drawn(self.dataset(augmented, 0.5), 4)
        assert self.drawn(self.dataset(augmented, 0.5), 4) == first
        assert self.drawn(self.dataset(augmented, 0.5, seed=5), 4) != first
        assert first[:6] != first[6:12]

    def test_a_frame_that_loses_one_loses_the_same_one_at_a_higher_probability(self, augmented):
        low, high = (self.drawn(self.dataset(augmented, probability), 20) for probability in (0.2, 0.6))
        assert any(low)
        assert all(many == few for few, many in zip(low, high, strict=True) if few)

    def test_nothing_is_left_of_it_once_it_is_normalised(self, augmented):
        """By the detector's own transform, resized."""
        detector = build_detector(
            ModelConfig(backbone="mit_nano", fusion=FusionConfig(kind="add")),
            bands=(3, 2),
            num_classes=1,
            mean=[value for values in self.MEANS.values() for value in values],
            std=[0.25] * 5,
        )
        image, _ = self.dataset(augmented, 1.0)[0]
        (modality,) = self.blanked(image)
        seen = detector.transform([image])[0].tensors[0]
        left = {name for name, bands in self.BANDS.items() if seen[bands].count_nonzero() > 0}
        assert left == {*ALL} - {modality}


class TestLoader:
    @staticmethod
    def order(dataset, **settings):
        loader = build_loader(dataset, **{"batch_size": 4, "shuffle": True, "seed": 1, "epoch": 0, **settings})
        return [[int(target["image_id"]) for target in targets] for _, targets in loader]

    def test_every_frame_comes_once(self, augmented):
        batches = self.order(augmented())
        assert [len(batch) for batch in batches] == [4, 2]
        assert sorted(id for batch in batches for id in batch) == list(range(6))
        assert self.order(augmented(), shuffle=False) == [[0, 1, 2, 3], [4, 5]]

    def test_order_hangs_on_seed_and_epoch_alone(self, augmented):
        dataset = augmented()
        torch.manual_seed(0)
        first = self.order(dataset, epoch=3)
        torch.manual_seed(99)
        assert self.order(augmented(), epoch=3) == first
        assert len({str(self.order(dataset, epoch=epoch)) for epoch in range(4)}) > 1
        assert len({str(self.order(dataset, seed=seed)) for seed in range(4)}) > 1

    def test_workers_change_nothing(self, augmented):
        settings = {"batch_size": 4, "shuffle": True, "seed": 1, "epoch": 2}
        alone, helped = (list(build_loader(augmented(), **settings, workers=workers)) for workers in (0, 2))
        for (images, targets), (other_images, other_targets) in zip(alone, helped, strict=True):
            for sample in zip(images, targets, other_images, other_targets, strict=True):
                assert same(sample[:2], sample[2:])


def test_ground_truth_is_in_the_order_of_the_dataset(folders):
    data = open_data(folders(["a", "b"], labels={"b": "0 0.5 0.25 0.5 0.5\n"}))
    truth = ground_truth(data, ["b", "a"], {"a": (8, 12), "b": (8, 12)})
    assert [(image["id"], image["file_name"]) for image in truth["images"]] == [(0, "b"), (1, "a")]
    assert [(item["image_id"], item["category_id"], item["bbox"]) for item in truth["annotations"]] == [
        (0, 1, [3.0, 0.0, 6.0, 4.0])
    ]
    assert truth["categories"] == [{"id": 1, "name": "person"}]
