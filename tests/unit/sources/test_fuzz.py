"""Damaged copies of a document of every format, made by seed: read, or refused with a reason, and nothing else.

A copy that broke something is kept in `KEPT` as (sample, seed, number), after the defect is mended.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from itertools import islice

import pytest
from tests.made_files import make_epub, make_ipynb, make_mail, make_pptx, make_xlsx
from tests.made_pdfs import prose, ruled_table, two_columns
from tests.unit.sources.test_parsers import make_docx

from roost.tasks.errors import DocumentError
from roost.tasks.sources.parsers.parse import read
from roost.testing import check_parsed, mutate

SAMPLES: dict[str, Callable[[], bytes]] = {
    "text.pdf": lambda: two_columns(prose(80), prose(80, 2), title="Harbour"),
    "table.pdf": ruled_table,
    "a.docx": make_docx,
    "a.pptx": make_pptx,
    "a.xlsx": make_xlsx,
    "a.epub": make_epub,
    "a.ipynb": make_ipynb,
    "a.eml": lambda: make_mail(**{"a.txt": b"words"}),
    "a.html": lambda: b"<html lang=de><meta charset=utf-8><title>P</title><h1>Top</h1><table><tr><td>a<td>b</table>",
    "a.md": lambda: b"---\ntitle: Trains\ntags: [a, b]\n---\n# Heading\n\n| a | b |\n| - | - |\n| 1 | 2 |\n",
    "a.txt": lambda: "Wörter in einer Zeile.\r\nUnd noch eine.".encode("utf-16"),
}
#: Copies of each sample; the long form makes 2,000 of all samples together, another seed is `--fuzz-seed`.
USUAL, LONG = 3, 2_000
KEPT = [("table.pdf", 42, 2)]


def check(name: str, data: bytes, which: str) -> None:
    if not data:
        return
    try:
        reading = read(data, name)
    except (MemoryError, RecursionError):
        return
    if not isinstance(reading.result, DocumentError):
        check_parsed(reading.result, which)
        assert reading.result.has_text


def copies(name: str, count: int, seed: int) -> Iterator[tuple[str, bytes]]:
    for number, data in enumerate(mutate(SAMPLES[name](), count, seed)):
        yield f"{name}, seed {seed}, copy {number}", data


@pytest.mark.parametrize("name", SAMPLES)
def test_a_damaged_document_is_read_or_refused(name: str) -> None:
    for which, data in copies(name, USUAL, 7):
        check(name, data, which)


@pytest.mark.long
@pytest.mark.timeout(3600)
@pytest.mark.parametrize("name", SAMPLES)
def test_two_thousand_damaged_documents_are_read_or_refused(name: str, fuzz_seed: int) -> None:
    for which, data in copies(name, -(-LONG // len(SAMPLES)), fuzz_seed):
        check(name, data, which)


@pytest.mark.parametrize(("name", "seed", "number"), KEPT)
def test_what_broke_a_parser_before_does_not_break_it_again(name: str, seed: int, number: int) -> None:
    which, data = next(islice(copies(name, number + 1, seed), number, None))
    check(name, data, which)
