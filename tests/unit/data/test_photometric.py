"""Each modality changes alone, by draws that follow from seed, epoch, index and field; boxes stay with the pixels."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from tune_cmx.config.paths import FieldError
from tune_cmx.config.trial import MODALITIES, AugmentConfig
from tune_cmx.data.dataset import PairedDataset
from tune_cmx.data.photometric import PHOTOMETRIC, change_modalities, refuse_colourless
from tune_cmx.data.readers import open_data
from tune_cmx.data.transforms import apply_geometry, draw_geometry

HEIGHT, WIDTH = 40, 56
BANDS = {"rgb": slice(0, 3), "thermal": slice(3, 4), "event": slice(4, 5)}
DRAW = (7, 2, 31)
STRONGEST = {
    **{field: 1.0 for fields in PHOTOMETRIC.values() for field in fields},
    "rgb_hue": 0.5,
    "thermal_blur": 5.0,
    "thermal_offset": 2.0,
    "thermal_noise": 2.0,
    "event_noise": 2.0,
}
FIELDS = sorted(STRONGEST)
draws = st.tuples(st.integers(0, 2**63 - 1), st.integers(0, 10_000), st.integers(0, 10**6))


def changed(image, config, draw=DRAW, bands=None):
    copy = image.clone()
    change_modalities(copy, bands or BANDS, config, draw)
    return copy


def noise_image(seed=0, bands=5, height=HEIGHT, width=WIDTH):
    return torch.rand(bands, height, width, generator=torch.Generator().manual_seed(seed))


def middling_image():
    """Pixels of small contrast around the middle, so that no change reaches 0 or 1."""
    return 0.48 + 0.04 * noise_image()


def place_of(field):
    return BANDS[field.partition("_")[0]]


def others_of(place):
    return [band for band in range(5) if band not in range(5)[place]]


def extent(band):
    """The box around a band's bright pixels."""
    rows, columns = torch.where(band > 0.75)
    return [float(value) for value in (columns.min(), rows.min(), columns.max() + 1, rows.max() + 1)]


@st.composite
def boxes(draw, margin=0):
    """At most half of the image, so that its mean stays below what `extent` takes for bright."""
    x1, y1 = draw(st.integers(margin, WIDTH - margin - 8)), draw(st.integers(margin, HEIGHT - margin - 8))
    x2, y2 = x1 + draw(st.integers(8, 28)), y1 + draw(st.integers(8, 20))
    return x1, y1, min(x2, WIDTH - margin), min(y2, HEIGHT - margin)


def painted(box):
    """An image in which the box is white in every band."""
    image = torch.zeros(5, HEIGHT, WIDTH)
    x1, y1, x2, y2 = box
    image[:, y1:y2, x1:x2] = 1
    return image


def test_each_field_of_a_modality_has_its_change():
    fields = [field for fields in PHOTOMETRIC.values() for field in fields]
    assert list(PHOTOMETRIC) == list(MODALITIES)
    assert set(fields) == {field for field in AugmentConfig.model_fields if field.startswith(MODALITIES)}


@given(seed=st.integers(0, 2**32), draw=draws)
@settings(max_examples=20, deadline=None)
def test_an_image_is_untouched_with_all_strengths_0(seed, draw):
    image = noise_image(seed)
    assert torch.equal(changed(image, AugmentConfig(), draw), image)


@given(
    strengths=st.dictionaries(st.sampled_from(FIELDS), st.floats(0, 1), min_size=1),
    jitter=st.integers(0, 64),
    draw=draws,
    size=st.tuples(st.integers(1, 50), st.integers(1, 50)),
    low=st.floats(0, 1),
)
@settings(max_examples=80, deadline=None)
def test_pixels_stay_within_0_and_1(strengths, jitter, draw, size, low):
    given_strengths = {field: share * STRONGEST[field] for field, share in strengths.items()}
    config = AugmentConfig(registration_jitter=jitter, **given_strengths)
    image = changed(low + (1 - low) * noise_image(draw[2], 5, *size), config, draw)
    assert torch.isfinite(image).all()
    assert image.min() >= 0
    assert image.max() <= 1


@given(field=st.sampled_from(FIELDS), share=st.floats(0.1, 1), draw=draws)
@settings(max_examples=60, deadline=None)
def test_a_change_of_one_modality_leaves_the_others_bit_for_bit(field, share, draw):
    image = noise_image()
    after = changed(image, AugmentConfig(**{field: share * STRONGEST[field]}), draw)
    others = others_of(place_of(field))
    assert torch.equal(after[others], image[others])


@pytest.mark.parametrize("field", FIELDS)
def test_every_field_changes_its_modality(field):
    place = place_of(field)
    image = noise_image()
    assert not torch.equal(changed(image, AugmentConfig(**{field: STRONGEST[field]}))[place], image[place])


@given(fields=st.lists(st.sampled_from(FIELDS), min_size=2, unique=True), jitter=st.integers(0, 5), draw=draws)
@settings(max_examples=30, deadline=None)
def test_a_draw_is_repeatable_and_the_modalities_of_the_model_do_not_change_it(fields, jitter, draw):
    config = AugmentConfig(registration_jitter=jitter, **{field: 0.3 * STRONGEST[field] for field in fields})
    image = noise_image()
    first = changed(image, config, draw)
    assert torch.equal(changed(image, config, draw), first)
    two = changed(image[[0, 1, 2, 4]], config, draw, {"rgb": slice(0, 3), "event": slice(3, 4)})
    assert torch.equal(two, first[[0, 1, 2, 4]])


@pytest.mark.parametrize("field", [*FIELDS, "registration_jitter"])
def test_seed_epoch_and_index_each_change_the_draw(field):
    config = AugmentConfig(**{field: STRONGEST.get(field, 8)})
    found = [changed(noise_image(), config, draw) for draw in (DRAW, (8, 2, 31), (7, 3, 31), (7, 2, 32))]
    assert not any(torch.equal(found[0], other) for other in found[1:])


def test_nothing_is_drawn_from_the_global_generator():
    torch.manual_seed(5)
    state = torch.get_rng_state()
    first = changed(noise_image(), AugmentConfig(registration_jitter=8, **STRONGEST))
    assert torch.equal(torch.get_rng_state(), state)
    torch.manual_seed(6)
    assert torch.equal(changed(noise_image(), AugmentConfig(registration_jitter=8, **STRONGEST)), first)


@pytest.mark.parametrize("field", [field for field in FIELDS if field not in ("rgb_hue", "thermal_blur")])
@given(draw=draws)
@settings(max_examples=15, deadline=None)
def test_twice_the_strength_is_twice_the_same_change(field, draw):
    image = middling_image()
    once, twice = (changed(image, AugmentConfig(**{field: strength}), draw) - image for strength in (0.2, 0.4))
    assert torch.allclose(twice, 2 * once, atol=1e-6)


@given(fields=st.lists(st.sampled_from(FIELDS), max_size=4, unique=True), draw=draws)
@settings(max_examples=30, deadline=None)
def test_a_field_does_not_change_the_draw_of_another(fields, draw):
    """Changes of other fields that leave a band as it is, at these images, are those of a far smaller strength."""
    faint = dict.fromkeys(fields, 1e-09)
    image = middling_image()
    alone, beside = (
        changed(image, AugmentConfig(**{**more, "thermal_noise": 0.5, "rgb_contrast": 0.5}), draw)
        for more in ({}, faint)
    )
    assert torch.allclose(alone, beside, atol=1e-5)


def test_strengths_bound_the_changes_and_are_used_up():
    image = middling_image()
    deviation = float(image[3].std(correction=0))
    factors, offsets = [], []
    for index in range(300):
        after = changed(image, AugmentConfig(rgb_brightness=0.4), (0, 1, index))
        factors.append(float((after[0] / image[0]).mean()))
        after = changed(image, AugmentConfig(thermal_offset=1.5), (0, 1, index))
        offsets.append(float((after[3] - image[3]).mean()) / deviation)
    assert 0.6 <= min(factors) < 0.62
    assert 1.38 < max(factors) <= 1.4
    assert -1.5001 <= min(offsets) < -1.45
    assert 1.45 < max(offsets) <= 1.5001


def test_noise_has_at_most_the_strength_and_a_mean_of_0():
    image = middling_image()
    deviation = float(image[3].std(correction=0))
    sigmas = []
    for index in range(200):
        added = changed(image, AugmentConfig(thermal_noise=0.5), (0, 1, index))[3] - image[3]
        sigmas.append(float(added.std()) / deviation)
        assert abs(float(added.mean())) < 0.15 * sigmas[-1] * deviation + 1e-7
    assert max(sigmas) == pytest.approx(0.5, abs=0.05)
    assert sum(sigmas) / 200 == pytest.approx(0.25, abs=0.04)


def test_contrast_keeps_the_mean_of_each_band_and_offset_its_contrast():
    image = middling_image()
    contrast = changed(image, AugmentConfig(thermal_contrast=0.9, event_contrast=0.9))
    assert torch.allclose(contrast.mean(dim=(1, 2)), image.mean(dim=(1, 2)), atol=1e-5)
    assert not torch.allclose(contrast[3:].std(dim=(1, 2)), image[3:].std(dim=(1, 2)), rtol=0.01)
    offset = changed(image, AugmentConfig(thermal_offset=2.0))
    assert torch.allclose(offset[3].std(), image[3].std(), rtol=1e-3)


def test_blur_spreads_a_point_by_its_sigma_alike_in_both_directions():
    image = torch.zeros(5, 61, 81)
    image[:, 30, 40] = 1
    spreads = []
    for index in range(60):
        after = changed(image, AugmentConfig(thermal_blur=3.0), (0, 1, index))[3]
        assert float(after.sum()) == pytest.approx(1, abs=1e-4)
        rows, columns = (torch.arange(size) - middle for size, middle in ((61, 30), (81, 40)))
        down, right = ((after.sum(axis) * steps**2).sum() ** 0.5 for axis, steps in ((1, rows), (0, columns)))
        assert float(down) == pytest.approx(float(right), abs=1e-4)
        spreads.append(float(down))
    assert 2.7 < max(spreads) <= 3.0
    assert min(spreads) < 0.5


def test_grey_images_have_no_colour_to_change_and_hue_keeps_the_brightness():
    grey = noise_image(bands=1).expand(3, -1, -1)
    image = torch.cat([grey, noise_image(bands=2)])
    after = changed(image, AugmentConfig(rgb_hue=0.5, rgb_saturation=1.0))
    assert torch.allclose(after, image, atol=2e-4)  # the weights of torchvision's grey add up to 0.9999
    coloured = noise_image()
    turned = changed(coloured, AugmentConfig(rgb_hue=0.5))
    assert torch.allclose(turned[:3].amax(dim=0), coloured[:3].amax(dim=0), atol=1e-5)


class TestRegistrationJitter:
    @given(box=boxes(), seed=st.integers(0, 2**32), jitter=st.integers(0, 6), draw=draws)
    @settings(max_examples=80, deadline=None)
    def test_bands_and_boxes_stay_together_within_the_jitter(self, box, seed, jitter, draw):
        config = AugmentConfig(flip=0.5, scale=(0.6, 1.6), registration_jitter=jitter)
        geometry = draw_geometry(config, HEIGHT, WIDTH, torch.Generator().manual_seed(seed))
        image, moved, kept = apply_geometry(painted(box), torch.tensor([box]).float(), geometry)
        before = moved.clone()
        change_modalities(image, BANDS, config, draw)
        assert torch.equal(moved, before)
        assert len(moved) == int(kept.sum())
        for found in moved.tolist():
            assert 0 <= found[0] < found[2] <= WIDTH
            assert 0 <= found[1] < found[3] <= HEIGHT
            if min(found[2] - found[0], found[3] - found[1]) > 8:
                for band in range(5):
                    assert extent(image[band]) == pytest.approx(found, abs=1.5 + (jitter if band > 2 else 0))

    @given(box=boxes(margin=6), draw=draws)
    @settings(max_examples=40, deadline=None)
    def test_a_shift_is_whole_pixels_and_scales_with_the_jitter(self, box, draw):
        whole = torch.tensor(box).float()
        shifts = []
        for jitter in (3, 6):
            image = changed(painted(box), AugmentConfig(registration_jitter=jitter), draw)
            assert torch.equal(image[:3], painted(box)[:3])
            for band in (3, 4):
                move = torch.tensor(extent(image[band])) - whole
                assert torch.equal(move[:2], move[2:])
                assert move.abs().max() <= jitter
                shifts.append(move[:2])
        assert max(float((shifts[2 + band] - 2 * shifts[band]).abs().max()) for band in (0, 1)) <= 1.5

    def test_every_shift_occurs_and_modalities_are_shifted_apart(self):
        box = (20, 15, 32, 27)
        found = {}
        for index in range(400):
            image = changed(painted(box), AugmentConfig(registration_jitter=2), (0, 1, index))
            for band in (3, 4):
                x1, y1, *_ = extent(image[band])
                found.setdefault(index, []).append((x1 - 20, y1 - 15))
        several = {shift for shifts in found.values() for shift in shifts}
        assert several == {(right, down) for right in range(-2, 3) for down in range(-2, 3)}
        assert sum(thermal != event for thermal, event in found.values()) > 300

    def test_uncovered_pixels_show_the_mean_of_each_band(self):
        image = noise_image()
        after = changed(image, AugmentConfig(registration_jitter=30))
        for band in (3, 4):
            values, counts = after[band].flatten().unique(return_counts=True)
            assert float(values[counts.argmax()]) == pytest.approx(float(image[band].mean()), abs=1e-6)
            assert counts.max() > 1

    def test_the_first_modality_of_the_model_stays(self):
        image = noise_image(bands=4)
        bands = {"thermal": slice(0, 1), "rgb": slice(1, 4)}
        after = changed(image, AugmentConfig(registration_jitter=8), bands=bands)
        assert torch.equal(after[0], image[0])
        assert not torch.equal(after[1:], image[1:])


class TestInTheDataSet:
    MEANS = {"rgb": [0.1, 0.2, 0.3], "thermal": [0.4], "event": [0.5]}
    ON = {"registration_jitter": 2, **{field: 0.5 * strongest for field, strongest in STRONGEST.items()}}

    @pytest.fixture
    def pair(self, folders):
        """The same data set without and with the changes of single modalities."""
        data = open_data(folders([f"f{number}" for number in range(6)]))

        def build(**common):
            return [
                PairedDataset(
                    data,
                    [image.id for image in data.images],
                    MODALITIES,
                    augment=AugmentConfig(**common, **more),
                    seed=4,
                    means=self.MEANS,
                )
                for more in ({}, self.ON)
            ]

        return build

    def test_geometry_and_modality_dropout_draw_as_without_them(self, pair):
        plain, changed_too = pair(modality_dropout=0.5)
        blanks = 0
        for epoch in range(8):
            plain.set_epoch(epoch)
            changed_too.set_epoch(epoch)
            for index in range(6):
                (image, target), (other, other_target) = plain[index], changed_too[index]
                assert all(torch.equal(target[key], other_target[key]) for key in target)
                assert not torch.equal(image, other)
                for modality, place in BANDS.items():
                    mean = torch.tensor(self.MEANS[modality])[:, None, None].expand(-1, 8, 12)
                    assert torch.equal(image[place], mean) == torch.equal(other[place], mean)
                    blanks += torch.equal(image[place], mean)
        assert 12 < blanks < 36

    def test_an_image_depends_on_seed_epoch_and_index_alone(self, pair):
        straight, jumping = pair()[1], pair()[1]
        for epoch in range(3):
            straight.set_epoch(epoch)
            images = [straight[index][0] for index in range(6)]
        jumping.set_epoch(2)
        assert all(torch.equal(jumping[index][0], images[index]) for index in (5, 0, 3))

    def test_colours_of_an_rgb_image_with_one_band_are_refused(self, packed):
        data = open_data(packed({"a": torch.zeros(8, 12, 2).byte().numpy()}), bands={"rgb": [0], "thermal": [1]})
        with pytest.raises(FieldError, match=r"data.augment.rgb_hue: needs rgb with 3 bands; the data have 1. Set it"):
            PairedDataset(data, ["a"], ["rgb"], augment=AugmentConfig(rgb_hue=0.1), seed=0)
        PairedDataset(data, ["a"], ["thermal"], augment=AugmentConfig(rgb_hue=0.1), seed=0)
        image, _ = PairedDataset(data, ["a"], ["rgb"], augment=AugmentConfig(rgb_contrast=0.5), seed=0)[0]
        assert image.shape == (1, 8, 12)


def test_saturation_needs_three_bands_of_rgb_if_there_are_any():
    refuse_colourless(AugmentConfig(rgb_saturation=0.5), {"thermal": 1})
    refuse_colourless(AugmentConfig(rgb_brightness=0.5, rgb_contrast=0.5), {"rgb": 1})
    with pytest.raises(FieldError, match="rgb_saturation: needs rgb with 3 bands; the data have 4"):
        refuse_colourless(AugmentConfig(rgb_saturation=0.5), {"rgb": 4})
