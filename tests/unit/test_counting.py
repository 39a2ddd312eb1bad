import pytest

from tune_cmx.counting import count


@pytest.mark.parametrize(
    ("n", "noun", "text"),
    [
        (0, "run", "0 runs"),
        (1, "run", "1 run"),
        (2, "box", "2 boxes"),
        (1, "class", "1 class"),
        (2, "class", "2 classes"),
    ],
)
def test_a_noun_follows_its_number(n: int, noun: str, text: str) -> None:
    assert count(n, noun) == text
