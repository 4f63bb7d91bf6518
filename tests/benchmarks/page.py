"""Write the result of a benchmark into docs/benchmarks.md, between the markers: a table, and the raw JSON.

python -m tests.benchmarks.page RESULT.json
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

from tests.benchmarks.rows import rows_of
from tests.conftest import ROOT

PAGE = ROOT / "docs" / "benchmarks.md"


def replace_section(page: Path, name: str, text: str) -> None:
    """Replace what stands between the markers of a section of a page.

    Raises:
        ValueError: The page has no such markers.
    """
    begin, marker = f"<!-- {name}: begin -->", f"<!-- {name}: end -->"
    before, _, rest = page.read_text("utf-8").partition(begin)
    _, end, after = rest.partition(marker)
    if not end:
        raise ValueError(f"{page} has no {begin} and {marker}")
    page.write_text(f"{before}{begin}\n{text}\n{end}{after}", "utf-8")


def write_page(result: dict[str, Any], page: Path = PAGE) -> None:
    """Replace what stands between the markers of the page by a result; one of `--full` has markers of its own.

    Raises:
        ValueError: The page has no markers.
    """
    replace_section(page, "full" if "--full" in result["command"] else "result", _section(result))


def _section(result: dict[str, Any]) -> str:
    machine, corpus = result["machine"], result["corpus"]
    facts = (
        f"Measured on {result['measured']} by `{result['command']}`: {machine['cores']} cores of {machine['cpu']} "
        f"({', '.join(machine['instructions'])}), {machine['memory_gib']} GiB, load {machine['load_before']} before; "
        f"{corpus['files']} files of {corpus['markdown']}; {corpus['pdf']}."
    )
    rows = "\n".join(f"| {words} | {measured} | {aim} |" for words, measured, aim in rows_of(result))
    raw = json.dumps(result, indent=1)
    return (
        f"{facts}\n\n| what | measured | aim |\n|---|---:|---:|\n{rows}\n\n"
        f"<details><summary>Raw JSON of this run</summary>\n\n```json\n{raw}\n```\n\n</details>"
    )


if __name__ == "__main__":
    write_page(json.loads(Path(sys.argv[1]).read_text("utf-8")))
