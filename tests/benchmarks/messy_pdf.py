"""What becomes of the awkward PDFs in the shared test data, beside what pypdf alone made of them.

`python -m tests.benchmarks.messy_pdf` prints the table of docs/parsers.md. pypdf's results are those recorded with the
files (`categories.tsv`); files that are not here are left out.
"""

from __future__ import annotations

import asyncio
import csv
from collections import Counter
from typing import NamedTuple

from tests.conftest import DATA

from roost.tasks.settings import Ingest
from roost.tasks.sources.parsers.parse import read
from roost.tasks.sources.parsers.parsed import Parsed
from roost.tasks.workers import WorkerError, Workers

FOLDER = DATA / "messy_pdf"
#: pypdf's outcomes -> the words of the table.
BEFORE = {
    **dict.fromkeys(("text", "almost_no_text", "encrypted_empty_password", "some_pages_fail"), "indexed"),
    "zero_text": "no text",
    "needs_password": "encrypted",
    "malformed_or_unsupported": "damaged",
    "slow_or_memory": "too slow",
}
AFTER = {"no_text": "no text", "too_slow": "too slow"}


class Ended(NamedTuple):
    """How a file ended, in the words of the table, and the number of characters that were read of it."""

    outcome: str
    characters: int


async def main() -> None:
    """Read all files, and print the table."""
    with (FOLDER / "categories.tsv").open() as stream:
        rows = [row for row in csv.DictReader(stream, delimiter="\t") if (FOLDER / row["file"]).is_file()]
    limits = Ingest()
    with Workers(workers=0, memory_mb=limits.parse_memory_mb) as workers:
        after = await asyncio.gather(*(_read(row["file"], workers, limits.parse_seconds) for row in rows))
    before = [Ended(BEFORE[row["category"]], int(row["chars"] or 0)) for row in rows]
    counts = [Counter(one.outcome for one in ended) for ended in (before, after)]
    print("| | pypdf alone | now |\n|---|---|---|")
    for outcome in sorted({*counts[0], *counts[1]}, key=lambda name: -counts[1][name]):
        print(f"| {outcome} | {counts[0][outcome]} | {counts[1][outcome]} |")
    print(f"| characters | {sum(one.characters for one in before):,} | {sum(one.characters for one in after):,} |")
    for row, one, other in zip(rows, before, after, strict=True):
        if one.outcome != other.outcome or other.characters < 0.9 * one.characters:
            print(
                f"{row['file']}: {one.outcome}, {one.characters:,} characters -> {other.outcome}, {other.characters:,}"
            )


async def _read(file: str, workers: Workers, seconds: float) -> Ended:
    data = await asyncio.to_thread((FOLDER / file).read_bytes)
    try:
        reading = await workers.run(read, (data, file), seconds)
    except WorkerError as error:
        return Ended(AFTER.get(error.reason, error.reason), 0)
    if not isinstance(reading.result, Parsed):
        return Ended(AFTER.get(reading.result.reason, reading.result.reason), 0)
    return Ended("indexed", sum(len(block.text) for block in reading.result.blocks))


if __name__ == "__main__":
    asyncio.run(main())
