"""`tune-cmx describe`."""

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from conftest import Run


def test_describe_counts_the_published_baseline(run: "Run") -> None:
    code, output, _ = run("describe", "--backbone", "mit_nano", "--fusion-type", "cssa", "--stages", "2,3")
    assert code == 0
    assert "fusion frm_ffm / cssa / cssa / frm_ffm at stages 1..4" in output
    assert "1 class and background" in output
