"""What every reader of the table keeps to. A new entry is checked with no edit here."""

import pickle
from pathlib import Path

import numpy as np
import pytest

from tune_cmx.data.audit import audit
from tune_cmx.data.readers import READERS, PairedData, open_data, read_image
from tune_cmx.data.synthetic import synthesize
from tune_cmx.errors import ConfigError, DataError

ALL = ["rgb", "thermal", "event"]


@pytest.fixture(params=READERS)
def data(request: pytest.FixtureRequest, tmp_path: Path) -> PairedData:
    try:
        root = synthesize(tmp_path / "set", images=6, size=32, sequences=3, form=request.param)
    except ConfigError:
        pytest.skip("writes no synthetic set")
    return open_data(root)


@pytest.mark.parametrize("form", READERS)
def test_finds_nothing_in_an_empty_folder_and_says_what_it_wants(form: str, tmp_path: Path) -> None:
    assert READERS[form].sign(tmp_path) is None
    with pytest.raises(DataError) as error:
        open_data(tmp_path)
    reader = READERS[form]
    assert (reader.title if reader.published else reader.holds) in str(error.value)


def test_opens_what_it_wrote(data: PairedData) -> None:
    assert READERS[next(form for form, reader in READERS.items() if reader is data.reader)].sign(data.root)
    assert [image.id for image in data.images] == sorted(image.id for image in data.images)
    assert len(data.images) == 6
    assert set(data.bands) == set(ALL)


def test_all_forms_of_one_set_have_the_same_pixels(data: PairedData, tmp_path: Path) -> None:
    first = open_data(synthesize(tmp_path / "first", images=6, size=32, sequences=3))
    for image, other in zip(data.images, first.images, strict=True):
        found, expected = read_image(data, image, ALL), read_image(first, other, ALL)
        assert list(found) == ALL
        for modality in ALL:
            assert found[modality].shape == (32, 32, len(data.bands[modality]))
            np.testing.assert_array_equal(found[modality], expected[modality])


def test_reads_some_modalities_in_the_order_asked_for(data: PairedData) -> None:
    assert list(read_image(data, data.images[0], ["event", "rgb"])) == ["event", "rgb"]


def test_its_set_goes_to_other_processes(data: PairedData) -> None:
    other = pickle.loads(pickle.dumps(data))
    assert audit(other).fingerprint == audit(data).fingerprint


def test_a_corrupt_file_is_named(data: PairedData) -> None:
    path = data.images[2].files["thermal"]
    path.write_bytes(b"nothing of the kind")
    with pytest.raises(DataError, match=path.name):
        read_image(data, data.images[2], ALL)
    with pytest.raises(DataError, match=path.name):
        audit(data)
