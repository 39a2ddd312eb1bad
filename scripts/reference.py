"""Write docs/reference/*.md from the typed models, the table of metrics and the command line.

Run:  python scripts/reference.py            # or: make reference
"""

import sys
from collections.abc import Callable
from pathlib import Path

from reference_claims import claims_page
from reference_commands import commands_page
from reference_configuration import configuration_page
from reference_records import metrics_page, records_page

ROOT = Path(__file__).parents[1]
FOLDER = ROOT / "docs" / "reference"
COMMAND = "python scripts/reference.py"
PAGES: dict[str, Callable[[], str]] = {
    "configuration.md": configuration_page,
    "claims.md": claims_page,
    "metrics.md": metrics_page,
    "records.md": records_page,
    "command-line.md": commands_page,
}


def pages() -> dict[str, str]:
    """The text of each page by file name."""
    note = f"\n<!-- Made by `{COMMAND}`; change the code or the script, not this page. -->\n"
    return {name: page().rstrip("\n") + "\n" + note for name, page in PAGES.items()}


def main() -> None:
    """Write the pages whose text has changed."""
    FOLDER.mkdir(parents=True, exist_ok=True)
    for name, text in pages().items():
        path = FOLDER / name
        if not path.exists() or path.read_text(encoding="utf-8") != text:
            path.write_text(text, encoding="utf-8")
            sys.stdout.write(f"written: {path.relative_to(ROOT)}\n")


if __name__ == "__main__":
    main()
