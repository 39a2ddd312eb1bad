"""One modality missing, shifted or delayed; everything else as it was."""

import csv

import numpy as np
import pytest
import torch
from PIL import Image

from tune_cmx.data.corruption.corrupted import CorruptedDataset
from tune_cmx.data.corruption.kinds import (
    Delayed,
    Missing,
    Shifted,
    earlier_images,
    read_corruption,
    usual_corruptions,
)
from tune_cmx.data.dataset import PairedDataset, build_loader
from tune_cmx.data.pixel_range import PixelScale
from tune_cmx.data.readers import open_data
from tune_cmx.errors import DataError

ALL = ["rgb", "thermal", "event"]
MEANS = {"rgb": [0.1, 0.2, 0.3], "thermal": [0.4], "event": [0.5]}
BANDS = {"rgb": slice(0, 3), "thermal": slice(3, 4), "event": slice(4, 5)}


def pair(data, ids, corruption):
    """The images as they are, and corrupted."""
    clean = PairedDataset(data, ids, ALL, augment=None, seed=0)
    return clean, CorruptedDataset(data, ids, ALL, corruption, means=MEANS)


@pytest.mark.parametrize("modality", ALL)
def test_a_missing_modality_is_exactly_its_training_means_and_the_others_stay(folders, modality):
    clean, missing = pair(open_data(folders()), ["a", "c"], Missing(modality=modality))
    for index in range(2):
        (before, target), (after, same_target) = clean[index], missing[index]
        mean = torch.tensor(MEANS[modality])[:, None, None]
        assert torch.equal(after[BANDS[modality]], mean.expand(-1, 8, 12))
        others = [band for band in range(5) if band not in range(5)[BANDS[modality]]]
        assert torch.equal(before[others], after[others])
        assert all(torch.equal(target[key], same_target[key]) for key in target)


def test_a_shift_is_of_one_modality(folders):
    clean, moved = pair(open_data(folders()), ["b"], Shifted(modality="thermal", right=4, down=-1))
    (before, target), (after, same_target) = clean[0], moved[0]
    assert torch.equal(after[[0, 1, 2, 4]], before[[0, 1, 2, 4]])
    assert torch.equal(after[3, :7, 4:], before[3, 1:, :8])
    assert torch.equal(after[3, 7], torch.full((12,), 0.4))
    assert torch.equal(after[3, :, :4], torch.full((8, 4), 0.4))
    assert torch.equal(target["boxes"], same_target["boxes"])


class TestDelayed:
    IDS = ("a1", "a2", "a3", "b1", "b2")
    SEQUENCES = {"a1": "a", "a2": "a", "a3": "a", "b1": "b", "b2": "b"}

    def event(self, root, id):
        return torch.from_numpy(np.array(Image.open(root / "event" / f"{id}.png"))).float() / 255

    def test_the_earlier_image_has_the_range_of_its_modality(self, folders):
        raw = {f"thermal/{id}": np.full((8, 12), 7000 + 10 * number, np.uint16) for number, id in enumerate("ab")}
        data = open_data(folders("ab", images=raw, sequences={"a": "s", "b": "s"}))
        scales = {"thermal": PixelScale("fixed", 6990, 7010)}
        corruption = Delayed(modality="thermal", frames=1)
        delayed = CorruptedDataset(data, ["b"], ["thermal"], corruption, means=MEANS, scales=scales)
        assert delayed[0][0].unique().tolist() == [0.5]

    @pytest.mark.parametrize(
        ("frames", "earlier"), [(1, ["a1", "a1", "a2", "b1", "b1"]), (2, ["a1", "a1", "a1", "b1", "b1"])]
    )
    def test_it_stays_in_its_sequence_and_begins_with_its_first_frame(self, folders, frames, earlier):
        root = folders(self.IDS, sequences=self.SEQUENCES)
        clean, delayed = pair(open_data(root), self.IDS, Delayed(modality="event", frames=frames))
        for index, id in enumerate(earlier):
            (before, target), (after, same_target) = clean[index], delayed[index]
            assert torch.equal(after[:4], before[:4])
            assert torch.equal(after[4], self.event(root, id))
            assert all(torch.equal(target[key], same_target[key]) for key in target)

    def test_the_earlier_frame_may_be_in_no_part_that_is_looked_at(self, folders):
        data = open_data(folders(self.IDS, sequences=self.SEQUENCES))
        assert [frame.id for frame in earlier_images(data, ["b2", "a3"], 1)] == ["b1", "a2"]

    def test_numbers_go_before_names(self, folders):
        root = folders(self.IDS)
        numbers = {"a1": 30, "a2": 10, "a3": 20, "b1": 1, "b2": ""}
        with (root / "sequences.csv").open("w", newline="") as file:
            rows = [(id, self.SEQUENCES[id], numbers[id]) for id in self.IDS]
            csv.writer(file).writerows([("id", "sequence", "frame"), *rows])
        found = earlier_images(open_data(root), self.IDS, 1)
        assert [frame.id for frame in found] == ["a3", "a2", "a2", "b1", "b1"]

    def test_unknown_sequences_are_named_with_the_fix(self, folders):
        with pytest.raises(DataError, match=r"a delay needs sequences.*sequences\.csv"):
            pair(open_data(folders()), ["a"], Delayed(modality="event", frames=1))

    def test_frames_of_two_sizes_in_one_sequence_are_named(self, folders):
        images = {f"{name}/b": np.zeros((6, 12, 3)[: 3 if name == "rgb" else 2], np.uint8) for name in ALL}
        data = open_data(folders(images=images, sequences=dict.fromkeys("abc", "s")))
        _, delayed = pair(data, ["a", "b"], Delayed(modality="event", frames=1))
        with pytest.raises(DataError, match=r"event of 'a' is 8×12 pixels and of 'b' 6×12"):
            delayed[1]


def test_workers_change_nothing(folders):
    _, moved = pair(open_data(folders()), ["a", "b", "c"], Shifted(modality="rgb", right=2))
    settings = {"batch_size": 2, "shuffle": False, "seed": 0, "epoch": 0}
    alone, helped = (list(build_loader(moved, **settings, workers=workers)) for workers in (0, 2))
    for (images, _), (others, _) in zip(alone, helped, strict=True):
        assert all(torch.equal(image, other) for image, other in zip(images, others, strict=True))


def test_what_is_looked_at_where_nothing_is_asked_for():
    found = [str(one) for one in usual_corruptions(["rgb"], delays=True)]
    assert found == [
        *("missing", "shifted 2 px right", "shifted 4 px right", "shifted 8 px right", "shifted 16 px right"),
        *("delayed by 1 frame", "delayed by 2 frames", "delayed by 4 frames"),
    ]
    without = usual_corruptions(["rgb", "event"], delays=False)
    assert len(without) == 10
    assert {one.modality for one in without} == {"rgb", "event"}


def test_words_of_a_shift_in_both_directions():
    assert str(Shifted(modality="rgb", right=-4, down=2)) == "shifted 4 px left, 2 px down"
    assert str(Shifted(modality="rgb", right=0, down=-1)) == "shifted 1 px up"


@pytest.mark.parametrize("one", usual_corruptions(["thermal"], delays=True), ids=str)
def test_a_corruption_survives_being_written_down(one):
    assert read_corruption(one.model_dump()) == one


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ({"kind": "blur", "modality": "rgb"}, "'missing', 'shifted', 'delayed'"),
        ({"kind": "missing", "modality": "lidar"}, "modality: unknown modality 'lidar'. Known: rgb, thermal, event"),
        ({"kind": "shifted", "modality": "rgb", "right": 0, "down": 0}, "changes nothing"),
        ({"kind": "shifted", "modality": "rgb", "right": 0.5}, "right: Input should be a valid integer"),
        ({"kind": "delayed", "modality": "rgb", "frames": 0}, "frames: Input should be greater than or equal to 1"),
        (["missing"], "valid dictionary"),
    ],
)
def test_a_corruption_that_cannot_be_is_refused(content, said):
    with pytest.raises(DataError, match=said):
        read_corruption(content)
