"""No part of a split holds what another was trained on, and the same words give the same split."""

import json

import pytest

from tune_cmx.data.readers import open_data
from tune_cmx.data.split import SplitWarning, make_split, read_split, split_hash, split_warnings, write_split
from tune_cmx.errors import ConfigError, DataError

BOX = "0 0.5 0.5 0.5 0.5\n"


def numbered(count):
    return [f"f{number:03d}" for number in range(count)]


@pytest.fixture
def videos(folders):
    """Twelve sequences of three frames."""
    ids = numbered(36)
    return open_data(folders(ids, sequences={id: f"s{int(id[1:]) // 3:02d}" for id in ids}, modalities=["rgb"]))


@pytest.fixture
def film(folders):
    """Forty frames of which no sequence is known."""
    return open_data(folders(numbered(40), modalities=["rgb"]))


class TestSequences:
    def test_no_sequence_is_in_two_parts_and_every_frame_is_used(self, videos):
        split = make_split(videos, seed=3)
        assert split.how == "sequence"
        parts = [set(split.sequences[part]) for part in ("train", "val", "test")]
        assert len(set().union(*parts)) == sum(map(len, parts)) == 12
        assert len(split.train) + len(split.val) + len(split.test) == 36
        assert split.left_out == ()
        assert split_warnings(split, videos) == []

    def test_shares_come_near_the_fractions(self, videos):
        split = make_split(videos, fractions=(0.5, 0.25, 0.25))
        assert (len(split.train), len(split.val), len(split.test)) == (18, 9, 9)

    def test_the_seed_alone_decides(self, videos):
        assert make_split(videos, seed=5) == make_split(videos, seed=5)
        assert len({make_split(videos, seed=seed).hash for seed in range(5)}) > 1

    def test_every_part_gets_a_box_where_it_can(self, folders):
        """Three of nine sequences have boxes: they go to three parts, whatever the seed."""
        ids = numbered(27)
        labels = {id: BOX for id in ids if int(id[1:]) // 3 in (0, 4, 8)}
        root = folders(ids, labels=labels, sequences={id: f"s{int(id[1:]) // 3}" for id in ids}, modalities=["rgb"])
        data = open_data(root)
        for seed in range(4):
            split = make_split(data, seed=seed, fractions=(0.5, 0.25, 0.25))
            for part in ("train", "val", "test"):
                assert {"s0", "s4", "s8"} & set(split.sequences[part])

    def test_a_long_sequence_does_not_stand_alone_where_short_ones_can_join(self, folders):
        """One sequence has 15 of 100 frames, just what val or test should have; alone it would say little."""
        sizes = [15, 20, 20, 20, 5, 5, 5, 5, 5]
        ids = numbered(sum(sizes))
        names = [f"s{number}" for number, size in enumerate(sizes) for _ in range(size)]
        data = open_data(folders(ids, sequences=dict(zip(ids, names, strict=True)), modalities=["event"]))
        for seed in range(3):
            assert all(len(names) > 1 for names in make_split(data, seed=seed).sequences.values())

    def test_two_sequences_are_too_few(self, folders):
        data = open_data(folders(sequences={"a": "s1", "b": "s1", "c": "s2"}))
        with pytest.raises(DataError, match=r"would be empty: 2 sequences for three parts; .*split by block"):
            make_split(data)

    def test_they_must_be_known(self, film):
        with pytest.raises(DataError, match=r"put sequences\.csv"):
            make_split(film, by="sequence")


class TestBlocks:
    def test_blocks_follow_names_with_a_guard_between(self, film):
        split = make_split(film, guard=5, fractions=(0.6, 0.2, 0.2))
        assert split.how == "block"
        assert split.seed is None
        names = numbered(40)
        assert split.train == tuple(names[:18])
        assert split.val == tuple(names[23:29])
        assert split.test == tuple(names[34:])
        assert split.left_out == (*names[18:23], *names[29:34])
        assert [str(one) for one in split_warnings(split, film)] == [
            "sequences unknown: split by blocks in the order of names; a video may be in two parts"
        ]

    def test_an_empty_part_is_an_error(self, film):
        with pytest.raises(
            DataError, match=r"part train of the split would be empty, with 40 images .*lower the guard"
        ):
            make_split(film, guard=20)

    def test_blocks_of_known_sequences_say_where_they_leak(self, videos):
        split = make_split(videos, by="block", guard=1, fractions=(0.55, 0.25, 0.2))
        assert split_warnings(split, videos) == [
            SplitWarning("leak", "sequence s06 is in train and val"),
            SplitWarning("leak", "sequence s09 is in val and test"),
        ]


class TestFrames:
    def test_single_frames_must_be_asked_for_and_are_stamped(self, videos):
        split = make_split(videos, by="frame", seed=1)
        assert split.how == "frame"
        warnings = [str(one) for one in split_warnings(split, videos)]
        assert "single images: neighbouring video frames leak" in warnings[0]
        assert any("is in train and" in warning for warning in warnings[1:])
        assert make_split(videos, by="frame", seed=1) == split
        assert make_split(videos, by="frame", seed=2) != split

    def test_other_ways_are_refused(self, film):
        with pytest.raises(ConfigError, match="sequence, block or frame; got 'random'"):
            make_split(film, by="random")


class TestFiles:
    def test_written_and_read_back(self, videos, tmp_path):
        split = make_split(videos, seed=2).with_statistics({"rgb": {"mean": [0.5], "std": [0.1]}})
        write_split(split, tmp_path / "new" / "split.json")
        assert read_split(tmp_path / "new" / "split.json", videos) == split
        assert [path.name for path in (tmp_path / "new").iterdir()] == ["split.json"]

    def test_statistics_do_not_change_the_hash(self, videos):
        split = make_split(videos)
        assert split.with_statistics({"rgb": {}}).hash == split.hash

    def test_the_hash_is_of_the_members_and_not_their_order(self):
        parts = {"train": ["a", "b"], "val": ["c"], "test": ["d"]}
        assert split_hash(parts) == split_hash({**parts, "train": ["b", "a"]}) == "65ea30ce6f67"
        assert split_hash(parts) != split_hash({**parts, "val": ["d"], "test": ["c"]})

    def test_a_given_list_is_taken_as_it_is(self, film, tmp_path):
        path = tmp_path / "mine.json"
        path.write_text(json.dumps({"train": ["f003", "f001"], "val": ["f010"], "test": ["f020"]}))
        split = read_split(path, film)
        assert (split.train, split.val, split.test) == (("f001", "f003"), ("f010",), ("f020",))
        assert split.how == "given"
        assert len(split.left_out) == 36
        assert [str(one) for one in split_warnings(split, film)] == [
            "sequences unknown: the given split cannot be checked for leaks",
            "the given split leaves out 36 of 40 images: f000, f002, f004 and 33 more",
            "no image of val has a box",
        ][:2]

    def test_an_edited_file_is_a_given_one(self, film, tmp_path):
        path = tmp_path / "split.json"
        split = make_split(film)
        write_split(split, path)
        content = json.loads(path.read_text())
        content["train"].pop()
        path.write_text(json.dumps(content))
        edited = read_split(path, film)
        assert edited.how == "given"
        assert edited.hash != split.hash
        assert edited.statistics == {}

    @pytest.mark.parametrize(
        ("content", "message"),
        [
            ({"train": ["f001"], "val": ["f002"], "test": []}, "the part test of the split is empty"),
            ({"train": ["f001"], "val": ["f002"]}, "the part test of the split is empty"),
            ({"train": ["f001"], "val": ["f001"], "test": ["f002"]}, "'f001' is listed in both train and val"),
            ({"train": ["f001", "f001"], "val": ["f002"], "test": ["f003"]}, "'f001' is listed twice in train"),
            ({"train": ["f099"], "val": ["f002"], "test": ["f003"]}, "no such image in the data: f099"),
            ({"training": ["f001"], "val": [], "test": []}, "unknown key 'training'.* Did you mean 'train'"),
            ({"train": "f001", "val": [], "test": []}, "train: a list of image ids is needed"),
            (["f001"], "lists of image ids under train, val and test"),
        ],
    )
    def test_files_that_cannot_be_used(self, film, tmp_path, content, message):
        path = tmp_path / "split.json"
        path.write_text(json.dumps(content))
        with pytest.raises(DataError, match=message):
            read_split(path, film)

    def test_no_json(self, film, tmp_path):
        with pytest.raises(DataError, match="cannot be read as JSON"):
            read_split(tmp_path / "absent.json", film)


def test_a_part_without_boxes_is_said(folders):
    data = open_data(folders(numbered(40), labels={"f000": BOX}, modalities=["rgb"]))
    found = [str(one) for one in split_warnings(make_split(data), data)]
    assert found[1:] == ["no image of val has a box", "no image of test has a box"]


class TestPartsThatAreNamedAlone:
    @pytest.fixture
    def listed(self, folders):
        def build(**lists):
            root = folders(numbered(40), modalities=["rgb"])
            for part, ids in lists.items():
                (root / f"{part}_list.txt").write_text("\n".join(ids))
            (root / "data.yaml").write_text("".join(f"{part}: {part}_list.txt\n" for part in lists))
            return open_data(root)

        return build

    @pytest.mark.parametrize("part", ["train", "val", "test"])
    def test_the_part_is_kept_and_the_others_are_drawn_from_the_rest(self, listed, part):
        data = listed(**{part: numbered(40)[5:15]})
        split = make_split(data)
        assert split.how == "official"
        assert list(getattr(split, part)) == numbered(40)[5:15]
        assert all(getattr(split, other) for other in ("train", "val", "test"))
        others = " and ".join(other for other in ("train", "val", "test") if other != part)
        assert split.notes[0].startswith(f"official split names {part} alone: the 30 other images became {others} (")

    def test_val_and_test_leave_train_to_the_rest(self, listed):
        split = make_split(listed(val=numbered(40)[:5], test=numbered(40)[5:10]))
        assert [len(split.train), len(split.val), len(split.test)] == [30, 5, 5]
        assert split.notes == ("official split names val and test alone: the 30 other images became train (train 30)",)

    def test_a_list_of_every_image_is_no_split(self, listed):
        split = make_split(listed(train=numbered(40)))
        assert split.how == "block"
        assert split.notes == ("the official split has every image in train, so train, val and test are drawn here",)
