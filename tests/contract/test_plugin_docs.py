"""docs/plugins.md: a package that is made of its examples has five entries that can be used."""

import re
import tomllib
from pathlib import Path

from plugins import broken, seen

from tune_cmx.config.searchers import SEARCHERS
from tune_cmx.data.readers import READERS
from tune_cmx.metrics import METRICS
from tune_cmx.models.fusion import FUSIONS
from tune_cmx.training.loggers import LOGGERS

PAGE = (Path(__file__).parents[2] / "docs" / "plugins.md").read_text(encoding="utf-8")


def test_the_examples_are_a_package_that_works(tmp_path: Path) -> None:
    (project,) = (tomllib.loads(block)["project"] for block in re.findall(r"```toml\n(.*?)```", PAGE, re.S))
    modules = re.findall(r"```python\n# (\w+)\.py\n(.*?)```", PAGE, re.S)
    groups = project["entry-points"]
    lines = [f"[{group}]\n" + "".join(f"{n} = {v}\n" for n, v in points.items()) for group, points in groups.items()]
    with seen(broken(tmp_path, "\n".join(lines), project["name"], **dict(modules))):
        for table in (FUSIONS, METRICS, SEARCHERS, READERS, LOGGERS):
            for name in groups[table.group]:
                assert table[name] is not None
        assert {table.group for table in (FUSIONS, METRICS, SEARCHERS, READERS, LOGGERS)} == {*groups}
        searcher = SEARCHERS["line"].model_validate({"kind": "line", "trials": 3})
        assert searcher.title == "line"
