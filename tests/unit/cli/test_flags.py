"""What flags come to where they are left out."""

import pytest

from tune_cmx.cli.options.flags import MOST_LOADERS, loaders


@pytest.mark.parametrize(
    ("given", "device", "cores", "expected"),
    [
        (None, "cpu", 8, 0),
        (None, "cuda", 4, 4),
        (None, "cuda:1", 0.5, 1),
        (None, "cuda", 64, MOST_LOADERS),
        (0, "cuda", 8, 0),
        (3, "cpu", 1, 3),
    ],
)
def test_loaders_follow_from_device_and_cores(given: int | None, device: str, cores: float, expected: int) -> None:
    assert loaders(given, device, cores) == expected
