"""Documents that attack their parsers, by the real worker processes: each ends in its class, within its limits."""

from __future__ import annotations

import asyncio
import json
import os
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from tests.hostile_files import CONTENTS, SECRET, entity_files, gzip_bomb, huge_cell, odd_entries, sparse
from tests.stand_ins import listing_choices, planned_row

from roost.tasks.errors import DocumentError, RoostError, SourceError
from roost.tasks.records import PLANNED
from roost.tasks.sources.opened_source import open_sources
from roost.tasks.sources.source import Columns, Source
from roost.tasks.sources.source_listing import list_source
from roost.tasks.sources.tables import list_rows
from roost.tasks.steps import load_files as load_files_module
from roost.tasks.steps.files_ahead import parse_alone
from roost.tasks.steps.load_file import Outcome, load_file, read_file
from roost.tasks.steps.load_files import load_files
from roost.tasks.workers import WorkerError, Workers

MEMORY_MB = 2048
SECONDS = 30.0
GIB = 1 << 30
#: The class in which each file ends: a reason, or `indexed`.
CLASSES: dict[str, str] = {
    **dict.fromkeys((name for name in CONTENTS if name.startswith("bomb.")), "too_large"),
    "lying.docx": "damaged",
    "far.xlsx": "too_large",
    "parts.docx": "too_large",
    "pages.pdf": "too_large",
    "page-tree.pdf": "damaged",
    "page-loop.pdf": "damaged",
    "form-loop.pdf": "too_large",
    "arrays.pdf": "no_text",
    "content.pdf": "too_large",
    "objects.pdf": "too_large",
    "image.pdf": "no_text",
    **dict.fromkeys(("tags.html", "bold.html", "unclosed.html", "lists.html", "parts.eml"), "damaged"),
    **dict.fromkeys(("brackets.ipynb", "objects.ipynb"), "damaged"),
    "references.eml": "too_large",
    **dict.fromkeys(("controls.txt", "surrogates.txt"), "unknown_format"),
    **dict.fromkeys(("entities.docx", "entities.pptx"), "damaged"),
    "sparse.txt": "too_large",
    "sparse.pdf": "too_large",
    "device.md": "unreadable",
    "pipe.md": "unreadable",
    "gone.md": "unreadable",
}


def measured_load(location: str, name: str, doc_id: str, text: str) -> Outcome:
    """Load a file in a worker; write its processor time and the most memory that the worker had beside the text."""
    Path("/proc/self/clear_refs").write_text("5")
    started = time.process_time()
    try:
        return load_file(location, name, doc_id, text)
    finally:
        [peak] = [line.split()[1] for line in Path("/proc/self/status").read_text().splitlines() if "VmHWM" in line]
        Path(f"{text}.figures").write_text(json.dumps([time.process_time() - started, int(peak) / 1024]))


def made(folder: Path) -> Iterator[Path]:
    """Make each file; it is deleted when the next one is asked for."""
    (secret := folder / "secret").write_text(SECRET)
    contents = CONTENTS | {name: lambda data=data: data for name, data in entity_files(secret)}
    for name, make in contents.items():
        (folder / name).write_bytes(make())
        yield folder / name
        (folder / name).unlink()
    for name in ("sparse.txt", "sparse.pdf"):
        sparse(folder / name)
        yield folder / name
    os.mkfifo(folder / "pipe.md")
    (folder / "device.md").symlink_to("/dev/zero")
    yield from (folder / name for name in ("pipe.md", "device.md", "gone.md"))


async def ignore_pages(*_: object) -> None:
    """Do nothing with the first pages of a file."""


async def load(file: Path, workers: Workers, texts: Path) -> tuple[str, str]:
    """Load one file as a run does: its class, and the text or the reason."""
    row = planned_row(file.name, location=str(file), size=0)  # small files are read in one part, which is measured
    files = pl.DataFrame([row], schema=PLANNED)
    [outcome] = (await load_files(files, workers, texts, SECONDS, ignore_pages, parse_alone)).values()
    if isinstance(outcome.result, RoostError):
        assert isinstance(outcome.result, DocumentError), outcome.result
        return outcome.result.reason, str(outcome.result)
    return "indexed", "\n".join(block.text for block in outcome.result.read().blocks)


@pytest.mark.long
@pytest.mark.timeout(3600)
def test_every_hostile_document_ends_in_its_class_within_its_limits(tmp_path: Path, monkeypatch: Any, capsys) -> None:
    monkeypatch.setattr(load_files_module, "load_file", measured_load)
    found: dict[str, str] = {}

    async def work() -> None:
        texts = tmp_path / "texts"
        texts.mkdir()
        with Workers(workers=1, memory_mb=MEMORY_MB) as workers:
            for file in made(tmp_path):
                found[file.name], said = await load(file, workers, texts)
                assert SECRET not in said, file.name
                assert found[file.name] == "indexed" or len(said.splitlines()) == 1
                figures = texts / "0.arrow.figures"
                seconds, megabytes = json.loads(figures.read_text()) if figures.exists() else (SECONDS, MEMORY_MB)
                figures.unlink(missing_ok=True)
                with capsys.disabled():
                    print(f"| `{file.name}` | {found[file.name]} | {seconds:.1f} | {megabytes:.0f} |", flush=True)
                assert seconds <= SECONDS + 1
                assert megabytes <= MEMORY_MB + 100

    asyncio.run(work())
    assert {name: kind for name, kind in found.items() if kind != CLASSES.get(name, "indexed")} == {}


def test_what_came_in_place_of_a_file_since_it_was_listed_is_neither_waited_for_nor_read_for_ever(
    tmp_path: Path,
) -> None:
    os.mkfifo(tmp_path / "pipe.csv")
    (tmp_path / "device.csv").symlink_to("/dev/zero")
    for name in ("pipe.csv", "device.csv"):
        with pytest.raises(DocumentError, match="unreadable: it is a pipe or a device, and no file"):
            read_file(str(tmp_path / name))
        with pytest.raises(DocumentError, match="unreadable: it is gone, or no longer a file"):
            list_rows(str(tmp_path / name), "s", name, Columns(), tmp_path)


def test_pipes_devices_loops_of_folders_and_links_out_of_the_source_are_skipped_by_name(tmp_path: Path) -> None:
    (docs := tmp_path / "docs").mkdir()
    (docs / "a.md").write_text("# A\n")
    odd_entries(docs)
    found = list_source(open_sources([Source(uri=str(docs))], listing_choices())[0], tmp_path)
    assert found.documents["uri"].to_list() == ["a.md", "self.md"]  # the latter is refused with a reason
    assert sum(found.skipped.values()) == 4, found.skipped
    for name in ("pipe.md", "loop/pipe.md"):
        with pytest.raises(SourceError, match="but a pipe or a device"):
            list_source(open_sources([Source(uri=str(docs / name))], listing_choices())[0], tmp_path)


def test_a_file_that_grows_while_it_is_read_ends(tmp_path: Path) -> None:
    file, is_over = tmp_path / "log.txt", threading.Event()
    file.write_bytes(b"line\n" * 1000)

    def grow() -> None:
        with file.open("ab") as stream:
            while not is_over.wait(0.001):
                stream.write(b"another line\n")
                stream.flush()

    writer = threading.Thread(target=grow)
    writer.start()
    try:
        assert read_file(str(file)).startswith(b"line\n")
    finally:
        is_over.set()
        writer.join()


@pytest.mark.parametrize("lines", [True, False], ids=["lines", "one line"])
@pytest.mark.parametrize("size", [80 << 20, pytest.param(GIB, marks=pytest.mark.long)])
def test_a_cell_of_a_table_that_does_not_fit_memory_is_too_large(tmp_path: Path, size: int, lines: bool) -> None:
    huge_cell(tmp_path / "t.csv", size, lines=lines)
    with pytest.raises(DocumentError, match="longer than 64 MiB"):
        list_rows(str(tmp_path / "t.csv"), "s", "t.csv", Columns(), tmp_path)


@pytest.mark.long
@pytest.mark.timeout(900)
def test_compressed_tables_that_unpack_to_gigabytes_and_tables_of_five_million_lines_end(tmp_path: Path) -> None:
    (tmp_path / "t.csv.gz").write_bytes(gzip_bomb(GIB))
    (tmp_path / "lines.csv").write_bytes(b"id,text\n" + b"".join(b"%d,words\n" % n for n in range(5_000_000)))

    async def work() -> None:
        with Workers(workers=1, memory_mb=MEMORY_MB) as workers:
            with pytest.raises(DocumentError, match="it has more than 64 MiB when uncompressed"):
                await workers.run(list_rows, (str(tmp_path / "t.csv.gz"), "s", "t.csv.gz", Columns(), tmp_path, 64))
            arguments = (str(tmp_path / "lines.csv"), "s", "lines.csv", Columns(), tmp_path)
            try:
                listed = await workers.run(list_rows, arguments, 600.0)
                assert listed.documents.height == 5_000_000
            except WorkerError as error:
                assert error.reason in ("too_large", "too_slow")  # noqa: PT017

    asyncio.run(work())
