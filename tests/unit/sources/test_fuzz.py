"""Damaged copies of a document of every format, made by seed: read, or refused with a reason, and nothing else.

A copy that broke something is kept in `KEPT` as (sample, seed, number), after the defect is mended.
"""

from __future__ import annotations

import re
import resource
import time
from collections.abc import Callable, Iterator
from itertools import islice
from pathlib import Path

import polars as pl
import pytest
from tests.made_files import make_epub, make_ipynb, make_mail, make_pptx, make_xlsx
from tests.made_pdfs import prose, ruled_table, two_columns
from tests.stand_ins import made_model
from tests.unit.sources.test_parsers import make_docx

from roost.tasks.errors import DocumentError
from roost.tasks.records import TEXT_BLOCK
from roost.tasks.settings import Ingest
from roost.tasks.sources.parsers.parse import read
from roost.tasks.sources.parsers.parsed import Parsed
from roost.tasks.steps.cut import cut_blocks
from roost.tasks.steps.cut_sizes import CutSizes
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
#: Copies of each sample; the long form makes `--fuzz-count` of all samples together, from `--fuzz-seed`.
USUAL = 3
KEPT = [("table.pdf", 42, 2)]
#: Limits of a worker for one document. The samples are small, so a copy has a small part of the time.
MEMORY_BYTES = Ingest().parse_memory_mb << 20
SECONDS = Ingest().parse_seconds / 10
SIZES = CutSizes(40, 8, str(made_model().tokenizer_file))


def check(name: str, data: bytes, which: str) -> Parsed | None:
    if not data:
        return None
    started = time.process_time()
    try:
        result = read(data, name).result
    except RecursionError:
        return None  # `load` refuses it as damaged
    assert time.process_time() - started < SECONDS, which
    if isinstance(result, DocumentError):
        assert len(str(result).splitlines()) == 1, which
        return None
    check_parsed(result, which)
    assert result.has_text, which
    return result


def check_spans(parsed: Parsed, which: str) -> None:
    """Check that every chunk is where it says in the text of the document; one of a table also has the header."""
    rows, start = [], 0
    for block in parsed.blocks:
        rows.append((str(len(rows)), block.text, block.page, start, block.kind, block.heading))
        start += len(block.text) + 1
    whole = "\n".join(block.text for block in parsed.blocks)
    order = ["doc_id", "text", "page", "start", "kind", "heading"]
    for chunk in cut_blocks(pl.DataFrame(rows, schema=order, orient="row").cast(dict(TEXT_BLOCK)), SIZES).to_dicts():
        block = parsed.blocks[int(chunk["doc_id"])]
        place = whole[chunk["start"] : chunk["end"]]
        assert 0 <= chunk["start"] < chunk["end"] <= len(whole), which
        assert chunk["text"] == place or (block.kind == "table" and chunk["text"].endswith(place)), which
        assert place in block.text, which


def copies(name: str, count: int, seed: int) -> Iterator[tuple[str, bytes]]:
    for number, data in enumerate(mutate(SAMPLES[name](), count, seed)):
        yield f"{name}, seed {seed}, copy {number}", data


@pytest.fixture
def limited_memory() -> Iterator[None]:
    """As much memory as a worker may have, beside what this process has already."""
    before = resource.getrlimit(resource.RLIMIT_DATA)
    [kib] = re.findall(r"VmData:\s+(\d+) kB", Path("/proc/self/status").read_text())
    resource.setrlimit(resource.RLIMIT_DATA, (int(kib) * 1024 + MEMORY_BYTES, before[1]))
    yield
    resource.setrlimit(resource.RLIMIT_DATA, before)


@pytest.mark.parametrize("name", SAMPLES)
def test_a_damaged_document_is_read_or_refused(name: str) -> None:
    for which, data in copies(name, USUAL, 7):
        check(name, data, which)


@pytest.mark.long
@pytest.mark.timeout(3600)
@pytest.mark.usefixtures("limited_memory")
@pytest.mark.parametrize("name", SAMPLES)
def test_two_thousand_damaged_documents_are_read_or_refused(name: str, fuzz: tuple[int, int]) -> None:
    count, seed = fuzz
    for which, data in copies(name, -(-count // len(SAMPLES)), seed):
        if parsed := check(name, data, which):
            check_spans(parsed, which)


@pytest.mark.parametrize(("name", "seed", "number"), KEPT)
def test_what_broke_a_parser_before_does_not_break_it_again(name: str, seed: int, number: int) -> None:
    which, data = next(islice(copies(name, number + 1, seed), number, None))
    check(name, data, which)
