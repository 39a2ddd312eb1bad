"""A number and its noun, for messages and reports."""


def count(n: int, noun: str) -> str:
    """`1 run`, `2 runs`, `2 boxes`, `2 classes`."""
    return f"{n} {noun}" if n == 1 else f"{n} {noun}{'es' if noun.endswith(('s', 'x')) else 's'}"
